//! Rules flushed, links deleted, ports snatched, addresses used up, name servers that lie.

use std::thread;

use hull_testkit::{NetworkNamespace, Running, Scene, until};
use serde_json::json;

use crate::play;

/// A web server with a published port.
fn web(scene: &Scene) {
    scene.ok("run -d --name web -p 8080:80 busybox sh -c 'echo web > /var/www/index.html; exec httpd -f -p 80 -h /var/www'");
    until("the port answers", || answers(scene));
}

fn answers(scene: &Scene) -> bool {
    let host = scene.daemon.namespace();
    host.fetch("http://127.0.0.1:8080/").as_deref() == Some("web\n")
}

fn sleeper(scene: &Scene, options: &str) {
    scene.ok(&format!("run -d {options} busybox sleep 1000"));
}

#[test]
fn flushed_rules_and_a_deleted_bridge_are_made_again() {
    play(|scene| {
        let host = scene.daemon.namespace();
        host.run("nft add table inet foreign");
        host.run("nft add chain inet foreign input");
        web(scene);
        host.run("nft delete table inet hull");
        until("the port answers again", || answers(scene));
        host.run("ip link delete hull0");
        until("the port answers over a new bridge", || answers(scene));
        scene.ok("run --rm busybox ping -c 1 -W 5 172.17.0.1");
        assert!(
            host.run("nft list ruleset").contains("chain input"),
            "others' rules stay"
        );
    });
}

#[test]
fn a_cable_that_was_cut_is_replaced_by_joining_again() {
    play(|scene| {
        scene.ok("network create front");
        sleeper(scene, "--name a1 --network front");
        sleeper(scene, "--name b1 --network front");
        let host = scene.daemon.namespace();
        let links = host.run("ip -o link show type veth");
        let cut = links
            .lines()
            .filter_map(|line| line.split([' ', '@']).nth(1))
            .next()
            .unwrap();
        host.run(&format!("ip link delete {cut}"));
        let is_cut = |name: &str| {
            scene
                .run(&format!("exec {name} ping -c 1 -W 1 172.18.0.1"))
                .code
                != 0
        };
        let victim = if is_cut("a1") { "a1" } else { "b1" };
        let address = scene.inspect(victim, "{{.NetworkSettings.Networks.front.IPAddress}}");
        sleeper(scene, "--name c1 --network front");
        assert_ne!(
            scene.inspect("c1", "{{.NetworkSettings.Networks.front.IPAddress}}"),
            address
        );
        scene.ok(&format!("network disconnect front {victim}"));
        scene.ok(&format!("network connect front {victim}"));
        scene.ok(&format!("exec {victim} ping -c 1 -W 5 c1"));
        scene.ok(&format!("exec c1 ping -c 1 -W 5 {victim}"));
    });
}

#[test]
fn a_port_that_somebody_else_took_is_said_and_the_next_try_works() {
    play(|scene| {
        let server = "import socket, time; s = socket.create_server((\"0.0.0.0\", 8080)); print(\"up\", flush=True); time.sleep(1000)";
        let mut command = scene.daemon.namespace().command("python3");
        let thief = Running::spawn(command.args(["-c", server]));
        until("the port is taken", || thief.stdout().contains("up"));
        let text = scene.fails(125, "run -d --name web -p 8080:80 busybox sleep 1000");
        assert!(text.contains("port is already allocated"), "{text}");
        assert!(text.contains("process python3 (pid"), "{text}");
        drop(thief);
        scene.ok("start web");
        assert!(scene.ok("port web").contains("0.0.0.0:8080"));
    });
}

#[test]
fn a_new_network_avoids_the_routes_there_are_by_then() {
    play(|scene| {
        let host = scene.daemon.namespace();
        let _outside = host.neighbour();
        host.run("ip route add 172.18.0.0/15 via 10.99.0.2");
        scene.ok("network create front");
        let subnet = scene.ok("network inspect front --format '{{(index .IPAM.Config 0).Subnet}}'");
        assert_eq!(subnet, "172.20.0.0/16");
        let text = scene.fails(1, "network create --subnet 172.20.5.0/24 other");
        assert!(text.contains("overlaps"), "{text}");
    });
}

/// The name server in a namespace next door.
fn name_server(outside: &NetworkNamespace) -> Running {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/name_server.py");
    let server = Running::spawn(outside.command("python3").args([script, "10.99.0.2"]));
    until("the name server is up", || {
        server.stdout().contains("ready")
    });
    server
}

fn lookup(scene: &Scene, name: &str) -> String {
    let output = scene.run(&format!("exec client nslookup -type=a {name} 127.0.0.11"));
    format!("{}{}", output.stdout, output.stderr).replace('\n', " ")
}

#[test]
fn whatever_name_servers_do_names_inside_are_answered() {
    play(|scene| {
        let outside = scene.daemon.namespace().neighbour();
        let server = name_server(&outside);
        scene.ok("network create front");
        sleeper(scene, "--name web --network front");
        sleeper(scene, "--name client --network front --dns 10.99.0.2");
        assert!(lookup(scene, "ok.example").contains("Address: 192.0.2.53"));
        assert!(lookup(scene, "none.example").contains("NXDOMAIN"));
        let garbage = lookup(scene, "garbage.example");
        assert!(!garbage.contains("Address: 1"), "{garbage}");
        for _ in 0..50 {
            let name = format!("none{}.example", std::process::id());
            assert!(lookup(scene, &name).contains("NXDOMAIN"));
        }
        drop(server);
        scene.ok("exec client ping -c 1 -W 5 web");
        let stale = lookup(scene, "ok.example");
        assert!(
            stale.contains("Address: 192.0.2.53"),
            "what was known stands in: {stale}"
        );
        until("it is said that nobody knows", || {
            lookup(scene, "other.example").contains("SERVFAIL")
        });
    });
}

