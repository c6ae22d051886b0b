//! What a container sees, and what is left of it.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::json;
use support::{Bundle, RUNTIME, outcome, until};

#[test]
fn bundles_of_other_runtimes_run_unchanged() {
    for other in ["runc", "crun"] {
        let bundle = Bundle::new("");
        fs::remove_file(bundle.directory.join("config.json")).unwrap();
        let mut spec = std::process::Command::new(other);
        let made = spec
            .arg("spec")
            .current_dir(&bundle.directory)
            .status()
            .unwrap();
        assert!(made.success(), "{other}");
        let run = format!(
            "{RUNTIME} --root {} run {}",
            bundle.state_root().display(),
            bundle.id
        );
        // Their example has a terminal.
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--", "script", "-qec", &run, "/dev/null"]);
        command
            .current_dir(&bundle.directory)
            .stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"echo it is $((6*7)); exit 4\n").unwrap();
        let outcome = outcome(child.wait_with_output().unwrap());
        drop(input);
        assert!(
            outcome.stdout.contains("it is 42"),
            "{other}: {}",
            outcome.stdout
        );
        assert_eq!(outcome.code, 4, "{other}");
        bundle.assert_gone();
    }
}

#[test]
fn a_device_of_the_hosts_network_becomes_the_containers() {
    let run = |bundle: &Bundle| {
        bundle.write();
        let script = format!(
            "ip link add given mtu 1400 type veth peer name other && ip addr add 10.77.0.2/24 dev given && \
             ip link set given up && {RUNTIME} --root {} run {}; code=$?; ip addr show given; exit $code",
            bundle.state_root().display(),
            bundle.id
        );
        let mut command = std::process::Command::new("unshare");
        command.args(["--net", "--mount", "--", "sh", "-c", &script]);
        outcome(command.current_dir(&bundle.directory).output().unwrap())
    };
    let mut bundle = Bundle::new("busybox ip addr show eth7");
    bundle.spec["linux"]["netDevices"] = json!({ "given": { "name": "eth7" } });
    let ran = run(&bundle);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for told in ["eth7", "10.77.0.2/24", "mtu 1400", "UP"] {
        assert!(ran.stdout.contains(told), "{told}: {}", ran.stdout);
    }
    // It went with the container's network.
    assert!(ran.stderr.contains("does not exist"), "{}", ran.stderr);
    bundle.assert_gone();
    // A container that fails gives it back as it was.
    bundle.spec["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
    let failed = run(&bundle);
    assert_ne!(failed.code, 0);
    for told in ["given", "10.77.0.2/24", "UP"] {
        assert!(failed.stdout.contains(told), "{told}: {}", failed.stdout);
    }
    bundle.assert_gone();
}

#[test]
fn an_exit_code_is_passed_on_and_nothing_is_left() {
    let bundle = Bundle::new("exit 7");
    assert_eq!(bundle.run().code, 7);
    bundle.assert_gone();
    let mut killed = Bundle::new("kill -9 $$");
    killed.spec["linux"]["namespaces"] = json!([{ "type": "mount" }]);
    killed.spec["hostname"] = json!("");
    assert_eq!(killed.run().code, 137);
    killed.assert_gone();
}

#[test]
fn a_container_has_namespaces_of_its_own_and_joins_those_it_names() {
    let bundle = Bundle::new("for n in pid net ipc uts mnt; do readlink /proc/self/ns/$n; done");
    let own = bundle.prints();
    for (line, name) in own.lines().zip(["pid", "net", "ipc", "uts", "mnt"]) {
        let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(line, host.to_str().unwrap());
    }
    let mut bundle = Bundle::new("readlink /proc/self/ns/net; readlink /proc/self/ns/pid; echo $$");
    let list = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    for namespace in list {
        let kind = namespace["type"].as_str().unwrap().to_owned();
        let file = match kind.as_str() {
            "network" => "net",
            "pid" => "pid",
            _ => continue,
        };
        namespace["path"] = json!(format!("/proc/{}/ns/{file}", std::process::id()));
    }
    let joined = bundle.prints();
    let expected = ["net", "pid"].map(|name| {
        fs::read_link(format!("/proc/self/ns/{name}"))
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    });
    assert_eq!(joined.lines().take(2).collect::<Vec<_>>(), expected);
    assert_ne!(joined.lines().nth(2), Some("1"));
}

#[test]
fn devices_are_our_own_and_the_image_has_no_say() {
    let mut bundle =
        Bundle::new("stat -c '%n %t:%T %a' /dev/null /dev/net/tun; readlink /dev/ptmx");
    bundle.spec["linux"]["devices"] = json!([
        { "path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o600 }
    ]);
    fs::write(bundle.root().join("dev/null"), "not the null device").unwrap();
    let list = bundle.spec["mounts"].as_array_mut().unwrap();
    list.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    assert_eq!(
        bundle.prints(),
        "/dev/null 1:3 666\n/dev/net/tun a:c8 600\npts/ptmx\n"
    );
}

#[test]
fn the_kernels_directories_are_never_reached_through_links() {
    for (name, target) in [
        ("proc", "/tmp"),
        ("sys", "/tmp"),
        ("dev", "/tmp"),
        ("proc", "/nowhere"),
    ] {
        let bundle = Bundle::new("true");
        fs::remove_dir(bundle.root().join(name)).unwrap();
        symlink(target, bundle.root().join(name)).unwrap();
        let outcome = bundle.run();
        assert_eq!(outcome.code, 1, "/{name} -> {target}");
        assert!(
            outcome.stderr.contains("symbolic link"),
            "{}",
            outcome.stderr
        );
        assert!(support::names(&bundle.root().join("tmp")).is_empty());
        bundle.assert_gone();
    }
}

#[test]
fn mounts_stay_inside_the_root_whatever_links_the_image_has() {
    let mut bundle = Bundle::new("cat /inside/hosts; cat /data/file");
    let data = bundle.directory.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "data\n").unwrap();
    fs::write(bundle.directory.join("hosts"), "hosts\n").unwrap();
    symlink("../../../../../inside", bundle.root().join("etc/link")).unwrap();
    symlink("/elsewhere", bundle.root().join("data")).unwrap();
    let list = bundle.spec["mounts"].as_array_mut().unwrap();
    list.push(json!({ "destination": "/etc/link/hosts", "type": "bind",
        "source": bundle.directory.join("hosts"), "options": ["bind", "ro"] }));
    list.push(
        json!({ "destination": "/data", "type": "bind", "source": data,
        "options": ["rbind"] }),
    );
    assert_eq!(bundle.prints(), "hosts\ndata\n");
    assert!(bundle.root().join("inside/hosts").exists());
    assert!(!std::path::Path::new("/elsewhere").exists());
}

#[test]
fn mount_options_mean_what_they_say() {
    let script =
        "touch /ro/x 2>/dev/null || echo read-only; touch /rro/sub/x 2>/dev/null || echo all
        grep -c ' /up tmpfs' /proc/mounts; cat /up/file; stat -c %a /up/file
        grep ' /flags ' /proc/mounts | head -c 60";
    let mut bundle = Bundle::new(script);
    fs::create_dir_all(bundle.directory.join("d/sub")).unwrap();
    fs::create_dir_all(bundle.root().join("up")).unwrap();
    fs::write(bundle.root().join("up/file"), "copied\n").unwrap();
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(bundle.root().join("up/file"), mode).unwrap();
    let source = bundle.directory.join("d");
    let list = bundle.spec["mounts"].as_array_mut().unwrap();
    list.push(json!({ "destination": "/ro", "source": source, "options": ["bind", "ro"] }));
    list.push(json!({ "destination": "/rro", "source": source, "options": ["rbind", "rro"] }));
    list.push(
        json!({ "destination": "/up", "type": "tmpfs", "source": "tmpfs",
        "options": ["tmpcopyup", "size=1m"] }),
    );
    list.push(
        json!({ "destination": "/flags", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "noexec", "noatime", "ro"] }),
    );
    bundle.spec["root"]["readonly"] = json!(false);
    let printed = bundle.prints();
    let lines: Vec<_> = printed.lines().map(str::trim).collect();
    assert_eq!(lines[..5], ["read-only", "all", "1", "copied", "640"]);
    assert_eq!(
        lines[5],
        "tmpfs /flags tmpfs ro,nosuid,nodev,noexec,noatime 0 0"
    );
}

