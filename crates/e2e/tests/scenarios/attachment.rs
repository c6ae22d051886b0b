//! Containers join and leave networks, before they run and while they do.

use hull_testkit::{Scene, scenario};

fn sleeper(scene: &Scene, options: &str) {
    scene.ok(&format!("run -d {options} busybox sleep 1000"));
}

fn field(scene: &Scene, container: &str, network: &str, field: &str) -> String {
    scene.inspect(
        container,
        &format!(
            "{{{{with index .NetworkSettings.Networks \"{network}\"}}}}{{{{.{field}}}}}{{{{end}}}}"
        ),
    )
}

fn networks(scene: &Scene, container: &str) -> String {
    scene
        .inspect(
            container,
            "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}",
        )
        .trim()
        .to_owned()
}

scenario!(a_running_container_joins_and_leaves(scene) {
    scene.ok("network create --subnet 10.30.0.0/24 front");
    sleeper(scene, "--name box");
    let since = scene.now();
    scene.ok("network connect --ip 10.30.0.77 --alias other front box");
    assert_eq!(networks(scene, "box"), "bridge front");
    assert_eq!(field(scene, "box", "front", "IPAddress"), "10.30.0.77");
    assert!(scene.ok("exec box ip -o addr show eth1").contains("10.30.0.77/24"));
    let names = scene.inspect("box", "{{json .NetworkSettings.Networks.front.DNSNames}}");
    assert!(names.contains("\"other\""), "{names}");
    let text = scene.fails(1, "network connect front box");
    assert!(text.contains("endpoint with name box already exists in network front"), "{text}");
    scene.ok("network disconnect front box");
    assert_eq!(networks(scene, "box"), "bridge");
    assert_eq!(scene.ok("exec box ls /sys/class/net"), "eth0\nlo");
    let text = scene.fails(1, "network disconnect front box");
    assert!(text.contains("is not connected to network front"), "{text}");
    let events = scene.ok(&format!("events --since {since} --until {} --filter type=network --format {{{{.Action}}}}:{{{{.Actor.Attributes.name}}}}", scene.now()));
    assert_eq!(events.lines().collect::<Vec<_>>(), ["connect:front", "disconnect:front"]);
});

scenario!(a_stopped_container_joins_and_leaves_too(scene) {
    scene.ok("network create front");
    scene.ok("create --name box busybox sleep 1000");
    scene.ok("network connect front box");
    scene.ok("network disconnect bridge box");
    scene.ok("start box");
    assert_eq!(networks(scene, "box"), "front");
    assert_eq!(scene.ok("exec box ls /sys/class/net"), "eth0\nlo");
    scene.daemon.crash();
    assert_eq!(networks(scene, "box"), "front");
    scene.ok("restart -t 0 box");
    assert_eq!(networks(scene, "box"), "front");
    scene.ok("network connect bridge box");
    assert_eq!(networks(scene, "box"), "bridge front");
});

scenario!(several_networks_at_create_with_their_own_settings(scene) {
    scene.ok("network create --subnet 10.31.0.0/24 a");
    scene.ok("network create --subnet 10.32.0.0/24 b");
    sleeper(scene, "--name box --network name=a,ip=10.31.0.9,mac-address=02:42:0a:1f:00:99 --network name=b,alias=there,gw-priority=10,driver-opt=com.docker.network.endpoint.ifname=out0");
    assert_eq!(field(scene, "box", "a", "IPAddress"), "10.31.0.9");
    assert_eq!(field(scene, "box", "a", "MacAddress"), "02:42:0a:1f:00:99");
    assert!(scene.ok("exec box ip -o link show out0").contains("out0"));
    let routes = scene.ok("exec box ip route");
    assert!(routes.contains("default via 10.32.0.1 dev out0"), "{routes}");
    scene.ok("network disconnect b box");
    let routes = scene.ok("exec box ip route");
    assert!(routes.contains("default via 10.31.0.1"), "{routes}");
});

scenario!(the_default_route_goes_by_priority_and_then_by_name(scene) {
    for (name, third) in [("m", 1), ("a", 2), ("z", 3)] {
        scene.ok(&format!("network create --subnet 10.33.{third}.0/24 {name}"));
    }
    scene.ok("network create --internal --subnet 10.33.4.0/24 inner");
    sleeper(scene, "--name box --network m");
    let default = || scene.ok("exec box ip route show default");
    assert!(default().contains("via 10.33.1.1"));
    scene.ok("network connect a box");
    assert!(default().contains("via 10.33.2.1"));
    scene.ok("network connect --gw-priority 5 z box");
    assert!(default().contains("via 10.33.3.1"));
    scene.ok("network connect --gw-priority 9 inner box");
    assert!(default().contains("via 10.33.3.1"));
    scene.ok("network disconnect z box");
    assert!(default().contains("via 10.33.2.1"));
});

scenario!(published_ports_move_to_the_network_that_is_left(scene) {
    scene.ok("network create front");
    scene.ok("run -d --name web -p 8080:80 busybox sh -c 'hostname > /var/www/index.html; exec httpd -f -p 80 -h /var/www'");
    let host = scene.daemon.namespace();
    hull_testkit::until("the port answers", || host.fetch("http://127.0.0.1:8080/").is_some());
    scene.ok("network connect front web");
    scene.ok("network disconnect bridge web");
    assert!(host.fetch("http://127.0.0.1:8080/").is_some());
    assert!(scene.ok("port web").contains("80/tcp -> 0.0.0.0:8080"));
});

scenario!(what_cannot_be_joined_is_said(scene) {
    scene.ok("network create --subnet 10.34.0.0/29 small");
    sleeper(scene, "--name box");
    sleeper(scene, "--name alone --network none");
    sleeper(scene, "--name open --network host");
    let text = scene.fails(1, "network connect nowhere box");
    assert!(text.contains("network nowhere not found"), "{text}");
    let text = scene.fails(1, "network connect small nobody");
    assert!(text.contains("No such container: nobody"), "{text}");
    let text = scene.fails(1, "network connect small alone");
    assert!(text.contains("private (none) mode"), "{text}");
    let text = scene.fails(1, "network connect small open");
    assert!(text.contains("host network"), "{text}");
    let text = scene.fails(1, "network connect --ip 10.35.0.1 small box");
    assert!(text.contains("10.35.0.1"), "{text}");
    let text = scene.fails(1, "network rm bridge");
    assert!(text.contains("pre-defined"), "{text}");
    scene.ok("network connect small box");
    let text = scene.fails(1, "network rm small");
    assert!(text.contains("has active endpoints") && text.contains("box"), "{text}");
    for number in 0..4 {
        sleeper(scene, &format!("--name c{number} --network small"));
    }
    let text = scene.fails(125, "run -d --name full --network small busybox sleep 1000");
    assert!(text.contains("no available"), "{text}");
    scene.ok("rm -f c0");
    hull_testkit::until("an address is free again", || scene.run("start full").code == 0);
});
