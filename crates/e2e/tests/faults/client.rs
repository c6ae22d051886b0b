//! Clients vanish, or read too slowly.

use std::time::{Duration, Instant};

use hull_testkit::{Scene, host, until};

use crate::play;

fn descriptors(scene: &Scene) -> usize {
    host::names(format!("/proc/{}/fd", scene.daemon.pid())).len()
}

#[test]
fn clients_that_vanish_leave_no_descriptor_behind() {
    play(|scene| {
        scene.ok("run -d -i --name box busybox sh -c 'while :; do echo line; sleep 0.01; done'");
        scene.ok("exec box true");
        until("the daemon is calm", || {
            descriptors(scene) == {
                std::thread::sleep(Duration::from_millis(50));
                descriptors(scene)
            }
        });
        let before = descriptors(scene);
        for _ in 0..5 {
            let lines = [
                "attach box",
                "logs -f box",
                "wait box",
                "events",
                "stats box",
                "exec -i box cat",
            ];
            let mut clients: Vec<_> = lines.into_iter().map(|line| scene.begin(line)).collect();
            clients[0].expect("line");
            clients[1].expect("line");
            until("all are connected", || {
                descriptors(scene) >= before + clients.len()
            });
            clients.iter_mut().for_each(|client| client.kill());
        }
        until("descriptors are back", || descriptors(scene) <= before + 1);
        assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
    });
}

#[test]
fn a_slow_reader_holds_nobody_up_and_costs_no_memory() {
    play(|scene| {
        let program = "while [ ! -e /go ]; do sleep 0.05; done; yes 0123456789012345678901234567890123456789 | head -c 30000000; echo done > /done; sleep 100000";
        scene.ok(&format!("run -d --name box busybox sh -c '{program}'"));
        let slow = scene.begin("attach box");
        let follow = scene.begin("logs -f box");
        let events = scene.begin("events");
        std::thread::sleep(Duration::from_millis(300));
        for client in [&slow, &follow, &events] {
            client.signal("STOP");
        }
        scene.ok("exec box touch /go");
        until("the writer was not held up", || {
            scene.run("exec box cat /done").code == 0
        });
        let begin = Instant::now();
        assert_eq!(scene.ok("run --rm busybox echo fine"), "fine");
        assert!(begin.elapsed() < Duration::from_secs(10));
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", scene.daemon.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kilobytes < 100_000, "the daemon takes {kilobytes} kB");
    });
}
