//! Many at once.

use std::thread;

use hull_testkit::scenario;

scenario!(a_hundred_containers_eight_at_a_time(scene) {
    let scene = &*scene;
    thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for number in (worker..100).step_by(8) {
                    scene.ok(&format!("run -d --name c{number} busybox sh -c 'echo {number}; exec sleep 1000'"));
                }
            });
        }
    });
    assert_eq!(scene.ok("ps -q").lines().count(), 100);
    assert_eq!(scene.ok("info --format '{{.ContainersRunning}}'"), "100");
    for number in [0, 42, 99] {
        assert_eq!(scene.ok(&format!("exec c{number} hostname")), scene.inspect(&format!("c{number}"), "{{.Config.Hostname}}"));
    }
    let all = (0..100).map(|number| format!("c{number}")).collect::<Vec<_>>().join(" ");
    assert_eq!(scene.ok(&format!("rm -f {all}")).lines().count(), 100);
    scene.daemon.assert_clean();
});
