//! The daemon dies, stands still, starts twice, or runs out of descriptors.

use std::process::Command;
use std::thread;
use std::time::Duration;

use hull_testkit::process::signal;
use hull_testkit::{Client, Scene, until};
use serde_json::Value;

use crate::{play, supervisor};

/// What must not change: process, start time, address.
fn identity(scene: &Scene, container: &str) -> String {
    scene.inspect(container, "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.NetworkSettings.Networks.bridge.IPAddress}} {{.RestartCount}}")
}

#[test]
fn a_killed_daemon_changes_nothing_for_fifty_containers() {
    play(|scene| {
        for number in 0..50 {
            scene.ok(&format!("run -d --name c{number} busybox sleep 100000"));
        }
        let before: Vec<_> = (0..50)
            .map(|number| identity(scene, &format!("c{number}")))
            .collect();
        scene.daemon.crash();
        assert_eq!(scene.ok("ps -q").lines().count(), 50);
        let after: Vec<_> = (0..50)
            .map(|number| identity(scene, &format!("c{number}")))
            .collect();
        assert_eq!(before, after);
    });
}

#[test]
fn ports_attach_exec_and_logs_work_after_a_crash() {
    play(|scene| {
        let program = "hostname > /var/www/index.html; httpd -p 80 -h /var/www; read line; echo got $line; exit 4";
        scene.ok(&format!(
            "run -d -i -h web --name web -p 8080:80 busybox sh -c '{program}'"
        ));
        let url = "http://127.0.0.1:8080/";
        until("it answers", || {
            scene.daemon.namespace().fetch(url).is_some()
        });
        scene.daemon.kill();
        assert_eq!(
            scene.daemon.namespace().fetch(url).as_deref(),
            Some("web\n"),
            "while no daemon runs"
        );
        scene.daemon.launch();
        assert_eq!(
            scene.daemon.namespace().fetch(url).as_deref(),
            Some("web\n")
        );
        assert_eq!(scene.ok("exec web echo hello"), "hello");
        let mut attach = scene.begin("attach web");
        attach.send("line\n");
        attach.expect("got line");
        assert_eq!(attach.wait().0, 4);
        assert_eq!(scene.ok("logs web"), "got line");
        assert_eq!(scene.inspect("web", "{{.State.ExitCode}}"), "4");
    });
}

#[test]
fn what_happened_while_no_daemon_ran_is_known() {
    play(|scene| {
        let wait = "while [ ! -e /tmp/go ]; do sleep 0.02; done";
        scene.ok(&format!(
            "run -d --name box -v {}:/tmp busybox sh -c '{wait}; echo last words; exit 33'",
            scene.daemon.path("config").display()
        ));
        scene.ok("run -d --rm --name gone busybox sh -c 'sleep 0.2'");
        let pid = scene.inspect("box", "{{.State.Pid}}");
        scene.daemon.kill();
        std::fs::write(scene.daemon.path("config/go"), "").unwrap();
        until("it ended", || {
            !std::path::Path::new(&format!("/proc/{pid}")).exists()
        });
        scene.daemon.launch();
        let it = scene.until_status("box", "exited");
        assert_eq!(it["State"]["ExitCode"], 33);
        assert_eq!(scene.ok("logs box"), "last words");
        until("what was to be removed is", || {
            scene.ok("ps -aq --filter name=gone").is_empty()
        });
        let events = scene.ok(&format!("events --since 1h --until {} --filter container=box --filter event=die --format '{{{{.Actor.Attributes.exitCode}}}}'", scene.now()));
        assert_eq!(events, "33", "recorded once");
    });
}

#[test]
fn events_of_before_the_crash_are_still_told() {
    play(|scene| {
        scene.ok("run --name box busybox true");
        scene.daemon.crash();
        let events = scene.ok(&format!(
            "events --since 1h --until {} --filter container=box --format '{{{{.Action}}}}'",
            scene.now()
        ));
        assert_eq!(events, "create\nattach\nstart\ndie");
    });
}

