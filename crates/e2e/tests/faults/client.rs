//! Clients vanish, or read too slowly.

use std::process::Command;
use std::time::{Duration, Instant};

use hull_testkit::{Client, Scene, Terminal, host, until};

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
fn a_daemon_that_goes_away_leaves_the_terminal_as_it_was() {
    play(|scene| {
        let hull = Client::Hull.command(&scene.daemon, &[""; 0]);
        let mut shell = Command::new("sh");
        let script = "stty -a > before; \"$1\" run -it --name box busybox sh; echo code $?; stty -a > after; cmp before after && echo as it w''as";
        shell.args(["-c", &format!("cd \"$0\"; {script}")]);
        shell.arg(scene.daemon.directory()).arg(hull.get_program());
        shell.envs(
            hull.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let mut terminal = Terminal::spawn(&shell);
        terminal.expect("/ #");
        scene.daemon.kill();
        terminal.expect("code ");
        terminal.expect("as it was");
        assert_eq!(terminal.wait(), 0);
        assert!(
            !terminal.screen().contains("panicked"),
            "{}",
            terminal.screen()
        );
        scene.daemon.launch();
        assert_eq!(scene.inspect("box", "{{.State.Running}}"), "true");
    });
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    play(|scene| {
        scene.ok("run -dit --name box busybox sh");
        let hull = Client::Hull.command(&scene.daemon, &[""; 0]);
        // Whether a signal is passed on or ends the client, and whatever the client is doing.
        let lines = [
            ("exec -it box sh", "TERM", "/ #", 143),
            ("exec -it box sh", "HUP", "/ #", 129),
            ("attach --sig-proxy=false box", "QUIT", "", 131),
            ("login localhost:1 -u me", "INT", "Password:", 130),
            ("top", "INT", "box", 130),
        ];
        for (line, signal, prompt, code) in lines {
            let mut shell = Command::new("sh");
            let script = format!(
                "cd \"$0\"; stty -a > before; sh -c 'echo $$ > pid; exec \"$@\"' - \"$1\" {line}; echo \"co\"de $?; stty -a > after; cmp before after && echo as it w''as"
            );
            shell.args(["-c", &script]);
            shell.arg(scene.daemon.directory()).arg(hull.get_program());
            shell.envs(
                hull.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
            let mut terminal = Terminal::spawn(&shell);
            if !prompt.is_empty() {
                terminal.expect(prompt);
            }
            let pid = || std::fs::read_to_string(scene.daemon.path("pid")).unwrap_or_default();
            until("it has changed the terminal", || {
                let device = std::fs::File::open(format!("/proc/{}/fd/0", pid().trim()));
                device.is_ok_and(|device| {
                    let mode = rustix::termios::tcgetattr(&device);
                    mode.is_ok_and(|mode| {
                        !mode.local_modes.contains(rustix::termios::LocalModes::ECHO)
                    })
                })
            });
            let killed = Command::new("kill")
                .args(["-s", signal, pid().trim()])
                .status();
            assert!(killed.unwrap().success());
            terminal.expect(&format!("code {code}"));
            terminal.expect("as it was");
            terminal.wait();
        }
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

#[test]
fn clients_that_vanish_from_a_silent_container_leave_nothing_either() {
    play(|scene| {
        scene.ok("run -d -i --name box busybox sh -c 'echo ready; exec sleep 1000'");
        scene.ok("exec box true");
        scene.ok("create -i --name idle busybox true");
        let before = descriptors(scene);
        for _ in 0..5 {
            let lines = [
                "attach box",
                "exec -i box sleep 1000",
                "attach --no-stdin box",
            ];
            let mut clients: Vec<_> = lines.into_iter().map(|line| scene.begin(line)).collect();
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
fn what_a_client_says_last_before_it_leaves_arrives() {
    use std::io::{Read, Write};
    play(|scene| {
        scene.ok("run -d -i --name box busybox sh -c 'cat > /said'");
        let said = "x".repeat(20_000) + "the end";
        let mut stream = std::os::unix::net::UnixStream::connect(scene.daemon.socket()).unwrap();
        stream
            .write_all(
                b"POST /containers/box/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\n\
                  Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
            )
            .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        stream.write_all(said.as_bytes()).unwrap();
        drop(stream);
        until("all of it is there", || {
            scene.run("exec box cat /said").stdout == said
        });
    });
}
