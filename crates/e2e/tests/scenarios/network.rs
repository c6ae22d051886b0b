//! The default bridge, published ports, and the modes without one.

use hull_testkit::{Scene, scenario, until};

/// Starts a web server that serves its own host name.
fn web(scene: &Scene, options: &str) {
    scene.ok(&format!("run -d {options} busybox sh -c 'hostname > /var/www/index.html; exec httpd -f -p 80 -h /var/www'"));
}

scenario!(a_published_port_answers_on_the_host_and_outside(scene) {
    let outside = scene.daemon.namespace().neighbour();
    web(scene, "--name web -h web -p 8080:80");
    let host = scene.daemon.namespace();
    until("the port answers", || host.fetch("http://127.0.0.1:8080/").as_deref() == Some("web\n"));
    assert_eq!(host.fetch("http://10.99.0.1:8080/").as_deref(), Some("web\n"));
    assert_eq!(outside.fetch("http://10.99.0.1:8080/").as_deref(), Some("web\n"));
    scene.ok("rm -f web");
    assert_eq!(host.fetch("http://127.0.0.1:8080/"), None);
    assert_eq!(outside.fetch("http://10.99.0.1:8080/"), None);
});

scenario!(a_port_on_loopback_is_not_seen_outside(scene) {
    let outside = scene.daemon.namespace().neighbour();
    web(scene, "--name web -h web -p 127.0.0.1:8080:80");
    until("the port answers", || scene.daemon.namespace().fetch("http://127.0.0.1:8080/").is_some());
    assert_eq!(outside.fetch("http://10.99.0.1:8080/"), None);
    let address = scene.inspect("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    outside.run("ip route add 172.16.0.0/12 via 10.99.0.1");
    assert_eq!(outside.fetch(&format!("http://{address}/")), None, "what is not published is not reached directly");
});

scenario!(a_free_port_is_chosen_when_none_is_named(scene) {
    web(scene, "--name web -h web -p 80");
    let port = scene.inspect("web", "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}");
    until("the port answers", || scene.daemon.namespace().fetch(&format!("http://127.0.0.1:{port}/")).is_some());
    scene.ok("run -d --name all -P --expose 80 busybox sleep 1000");
    assert!(scene.ok("port all 80").contains(':'));
});

scenario!(containers_reach_each_other_and_the_world_outside(scene) {
    let outside = scene.daemon.namespace().neighbour();
    web(scene, "--name web -h web");
    let address = scene.inspect("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    until("the other answers", || scene.run(&format!("run --rm busybox wget -q -O - http://{address}/")).stdout == "web\n");
    scene.ok("run --rm busybox ping -c 1 -W 5 10.99.0.2");
    drop(outside);
    let routes = scene.ok("run --rm busybox ip route");
    assert!(routes.starts_with("default via "), "{routes}");
});

scenario!(links_name_another_container(scene) {
    web(scene, "--name web -h web");
    until("the other answers", || scene.run("run --rm --link web:other busybox wget -q -O - http://other/").stdout == "web\n");
});

scenario!(none_has_only_itself(scene) {
    assert_eq!(scene.ok("run --rm --network none busybox ls /sys/class/net"), "lo");
    assert!(scene.ok("run --rm --network none busybox ip -o addr").contains("127.0.0.1/8"));
});

scenario!(host_shares_the_hosts(scene) {
    let own = scene.daemon.namespace().run("readlink /proc/self/ns/net");
    assert_eq!(scene.ok("run --rm --network host busybox readlink /proc/self/ns/net"), own.trim());
});

scenario!(another_containers_network_can_be_joined(scene) {
    web(scene, "--name web -h web");
    until("it answers inside", || scene.run("run --rm --network container:web busybox wget -q -O - http://127.0.0.1/").stdout == "web\n");
    assert_eq!(scene.ok("run --rm --network container:web busybox hostname"), "web");
    let text = scene.fails(125, "run --rm --network container:nobody busybox true");
    assert!(text.contains("No such container: nobody"), "{text}");
});

scenario!(a_port_that_is_taken_is_refused_and_can_be_tried_again(scene) {
    web(scene, "--name first -h first -p 8080:80");
    let text = scene.fails(125, "run -d --name second -p 8080:80 busybox sleep 1000");
    assert!(text.contains("port is already allocated") || text.contains("address already in use"), "{text}");
    scene.ok("rm -f first");
    scene.ok("start second");
    assert_eq!(scene.inspect("second", "{{.State.Running}}"), "true");
});

scenario!(an_address_is_used_again_and_never_twice(scene) {
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..8 {
        scene.ok(&format!("run -d --name c{number} busybox sleep 1000"));
        assert!(seen.insert(scene.inspect(&format!("c{number}"), "{{.NetworkSettings.Networks.bridge.IPAddress}}")), "an address was given twice");
    }
});

scenario!(udp_is_published_too(scene) {
    scene.daemon.load("debian");
    let echo = r#"$s = IO::Socket::INET->new(LocalPort => 53, Proto => "udp"); while ($s->recv($m, 99)) { $s->send($m) }"#;
    scene.ok(&format!("run -d --name echo -p 5353:53/udp debian perl -MIO::Socket::INET -e '{echo}'"));
    let line = "bash -c 'exec 3<>/dev/udp/127.0.0.1/5353; echo hello >&3; timeout 2 head -n1 <&3 || true'";
    until("it answers", || scene.daemon.namespace().run(line) == "hello\n");
});
