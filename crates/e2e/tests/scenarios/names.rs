//! Containers find each other by name on networks of their user's.

use hull_testkit::{Scene, scenario, until};

/// A container that sleeps.
fn sleeper(scene: &Scene, options: &str) {
    scene.ok(&format!("run -d {options} busybox sleep 1000"));
}

/// What a look-up inside a container gives, its lines joined.
fn lookup(scene: &Scene, container: &str, name: &str) -> String {
    let output = scene.run(&format!("exec {container} nslookup {name} 127.0.0.11"));
    output.stdout.replace('\n', " ")
}

fn address(scene: &Scene, container: &str, network: &str) -> String {
    let template = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    scene.inspect(container, &template)
}

scenario!(names_aliases_and_short_ids_are_answered_and_addresses_too(scene) {
    scene.ok("network create front");
    sleeper(scene, "--name web --network front --network-alias www --hostname page");
    sleeper(scene, "--name client --network front");
    let web = address(scene, "web", "front");
    let short = scene.inspect("web", "{{slice .Id 0 12}}");
    for name in ["web", "WEB", "www", "page", "web.front", &short] {
        let answer = lookup(scene, "client", name);
        assert!(answer.contains(&format!("Address: {web}")), "{name}: {answer}");
    }
    assert!(lookup(scene, "client", &web).contains("name = web.front"));
    scene.ok("exec client ping -c 1 -W 5 web");
    let settings = scene.ok("exec client cat /etc/resolv.conf");
    assert!(settings.contains("nameserver 127.0.0.11\n"), "{settings}");
    assert!(settings.contains("ndots:0"), "{settings}");
});

scenario!(names_come_and_go_with_containers_and_change_with_them(scene) {
    scene.ok("network create front");
    sleeper(scene, "--name client --network front");
    assert!(!lookup(scene, "client", "web").contains("Address: 172."));
    sleeper(scene, "--name web --network front");
    scene.ok("exec client ping -c 1 -W 5 web");
    scene.ok("rename web page");
    scene.ok("exec client ping -c 1 -W 5 page");
    scene.fails(1, "exec client ping -c 1 -W 5 web");
    scene.ok("rm -f page");
    scene.fails(1, "exec client ping -c 1 -W 5 page");
});

scenario!(a_shared_alias_takes_turns(scene) {
    scene.ok("network create front");
    sleeper(scene, "--name one --network front --network-alias both");
    sleeper(scene, "--name two --network front --network-alias both");
    sleeper(scene, "--name client --network front");
    let answer = lookup(scene, "client", "both");
    for container in ["one", "two"] {
        assert!(answer.contains(&address(scene, container, "front")), "{answer}");
    }
    let firsts: std::collections::BTreeSet<_> = (0..6).map(|_| {
        let answer = lookup(scene, "client", "both");
        answer.split("Address: ").nth(1).map(str::to_owned)
    }).collect();
    assert_eq!(firsts.len(), 2, "{firsts:?}");
});

scenario!(a_link_is_known_to_one_container_alone(scene) {
    scene.ok("network create front");
    sleeper(scene, "--name web --network front");
    sleeper(scene, "--name linked --network front --link web:mine");
    sleeper(scene, "--name other --network front");
    scene.ok("exec linked ping -c 1 -W 5 mine");
    scene.fails(1, "exec other ping -c 1 -W 5 mine");
});

scenario!(names_of_other_networks_are_not_known(scene) {
    scene.ok("network create front");
    scene.ok("network create back");
    sleeper(scene, "--name web --network front");
    sleeper(scene, "--name db --network back");
    sleeper(scene, "--name both --network front --network back");
    scene.ok("exec both ping -c 1 -W 5 web");
    scene.ok("exec both ping -c 1 -W 5 db");
    scene.fails(1, "exec web ping -c 1 -W 5 db");
    sleeper(scene, "--name plain");
    scene.fails(1, "exec plain ping -c 1 -W 5 web");
    assert!(!scene.ok("exec plain cat /etc/resolv.conf").contains("127.0.0.11"));
});

scenario!(port_53_is_free_for_the_container(scene) {
    scene.daemon.load("debian");
    scene.ok("network create front");
    sleeper(scene, "--name web --network front");
    let serve = r#"use IO::Socket::INET; $u = IO::Socket::INET->new(LocalPort => 53, Proto => "udp") or die; $t = IO::Socket::INET->new(LocalPort => 53, Listen => 1) or die; print "bound\n"; sleep 1000"#;
    scene.ok(&format!("run -d --name dns --network front debian perl -e '$|=1; {serve}'"));
    until("both ports are bound", || scene.ok("logs dns") == "bound");
    let get = "getent hosts web";
    assert!(scene.ok(&format!("exec dns {get}")).contains(&address(scene, "web", "front")));
});

scenario!(names_are_answered_while_the_daemon_is_away_and_after(scene) {
    scene.ok("network create front");
    sleeper(scene, "--name web --network front");
    let address = address(scene, "web", "front");
    let asks = "until ping -c 1 -W 1 web >/dev/null 2>&1; do :; done; while :; do nslookup web 127.0.0.11 | grep -c 172 >> /tmp/log; usleep 50000; done";
    scene.ok(&format!("run -d --name client --network front busybox sh -c '{asks}'"));
    scene.daemon.kill();
    let log = || {
        let pid = scene.daemon.processes_named("sh").pop()?;
        std::fs::read_to_string(format!("/proc/{pid}/root/tmp/log")).ok()
    };
    let before = log().unwrap_or_default().lines().count();
    until("names are answered without a daemon", || log().is_some_and(|text| text.lines().count() > before + 3));
    let all = log().unwrap_or_default();
    assert!(all.lines().all(|line| line == "1"), "{all}");
    scene.daemon.launch();
    sleeper(scene, "--name late --network front");
    scene.ok("exec late ping -c 1 -W 5 web");
    scene.ok("exec client ping -c 1 -W 5 late");
    assert!(lookup(scene, "late", "web").contains(&address));
});

scenario!(a_killed_resolver_is_replaced(scene) {
    scene.ok("network create front");
    sleeper(scene, "--name web --network front");
    sleeper(scene, "--name client --network front");
    let resolver = scene.daemon.processes_named("hull-resolver");
    assert_eq!(resolver.len(), 1);
    scene.daemon.namespace().run(&format!("kill -9 {}", resolver[0]));
    until("another answers", || scene.run("exec client ping -c 1 -W 5 web").code == 0);
});

scenario!(one_taken_from_the_default_network_finds_names_too(scene) {
    scene.ok("network create front");
    sleeper(scene, "--name web --network front");
    sleeper(scene, "--name plain");
    scene.ok("network connect front plain");
    scene.ok("exec plain ping -c 1 -W 5 web");
    scene.ok("network disconnect front plain");
    scene.fails(1, "exec plain ping -c 1 -W 5 web");
    assert!(!scene.ok("exec plain cat /etc/resolv.conf").contains("127.0.0.11"));
});
