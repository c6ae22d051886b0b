//! What a container can do: the same for `run` and `exec`, and more when it is privileged.
//!
//! `hull-probe` says it from inside, and its own golden files say what it must be.

use std::fs;
use std::process::Command;

use hull_testkit::{Client, Scene, places, scenario, until};
use serde_json::Value;

/// Where the probe is mounted in its containers.
fn mounted() -> String {
    format!("-v {}:/probe:ro", places::program("hull-probe").display())
}

fn probe(scene: &Scene, options: &str) -> Value {
    let text = scene.ok(&format!("run --rm {options} {} busybox /probe", mounted()));
    serde_json::from_str(&text).unwrap()
}

/// Lets the probe compare a report with one of its golden files.
#[track_caller]
fn assert_golden(scene: &Scene, golden: &str, report: &str) {
    let file = scene.daemon.path("report.json");
    fs::write(&file, report).unwrap();
    let golden = places::repository()
        .join("crates/probe/golden")
        .join(golden);
    let mut compare = Command::new(places::program("hull-probe"));
    let output = compare
        .arg("compare")
        .arg(golden)
        .arg(file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

scenario!(a_default_container_is_closed(scene) {
    assert_golden(scene, "run.json", &probe(scene, "").to_string());
});

scenario!(exec_is_as_closed_as_run(scene) {
    scene.ok(&format!("run -d --name box {} busybox sleep 1000", mounted()));
    assert_golden(scene, "exec.json", &scene.ok("exec box /probe"));
});

scenario!(privileged_opens_what_it_should(scene) {
    assert_golden(scene, "privileged.json", &probe(scene, "--privileged").to_string());
});

scenario!(a_user_has_no_capability_in_effect(scene) {
    let seen = &probe(scene, "-u nobody")["capabilities"];
    for set in ["effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(seen[set], "0000000000000000", "{set}");
    }
});

scenario!(capabilities_are_added_and_dropped(scene) {
    let effective = |options: &str| probe(scene, options)["capabilities"]["effective"].clone();
    assert_eq!(effective("--cap-drop ALL"), "0000000000000000");
    assert_eq!(effective("--cap-drop ALL --cap-add NET_BIND_SERVICE"), "0000000000000400");
    assert_ne!(probe(scene, "--cap-add SYS_ADMIN")["syscalls"]["mount"], "EPERM");
    assert_eq!(probe(scene, "--security-opt no-new-privileges")["no_new_privs"], 1);
    assert_eq!(probe(scene, "--security-opt seccomp=unconfined")["seccomp"], 0);
});

scenario!(a_seccomp_profile_is_obeyed(scene) {
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    let file = scene.daemon.path("profile.json");
    fs::write(&file, profile).unwrap();
    let output = scene.run(&format!("run --rm --security-opt seccomp={} busybox mkdir /x", file.display()));
    assert!(output.code == 1 && output.stderr.contains("Operation not permitted"), "{output:?}");
});

/// Whether one container's address answers another's echo requests.
fn reaches(scene: &Scene, from: &str, address: &str) -> bool {
    scene
        .run(&format!("exec {from} ping -c 1 -W 1 {address}"))
        .code
        == 0
}

fn address_in(scene: &Scene, container: &str, network: &str) -> String {
    scene.inspect(
        container,
        &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"),
    )
}

scenario!(networks_do_not_reach_each_other(scene) {
    scene.ok("network create front");
    scene.ok("network create back");
    for (name, network) in [("a1", "front"), ("b1", "back"), ("c1", "bridge")] {
        scene.ok(&format!("run -d --name {name} --network {network} busybox sleep 1000"));
    }
    let all = [("a1", "front"), ("b1", "back"), ("c1", "bridge")];
    for (from, _) in all {
        for (to, network) in all {
            let address = address_in(scene, to, network);
            assert_eq!(reaches(scene, from, &address), from == to, "{from} to {to}");
        }
    }
});

scenario!(an_internal_network_reaches_nothing_and_is_reached_by_nothing(scene) {
    let outside = scene.daemon.namespace().neighbour();
    scene.ok("network create --internal --subnet 10.50.0.0/24 inner");
    scene.ok("network create --subnet 10.51.0.0/24 front");
    scene.ok("run -d --name in1 --network inner busybox sleep 1000");
    scene.ok("run -d --name in2 --network inner -p 8080:80 busybox httpd -f -p 80");
    scene.ok("run -d --name out --network front busybox sleep 1000");
    let inner = address_in(scene, "in2", "inner");
    assert!(reaches(scene, "in1", &inner));
    assert!(!reaches(scene, "out", &inner));
    for address in ["10.99.0.2", &address_in(scene, "out", "front")] {
        assert!(!reaches(scene, "in1", address), "{address}");
    }
    outside.run("ip route add 10.50.0.0/15 via 10.99.0.1");
    assert_eq!(outside.fetch(&format!("http://{inner}/")), None);
    assert_eq!(outside.fetch("http://10.99.0.1:8080/"), None);
    assert!(!scene.ok("exec in1 ip route").contains("default"));
});

scenario!(neighbours_are_silent_where_the_network_says_so(scene) {
    scene.ok("network create -o com.docker.network.bridge.enable_icc=false quiet");
    scene.ok("run -d --name a1 --network quiet busybox sleep 1000");
    scene.ok("run -d --name b1 --network quiet busybox sleep 1000");
    assert!(!reaches(scene, "a1", &address_in(scene, "b1", "quiet")));
    assert!(!reaches(scene, "b1", &address_in(scene, "a1", "quiet")));
});

scenario!(without_ipv6_there_is_none_inside(scene) {
    scene.ok("network create four");
    scene.ok("network create --ipv6 --subnet fd00:77::/64 both");
    scene.ok("network create --ipv4=false --ipv6 --subnet fd00:78::/64 six");
    scene.ok("run -d --name four --network four busybox sleep 1000");
    assert_eq!(scene.ok("exec four ip -6 addr"), "");
    scene.ok("run -d --name both --network both busybox sleep 1000");
    scene.ok("run -d --name both2 --network both busybox sleep 1000");
    scene.ok("exec both ping -6 -c 1 -W 5 both2");
    scene.ok("exec both ping -4 -c 1 -W 5 both2");
    scene.ok("run -d --name six --network six busybox sleep 1000");
    scene.ok("run -d --name six2 --network six busybox sleep 1000");
    scene.ok("exec six ping -6 -c 1 -W 5 six2");
    assert_eq!(scene.inspect("six", "{{.NetworkSettings.Networks.six.IPAddress}}"), scene.inspect("four", "{{.NetworkSettings.Networks.four.GlobalIPv6Address}}"));
    assert!(scene.inspect("six", "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}").starts_with("fd00:78::"));
});

/// Plays with both clients and options of the daemon.
fn play_with_each(options: &[&str], scenario: fn(&mut Scene)) {
    for client in [Client::Docker, Client::Hull] {
        Scene::play_with(client, options, scenario);
    }
}

#[test]
fn the_engine_is_not_reached_from_any_container() {
    // On other addresses than the loopback the daemon listens to nobody without a certificate.
    play_with_each(&["--host", "tcp://127.0.0.1:2375"], |scene| {
        scene.ok("network create front");
        scene.ok("run -d --name a1 busybox sleep 1000");
        scene.ok("run -d --name b1 --network front busybox sleep 1000");
        let ask = |name: &str, host: &str| {
            let line = format!("exec {name} wget -T 2 -q -O - http://{host}:2375/_ping");
            scene.run(&line).stdout
        };
        for name in ["a1", "b1"] {
            for host in ["172.17.0.1", "172.18.0.1", "127.0.0.1"] {
                assert_eq!(ask(name, host), "", "{name} to {host}");
            }
            assert_eq!(
                scene
                    .run(&format!("exec {name} ls /var/run/docker.sock"))
                    .code,
                1
            );
        }
        // From the other side it is there.
        let host = scene.daemon.namespace();
        assert_eq!(
            host.fetch("http://127.0.0.1:2375/_ping").as_deref(),
            Some("OK")
        );
    });
}

#[test]
fn published_ports_obey_the_hosts_own_rules_where_the_daemon_is_told_so() {
    play_with_each(&["--firewall-mode", "input"], |scene| {
        let outside = scene.daemon.namespace().neighbour();
        let host = scene.daemon.namespace();
        host.run("nft add table inet own");
        host.run(
            "nft 'add chain inet own input { type filter hook input priority 0; policy drop; }'",
        );
        host.run("nft add rule inet own input ct state established,related accept");
        host.run("nft add rule inet own input iif lo accept");
        scene.ok("run -d --name web -p 8080:80 busybox sh -c 'echo web > /var/www/index.html; exec httpd -f -h /var/www'");
        let seen = || outside.fetch("http://10.99.0.1:8080/");
        until("the host reaches it", || {
            host.fetch("http://127.0.0.1:8080/").is_some()
        });
        assert_eq!(seen(), None);
        let audit = scene.daemon.hull(&["port", "audit"]).stdout;
        assert!(audit.contains("firewall-mode: input"), "{audit}");
        host.run("nft add rule inet own input tcp dport 8080 accept");
        assert_eq!(seen().as_deref(), Some("web\n"));
        scene.daemon.crash();
        assert_eq!(
            outside.fetch("http://10.99.0.1:8080/").as_deref(),
            Some("web\n")
        );
    });
}

scenario!(nobody_sends_under_a_neighbours_address_on_a_guarded_network(scene) {
    scene.ok("network create -o hull.antispoof=true guarded");
    scene.ok("run -d --name a1 --network guarded --cap-add NET_ADMIN busybox sleep 1000");
    scene.ok("run -d --name b1 --network guarded busybox sleep 1000");
    let neighbour = address_in(scene, "b1", "guarded");
    assert!(reaches(scene, "a1", &neighbour));
    scene.ok("exec a1 ip addr flush dev eth0");
    scene.ok("exec a1 ip addr add 172.18.0.77/16 dev eth0");
    assert!(!reaches(scene, "a1", &neighbour));
    let text = scene.fails(1, "network create -o hull.antispoof=perhaps bad");
    assert!(text.contains("true or false is wanted"), "{text}");
});

scenario!(settings_of_a_network_are_another_networks(scene) {
    scene.ok("network create --config-only --subnet 10.52.0.0/24 -o com.docker.network.driver.mtu=1400 --label team=red settings");
    scene.ok("network create --config-from settings front");
    assert_eq!(
        scene.ok("network inspect -f '{{(index .IPAM.Config 0).Subnet}} {{.ConfigFrom.Network}} {{.Labels.team}}' front"),
        "10.52.0.0/24 settings red"
    );
    assert!(scene.ok("run --rm --network front busybox ip link show eth0").contains("mtu 1400"));
    let text = scene.fails(1, "network rm settings");
    assert!(text.contains("is in use"), "{text}");
    scene.ok("network prune -f");
    assert_eq!(scene.ok("network ls -q --filter name=front"), "");
    scene.ok("network rm settings");
});

scenario!(the_init_that_comes_with_us_has_no_powers(scene) {
    scene.ok("run -d --name box --init busybox sleep 1000");
    let status = scene.ok("exec box cat /proc/1/status");
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    // It passes signals on (CAP_KILL), and that is all.
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(value(set), "0000000000000020", "{set}");
    }
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!((value("NoNewPrivs").as_str(), value("Seccomp:").as_str()), ("1", "2"));
    scene.ok("run -d --name other --init --user nobody busybox sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.1; done'");
    scene.ok("stop other");
    assert_eq!(scene.inspect("other", "{{.State.ExitCode}}"), "3");
});

scenario!(a_container_joins_anothers_namespaces_and_shared_memory(scene) {
    let script = "echo word > /dev/shm/x; exec sleep 1000";
    scene.ok(&format!("run -d --name donor --ipc shareable busybox sh -c '{script}'"));
    until("the donor wrote", || scene.ok("exec donor ls /dev/shm") == "x");
    assert_eq!(scene.ok("run --rm --ipc container:donor busybox cat /dev/shm/x"), "word");
    scene.ok("run --rm --ipc container:donor busybox sh -c 'echo back > /dev/shm/y'");
    assert_eq!(scene.ok("exec donor cat /dev/shm/y"), "back");
    let listed = scene.ok("run --rm --pid container:donor busybox ps");
    assert!(listed.contains("sleep 1000"), "{listed}");
    let own = scene.ok("exec donor readlink /proc/self/ns/net");
    let joined = scene.ok("run --rm --network container:donor busybox readlink /proc/self/ns/net");
    assert_eq!(own, joined);
    scene.ok("kill donor");
    scene.until_status("donor", "exited");
    for kind in ["ipc", "pid", "network"] {
        let text = scene.fails(125, &format!("run --rm --{kind} container:donor busybox true"));
        assert!(text.contains("non running container"), "{kind}: {text}");
    }
});
