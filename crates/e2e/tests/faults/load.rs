//! Races: many for one name, removal while anything goes on, programs that end at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use hull_testkit::until;

use crate::play;

#[test]
fn of_many_who_want_one_name_one_wins() {
    play(|scene| {
        let scene = &*scene;
        for round in 0..5 {
            let winners = AtomicU32::new(0);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let output = scene.run(&format!(
                            "create --name prize{round} -v shared:/v busybox true"
                        ));
                        if output.code == 0 {
                            winners.fetch_add(1, Ordering::Relaxed);
                        } else {
                            assert!(
                                output.stderr.contains("is already in use by container"),
                                "{}",
                                output.stderr
                            );
                        }
                    });
                }
            });
            assert_eq!(winners.load(Ordering::Relaxed), 1);
        }
        assert_eq!(scene.ok("ps -aq").lines().count(), 5);
    });
}

#[test]
fn two_hundred_operations_at_once_leave_nothing() {
    play(|scene| {
        let scene = &*scene;
        thread::scope(|scope| {
            for worker in 0..10 {
                scope.spawn(move || {
                    for number in 0..5 {
                        let name = format!("w{worker}n{number}");
                        scene.ok(&format!("create --name {name} busybox sleep 100000"));
                        scene.ok(&format!("start {name}"));
                        scene.ok(&format!("exec {name} true"));
                        scene.ok(&format!("rm -f {name}"));
                    }
                });
            }
        });
        assert_eq!(scene.ok("ps -aq"), "");
        scene.daemon.assert_clean();
    });
}

#[test]
fn removal_wins_over_whatever_goes_on() {
    play(|scene| {
        let lines = [
            "start box",
            "exec box sleep 100",
            "cp box:/bin -",
            "logs -f box",
            "wait box",
            "stop -t 100 box",
            "attach box",
        ];
        for line in lines {
            scene.ok("create --name box --health-cmd true --health-interval 100ms busybox sh -c 'trap \"\" TERM; while :; do echo x; sleep 0.01; done'");
            if line != "start box" {
                scene.ok("start box");
            }
            let mut other = scene.begin(line);
            scene.ok("rm -f box");
            other.wait();
            let output = scene.run("rm -f box");
            assert!(
                output.code == 0 || output.stderr.contains("No such container"),
                "{}",
                output.stderr
            );
            scene.daemon.assert_clean();
        }
    });
}

#[test]
fn programs_that_end_at_once_lose_neither_code_nor_output() {
    play(|scene| {
        let scene = &*scene;
        thread::scope(|scope| {
            for worker in 0..6 {
                scope.spawn(move || {
                    for number in (worker..300).step_by(6) {
                        let code = number % 100;
                        let output = scene.run(&format!(
                            "run --rm busybox sh -c 'echo {number}; exit {code}'"
                        ));
                        assert_eq!(
                            (output.code, output.stdout.trim()),
                            (code, number.to_string().as_str()),
                            "{}",
                            output.stderr
                        );
                    }
                });
            }
        });
        until("all are gone", || scene.ok("ps -aq").is_empty());
    });
}

#[test]
fn a_detached_program_that_ends_at_once_keeps_code_and_log() {
    play(|scene| {
        for number in 0..50 {
            let name = format!("c{number}");
            scene.ok(&format!(
                "run -d --name {name} busybox sh -c 'echo {number}; exit {number}'"
            ));
            let it = scene.until_status(&name, "exited");
            assert_eq!(it["State"]["ExitCode"], number);
            assert_eq!(scene.ok(&format!("logs {name}")), number.to_string());
        }
    });
}
