//! Supervisors die or stand still, programs misbehave, process numbers are used again.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hull_testkit::process::signal;
use hull_testkit::{Scene, until};

use crate::{play, supervisor};

fn gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn pid(scene: &Scene, container: &str) -> u32 {
    scene
        .inspect(container, "{{.State.Pid}}")
        .parse()
        .expect("a number")
}

#[test]
fn a_killed_supervisor_takes_its_container_along_and_it_is_said() {
    play(|scene| {
        scene.ok("run -d --name box busybox sleep 100000");
        scene.ok("run -d --name other busybox sleep 100000");
        let init = pid(scene, "box");
        signal(supervisor(scene, "box"), "KILL");
        let it = scene.until_status("box", "exited");
        assert_eq!(it["State"]["ExitCode"], 137);
        until("no orphan is left", || gone(init));
        assert_eq!(scene.inspect("other", "{{.State.Running}}"), "true");
        scene.ok("start box");
        assert_eq!(scene.ok("exec box echo again"), "again");
    });
}

#[test]
fn daemon_and_supervisors_killed_together_are_accounted_for() {
    play(|scene| {
        for name in ["one", "two", "three"] {
            scene.ok(&format!("run -d --name {name} busybox sleep 100000"));
        }
        scene.ok("run -d --restart always --name back busybox sleep 100000");
        let names = ["one", "two", "three", "back"];
        let shims: Vec<_> = names.map(|name| supervisor(scene, name)).into();
        let inits: Vec<_> = names.map(|name| pid(scene, name)).into();
        scene.daemon.kill();
        shims.iter().for_each(|&shim| signal(shim, "KILL"));
        scene.daemon.launch();
        for name in ["one", "two", "three"] {
            let it = scene.until_status(name, "exited");
            assert_eq!(it["State"]["ExitCode"], 137, "{name}");
        }
        scene.until("back", "was started again", |it| {
            it["State"]["Running"] == true
        });
        until("no orphan is left", || inits.iter().all(|&init| gone(init)));
    });
}

#[test]
fn a_supervisor_that_stands_still_holds_nobody_else_up() {
    play(|scene| {
        scene.ok("run -d --name stuck busybox sleep 100000");
        let shim = supervisor(scene, "stuck");
        signal(shim, "STOP");
        let begin = Instant::now();
        assert_eq!(scene.ok("run --rm busybox echo fine"), "fine");
        assert_eq!(scene.ok("ps -q").lines().count(), 1);
        assert_eq!(scene.inspect("stuck", "{{.State.Running}}"), "true");
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            begin.elapsed()
        );
        let mut exec = scene.begin("exec stuck true");
        signal(shim, "CONT");
        exec.wait();
        assert_eq!(scene.ok("exec stuck echo awake"), "awake");
    });
}

#[test]
fn who_forks_twice_ignores_term_and_leaves_zombies_is_stopped_all_the_same() {
    play(|scene| {
        let program = "trap \"\" TERM; (setsid sh -c \"trap \\\"\\\" TERM; sleep 100000\" &); while :; do true & sleep 0.01; done";
        std::fs::write(
            scene.daemon.path("config/program"),
            program.replace('\\', ""),
        )
        .unwrap();
        let line = |init: &str, name: &str| {
            format!(
                "run -d {init} --name {name} -v {}:/c busybox sh /c/program",
                scene.daemon.path("config").display()
            )
        };
        for (init, name) in [("", "plain"), ("--init", "with-init")] {
            scene.ok(&line(init, name));
            let begin = Instant::now();
            scene.ok(&format!("stop -t 1 {name}"));
            assert!(
                begin.elapsed() < Duration::from_secs(8),
                "{:?}",
                begin.elapsed()
            );
            assert_eq!(scene.inspect(name, "{{.State.ExitCode}}"), "137");
            scene.ok(&format!("rm {name}"));
        }
        scene.daemon.assert_clean();
    });
}

#[test]
fn a_reused_process_number_never_gets_a_strangers_signal() {
    play(|scene| {
        scene.ok("run -d --name box busybox sleep 100000");
        let (init, shim) = (pid(scene, "box"), supervisor(scene, "box"));
        scene.daemon.kill();
        signal(shim, "KILL");
        if !gone(init) {
            signal(init, "KILL");
        }
        until("both are gone", || gone(shim) && gone(init));
        let mut strangers: Vec<_> = [init, shim].into_iter().filter_map(stranger).collect();
        assert!(
            !strangers.is_empty(),
            "no process number could be taken again"
        );
        scene.daemon.launch();
        scene.until_status("box", "exited");
        scene.run("kill box");
        scene.run("stop -t 0 box");
        scene.ok("rm -f box");
        for stranger in &mut strangers {
            assert!(
                stranger.try_wait().unwrap().is_none(),
                "a stranger was killed"
            );
            stranger.kill().unwrap();
            stranger.wait().unwrap();
        }
    });
}

/// A process of ours under a number that is free; `None` when others were always quicker.
fn stranger(number: u32) -> Option<Child> {
    for _ in 0..200 {
        // The kernel gives the next number after this one. Other processes of the machine race for it.
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).ok()?;
        let mut child = Command::new("sleep").arg("100000").spawn().ok()?;
        if child.id() == number {
            return Some(child);
        }
        child.kill().and_then(|()| child.wait()).ok()?;
    }
    None
}

#[test]
fn a_container_that_stops_its_own_probes_is_still_killed() {
    play(|scene| {
        let loop_ = "while :; do kill -STOP -1; done";
        scene.ok(&format!(
            "run -d --name box --security-opt apparmor=unconfined --health-cmd true --health-interval 10ms busybox sh -c '{loop_}'"
        ));
        // Sessions of its own are held up the same way.
        for _ in 0..3 {
            let _ = scene.begin("exec box true");
        }
        std::thread::sleep(Duration::from_millis(300));
        let init = pid(scene, "box");
        scene.ok("rm -f box");
        until("it is gone", || gone(init));
    });
}
