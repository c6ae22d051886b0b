//! `attach` and `start -a`.

use hull_testkit::{scenario, until};

scenario!(several_clients_see_the_same(scene) {
    scene.ok("run -d -i --name box busybox sh -c 'while read line; do echo got $line; done; echo end'");
    let mut first = scene.begin("attach box");
    let second = scene.begin("attach --no-stdin box");
    let mut third = scene.begin("attach box");
    // Each of them is known to be connected once it sees what came through the first.
    let mut count = 0;
    until("all three are attached", || {
        count += 1;
        first.send(format!("{count}\n"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        [&first, &second, &third].iter().all(|client| client.stdout().contains("got "))
    });
    third.send("from the third\n");
    for client in [&first, &second, &third] {
        client.expect("got from the third");
    }
});

scenario!(attach_returns_the_exit_code(scene) {
    scene.ok("run -d -i --name box busybox sh -c 'read line; exit 9'");
    let mut client = scene.begin("attach box");
    client.send("go\n");
    let (code, _, stderr) = client.wait();
    assert_eq!(code, 9, "{stderr}");
});

scenario!(start_attached_shows_output_and_returns_the_code(scene) {
    scene.ok("create --name box busybox sh -c 'echo hello; exit 6'");
    let output = scene.run("start -a box");
    assert_eq!((output.code, output.stdout.as_str()), (6, "hello\n"), "{}", output.stderr);
});

scenario!(attaching_to_what_does_not_run_is_refused(scene) {
    scene.ok("create --name box busybox true");
    let text = scene.fails(1, "attach box");
    assert!(text.to_lowercase().contains("cannot attach to a stopped container"), "{text}");
    scene.ok("run -d --name still busybox sleep 1000");
    scene.ok("pause still");
    let text = scene.fails(1, "attach still");
    assert!(text.to_lowercase().contains("paused container"), "{text}");
});

scenario!(signals_that_are_not_passed_on_end_a_client_only_once_it_is_insisted_on(scene) {
    let line = "run --sig-proxy=false --name box busybox sh -c 'echo up; while [ ! -e /go ]; do sleep 0.05; done; echo went on; exec sleep 1000'";
    let mut client = scene.begin(line);
    client.expect("up");
    client.signal("INT");
    scene.ok("exec box touch /go");
    client.expect("went on");
    // The third one ends it; those that come at the same time may count as one.
    until("it is heard", || {
        client.signal("INT");
        std::thread::sleep(std::time::Duration::from_millis(20));
        client.stderr().contains("got 3 SIGTERM/SIGINTs, forcefully exiting")
    });
    assert_eq!(client.wait().0, 1);
    assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
});
