//! What managers and specs that were written for other runtimes count on.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use std::{
    fs,
    io::ErrorKind,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, Stdio},
};

use hull_sys::fdpass;
use serde_json::{Value, json};
use support::{Bundle, RUNTIME, outcome, until};

fn running(bundle: &Bundle) {
    bundle.write();
    let started = bundle.call_detached(&["run", "-d", &bundle.id]);
    assert_eq!(started.code, 0, "{}", started.stdout);
}

/// What a listener is told, and how many descriptors come with it.
fn told(listener: &UnixListener) -> (Value, usize) {
    let (connection, _) = listener.accept().unwrap();
    let (mut bytes, mut fds) = ([0; 4096], Vec::new());
    let length = fdpass::receive(&connection, &mut bytes, &mut fds).unwrap();
    (serde_json::from_slice(&bytes[..length]).unwrap(), fds.len())
}

#[test]
fn a_seccomp_listener_hears_of_the_container_and_of_each_exec() {
    let mut bundle = Bundle::new("sleep 1000");
    let socket = bundle.directory.join("listener");
    let listener = UnixListener::bind(&socket).unwrap();
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "listenerMetadata": "whose",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
    });
    running(&bundle);
    let (first, count) = told(&listener);
    let pid = &bundle.state()["pid"];
    assert_eq!(count, 1);
    assert_eq!(first["fds"], json!(["seccompFd"]));
    assert_eq!((&first["pid"], &first["metadata"]), (pid, &json!("whose")));
    assert_eq!(first["state"]["id"], bundle.id);
    assert_eq!(first["state"]["status"], "creating");
    assert_eq!(&first["state"]["pid"], pid);

    let script = "mkdir /tmp/x || echo refused";
    let mut exec = bundle.command(&["exec", &bundle.id, "sh", "-c", script]);
    exec.stdout(Stdio::piped()).stderr(Stdio::piped());
    let exec = exec.spawn().unwrap();
    let (second, count) = told(&listener);
    assert_eq!((count, &second["state"]["status"]), (1, &json!("running")));
    assert_eq!(&second["state"]["pid"], pid);
    assert_ne!(&second["pid"], pid);
    // `told` closed the descriptor: nobody answers.
    let exec = outcome(exec.wait_with_output().unwrap());
    assert_eq!(exec.stdout, "refused\n");
}

#[test]
fn a_filter_may_refuse_what_only_the_runtime_needs() {
    let mut bundle = Bundle::new("echo ran");
    bundle.spec["process"]["noNewPrivileges"] = json!(true);
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["capset", "setuid", "setgroups"], "action": "SCMP_ACT_ERRNO" }]
    });
    assert_eq!(bundle.prints(), "ran\n");
}

#[test]
fn a_home_is_found_and_a_group_is_kept() {
    let mut bundle = Bundle::new("echo $HOME; sleep 1000");
    let users = "root:x:0:0::/root:/bin/sh\nweb:x:1001:1001::/srv/web:/bin/sh\n";
    fs::write(bundle.root().join("etc/passwd"), users).unwrap();
    bundle.spec["process"]["user"] = json!({ "uid": 0, "gid": 7 });
    bundle.spec["process"]
        .as_object_mut()
        .unwrap()
        .remove("env");
    running(&bundle);
    let output = bundle.directory.join("output");
    until("it ran", || fs::read(&output).unwrap() == b"/root\n");
    let script = "echo $HOME $(id -u) $(id -g) $WORD";
    let exec = |flags: &[&str]| {
        let line = [&["exec"], flags, &[&bundle.id, "/bin/sh", "-c", script]].concat();
        let exec = bundle.call(&line);
        assert_eq!(exec.code, 0, "{}", exec.stderr);
        exec.stdout
    };
    assert_eq!(exec(&["-e", "WORD=said"]), "/root 0 7 said\n");
    assert_eq!(exec(&["-u", "1001"]), "/srv/web 1001 7\n");
    assert_eq!(exec(&["-u", "1002:3"]), "/ 1002 3\n");
    assert_eq!(exec(&["-e", "HOME=/else"]), "/else 0 7\n");
}

#[test]
fn sockets_of_a_manager_go_to_the_program() {
    let bundle = Bundle::new("cat <&3; echo $LISTEN_FDS $LISTEN_PID");
    bundle.write();
    fs::write(bundle.directory.join("word"), "given ").unwrap();
    let script = "exec 3< word; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let run = |script: &str| {
        let mut command = Command::new("sh");
        command.args([
            "-c", script, "sh", "unshare", "--mount", "--", RUNTIME, "--root",
        ]);
        command.arg(bundle.state_root()).args(["run", &bundle.id]);
        outcome(command.current_dir(&bundle.directory).output().unwrap())
    };
    let ours = run(script);
    assert_eq!(
        (ours.stdout.as_str(), ours.stderr.as_str()),
        ("given 1 1\n", "")
    );
    let others = run(&script.replace("$$", "1"));
    assert_eq!(others.stdout, "\n", "{}", others.stderr);
}

