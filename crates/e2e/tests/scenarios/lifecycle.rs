//! Start, stop, kill, pause, restart, rename, wait, remove.

use hull_testkit::{scenario, until};
use serde_json::json;

scenario!(created_started_stopped_started_removed(scene) {
    scene.ok("create --name box busybox sh -c 'trap \"exit 4\" TERM; while :; do sleep 0.05; done'");
    assert_eq!(scene.inspect("box", "{{.State.Status}}"), "created");
    assert_eq!(scene.ok("start box"), "box");
    assert_eq!(scene.inspect("box", "{{.State.Status}}"), "running");
    assert_eq!(scene.ok("stop box"), "box");
    assert_eq!(scene.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 4");
    scene.ok("start box");
    scene.ok("restart -t 5 box");
    assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
    let text = scene.fails(1, "rm box");
    assert!(text.contains("container is running"), "{text}");
    assert_eq!(scene.ok("rm -f box"), "box");
    assert_eq!(scene.ok("ps -aq"), "");
});

scenario!(who_ignores_the_term_signal_is_killed_after_the_timeout(scene) {
    scene.ok("run -d --name box busybox sh -c 'trap \"\" TERM; while :; do sleep 0.05; done'");
    scene.ok("stop -t 1 box");
    assert_eq!(scene.inspect("box", "{{.State.ExitCode}}"), "137");
});

scenario!(the_stop_signal_can_be_chosen(scene) {
    scene.ok("run -d --stop-signal USR1 --name box busybox sh -c 'trap \"exit 8\" USR1; while :; do sleep 0.05; done'");
    until("its trap is set", || {
        let mask = scene.ok("exec box grep SigCgt /proc/1/status");
        u64::from_str_radix(mask.split_whitespace().last().unwrap(), 16).unwrap() & (1 << 9) != 0
    });
    scene.ok("stop box");
    assert_eq!(scene.inspect("box", "{{.State.ExitCode}}"), "8");
});

scenario!(kill_sends_any_signal(scene) {
    scene.ok("run -d --name box busybox sh -c 'trap \"echo hup\" HUP; echo ready; while :; do sleep 0.05; done'");
    until("it is ready", || scene.ok("logs box") == "ready");
    assert_eq!(scene.ok("kill -s HUP box"), "box");
    until("it heard", || scene.ok("logs box") == "ready\nhup");
    scene.ok("kill box");
    let state = scene.until_status("box", "exited");
    assert_eq!(state["State"]["ExitCode"], 137);
    let text = scene.fails(1, "kill box");
    assert!(text.contains("is not running"), "{text}");
    let text = scene.fails(1, "kill -s NOSUCH box");
    assert!(text.to_lowercase().contains("invalid signal"), "{text}");
});

scenario!(who_is_told_of_a_kill_finds_it_ended(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    for _ in 0..5 {
        scene.ok("kill box");
        assert_eq!(scene.inspect("box", "{{.State.Status}}"), "exited");
        scene.ok("start box");
        assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
    }
    scene.ok("kill box");
    assert_eq!(scene.ok("rm box"), "box");
});

scenario!(a_kill_calls_the_next_restart_off(scene) {
    scene.ok("run -d --restart always --name box busybox false");
    until("it waits for its restart", || scene.run("kill -s HUP box").stderr.contains("is restarting"));
    scene.ok("kill box");
    assert_eq!(scene.inspect("box", "{{.State.Status}}"), "exited");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(scene.inspect("box", "{{.State.Status}}"), "exited");
});

scenario!(a_link_is_to_a_container_and_not_to_its_name(scene) {
    scene.ok("run -d --name db busybox sleep 1000");
    scene.ok("create --name web --link db:store busybox grep -c store /etc/hosts");
    scene.ok("rename db old");
    assert_eq!(scene.inspect("web", "{{.HostConfig.Links}}"), "[/old:/web/store]");
    assert_eq!(scene.ok("start -a web"), "1");
    let text = scene.fails(125, "run --link nobody:store busybox true");
    assert!(text.contains("could not get container for nobody"), "{text}");
    assert!(!text.contains("Unable to find image"), "{text}");
});

scenario!(a_paused_container_stands_still(scene) {
    scene.ok("run -d --name box busybox sh -c 'n=0; while :; do n=$((n+1)); echo $n > /n; sleep 0.01; done'");
    until("it counts", || scene.run("exec box cat /n").code == 0);
    assert_eq!(scene.ok("pause box"), "box");
    assert_eq!(scene.inspect("box", "{{.State.Status}} {{.State.Paused}}"), "paused true");
    assert!(scene.ok("ps --format '{{.Status}}'").contains("(Paused)"));
    let text = scene.fails(1, "pause box");
    assert!(text.contains("is already paused"), "{text}");
    assert_eq!(scene.ok("unpause box"), "box");
    assert_eq!(scene.inspect("box", "{{.State.Status}}"), "running");
    scene.ok("pause box");
    scene.ok("stop -t 1 box");
    assert_eq!(scene.inspect("box", "{{.State.Status}}"), "exited");
});

scenario!(wait_tells_the_exit_code(scene) {
    scene.ok("run -d -i --name box busybox sh -c 'read line; exit 5'");
    let mut wait = scene.begin("wait box");
    let mut attach = scene.begin("attach box");
    attach.send("go\n");
    assert_eq!(wait.wait().1, "5\n");
    assert_eq!(scene.ok("wait box"), "5");
});

scenario!(it_is_restarted_as_its_policy_says(scene) {
    scene.ok("run -d --restart on-failure:3 --name fails busybox false");
    scene.until("fails", "gave up", |it| it["RestartCount"] == 3 && it["State"]["Status"] == "exited");
    scene.ok("run -d --restart on-failure --name works busybox true");
    scene.until_status("works", "exited");
    assert_eq!(scene.inspect("works", "{{.RestartCount}}"), "0");
    scene.ok("run -d --restart always --name always busybox true");
    scene.until("always", "was started again", |it| it["RestartCount"].as_u64() > Some(1));
    scene.ok("stop always");
    assert_eq!(scene.inspect("always", "{{.State.Status}}"), "exited");
});

scenario!(a_restart_policy_can_be_changed_later(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    assert_eq!(scene.ok("update --restart unless-stopped box"), "box");
    assert_eq!(scene.inspect("box", "{{.HostConfig.RestartPolicy.Name}}"), "unless-stopped");
    let pid = scene.inspect("box", "{{.State.Pid}}");
    scene.run("exec box kill -9 1");
    scene.ok("exec box true");
    assert_eq!(scene.inspect("box", "{{.State.Pid}}"), pid, "process 1 is safe from inside");
});

scenario!(a_name_can_be_changed_and_is_free_again(scene) {
    scene.ok("run -d --name old busybox sleep 1000");
    scene.ok("rename old new");
    assert_eq!(scene.inspect("new", "{{.Name}}"), "/new");
    scene.fails(1, "inspect old");
    scene.ok("run -d --name old busybox sleep 1000");
    let text = scene.fails(1, "rename old new");
    assert!(text.contains("is already in use by container"), "{text}");
});

scenario!(many_at_once_by_name_id_and_prefix(scene) {
    let first = scene.ok("run -d --name one busybox sleep 1000");
    let second = scene.ok("run -d --name two busybox sleep 1000");
    assert_eq!(scene.ok(&format!("stop -t 0 one {}", &second[..12])), format!("one\n{}", &second[..12]));
    let output = scene.run(&format!("rm {first} nobody two"));
    assert_eq!((output.code, output.stdout), (1, format!("{first}\ntwo\n")));
    assert!(output.stderr.contains("No such container: nobody"), "{}", output.stderr);
});

scenario!(events_tell_the_story(scene) {
    let since = scene.now();
    scene.fails(3, "run --name box -l colour=blue busybox sh -c 'exit 3'");
    scene.ok("rm box");
    let until = scene.now();
    let line = format!("events --since {since} --until {until} --filter type=container --format '{{{{.Action}}}}'");
    assert_eq!(scene.ok(&line), "create\nattach\nstart\ndie\ndestroy");
    let line = format!("events --since {since} --until {until} --filter event=die --format '{{{{json .Actor.Attributes}}}}'");
    let attributes: serde_json::Value = serde_json::from_str(&scene.ok(&line)).unwrap();
    assert_eq!(attributes["exitCode"], "3");
    assert_eq!((&attributes["name"], &attributes["image"], &attributes["colour"]), (&json!("box"), &json!("busybox"), &json!("blue")));
});

scenario!(events_arrive_as_they_happen(scene) {
    let events = scene.begin("events --filter container=box --format '{{.Action}}'");
    // Nothing tells that the subscription stands; what happens before it does is not shown.
    until("an event is seen", || {
        scene.ok("run --rm --name box busybox true");
        events.stdout().contains("die")
    });
});