#[test]
fn a_translated_mount_shows_other_owners() {
    let mut bundle = Bundle::new("stat -c %u:%g /data/file");
    let data = bundle.directory.join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "").unwrap();
    let map = json!([{ "containerID": 0, "hostID": 5000, "size": 100 }]);
    bundle.spec["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/data", "source": data, "options": ["bind", "idmap"],
        "uidMappings": map, "gidMappings": map
    }));
    assert_eq!(bundle.prints(), "5000:5000\n");
}

#[test]
fn masked_paths_are_empty_and_read_only_ones_cannot_be_written() {
    let mut bundle = Bundle::new(
        "wc -c < /etc/secret; ls /etc/dir | wc -l; echo x > /proc/sys/kernel/core_pattern || echo ro",
    );
    fs::write(bundle.root().join("etc/secret"), "secret").unwrap();
    fs::create_dir(bundle.root().join("etc/dir")).unwrap();
    fs::write(bundle.root().join("etc/dir/file"), "").unwrap();
    let list = bundle.spec["linux"]["maskedPaths"].as_array_mut().unwrap();
    list.extend([json!("/etc/secret"), json!("/etc/dir"), json!("/not/there")]);
    let outcome = bundle.run();
    assert_eq!(outcome.stdout, "0\n0\nro\n");
    assert!(
        outcome.stderr.contains("Read-only file system"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_null_device_that_is_none_masks_nothing() {
    let mut bundle = Bundle::new("true");
    let dev = bundle.directory.join("dev");
    fs::create_dir(&dev).unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.join("null")).unwrap();
    let list = bundle.spec["mounts"].as_array_mut().unwrap();
    list.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    list.push(json!({ "destination": "/dev", "source": dev, "options": ["bind"] }));
    let outcome = bundle.run();
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("mask /proc/"), "{}", outcome.stderr);
    bundle.assert_gone();
}

#[test]
fn a_working_directory_is_made_and_must_be_inside() {
    let mut bundle = Bundle::new("pwd");
    bundle.spec["process"]["cwd"] = json!("/new/../newer/directory");
    bundle.spec["root"]["readonly"] = json!(false);
    assert_eq!(bundle.prints(), "/newer/directory\n");
    for number in 0..24 {
        let mut bundle = Bundle::new("ls ../../../../..");
        bundle.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        assert_eq!(bundle.run().code, 1, "fd {number}");
        bundle.assert_gone();
    }
}

#[test]
fn only_the_standard_descriptors_are_open() {
    let bundle = Bundle::new(
        "for f in $(seq 3 40); do [ -e /proc/$$/fd/$f ] && echo open $f; done; echo no more",
    );
    assert_eq!(bundle.prints(), "no more\n");
}

#[test]
fn identity_and_capabilities_are_exactly_the_specs() {
    let script = "id -u; id -g; grep -E '^(Groups|Cap|NoNew)' /proc/self/status; umask";
    let mut bundle = Bundle::new(script);
    bundle.spec["process"]["user"] =
        json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o027 });
    bundle.spec["process"]["noNewPrivileges"] = json!(false);
    let few = json!(["CAP_CHOWN", "CAP_KILL"]);
    bundle.spec["process"]["capabilities"] = json!({
        "bounding": few, "permitted": few, "effective": few, "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"]
    });
    let text = bundle.prints();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    assert!(
        text.starts_with("1000\n1001\n") && text.ends_with("0027\n"),
        "{text}"
    );
    assert_eq!(field("Groups"), "5 7");
    assert_eq!(
        (field("CapBnd"), field("CapAmb")),
        (format!("{:016x}", 0x21), format!("{:016x}", 0x20))
    );
    // A program run by another user than root keeps what is ambient.
    assert_eq!(
        (field("CapPrm"), field("CapInh")),
        (format!("{:016x}", 0x20), format!("{:016x}", 0x20))
    );
    assert_eq!(field("NoNewPrivs"), "0");
}

