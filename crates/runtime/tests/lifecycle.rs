//! The verbs: what they do, in which states, and what hooks hear of it.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use std::{
    fs,
    io::Read,
    os::{fd::OwnedFd, unix::fs::PermissionsExt, unix::net::UnixListener},
};

use hull_sys::fdpass;
use serde_json::{Value, json};
use support::{Bundle, until};

fn running(script: &str) -> Bundle {
    let bundle = Bundle::new(script);
    bundle.write();
    let outcome = bundle.call_detached(&["run", "-d", &bundle.id]);
    assert_eq!(outcome.code, 0, "{}", outcome.stdout);
    bundle
}

#[test]
fn created_then_running_then_stopped_then_gone() {
    let bundle = Bundle::new("echo ran; sleep 1000");
    bundle.write();
    let id = bundle.id.as_str();
    let pid_file = bundle.directory.join("pid");
    let create = ["create", "--pid-file", pid_file.to_str().unwrap(), id];
    assert_eq!(bundle.call_detached(&create).code, 0);
    let state = bundle.state();
    assert_eq!(
        (state["status"].as_str(), state["id"].as_str()),
        (Some("created"), Some(id))
    );
    assert_eq!(
        fs::read_to_string(&pid_file).unwrap(),
        state["pid"].to_string()
    );
    assert_eq!(fs::read(bundle.directory.join("output")).unwrap(), b"");
    let again = bundle.call(&["create", id]);
    assert!(
        again
            .stderr
            .contains("container with given ID already exists"),
        "{}",
        again.stderr
    );

    // What stands in the bundle later makes no difference.
    fs::write(bundle.directory.join("config.json"), "{}").unwrap();
    assert_eq!(bundle.call(&["start", id]).code, 0);
    assert_eq!(bundle.state()["status"], "running");
    until("it runs", || {
        fs::read(bundle.directory.join("output")).unwrap() == b"ran\n"
    });
    assert_ne!(bundle.call(&["start", id]).code, 0);
    assert_ne!(bundle.call(&["delete", id]).code, 0);
    assert_eq!(bundle.call(&["kill", id, "SIGKILL"]).code, 0);
    until("it stops", || bundle.state()["status"] == "stopped");
    assert_ne!(bundle.call(&["kill", id]).code, 0);
    assert_eq!(bundle.call(&["delete", id]).code, 0);
    bundle.assert_gone();
    let state = bundle.call(&["state", id]);
    assert!(
        state.stderr.contains("container does not exist"),
        "{}",
        state.stderr
    );
}

#[test]
fn what_was_created_can_be_deleted_without_a_start() {
    let bundle = Bundle::new("true");
    bundle.write();
    assert_eq!(bundle.call_detached(&["create", &bundle.id]).code, 0);
    assert_eq!(bundle.call(&["delete", &bundle.id]).code, 0);
    bundle.assert_gone();
    assert_eq!(bundle.call(&["delete", "--force", "never-was"]).code, 0);
}

#[test]
fn six_kinds_of_hooks_hear_the_state_in_order() {
    let mut bundle = Bundle::new("echo program >> /log/all");
    let log = bundle.directory.join("log");
    fs::create_dir(&log).unwrap();
    let script = "#!/bin/sh\nread -r state\necho \"$1 $state\" >> \"$2/all\"\n";
    let inside = bundle.root().join("bin/hook");
    for path in [&bundle.directory.join("hook"), &inside] {
        fs::write(path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let outside = bundle.directory.join("hook");
    let hook = |kind: &str| json!([{ "path": outside, "args": ["hook", kind, log], "env": ["PATH=/bin:/usr/bin"] }]);
    let mut hooks = json!({});
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ] {
        hooks[kind] = hook(kind);
    }
    hooks["startContainer"] = json!([{ "path": "/bin/hook",
        "args": ["hook", "startContainer", "/log"], "env": ["PATH=/bin"] }]);
    bundle.spec["hooks"] = hooks;
    bundle.spec["annotations"] = json!({ "org.example.key": "value" });
    let mount = json!({ "destination": "/log", "source": log, "options": ["bind"] });
    bundle.spec["mounts"].as_array_mut().unwrap().push(mount);
    let outcome = bundle.run();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);

    let text = fs::read_to_string(log.join("all")).unwrap();
    let mut kinds = Vec::new();
    for line in text.lines().filter(|line| *line != "program") {
        let (kind, state) = line.split_once(' ').unwrap();
        let state: Value = serde_json::from_str(state).unwrap();
        assert_eq!(state["id"], bundle.id.as_str());
        assert_eq!(state["annotations"]["org.example.key"], "value");
        kinds.push(format!("{kind} {}", state["status"].as_str().unwrap()));
        assert_eq!(
            state["pid"].as_i64().is_some_and(|pid| pid > 1),
            kind != "poststop",
            "{kind}"
        );
    }
    let order = [
        "prestart creating",
        "createRuntime creating",
        "createContainer creating",
    ];
    assert_eq!(kinds[..3], order);
    assert_eq!(kinds[3], "startContainer created");
    // The program and `poststart` run at the same time.
    assert!(kinds.contains(&"poststart running".to_owned()), "{kinds:?}");
    assert_eq!(kinds.last().unwrap(), "poststop stopped");
    bundle.assert_gone();
}

