//! Health checks.

use hull_testkit::scenario;

scenario!(health_follows_the_check(scene) {
    scene.ok("run -d --name box --health-cmd 'test -e /ok' --health-interval 200ms --health-retries 2 busybox sleep 1000");
    scene.until("box", "is unhealthy", |it| it["State"]["Health"]["Status"] == "unhealthy");
    scene.ok("exec box touch /ok");
    let it = scene.until("box", "is healthy", |it| it["State"]["Health"]["Status"] == "healthy");
    assert_eq!(it["State"]["Health"]["FailingStreak"], 0);
    assert!(scene.ok("ps --format '{{.Status}}'").contains("(healthy)"));
    assert_eq!(scene.ok("ps -q --filter health=healthy").lines().count(), 1);
});

scenario!(failures_do_not_count_in_the_start_period(scene) {
    scene.ok("run -d --name box --health-cmd 'echo checked; exit 1' --health-interval 200ms --health-start-interval 100ms --health-start-period 100s --health-retries 1 busybox sleep 1000");
    let it = scene.until("box", "was checked", |it| it["State"]["Health"]["Log"].as_array().is_some_and(|log| log.len() >= 2));
    assert_eq!(it["State"]["Health"]["Status"], "starting");
    assert_eq!(it["State"]["Health"]["Log"][0]["ExitCode"], 1);
    assert_eq!(it["State"]["Health"]["Log"][0]["Output"], "checked\n");
});

scenario!(a_check_that_hangs_fails(scene) {
    scene.ok("run -d --name box --health-cmd 'sleep 1000' --health-interval 200ms --health-timeout 200ms --health-retries 1 busybox sleep 1000");
    scene.until("box", "is unhealthy", |it| it["State"]["Health"]["Status"] == "unhealthy");
});
