//! The default bridge, published ports, and the modes without one.

use hull_testkit::{Client, Scene, scenario, until};

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
    let text = scene.fails(1, "network create --subnet 10.99.0.0/25 x");
    assert!(text.contains("10.99.0.1 is the host's own address"), "{text}");
    scene.ok("rm -f web");
    assert_eq!(host.fetch("http://127.0.0.1:8080/"), None);
    assert_eq!(outside.fetch("http://10.99.0.1:8080/"), None);
});

scenario!(a_published_port_answers_by_ipv6_though_the_container_has_none(scene) {
    web(scene, "--name web -h web -p 8080:80 -p [::1]:8081:80");
    let host = scene.daemon.namespace();
    let answers = |port: u16| host.fetch(&format!("http://[::1]:{port}/")).as_deref() == Some("web\n");
    until("the port answers", || answers(8080));
    assert!(answers(8081));
    let ports = scene.ok("port web");
    assert!(ports.contains("[::]:8080") && ports.contains("[::1]:8081"), "{ports}");
    // What connections leave behind keeps nobody from the port.
    scene.ok("restart -t 0 web");
    until("the port answers again", || answers(8080) && answers(8081));
    scene.ok("rm -f web");
    assert!(!answers(8080) && !answers(8081));
});

scenario!(networks_that_cannot_be_are_refused(scene) {
    let refused = |line: &str, why: &str| {
        let text = scene.fails(1, line);
        assert!(text.contains(why), "{line}: {text}");
    };
    refused("network create default", "operation is not permitted on predefined default network");
    refused("network create -o com.docker.network.bridge.name=br%d x", "invalid interface name");
    refused("network create --subnet 10.1.0.0/24 --subnet 10.1.0.0/16 x", "overlap");
    for (subnet, why) in [
        ("10.1.0.0/32", "it has one address"),
        ("255.255.255.0/24", "nobody's"),
        ("239.1.0.0/24", "invalid subnet"),
        ("127.8.0.0/16", "invalid subnet"),
    ] {
        refused(&format!("network create --subnet {subnet} x"), why);
    }
    refused("network create --ipv6 --subnet ::ffff:10.5.0.0/120 x", "invalid subnet");
    refused("network create --subnet 10.1.0.0/24 --gateway 10.1.0.1 --aux-address me=10.1.0.1 x", "gateway's");
    scene.ok("network create front");
    scene.ok("run -d --name box busybox sleep 1000");
    let long = "a".repeat(70_000);
    refused(&format!("network connect --driver-opt com.docker.network.endpoint.ifname={long} front box"), "invalid interface name");
    scene.ok("network create -o com.docker.network.bridge.default_bridge=true mine");
    assert_eq!(scene.ok("network ls -q -f name=^fr").lines().count(), 1);
    scene.ok("network rm front mine");
});

