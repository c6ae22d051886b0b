//! What the library offers beyond the command: layers, streams, a network namespace, an init.
//!
//! Making a container copies the caller, which must have one thread: each test runs its body in a
//! fresh process of this program, and that in a mount namespace of its own.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Command,
    time::Duration,
};

use hull_oci::runtime::Spec;
use hull_runtime::{
    CreateOptions, Created, ExecOptions, Root, StartError, Stdio, Target, create, exec,
};
use hull_sys::process::{Ended, signal, wait};
use serde_json::json;
use support::{Bundle, outcome};

const ALONE: &str = "HULL_TEST_ALONE";

/// Runs `body` where it may make containers.
fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]).arg(program);
    command
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(ALONE, "1");
    let outcome = outcome(command.output().unwrap());
    assert_eq!(outcome.code, 0, "{}\n{}", outcome.stdout, outcome.stderr);
}

fn spec(bundle: &Bundle) -> Spec {
    serde_json::from_value(bundle.spec.clone()).unwrap()
}

struct Streams {
    stdin: fs::File,
    stdout: fs::File,
}

fn pipes() -> (Stdio, Streams) {
    let (stdin_reader, stdin) = std::io::pipe().unwrap();
    let (stdout, stdout_writer) = std::io::pipe().unwrap();
    let error = stdout_writer.try_clone().unwrap();
    let stdio = Stdio::Fds(stdin_reader.into(), stdout_writer.into(), error.into());
    let streams = Streams {
        stdin: OwnedFd::from(stdin).into(),
        stdout: OwnedFd::from(stdout).into(),
    };
    (stdio, streams)
}

