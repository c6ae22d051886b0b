//! State files are missing, empty or unreadable; the daemon dies at any write.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use hull_testkit::{Scene, host, until};

use crate::play;

/// The objects agree with each other, and the daemon works.
#[track_caller]
fn assert_sound(scene: &Scene) {
    let names = scene.ok("ps -a --format '{{.Names}}'");
    for name in names.lines() {
        let status = scene.inspect(name, "{{.State.Status}}");
        assert!(
            ["created", "running", "exited", "paused"].contains(&status.as_str()),
            "{name} is {status}"
        );
        let running = scene.inspect(name, "{{.State.Running}} {{.State.Pid}}");
        let alive = running
            .strip_prefix("true ")
            .map(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists());
        assert!(alive.unwrap_or(running == "false 0"), "{name}: {running}");
    }
    assert_eq!(scene.ok("run --rm busybox echo sound"), "sound");
}

#[test]
fn killed_at_any_moment_of_a_containers_life_it_is_before_or_after() {
    play(|scene| {
        for delay in (0..200).step_by(8) {
            let mut work = [
                "run -d --name fresh busybox sleep 100000",
                "run --rm busybox true",
            ]
            .map(|line| scene.begin(line));
            std::thread::sleep(Duration::from_millis(delay));
            scene.daemon.crash();
            work.iter_mut().for_each(|client| client.kill());
            assert_sound(scene);
            let names = scene.ok("ps -aq");
            if !names.is_empty() {
                let mut removal = scene.begin(&format!("rm -f {}", names.replace('\n', " ")));
                std::thread::sleep(Duration::from_millis(delay / 4));
                scene.daemon.crash();
                removal.kill();
            }
            let names = scene.ok("ps -aq");
            if !names.is_empty() {
                scene.ok(&format!("rm -f {}", names.replace('\n', " ")));
            }
            scene.daemon.assert_clean();
        }
    });
}

/// Kills the daemon at its n-th write of state, for each n until one passes unharmed.
#[test]
fn killed_at_each_write_of_state_it_is_before_or_after() {
    play(|scene| {
        for number in 1..=12 {
            let mut tracer = kill_at_write(scene, number);
            let mut client = scene.begin("run --name box busybox true");
            until("the daemon died or the work is done", || {
                client_ended(&mut client) || !alive(scene.daemon.pid())
            });
            client.kill();
            let _ = tracer.kill();
            let _ = tracer.wait();
            scene.daemon.crash();
            assert_sound(scene);
            scene.run("rm -f box");
            scene.daemon.assert_clean();
        }
    });
}

fn alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn client_ended(client: &mut hull_testkit::Running) -> bool {
    !alive(client.pid())
}

/// `strace` on all threads of the daemon and on nothing it starts.
fn kill_at_write(scene: &Scene, number: u32) -> std::process::Child {
    let pid = scene.daemon.pid();
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e"]);
    command.arg(format!("inject=pwrite64:signal=KILL:when={number}"));
    for thread in host::names(format!("/proc/{pid}/task")) {
        command.args(["-p", &thread]);
    }
    let child = command
        .stderr(Stdio::null())
        .spawn()
        .expect("cannot run strace");
    until("the tracer is attached", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    });
    child
}

#[test]
fn it_starts_whatever_one_file_has_become() {
    play(|scene| {
        scene.ok("create --name box busybox true");
        let id = scene.inspect("box", "{{.Id}}");
        let config = format!("data/containers/{id}/config.json");
        scene.daemon.stop();
        copy(scene, "data", "kept");
        let files = [
            "data/image/index.json",
            &config,
            "data/hull.db",
            "data/lock",
            "hulld.pid",
        ];
        for file in files {
            for harm in [harm_remove, harm_empty, harm_forbid, harm_garbage] {
                let path = scene.daemon.path(file);
                if path.exists() {
                    harm(&path);
                }
                scene.daemon.launch();
                let list = scene
                    .daemon
                    .request("GET", "/containers/json?all=1", None)
                    .unwrap();
                assert_eq!(list.status, 200, "{file}: {}", list.text());
                scene.daemon.kill();
                fs::remove_dir_all(scene.daemon.path("data")).unwrap();
                copy(scene, "kept", "data");
            }
        }
        fs::remove_dir_all(scene.daemon.path("kept")).unwrap();
        scene.daemon.launch();
        assert_eq!(scene.ok("start -a box"), "");
    });
}

fn copy(scene: &Scene, from: &str, to: &str) {
    let status = Command::new("cp")
        .arg("-a")
        .arg(scene.daemon.path(from))
        .arg(scene.daemon.path(to))
        .status();
    assert!(status.unwrap().success());
}

fn harm_remove(path: &std::path::Path) {
    fs::remove_file(path).unwrap();
}

fn harm_empty(path: &std::path::Path) {
    fs::File::create(path).unwrap();
}

fn harm_garbage(path: &std::path::Path) {
    fs::write(path, "no state at all ".repeat(300)).unwrap();
}

/// Root reads what nobody may: this is for the rest of us, and costs nothing to keep.
fn harm_forbid(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}