#[test]
fn a_hook_that_fails_or_hangs_stops_a_start_but_not_an_end() {
    let mut bundle = Bundle::new("true");
    bundle.spec["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1 }] });
    let outcome = bundle.run();
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("createRuntime hook #0"),
        "{}",
        outcome.stderr
    );
    bundle.assert_gone();
    // What follows the end changes nothing of it; what follows the start ends it.
    bundle.spec["hooks"] = json!({ "poststop": [{ "path": "/bin/false" }] });
    assert_eq!(bundle.run().code, 0);
    bundle.spec["process"]["args"] = json!(["sleep", "1000"]);
    bundle.spec["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }] });
    let outcome = bundle.run();
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("poststart hook #0"),
        "{}",
        outcome.stderr
    );
    bundle.assert_gone();
}

#[test]
fn one_more_process_is_in_the_same_container() {
    let bundle = running("sleep 1000");
    let id = bundle.id.as_str();
    let script = "for n in pid mnt net ipc uts; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done
        cat /proc/1/cgroup > /dev/shm/one; cat /proc/self/cgroup > /dev/shm/own
        tail -n +1 /dev/shm/one /dev/shm/own | wc -l; for f in $(seq 3 40); do [ -e /proc/$$/fd/$f ] && echo open $f; done; exit 9";
    let outcome = bundle.call(&["exec", id, "sh", "-c", script]);
    assert_eq!(outcome.code, 9, "{}", outcome.stderr);
    assert!(!outcome.stdout.contains("open"), "{}", outcome.stdout);
    assert!(
        !outcome.stdout.contains("pid") && !outcome.stdout.contains("net"),
        "{}",
        outcome.stdout
    );
    let id_and_place = bundle.call(&[
        "exec",
        "--user",
        "1000:1001",
        "-g",
        "5",
        "--cwd",
        "/tmp",
        "-e",
        "A=b",
        id,
        "sh",
        "-c",
        "id -u; id -G; pwd; echo $A; grep -E 'Cap(Eff|Inh)' /proc/self/status | tr '\\t\\n' '  '",
    ]);
    let expected = "1000\n1001 5\n/tmp\nb\nCapInh: 0000000000000000 CapEff: 0000000000000000 ";
    assert_eq!(id_and_place.stdout, expected);
    let missing = bundle.call(&["exec", id, "nonesuch"]);
    assert_eq!(missing.code, 255);
    let words = "exec failed: unable to start container process: exec: \"nonesuch\": executable file not found in $PATH";
    assert!(missing.stderr.contains(words), "{}", missing.stderr);
    for number in 0..16 {
        let cwd = format!("/proc/self/fd/{number}");
        let out = bundle.call(&["exec", "--cwd", &cwd, id, "cat", "../../../etc/passwd"]);
        assert_ne!(out.code, 0, "fd {number}: {}", out.stdout);
    }
}

#[test]
fn a_filter_and_limits_hold_for_exec_as_well() {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }]
    });
    bundle.write();
    assert_eq!(bundle.call_detached(&["run", "-d", &bundle.id]).code, 0);
    let script =
        "mkdir /dev/shm/x 2>/dev/null || echo refused; ulimit -n; grep NoNew /proc/self/status";
    let outcome = bundle.call(&["exec", &bundle.id, "sh", "-c", script]);
    assert_eq!(outcome.stdout, "refused\n1024\nNoNewPrivs:\t1\n");
}

#[test]
fn a_paused_container_stands_still() {
    let bundle = running("while true; do echo x >> /dev/shm/x; done");
    let id = bundle.id.as_str();
    assert_eq!(bundle.call(&["pause", id]).code, 0);
    assert_eq!(bundle.state()["status"], "paused");
    assert_ne!(bundle.call(&["exec", id, "true"]).code, 0);
    assert_eq!(bundle.call(&["resume", id]).code, 0);
    assert_eq!(bundle.state()["status"], "running");
    assert_ne!(bundle.call(&["resume", id]).code, 0);
    assert_eq!(bundle.call(&["pause", id]).code, 0);
    assert_eq!(bundle.call(&["delete", "--force", id]).code, 0);
    bundle.assert_gone();
}