fn read(mut file: fs::File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

fn end(created: &Created) -> Ended {
    let ended = wait(&created.pidfd).unwrap();
    created.cgroup.remove(Duration::from_secs(5)).unwrap();
    ended
}

#[test]
fn layers_are_mounted_for_the_container_alone() {
    alone("layers_are_mounted_for_the_container_alone", || {
        let mut bundle =
            Bundle::new("cat /etc/layer; echo new > /etc/layer; grep -c ' / overlay' /proc/mounts");
        bundle.spec["root"] = json!({ "path": "rootfs" });
        let spec = spec(&bundle);
        let place = |name: &str| {
            let path = bundle.directory.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let upper_layer = place("layer");
        fs::create_dir_all(upper_layer.join("etc")).unwrap();
        fs::write(upper_layer.join("etc/layer"), "upper\n").unwrap();
        fs::write(bundle.root().join("etc/layer"), "lower\n").unwrap();
        let (stdio, streams) = pipes();
        let mut options = CreateOptions::new(&bundle.id, &bundle.directory, &spec);
        options.root = Root::Overlay {
            lower: vec![upper_layer, bundle.root()],
            upper: place("upper"),
            work: place("work"),
            volatile: true,
            mapped: false,
        };
        options.stdio = stdio;
        let mut created = create(options).unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains("overlay"), "{mounts}");
        created.start().unwrap();
        assert_eq!(read(streams.stdout), "upper\n1\n");
        assert_eq!(end(&created), Ended::Exited(0));
        let written = fs::read_to_string(bundle.directory.join("upper/etc/layer")).unwrap();
        assert_eq!(written, "new\n");
        bundle.assert_gone();
    });
}

#[test]
fn layers_of_a_user_namespace_keep_their_owners_on_the_disk() {
    alone(
        "layers_of_a_user_namespace_keep_their_owners_on_the_disk",
        || {
            let script = "stat -c %u /etc/layer; echo new > /etc/layer; touch /f; chown 7 /f; \
                          echo out > /proc/self/fd/1";
            let mut bundle = Bundle::new(script);
            bundle.spec["root"] = json!({ "path": "rootfs" });
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            bundle.spec["linux"]["uidMappings"] = map.clone();
            bundle.spec["linux"]["gidMappings"] = map;
            let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.push(json!({ "type": "user" }));
            let own = json!(["CAP_CHOWN"]);
            bundle.spec["process"]["capabilities"] =
                json!({ "bounding": own.clone(), "effective": own.clone(), "permitted": own });
            let spec = spec(&bundle);
            let place = |name: &str| {
                let path = bundle.directory.join(name);
                fs::create_dir_all(&path).unwrap();
                path
            };
            fs::write(bundle.root().join("etc/layer"), "lower\n").unwrap();
            let (stdio, streams) = pipes();
            let mut options = CreateOptions::new(&bundle.id, &bundle.directory, &spec);
            options.root = Root::Overlay {
                lower: vec![place("layer"), bundle.root()],
                upper: place("upper"),
                work: place("work"),
                volatile: false,
                mapped: true,
            };
            options.stdio = stdio;
            let mut created = create(options).unwrap();
            created.start().unwrap();
            assert_eq!(read(streams.stdout), "0\nout\n");
            assert_eq!(end(&created), Ended::Exited(0));
            let owner = |file: &str| {
                let found = fs::metadata(bundle.directory.join("upper").join(file)).unwrap();
                std::os::unix::fs::MetadataExt::uid(&found)
            };
            assert_eq!((owner("etc/layer"), owner("f")), (0, 7));
            bundle.assert_gone();
        },
    );
}

#[test]
fn streams_are_connected_and_end_with_the_program() {
    alone("streams_are_connected_and_end_with_the_program", || {
        let bundle = Bundle::new("read -r a; echo got $a; echo err >&2");
        let spec = spec(&bundle);
        let (stdio, mut streams) = pipes();
        let mut options = CreateOptions::new(&bundle.id, &bundle.directory, &spec);
        options.stdio = stdio;
        let mut created = create(options).unwrap();
        created.start().unwrap();
        streams.stdin.write_all(b"it\n").unwrap();
        assert_eq!(read(streams.stdout), "got it\nerr\n");
        assert_eq!(end(&created), Ended::Exited(0));
    });
}

#[test]
fn an_init_reaps_passes_signals_on_and_keeps_the_exit_code() {
    alone(
        "an_init_reaps_passes_signals_on_and_keeps_the_exit_code",
        || {
            let script = "trap 'echo term; exit 6' TERM; (sleep 0.01 &); echo $$; while true; do sleep 0.05; done";
            let mut bundle = Bundle::new(script);
            bundle.spec["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            let spec = spec(&bundle);
            let (stdio, mut streams) = pipes();
            let mut options = CreateOptions::new(&bundle.id, &bundle.directory, &spec);
            options.stdio = stdio;
            options.with_init = true;
            let mut created = create(options).unwrap();
            created.start().unwrap();
            let mut line = [0; 2];
            streams.stdout.read_exact(&mut line).unwrap();
            assert_eq!(&line, b"2\n");
            signal(&created.pidfd, libc::SIGTERM).unwrap();
            assert_eq!(read(streams.stdout), "term\n");
            assert_eq!(end(&created), Ended::Exited(6));
        },
    );
}

#[test]
fn a_program_that_cannot_run_is_told_by_start() {
    alone("a_program_that_cannot_run_is_told_by_start", || {
        for with_init in [false, true] {
            let mut bundle = Bundle::new("");
            for (program, is_missing) in [("nonesuch", true), ("/etc", false)] {
                bundle.spec["process"]["args"] = json!([program]);
                let spec = spec(&bundle);
                let mut options = CreateOptions::new(&bundle.id, &bundle.directory, &spec);
                options.with_init = with_init;
                let mut created = create(options).unwrap();
                match created.start() {
                    Err(StartError::NotFound(_)) => assert!(is_missing),
                    Err(StartError::NotExecutable(_)) => assert!(!is_missing),
                    other => panic!("{other:?}"),
                }
                assert_eq!(end(&created).code(), if is_missing { 127 } else { 126 });
            }
            bundle.assert_gone();
        }
    });
}

#[test]
fn a_given_network_namespace_takes_the_place_of_the_specs() {
    alone(
        "a_given_network_namespace_takes_the_place_of_the_specs",
        || {
            let bundle = Bundle::new("readlink /proc/self/ns/net");
            let spec = spec(&bundle);
            let own = fs::read_link("/proc/self/ns/net").unwrap();
            let (stdio, streams) = pipes();
            let mut options = CreateOptions::new(&bundle.id, &bundle.directory, &spec);
            options.stdio = stdio;
            options.network_namespace = Some(fs::File::open("/proc/self/ns/net").unwrap().into());
            let mut created = create(options).unwrap();
            created.start().unwrap();
            assert_eq!(read(streams.stdout).trim(), own.to_str().unwrap());
            assert_eq!(end(&created), Ended::Exited(0));
        },
    );
}

#[test]
fn exec_stands_still_with_the_container_and_is_killed_with_it() {
    alone(
        "exec_stands_still_with_the_container_and_is_killed_with_it",
        || {
            let bundle = Bundle::new("sleep 1000");
            let spec = spec(&bundle);
            let mut created =
                create(CreateOptions::new(&bundle.id, &bundle.directory, &spec)).unwrap();
            created.start().unwrap();
            let target = Target {
                id: &bundle.id,
                bundle: &bundle.directory,
                pid: created.pid,
                pidfd: &created.pidfd,
                spec: &spec,
                cgroup: &created.cgroup,
            };
            let process = spec.process().as_ref().unwrap();
            let executed = exec(&target, ExecOptions::new(process)).unwrap();
            assert_eq!(created.cgroup.processes().unwrap().len(), 2);
            created.cgroup.freeze().unwrap();
            assert!(created.cgroup.stats().unwrap().pids.current >= 2);
            created.cgroup.signal_all(libc::SIGKILL).unwrap();
            assert_eq!(wait(&executed.pidfd).unwrap(), Ended::Killed(libc::SIGKILL));
            assert_eq!(end(&created), Ended::Killed(libc::SIGKILL));
            let error = exec(&target, ExecOptions::new(process)).unwrap_err();
            assert!(matches!(error, StartError::State(_)), "{error}");
        },
    );
}

#[test]
fn a_lack_of_memory_is_noticed() {
    alone("a_lack_of_memory_is_noticed", || {
        let mut bundle = Bundle::new("x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done");
        bundle.spec["linux"]["resources"]["memory"] = json!({ "limit": 8 << 20 });
        let spec = spec(&bundle);
        let mut created = create(CreateOptions::new(&bundle.id, &bundle.directory, &spec)).unwrap();
        let watch = created.cgroup.watch_out_of_memory().unwrap();
        created.start().unwrap();
        assert_eq!(rustix::io::read(&watch, &mut [0; 8]).unwrap(), 8);
        assert_eq!(wait(&created.pidfd).unwrap(), Ended::Killed(libc::SIGKILL));
        assert!(created.cgroup.out_of_memory_kills().unwrap() > 0);
        created.cgroup.remove(Duration::from_secs(5)).unwrap();
    });
}

#[test]
fn a_terminal_comes_back_to_the_caller() {
    alone("a_terminal_comes_back_to_the_caller", || {
        let mut bundle = Bundle::new("tty");
        bundle.spec["process"]["terminal"] = json!(true);
        let spec = spec(&bundle);
        for with_init in [false, true] {
            let mut options = CreateOptions::new(&bundle.id, &bundle.directory, &spec);
            options.with_init = with_init;
            let mut created = create(options).unwrap();
            created.start().unwrap();
            let mut text = Vec::new();
            let _ = fs::File::from(created.console.take().unwrap()).read_to_end(&mut text);
            assert_eq!(String::from_utf8_lossy(&text).trim(), "/dev/pts/0");
            assert_eq!(end(&created), Ended::Exited(0));
        }
    });
}