#[test]
fn restart_policies_hold_over_a_crash() {
    play(|scene| {
        scene.ok("run -d --restart always --name box busybox sleep 100000");
        scene.ok("run -d --restart unless-stopped --name stopped busybox sleep 100000");
        scene.ok("stop -t 0 stopped");
        let pid = scene.inspect("box", "{{.State.Pid}}").parse().unwrap();
        scene.daemon.kill();
        signal(pid, "KILL");
        until("it ended", || {
            !std::path::Path::new(&format!("/proc/{pid}")).exists()
        });
        scene.daemon.launch();
        scene.until("box", "was started again", |it| {
            it["State"]["Running"] == true && it["State"]["Pid"] != pid
        });
        assert_eq!(scene.inspect("stopped", "{{.State.Status}}"), "exited");
    });
}

#[test]
fn a_daemon_that_stood_still_misses_no_exit() {
    play(|scene| {
        scene.ok("run -d --name box --memory 16m --memory-swap 16m -v /tmp:/host busybox sh -c 'sleep 0.3; echo bye; x=x; while :; do x=$x$x; done'");
        let pid = scene.inspect("box", "{{.State.Pid}}");
        let daemon = scene.daemon.pid();
        signal(daemon, "STOP");
        until("it ended", || {
            !std::path::Path::new(&format!("/proc/{pid}")).exists()
        });
        signal(daemon, "CONT");
        let it = scene.until_status("box", "exited");
        assert_eq!(
            (&it["State"]["ExitCode"], &it["State"]["OOMKilled"]),
            (&Value::from(137), &Value::from(true))
        );
        assert_eq!(scene.ok("logs box"), "bye");
    });
}

#[test]
fn a_stopped_daemon_ends_within_a_second_and_its_containers_stay() {
    play(|scene| {
        scene.ok("run -d --name box busybox sleep 100000");
        let before = identity(scene, "box");
        let (code, time) = scene.daemon.stop();
        assert_eq!(code, 0);
        assert!(time < Duration::from_secs(2), "{time:?}");
        scene.daemon.launch();
        assert_eq!(identity(scene, "box"), before);
    });
}

#[test]
fn two_daemons_do_not_share_a_root() {
    play(|scene| {
        let output = Command::new("timeout")
            .arg("20")
            .arg(scene.daemon.command().get_program())
            .args(scene.daemon.command().get_args())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(
            !output.status.success() && output.status.code() != Some(124),
            "{text}"
        );
        assert_eq!(
            scene.ok("run --rm busybox echo fine"),
            "fine",
            "the first goes on: {text}"
        );
    });
}

#[test]
fn without_descriptors_new_work_is_refused_and_nothing_is_lost() {
    play(|scene| {
        scene.ok("run -d --name box busybox sleep 100000");
        let limit = |value: &str| {
            let pid = scene.daemon.pid().to_string();
            let status = Command::new("prlimit")
                .args(["--pid", &pid, value])
                .status()
                .unwrap();
            assert!(status.success());
        };
        let used = hull_testkit::host::names(format!("/proc/{}/fd", scene.daemon.pid())).len();
        limit(&format!("--nofile={}:4096", used + 2));
        let mut refused = 0;
        thread::scope(|scope| {
            let tries: Vec<_> = (0..4).map(|_| scope.spawn(|| run_briefly(scene))).collect();
            refused += tries
                .into_iter()
                .filter_map(|one| one.join().ok())
                .filter(|&code| code != 0)
                .count();
        });
        limit("--nofile=4096:4096");
        until("it works again", || {
            scene.run("run --rm busybox true").code == 0
        });
        assert_eq!(
            scene.inspect("box", "{{.State.Running}}"),
            "true",
            "{refused} were refused meanwhile"
        );
    });
}