#[test]
fn limits_sysctls_names_and_clocks_are_set() {
    let script = "ulimit -n; cat /proc/sys/net/ipv4/ip_forward; hostname
        cat /proc/sys/kernel/domainname; grep boottime /proc/self/timens_offsets";
    let mut bundle = Bundle::new(script);
    bundle.spec["process"]["rlimits"] =
        json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    bundle.spec["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    bundle.spec["hostname"] = json!("web");
    bundle.spec["domainname"] = json!("example.org");
    bundle.spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "time" }));
    bundle.spec["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1000 } });
    let text = bundle.prints();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..4], ["100", "1", "web", "example.org"]);
    assert!(
        lines[4].split_whitespace().eq(["boottime", "1000", "0"]),
        "{text}"
    );
}

#[test]
fn a_sysctl_of_the_host_is_refused() {
    let before = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let mut bundle = Bundle::new("true");
    bundle.spec["linux"]["sysctl"] = json!({ "kernel.core_pattern": "|/evil" });
    let outcome = bundle.run();
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .contains("not in a separate kernel namespace"),
        "{}",
        outcome.stderr
    );
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
    bundle.assert_gone();
}

#[test]
fn root_of_a_user_namespace_is_somebody_else_outside() {
    let script =
        "id -u; cat /proc/self/uid_map; echo > /dev/null; cat /proc/self/gid_map; touch /tmp/x";
    let mut bundle = Bundle::new(script);
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
    bundle.spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "type": "user" }));
    bundle.spec["root"]["readonly"] = json!(false);
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(bundle.root().join("tmp"), everybody).unwrap();
    let text = bundle.prints();
    assert!(
        text.lines().next() == Some("0") && text.contains("100000"),
        "{text}"
    );
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        fs::metadata(bundle.root().join("tmp/x")).unwrap().uid(),
        100_000
    );
}