#[test]
fn all_below_a_mount_is_read_only_if_so_said() {
    let script = "touch /tmp/x/y 2>/dev/null || echo refused; \
                  grep ' /tmp/x ' /proc/mounts | grep -q ' ro,' && echo ro";
    let mut bundle = Bundle::new(script);
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    mounts.push(json!({
        "destination": "/tmp/x", "type": "tmpfs", "source": "tmpfs", "options": ["rro"]
    }));
    assert_eq!(bundle.prints(), "refused\nro\n");
}

#[test]
fn after_a_failed_hook_at_the_end_the_others_run() {
    let mut bundle = Bundle::new("true");
    let trace = bundle.directory.join("trace");
    let script = format!("echo ran > {}", trace.display());
    bundle.spec["hooks"]["poststop"] = json!([
        { "path": "/bin/false" },
        { "path": "/bin/sh", "args": ["sh", "-c", script] }
    ]);
    let ran = bundle.run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("poststop hook #0"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(trace).unwrap(), "ran\n");
}

#[test]
fn devices_that_nobody_speaks_of_are_refused() {
    let script =
        "echo > /dev/null && busybox mknod /tmp/disk b 7 0 && cat /tmp/disk 2>&1 | head -c 80";
    let mut bundle = Bundle::new(script);
    bundle.spec["root"]["readonly"] = json!(false);
    for set in ["bounding", "effective", "permitted"] {
        let list = bundle.spec["process"]["capabilities"][set]
            .as_array_mut()
            .unwrap();
        list.push(json!("CAP_MKNOD"));
    }
    let one = json!([{ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm" }]);
    for devices in [Value::Null, json!([]), one] {
        bundle.spec["linux"]["resources"]["devices"] = devices;
        let _ = fs::remove_file(bundle.root().join("tmp/disk"));
        let printed = bundle.prints();
        assert!(printed.contains("Operation not permitted"), "{printed}");
    }
}

#[test]
fn what_another_container_has_mounted_can_be_shared() {
    let donor = Bundle::new("echo word > /dev/shm/x; sleep 1000");
    running(&donor);
    let shm = format!("/proc/{}/root/dev/shm", donor.state()["pid"]);
    until("it wrote", || Path::new(&shm).join("x").exists());
    let mut bundle = Bundle::new("cat /dev/shm/x; echo back > /dev/shm/y");
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/shm");
    mounts.push(json!({
        "destination": "/dev/shm", "type": "bind", "source": shm, "options": ["rbind", "nosuid"]
    }));
    assert_eq!(bundle.prints(), "word\n");
    let read = donor.call(&["exec", &donor.id, "cat", "/dev/shm/y"]);
    assert_eq!(read.stdout, "back\n", "{}", read.stderr);
}

#[test]
fn a_container_that_nobody_wrote_down_ends_with_its_maker() {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.write();
    // Nobody takes the terminal: the maker waits between making and writing down.
    let socket = bundle.directory.join("console");
    let listener = UnixListener::bind(&socket).unwrap();
    let waiting = fill(&socket);
    let line = [
        "create",
        "--console-socket",
        socket.to_str().unwrap(),
        &bundle.id,
    ];
    let mut maker = bundle.command(&line).spawn().unwrap();
    let group = format!("/sys/fs/cgroup/pids/hull-test/{}/cgroup.procs", bundle.id);
    let state = bundle.state_root().join(&bundle.id);
    until("it is made", || is_connecting(maker.id()));
    assert!(!fs::read_to_string(&group).unwrap().is_empty());
    assert!(!state.join("state.json").exists());
    maker.kill().unwrap();
    maker.wait().unwrap();
    until("it ended", || {
        fs::read_to_string(&group).unwrap_or_default().is_empty()
    });
    drop((waiting, listener));
    assert_eq!(bundle.call(&["delete", "--force", &bundle.id]).code, 0);
    bundle.spec["process"]["terminal"] = json!(false);
    running(&bundle);
}

/// Connections until no further one is taken.
fn fill(socket: &Path) -> Vec<rustix::fd::OwnedFd> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let address = SocketAddrUnix::new(socket).unwrap();
    let mut all = Vec::new();
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let one = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match connect(&one, &address) {
            Ok(()) => all.push(one),
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => {
                return all;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Whether a process waits in `connect`.
fn is_connecting(pid: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().unwrap_or_default();
    let connect = if cfg!(target_arch = "x86_64") {
        "42"
    } else {
        "203"
    };
    number == connect
}

#[test]
fn what_is_no_text_is_refused_in_words() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let mut command = Command::new(RUNTIME);
    command
        .args(["exec", "any"])
        .arg(OsStr::from_bytes(b"\xff"));
    let refused = outcome(command.output().unwrap());
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("is not UTF-8"),
        "{}",
        refused.stderr
    );
}