#[test]
fn the_second_name_server_is_asked_and_long_answers_come_over_a_stream() {
    play(|scene| {
        scene.daemon.load("debian");
        let outside = scene.daemon.namespace().neighbour();
        let _server = name_server(&outside);
        scene.ok("network create front");
        // Nobody listens at the first.
        scene.ok("run -d --name client --network front --dns 10.99.0.1 --dns 10.99.0.2 debian sleep 1000");
        let many = || scene.run("exec client getent ahostsv4 big.example");
        until("all of a long answer comes", || {
            many().stdout.contains("192.0.2.99")
        });
        let one = scene.ok("exec client getent ahostsv4 ok.example");
        assert!(one.contains("192.0.2.53"), "{one}");
    });
}

#[test]
fn an_internal_network_answers_names_and_lets_no_question_out() {
    play(|scene| {
        let outside = scene.daemon.namespace().neighbour();
        let server = name_server(&outside);
        scene.ok("network create --internal inner");
        sleeper(scene, "--name web --network inner");
        sleeper(scene, "--name client --network inner --dns 10.99.0.2");
        scene.ok("exec client ping -c 1 -W 5 web");
        assert!(lookup(scene, "ok.example").contains("SERVFAIL"));
        scene.fails(1, "exec client ping -c 1 -W 1 10.99.0.2");
        scene.ok("network create front");
        scene.ok("network connect front client");
        assert!(lookup(scene, "ok.example").contains("192.0.2.53"));
        let asked = server.stdout();
        assert_eq!(
            asked
                .lines()
                .filter(|line| line.contains("ok.example"))
                .count(),
            1,
            "{asked}"
        );
    });
}

#[test]
fn a_thousand_connects_and_disconnects_at_once_leave_nothing() {
    play(|scene| {
        for number in 0..10 {
            scene.ok(&format!(
                "network create --subnet 10.40.{number}.0/24 n{number}"
            ));
            sleeper(scene, &format!("--name c{number}"));
        }
        let change = |verb: &str, network: usize, container: usize| {
            let body = json!({"Container": format!("c{container}")});
            let answer = scene
                .daemon
                .api("POST", &format!("/networks/n{network}/{verb}"), &body);
            assert_eq!(
                answer.status,
                200,
                "{verb} n{network} c{container}: {}",
                answer.text()
            );
        };
        thread::scope(|scope| {
            for container in 0..10 {
                scope.spawn(move || {
                    for round in 0..50 {
                        let network = (container + round) % 10;
                        change("connect", network, container);
                        change("disconnect", network, container);
                    }
                });
            }
        });
        // They go in the background, but never many of them.
        assert!(scene.daemon.links().len() < 10 + 30);
        until("one link is left for each container's own network", || {
            scene.daemon.links().len() == 10
        });
        for number in 0..10 {
            assert_eq!(
                scene.ok(&format!("exec c{number} ls /sys/class/net")),
                "eth0\nlo"
            );
            assert_eq!(
                scene.ok(&format!(
                    "network inspect n{number} --format '{{{{len .Containers}}}}'"
                )),
                "0"
            );
            scene.ok(&format!("network rm n{number}"));
        }
    });
}

#[test]
fn a_daemon_killed_while_networks_change_leaves_nothing() {
    play(|scene| {
        scene.ok("network create front");
        for round in 0..6 {
            sleeper(scene, &format!("--name box{round}"));
            let begun = [
                scene.begin(&format!("network connect front box{round}")),
                scene.begin(&format!("network create made{round}")),
            ];
            thread::sleep(std::time::Duration::from_millis(round * 3));
            scene.daemon.crash();
            drop(begun);
            // It is in both, or in one: what is said is so.
            let shown = scene.inspect(&format!("box{round}"), "{{len .NetworkSettings.Networks}}");
            let real = scene.ok(&format!("exec box{round} ls /sys/class/net"));
            assert!(
                real.lines().count() > shown.parse::<usize>().unwrap(),
                "{shown}: {real}"
            );
        }
        let boxes: Vec<_> = (0..6).map(|round| format!("box{round}")).collect();
        scene.ok(&format!("rm -f {}", boxes.join(" ")));
        scene.ok("network prune -f");
        // What was removed goes in the background.
        until("no link but the default network's bridge is left", || {
            let bridges = scene.daemon.namespace().run("ip -o link show type bridge");
            scene.daemon.links().is_empty() && bridges.lines().count() == 1
        });
    });
}

#[test]
fn a_resolver_whose_daemon_never_comes_back_leaves_with_the_last_container() {
    play(|scene| {
        scene.ok("network create front");
        sleeper(scene, "--name web --network front");
        sleeper(scene, "--name other --network front");
        let pids = ["web", "other"].map(|name| scene.inspect(name, "{{.State.Pid}}"));
        until("a resolver is there", || {
            scene.daemon.processes_named("hull-resolver").len() == 1
        });
        scene.daemon.kill();
        let end = |pid: &String| {
            let ended = std::process::Command::new("kill")
                .args(["-9", pid])
                .status();
            assert!(ended.unwrap().success());
        };
        end(&pids[0]);
        thread::sleep(std::time::Duration::from_secs(3));
        let left = scene.daemon.processes_named("hull-resolver").len();
        assert_eq!(left, 1, "one container is still there");
        end(&pids[1]);
        until("the resolver has left", || {
            scene.daemon.processes_named("hull-resolver").is_empty()
        });
        scene.daemon.launch();
        scene.ok("start web");
        assert!(scene.ok("exec web nslookup web").contains("172.18.0."));
    });
}