#[test]
fn a_filter_answers_calls() {
    let mut bundle =
        Bundle::new("mkdir /tmp/x 2>/dev/null || echo refused; grep Seccomp: /proc/self/status");
    bundle.spec["root"]["readonly"] = json!(false);
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }]
    });
    for no_new_privileges in [false, true] {
        bundle.spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
        assert_eq!(bundle.prints(), "refused\nSeccomp:\t2\n");
    }
}

#[test]
fn resources_are_in_the_cgroup_and_change_with_update() {
    let mut bundle = Bundle::new("sleep 1000");
    bundle.spec["linux"]["resources"]["memory"] = json!({ "limit": 32 << 20 });
    bundle.spec["linux"]["resources"]["pids"] = json!({ "limit": 40 });
    bundle.spec["linux"]["resources"]["cpu"] =
        json!({ "shares": 512, "quota": 50000, "period": 100000 });
    bundle.write();
    assert_eq!(bundle.call_detached(&["run", "-d", &bundle.id]).code, 0);
    let read = |controller: &str, file: &str| {
        let path = format!("/sys/fs/cgroup/{controller}/hull-test/{}/{file}", bundle.id);
        fs::read_to_string(path).unwrap().trim().to_owned()
    };
    assert_eq!(
        read("memory", "memory.limit_in_bytes"),
        (32 << 20).to_string()
    );
    assert_eq!(
        (read("pids", "pids.max"), read("cpu", "cpu.shares")),
        ("40".into(), "512".into())
    );
    let update = bundle.call(&[
        "update",
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        &bundle.id,
    ]);
    assert_eq!(update.code, 0, "{}", update.stderr);
    assert_eq!(
        read("memory", "memory.limit_in_bytes"),
        (64 << 20).to_string()
    );
    assert_eq!(read("pids", "pids.max"), "50");
    let events = bundle.call(&["events", "--stats", &bundle.id]);
    let event: serde_json::Value = serde_json::from_str(&events.stdout).unwrap();
    assert_eq!(event["data"]["pids"]["limit"], 50);
    assert_eq!(bundle.call(&["delete", "--force", &bundle.id]).code, 0);
    bundle.assert_gone();
}

#[test]
fn device_rules_refuse_what_is_not_allowed() {
    let mut bundle = Bundle::new("head -c 1 /dev/zero | wc -c; cat /dev/kmsg 2>&1 | head -n 1");
    bundle.spec["linux"]["devices"] =
        json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
    let text = bundle.prints();
    assert!(
        text.starts_with("1\n") && text.contains("Operation not permitted"),
        "{text}"
    );
}

