//! `exec`.

use hull_testkit::{scenario, until};

scenario!(it_runs_beside_and_returns_its_code(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    assert_eq!(scene.ok("exec box echo hello"), "hello");
    let output = scene.run("exec box sh -c 'echo out; echo err >&2; exit 9'");
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (9, "out\n", "err\n"));
    assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
});

scenario!(a_program_that_is_missing_or_not_runnable(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let output = scene.run("exec box no-such-program");
    assert_eq!(output.code, 127, "{output:?}");
    let said = output.stdout + &output.stderr;
    assert!(said.contains("executable file not found in $PATH"), "{said}");
    assert_eq!(scene.run("exec box /etc/passwd").code, 126);
});

scenario!(environment_user_and_directory(scene) {
    scene.ok("run -d --name box -e BASE=1 busybox sleep 1000");
    let line = "exec -e A=2 -u nobody -w /tmp box sh -c 'echo $BASE $A; id -un; pwd'";
    assert_eq!(scene.ok(line), "1 2\nnobody\n/tmp");
});

scenario!(input_can_be_sent(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let mut cat = scene.begin("exec -i box sh -c 'cat; echo done'");
    cat.send("through exec\n");
    let (code, stdout, stderr) = cat.wait();
    assert_eq!((code, stdout.as_str()), (0, "through exec\ndone\n"), "{stderr}");
});

scenario!(detached_it_goes_on_alone(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    assert_eq!(scene.ok("exec -d box sh -c 'sleep 0.1; echo there > /mark'"), "");
    until("it did its work", || scene.run("exec box cat /mark").stdout == "there\n");
});

scenario!(privileged_it_has_every_capability(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let bounds = |line: &str| scene.ok(line).split_whitespace().last().unwrap().to_owned();
    let plain = bounds("exec box grep CapEff /proc/self/status");
    assert_eq!(plain, "00000000a80425fb");
    let all = bounds("exec --privileged box grep CapEff /proc/self/status");
    assert_ne!(plain, all);
});

scenario!(it_needs_a_container_that_runs(scene) {
    scene.ok("create --name box busybox true");
    let text = scene.fails(1, "exec box true");
    assert!(text.contains("is not running"), "{text}");
    let text = scene.fails(1, "exec nobody true");
    assert!(text.contains("No such container: nobody"), "{text}");
    scene.ok("run -d --name still busybox sleep 1000");
    scene.ok("pause still");
    let text = scene.fails(1, "exec still true");
    assert!(text.contains("is paused"), "{text}");
});

scenario!(a_container_that_ended_meanwhile_is_said_not_to_run(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let body = serde_json::json!({"Cmd": ["true"]});
    let made = scene.daemon.api("POST", "/containers/box/exec", &body).json();
    scene.ok("stop -t 0 box");
    let path = format!("/exec/{}/start", made["Id"].as_str().unwrap_or_default());
    let answer = scene.daemon.api("POST", &path, &serde_json::json!({}));
    assert_eq!(answer.status, 409);
    assert!(answer.message().ends_with(" is not running"), "{}", answer.message());
    // Whatever step the end comes between, it is told in these words.
    for number in 0..30 {
        let name = format!("short-{number}");
        let life = f64::from(number) * 0.004;
        scene.ok(&format!("run -d --name {name} busybox sleep {life}"));
        let ended = scene.run(&format!("exec {name} sleep 1"));
        let said = format!("{}{}", ended.stdout, ended.stderr);
        // Docker's client says no more than the status, once it asked for the streams.
        let told = said.contains("is not running") || said.contains("received 409");
        assert!(told || ended.code == 137 || ended.code == 0, "{ended:?}");
        assert!(!said.contains("os error"), "{ended:?}");
    }
});

scenario!(it_ends_with_its_container(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let mut exec = scene.begin("exec box sh -c 'echo ready; sleep 1000'");
    exec.expect("ready");
    scene.ok("kill box");
    let (code, _, stderr) = exec.wait();
    assert_eq!(code, 137, "{stderr}");
});

scenario!(a_session_that_lets_go_of_its_terminal_lives_on(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    let script = "exec </dev/null >/dev/null 2>&1; sleep 0.5; echo there > /mark";
    scene.ok(&format!("exec -t box sh -c '{script}'"));
    assert_eq!(scene.ok("exec box cat /mark"), "there");
    // So does the container itself, and what opens the terminal again is heard.
    let script = "exec 3>&1 </dev/null >/dev/null 2>&1 3>&-; sleep 0.5; echo back > /dev/console; exit 7";
    let output = scene.run(&format!("run -t --init --name other busybox sh -c '{script}'"));
    assert_eq!((output.code, output.stdout.trim_end()), (7, "back"), "{output:?}");
});