#[test]
fn kill_all_leaves_nobody_without_a_pid_namespace() {
    let mut bundle = Bundle::new("sleep 1000 & sleep 1000 & wait");
    let list = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|namespace| namespace["type"] != "pid");
    bundle.write();
    assert_eq!(bundle.call_detached(&["run", "-d", &bundle.id]).code, 0);
    let pids = || {
        let text = bundle.call(&["ps", "-f", "json", &bundle.id]).stdout;
        serde_json::from_str::<Vec<i32>>(&text).unwrap()
    };
    until("all run", || pids().len() == 3);
    assert_eq!(bundle.call(&["kill", "--all", &bundle.id, "KILL"]).code, 0);
    until("all end", || pids().is_empty());
    assert_eq!(bundle.call(&["delete", &bundle.id]).code, 0);
    bundle.assert_gone();
}

/// The terminal that a runtime sends, and the name it sends with it.
fn console(listener: &UnixListener) -> (String, OwnedFd) {
    let (connection, _) = listener.accept().unwrap();
    let (mut bytes, mut fds) = ([0; 64], Vec::new());
    let length = fdpass::receive(&connection, &mut bytes, &mut fds).unwrap();
    (
        String::from_utf8_lossy(&bytes[..length]).into_owned(),
        fds.remove(0),
    )
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let mut bundle =
        Bundle::new("tty; stty size; stat -c %t:%T /dev/console; read -r line; echo got $line");
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.spec["process"]["consoleSize"] = json!({ "height": 33, "width": 99 });
    bundle.write();
    let socket = bundle.directory.join("console");
    let listener = UnixListener::bind(&socket).unwrap();
    let id = bundle.id.as_str();
    let without = bundle.call(&["create", id]);
    assert_eq!(without.code, 1);
    let create = ["create", "--console-socket", socket.to_str().unwrap(), id];
    assert_eq!(bundle.call_detached(&create).code, 0);
    let (name, master) = console(&listener);
    assert_eq!(name, "/dev/ptmx");
    assert_eq!(bundle.call(&["start", id]).code, 0);
    rustix::io::write(&master, b"hello\n").unwrap();
    let mut text = Vec::new();
    // At the end the kernel answers with an error, not with an end of file.
    let _ = fs::File::from(master).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).replace('\r', "");
    // What was typed comes back as well, in between.
    for line in ["/dev/pts/0", "33 99", "88:0", "got hello"] {
        assert!(text.lines().any(|printed| printed == line), "{text}");
    }
}

#[test]
fn exec_with_a_terminal_sends_it_as_well() {
    let bundle = running("sleep 1000");
    let socket = bundle.directory.join("console");
    let listener = UnixListener::bind(&socket).unwrap();
    let path = socket.to_str().unwrap();
    let args = [
        "exec",
        "-t",
        "-d",
        "--console-socket",
        path,
        &bundle.id,
        "tty",
    ];
    let outcome = bundle.call_detached(&args);
    assert_eq!(outcome.code, 0, "{}", outcome.stdout);
    let mut text = Vec::new();
    let _ = fs::File::from(console(&listener).1).read_to_end(&mut text);
    assert_eq!(String::from_utf8_lossy(&text).trim(), "/dev/pts/0");
}

#[test]
fn containers_are_listed() {
    let bundle = running("sleep 1000");
    let table = bundle.call(&["list"]).stdout;
    assert!(
        table.starts_with("ID ") && table.contains(&bundle.id),
        "{table}"
    );
    assert_eq!(bundle.call(&["list", "-q"]).stdout.trim(), bundle.id);
    let list: Value = serde_json::from_str(&bundle.call(&["list", "-f", "json"]).stdout).unwrap();
    assert_eq!(list[0]["status"], "running");
}

#[test]
fn a_program_that_ends_at_once_is_never_missed() {
    let bundle = Bundle::new("exit 3");
    for _ in 0..40 {
        assert_eq!(bundle.run().code, 3);
    }
    bundle.assert_gone();
}

#[test]
fn errors_go_to_the_log_as_json() {
    let bundle = Bundle::new("true");
    let log = bundle.directory.join("log");
    let path = log.to_str().unwrap();
    let outcome = bundle.call(&["--log", path, "--log-format", "json", "state", "never-was"]);
    assert_eq!(outcome.code, 1);
    let line: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["msg"].as_str()),
        (Some("error"), Some("container does not exist"))
    );
}