#[test]
fn failures_of_the_program_have_the_words_managers_look_for() {
    for (args, words) in [
        (
            json!(["nonesuch"]),
            "exec: \"nonesuch\": executable file not found in $PATH",
        ),
        (
            json!(["/nonesuch"]),
            "exec: \"/nonesuch\": stat /nonesuch: no such file or directory",
        ),
        (
            json!(["/etc"]),
            "exec: \"/etc\": is a directory: permission denied",
        ),
        (
            json!(["/etc/plain"]),
            "exec: \"/etc/plain\": permission denied",
        ),
    ] {
        for verb in ["run", "create"] {
            let mut bundle = Bundle::new("");
            fs::write(bundle.root().join("etc/plain"), "").unwrap();
            bundle.spec["process"]["args"] = args.clone();
            bundle.write();
            let outcome = bundle.call(&[verb, &bundle.id]);
            assert_eq!(outcome.code, 1, "{verb} {args}");
            assert!(outcome.stderr.contains(words), "{verb}: {}", outcome.stderr);
            bundle.assert_gone();
        }
    }
}

#[test]
fn no_executable_of_the_host_can_be_written_from_inside() {
    let before = fs::read(RUNTIME).unwrap();
    let mut bundle = Bundle::new("");
    // The interpreter of the program is the runtime itself, if it can be had.
    fs::write(bundle.root().join("evil"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(
        bundle.root().join("evil"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    bundle.spec["process"]["args"] = json!(["/evil"]);
    assert_ne!(bundle.run().code, 0);
    let bundle = Bundle::new("sleep 1000");
    bundle.write();
    assert_eq!(bundle.call_detached(&["create", &bundle.id]).code, 0);
    let pid = bundle.state()["pid"].as_i64().unwrap();
    let opened = fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/exe"));
    assert!(opened.is_err());
    assert_eq!(fs::read(RUNTIME).unwrap(), before);
}

#[test]
fn a_failing_step_leaves_nothing() {
    type Break = fn(&mut Bundle);
    let breaks: [(&str, Break); 6] = [
        ("source", |b| {
            b.spec["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/x", "source": "/no/such/place", "options": ["bind"] }))
        }),
        ("kind", |b| {
            b.spec["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/x", "type": "nofs", "source": "x" }))
        }),
        ("option", |b| {
            b.spec["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/x", "type": "tmpfs", "source": "x", "options": ["nonsense=1"] }))
        }),
        ("resource", |b| {
            b.spec["linux"]["resources"]["cpu"] = json!({ "cpus": "4000" })
        }),
        ("hook", |b| {
            b.spec["hooks"] = json!({ "createContainer": [{ "path": "/bin/false" }] })
        }),
        ("root", |b| b.spec["root"]["path"] = json!("nowhere")),
    ];
    for (name, break_it) in breaks {
        let mut bundle = Bundle::new("true");
        break_it(&mut bundle);
        let outcome = bundle.run();
        assert_eq!(outcome.code, 1, "{name}");
        assert!(!outcome.stderr.is_empty(), "{name}");
        bundle.assert_gone();
        // The id is free again.
        let again = bundle.run();
        assert!(!again.stderr.contains("already exists"), "{name}");
    }
}

#[test]
fn a_stopped_container_is_told_from_a_process_with_its_pid() {
    let bundle = Bundle::new("sleep 1000");
    bundle.write();
    assert_eq!(bundle.call_detached(&["run", "-d", &bundle.id]).code, 0);
    let path = bundle.state_root().join(&bundle.id).join("state.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let real = record["pid"].clone();
    record["pid"] = json!(std::process::id());
    fs::write(&path, record.to_string()).unwrap();
    assert_eq!(bundle.state()["status"], "stopped");
    assert_ne!(bundle.call(&["kill", &bundle.id, "KILL"]).code, 0);
    record["pid"] = real;
    fs::write(&path, record.to_string()).unwrap();
    assert_eq!(bundle.state()["status"], "running");
    assert_eq!(bundle.call(&["kill", &bundle.id, "KILL"]).code, 0);
    until("the container stops", || {
        bundle.state()["status"] == "stopped"
    });
    assert_eq!(bundle.call(&["delete", &bundle.id]).code, 0);
    bundle.assert_gone();
}