/// A run that may hang on a daemon without descriptors: given up after a few seconds.
fn run_briefly(scene: &Scene) -> i32 {
    let words = ["run", "--rm", "busybox", "true"];
    let inner = Client::Docker.command(&scene.daemon, &words);
    let mut command = Command::new("timeout");
    // A client whose start was refused waits for a removal that never comes, and passes TERM on.
    command
        .args(["--signal=KILL", "10"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.envs(
        inner
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.output().unwrap().status.code().unwrap_or(255)
}

#[test]
fn a_paused_container_survives_a_crash_and_can_be_stopped() {
    play(|scene| {
        for name in ["stopped", "removed", "resumed"] {
            scene.ok(&format!("run -d --name {name} busybox sleep 100000"));
            scene.ok(&format!("pause {name}"));
        }
        scene.daemon.crash();
        assert_eq!(scene.ok("ps -q --filter status=paused").lines().count(), 3);
        scene.ok("unpause resumed");
        assert_eq!(scene.ok("exec resumed echo awake"), "awake");
        scene.ok("stop -t 1 stopped");
        assert_eq!(scene.inspect("stopped", "{{.State.Status}}"), "exited");
        scene.ok("rm -f removed");
    });
}

#[test]
fn health_goes_on_after_a_crash() {
    play(|scene| {
        scene.ok("run -d --name box --health-cmd 'test -e /ok' --health-interval 200ms --health-retries 2 busybox sleep 100000");
        scene.until("box", "is unhealthy", |it| {
            it["State"]["Health"]["Status"] == "unhealthy"
        });
        scene.daemon.kill();
        scene.daemon.launch();
        scene.ok("exec box touch /ok");
        scene.until("box", "is healthy", |it| {
            it["State"]["Health"]["Status"] == "healthy"
        });
    });
}

#[test]
fn a_supervisor_is_no_child_of_the_daemon() {
    play(|scene| {
        scene.ok("run -d --name box busybox sleep 100000");
        let shim = supervisor(scene, "box");
        assert_ne!(shim, scene.daemon.pid());
        scene.daemon.kill();
        assert!(std::path::Path::new(&format!("/proc/{shim}")).exists());
    });
}

#[test]
fn a_log_collector_misses_no_line_whoever_dies() {
    play(|scene| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("collector");
        let options = format!("--log-opt fluentd-address=unix://{}", path.display());
        scene.ok(&format!(
            "run -d --name box --log-driver fluentd {options} busybox sh -c 'n=0; while [ $n -lt 40 ]; do n=$((n+1)); echo line-$n.; sleep 0.05; done'"
        ));
        // Nobody listens yet; nothing is lost.
        until("some lines wait", || {
            scene.ok("logs box").lines().count() > 3
        });
        let collector = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let collected = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = std::sync::Arc::clone(&collected);
        thread::spawn(move || {
            for stream in collector.incoming().flatten() {
                let sink = std::sync::Arc::clone(&sink);
                thread::spawn(move || {
                    let mut stream = stream;
                    let mut bytes = [0; 4096];
                    while let Ok(length @ 1..) = std::io::Read::read(&mut stream, &mut bytes) {
                        sink.lock().unwrap().extend_from_slice(&bytes[..length]);
                    }
                });
            }
        });
        let count = |text: &str| {
            let bytes = collected.lock().unwrap();
            String::from_utf8_lossy(&bytes).matches(text).count()
        };
        until("the first lines arrive", || count("line-") > 5);
        scene.daemon.crash();
        scene.until_status("box", "exited");
        until("the last line arrives", || count("line-40.") > 0);
        for number in 1..=40 {
            let times = count(&format!("line-{number}."));
            // A batch that was on its way when the daemon died may come twice.
            assert!(times == 1 || times == 2, "line {number} came {times} times");
        }
    });
}

#[test]
fn a_restart_that_the_daemon_does_not_survive_ends_in_a_start() {
    play(|scene| {
        let script = "trap \"sleep 1; exit 0\" TERM; echo ready; while :; do sleep 0.1; done";
        scene.ok(&format!(
            "run -d --restart always --name box busybox sh -c '{script}'"
        ));
        let first = scene.inspect("box", "{{.State.StartedAt}}");
        let client = scene.begin("restart -t 20 box");
        until("it is asked to end", || {
            scene
                .ok("events --since 1h --until 0s --filter event=kill")
                .contains("box")
        });
        scene.daemon.kill();
        scene.daemon.launch();
        drop(client);
        scene.until("box", "runs again", |it| {
            it["State"]["Running"] == true && it["State"]["StartedAt"] != first.as_str()
        });
    });
}

#[test]
fn what_a_killed_daemon_froze_for_a_moment_is_thawed_by_the_next() {
    play(|scene| {
        scene.ok("run -d --name box busybox sleep 1000");
        scene.ok("exec box dd if=/dev/urandom of=/large bs=1M count=300");
        let committing = scene.begin("commit box made");
        until("it is frozen", || {
            scene.inspect("box", "{{.State.Status}}") == "paused"
        });
        scene.daemon.crash();
        drop(committing);
        until("it is thawed", || {
            scene.inspect("box", "{{.State.Status}}") == "running"
        });
        scene.ok("exec box true");
    });
}