scenario!(what_belongs_to_another_containers_network_is_refused(scene) {
    scene.ok("run -d --name box busybox sleep 1000");
    for (option, why) in [
        ("--hostname me", "conflicting options: hostname and the network mode"),
        ("--dns 10.0.0.1", "conflicting options: dns and the network mode"),
        ("--add-host a:10.0.0.1", "conflicting options: custom host-to-IP mapping and the network mode"),
        ("-p 80:80", "conflicting options: port publishing and the container type network mode"),
        ("--expose 80", "conflicting options: port exposing and the container type network mode"),
    ] {
        let text = scene.fails(125, &format!("run --rm --network container:box {option} busybox true"));
        assert!(text.contains(why), "{option}: {text}");
    }
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

scenario!(a_network_chooses_where_its_ports_are_published(scene) {
    let outside = scene.daemon.namespace().neighbour();
    scene.ok("network create -o publish-default=127.0.0.1 home");
    web(scene, "--name web -h web --network home -p 8080:80");
    until("the port answers", || scene.daemon.namespace().fetch("http://127.0.0.1:8080/").is_some());
    assert_eq!(outside.fetch("http://10.99.0.1:8080/"), None);
    assert_eq!(scene.ok("port web"), "80/tcp -> 127.0.0.1:8080");
});

scenario!(a_routed_network_is_reached_by_its_own_addresses(scene) {
    let outside = scene.daemon.namespace().neighbour();
    scene.ok("network create --subnet 10.60.0.0/24 -o com.docker.network.bridge.gateway_mode_ipv4=routed routed");
    scene.ok("network create --subnet 10.61.0.0/24 -o com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected open");
    web(scene, "--name web -h web --network routed --ip 10.60.0.9 -p 80");
    web(scene, "--name open -h open --network open --ip 10.61.0.9");
    outside.run("ip route add 10.60.0.0/15 via 10.99.0.1");
    until("a published port answers directly", || outside.fetch("http://10.60.0.9/").as_deref() == Some("web\n"));
    until("an open network answers directly", || outside.fetch("http://10.61.0.9/").as_deref() == Some("open\n"));
    if scene.client == Client::Hull {
        let audit = scene.ok("port audit");
        assert!(audit.contains("whoever has a route to 10.60.0.9"), "{audit}");
    }
    // No port of the host's is in use, so none is shown.
    assert_eq!(scene.ok("ps --filter name=web --format {{.Ports}}"), "80/tcp");
    assert_eq!(scene.ok("inspect web --format {{.NetworkSettings.Ports}}"), "map[80/tcp:[{0.0.0.0 }]]");
    scene.ok("rm -f web");
    web(scene, "--name hidden -h hidden --network routed --ip 10.60.0.9");
    until("it answers inside", || scene.run("exec hidden wget -q -O - http://127.0.0.1/").code == 0);
    assert_eq!(outside.fetch("http://10.60.0.9/"), None, "what is not published is not reached");
});

scenario!(a_macvlan_without_a_parent_is_a_wire_of_its_own(scene) {
    scene.ok("network create -d macvlan --subnet 10.62.0.0/24 alone");
    let parent = scene.ok("network inspect alone --format {{.Options.parent}}");
    web(scene, "--name web -h web --network alone --ip 10.62.0.9");
    scene.ok("run -d --name asks --network alone busybox sleep 1000");
    until("neighbours reach each other", || scene.run("exec asks wget -q -O - http://10.62.0.9/").stdout == "web\n");
    scene.daemon.kill();
    scene.daemon.launch();
    assert_eq!(scene.ok("exec asks wget -q -O - http://10.62.0.9/"), "web");
    let has_link = |scene: &Scene| scene.daemon.namespace().run("ip -o link").contains(&parent);
    assert!(has_link(scene));
    scene.ok("rm -f web asks");
    scene.ok("network rm alone");
    assert!(!has_link(scene));
});

scenario!(ports_lead_through_the_network_that_leads_out(scene) {
    scene.ok("network create zebra");
    scene.ok("network create ant");
    web(scene, "--name web -h web --network zebra -p 8080:80");
    let host = scene.daemon.namespace();
    let answers = || host.fetch("http://127.0.0.1:8080/").as_deref() == Some("web\n");
    until("it answers", answers);
    // The first in the alphabet gives the default route.
    scene.ok("network connect ant web");
    until("it answers through the other network", answers);
    assert_eq!(scene.ok("port web"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
    scene.ok("network disconnect zebra web");
    until("it still does", answers);
    scene.ok("network connect zebra web");
    scene.ok("network disconnect ant web");
    until("it does again", answers);
    scene.ok("rm -f web");
    assert!(!answers());
});

scenario!(a_bridge_has_one_subnet_of_a_family(scene) {
    let text = scene.fails(1, "network create --subnet 10.63.0.0/24 --subnet 10.64.0.0/24 two");
    assert!(text.contains("bridge driver doesn't support multiple subnets: 10.64.0.0/24"), "{text}");
    scene.ok("network create --subnet 10.63.0.0/24 --subnet fd63::/64 --ipv6 both");
    let text = scene.fails(1, "network create -o hull.antispoofing=true typo");
    assert!(text.contains("hull.antispoof"), "{text}");
});

scenario!(who_is_in_no_network_can_leave_that_for_another(scene) {
    scene.ok("run -d --name box --network none busybox sleep 1000");
    scene.ok("network create front");
    let text = scene.fails(1, "network connect front box");
    assert!(text.contains("private (none) mode"), "{text}");
    scene.ok("network disconnect none box");
    scene.ok("network connect front box");
    let names = "ps --filter name=box --format {{.Networks}}";
    assert_eq!(scene.ok(names), "front");
    assert!(scene.ok("exec box ip addr show eth0").contains("inet "));
    scene.ok("restart -t 0 box");
    assert!(scene.ok("exec box ip addr show eth0").contains("inet "));
    let text = scene.fails(1, "network connect none box");
    assert!(text.contains("private (none) mode"), "{text}");
    scene.ok("network disconnect front box");
    scene.ok("network connect none box");
    assert_eq!(scene.ok(names), "none");
    // So can who was in another from the beginning; and it is in none after a restart, too.
    scene.ok("run -d --name other --network front busybox sleep 1000");
    scene.ok("network disconnect front other");
    scene.ok("network connect none other");
    scene.ok("restart -t 0 other");
    assert_eq!(scene.ok("exec other ls /sys/class/net"), "lo");
    scene.fails(1, "network connect front other");
});

scenario!(a_macvlan_is_on_the_hosts_own_wire(scene) {
    let outside = scene.daemon.namespace().neighbour();
    scene.ok("network create -d macvlan --subnet 10.99.0.0/24 --gateway 10.99.0.2 -o parent=cable lan");
    scene.ok("run -d --name a1 --network lan --ip 10.99.0.50 busybox sleep 1000");
    web(scene, "--name web -h web --network lan --ip 10.99.0.51");
    until("it answers on the wire", || outside.fetch("http://10.99.0.51/").as_deref() == Some("web\n"));
    scene.ok("exec a1 ping -c 1 -W 5 web");
    scene.ok("exec a1 ping -c 1 -W 5 10.99.0.2");
    assert!(scene.ok("exec a1 ip route").contains("default via 10.99.0.2"));
    let text = scene.fails(1, "network create -d macvlan -o parent=cable second");
    assert!(text.contains("network lan is already using parent interface cable"), "{text}");
    let text = scene.fails(1, "network create -d macvlan -o parent=nowhere third");
    assert!(text.contains("nowhere"), "{text}");
    scene.ok("network disconnect lan a1");
    assert_eq!(scene.ok("exec a1 ls /sys/class/net"), "lo");
});

scenario!(an_ipvlan_works_or_is_refused_in_words(scene) {
    let _outside = scene.daemon.namespace().neighbour();
    scene.ok("network create -d ipvlan --subnet 10.99.0.0/24 --gateway 10.99.0.2 -o parent=cable lan");
    let output = scene.run("run -d --name a1 --network lan --ip 10.99.0.50 busybox sleep 1000");
    if output.code == 0 {
        scene.ok("exec a1 ping -c 1 -W 5 10.99.0.2");
    } else {
        assert!(output.stderr.contains("this kernel has no such interfaces"), "{}", output.stderr);
    }
});

scenario!(settings_of_an_interface_and_of_a_bridge_are_kept(scene) {
    scene.ok("network create -o com.docker.network.driver.mtu=1400 -o com.docker.network.bridge.name=mine0 -o com.docker.network.container_iface_prefix=net mine");
    assert!(scene.daemon.namespace().run("ip link show mine0").contains("mtu 1400"));
    scene.ok("run -d --name box --network name=mine,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1 busybox sleep 1000");
    assert!(scene.ok("exec box ip link show net0").contains("mtu 1400"));
    assert_eq!(scene.ok("exec box cat /proc/sys/net/ipv4/conf/net0/log_martians"), "1");
    let text = scene.fails(1, "network create -o com.docker.network.driver.mtu=20 tiny");
    assert!(text.contains("68 to 65535"), "{text}");
});

#[test]
fn ports_are_published_and_withdrawn_while_it_runs() {
    Scene::play(Client::Hull, |scene| {
        let outside = scene.daemon.namespace().neighbour();
        web(scene, "--name web -h web");
        scene.ok("run -d --name other -p 9090:9 busybox sleep 1000");
        let host = scene.daemon.namespace();
        scene.ok("update --publish-add 8080:80 --publish-add 127.0.0.1:8081:80 web");
        until("the new port answers", || {
            outside.fetch("http://10.99.0.1:8080/").as_deref() == Some("web\n")
        });
        assert!(host.fetch("http://127.0.0.1:8081/").is_some());
        let audit = scene.ok("port audit");
        assert!(audit.contains("this host only"), "{audit}");
        assert!(audit.contains("everywhere by IPv4"), "{audit}");
        assert!(!audit.contains("INPUT"), "{audit}");
        let text = scene.fails(1, "update --publish-add 9090:80 web");
        assert!(text.contains("container other"), "{text}");
        scene.ok("update --publish-rm 8080:80 web");
        assert_eq!(outside.fetch("http://10.99.0.1:8080/"), None);
        assert_eq!(scene.ok("port web"), "80/tcp -> 127.0.0.1:8081");
        scene.ok("restart -t 0 web");
        until("it is published again", || {
            host.fetch("http://127.0.0.1:8081/").is_some()
        });
        assert_eq!(outside.fetch("http://10.99.0.1:8080/"), None);
        scene.ok("update --publish-rm 80 web");
        assert_eq!(scene.ok("port web"), "");
        let text = scene.fails(1, "update --publish-rm 80 web");
        assert!(text.contains("80/tcp is not published"), "{text}");
    });
}
