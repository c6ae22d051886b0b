//! Networks on the real kernel. Each test has a host of its own: a fresh network namespace, joined
//! to a second one that plays the outside world.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    process::Command,
    time::{Duration, Instant},
};

use hull_network::{
    Config, Driver, Endpoint, EndpointRequest, Error, Network, Networks, PortRequest, Protocol,
    Published, Sandbox,
};
use hull_sys::netlink::namespace;

const HOST: &str = "192.0.2.2";
const OUTSIDE: &str = "192.0.2.9";
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs `test` on a host of its own.
fn on_a_host<T: Send>(test: impl FnOnce(&Outside) -> T + Send) -> T {
    let (outside, ()) = namespace::create(|| {
        ip("link set lo up");
        Ok(())
    })
    .unwrap();
    let (_host, result) = namespace::create(|| {
        ip("link set lo up");
        ip("link add up0 type veth peer name out0");
        ip(&format!("addr add {HOST}/24 dev up0"));
        ip("link set up0 up");
        let path = format!("/proc/{}/fd/{}", std::process::id(), raw(&outside));
        ip(&format!("link set out0 netns {path}"));
        namespace::enter(outside.as_fd(), || {
            ip(&format!("addr add {OUTSIDE}/24 dev out0"));
            ip("link set out0 up");
            Ok(())
        })?;
        Ok(test(&Outside(outside)))
    })
    .unwrap();
    result
}

struct Outside(OwnedFd);

fn raw(fd: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    fd.as_raw_fd()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn ip(arguments: &str) -> String {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

fn nft(arguments: &str) -> String {
    run("nft", &arguments.split(' ').collect::<Vec<_>>())
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn open() -> Networks {
    let networks = Networks::open(Config::default(), &[]).unwrap();
    assert_eq!(networks.restore(Vec::new()).unwrap(), Vec::<String>::new());
    networks
}

struct Container {
    sandbox: Sandbox,
    endpoint: Endpoint,
}

fn container(networks: &Networks, name: &str) -> Container {
    container_in(networks, "bridge", name)
}

fn container_in(networks: &Networks, network: &str, name: &str) -> Container {
    let sandbox = networks.sandbox().unwrap();
    let request = EndpointRequest {
        container_id: format!("{name}-id"),
        container_name: name.to_owned(),
        ..Default::default()
    };
    let endpoint = networks
        .connect(sandbox.as_fd(), network, &request)
        .unwrap();
    Container { sandbox, endpoint }
}

fn address(container: &Container) -> IpAddr {
    container.endpoint.ipv4.unwrap().addr().into()
}

/// A server that tells each client the address it comes from.
fn serve(at: BorrowedFd<'_>, port: u16) {
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    serve_on(at, any);
}

fn serve_on(at: BorrowedFd<'_>, address: SocketAddr) {
    let listener = namespace::enter(at, || TcpListener::bind(address)).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = write!(stream, "{}", peer.ip().to_canonical());
        }
    });
}

/// What a server says to a client in `from`.
fn ask(from: BorrowedFd<'_>, address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    namespace::enter(from, || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })
}

/// The same after a change of links, when the first packets may be lost.
fn ask_again(from: BorrowedFd<'_>, address: &str) -> io::Result<String> {
    let tries = (0..10).map(|_| ask(from, address));
    let mut last = None;
    for answer in tries {
        match answer {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => last = Some(error),
            answer => return answer,
        }
    }
    Err(last.unwrap())
}

fn here() -> OwnedFd {
    namespace::current().unwrap()
}

fn tcp(container_port: u16, host: Option<&str>, host_port: Option<u16>) -> PortRequest {
    PortRequest {
        container_port,
        protocol: Protocol::Tcp,
        host_ip: host.map(|text| text.parse().unwrap()),
        host_ports: host_port.map(|port| (port, port)),
    }
}

#[test]
fn a_container_has_the_address_gateway_and_interface_docker_gives() {
    on_a_host(|_| {
        let networks = open();
        let web = container(&networks, "web");
        let endpoint = &web.endpoint;
        assert_eq!(endpoint.ipv4.unwrap().to_string(), "172.17.0.2/16");
        assert_eq!(endpoint.gateway.unwrap().to_string(), "172.17.0.1");
        assert_eq!(endpoint.mac, "02:42:ac:11:00:02");
        assert_eq!(endpoint.interface, "eth0");
        assert_eq!(endpoint.id.len(), 64);
        let (addresses, routes, neighbours) = namespace::enter(web.sandbox.as_fd(), || {
            Ok((ip("-o addr"), ip("route"), ip("-6 addr")))
        })
        .unwrap();
        assert!(
            addresses.contains("eth0    inet 172.17.0.2/16 brd 172.17.255.255"),
            "{addresses}"
        );
        assert!(addresses.contains("127.0.0.1/8"), "{addresses}");
        assert!(
            routes.starts_with("default via 172.17.0.1 dev eth0"),
            "{routes}"
        );
        assert_eq!(neighbours, "", "a network without IPv6 has none");
        let link = ip(&format!("-d link show {}", endpoint.host_interface));
        assert!(
            link.contains("master hull0") && link.contains("hairpin on"),
            "{link}"
        );
        assert_eq!(
            ip(&format!("-6 addr show dev {}", endpoint.host_interface)),
            ""
        );
        assert_eq!(
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
                .unwrap()
                .trim(),
            "1"
        );
    });
}

#[test]
fn containers_reach_the_gateway_each_other_and_the_outside_under_the_hosts_address() {
    on_a_host(|outside| {
        let networks = open();
        let (a, b) = (container(&networks, "a"), container(&networks, "b"));
        let host = here();
        serve(host.as_fd(), 7000);
        serve(outside.0.as_fd(), 7001);
        serve(b.sandbox.as_fd(), 7002);
        let from = a.sandbox.as_fd();
        assert_eq!(
            ask(from, "172.17.0.1:7000").unwrap(),
            address(&a).to_string()
        );
        assert_eq!(ask(from, &format!("{OUTSIDE}:7001")).unwrap(), HOST);
        assert_eq!(
            ask(from, &format!("{}:7002", address(&b))).unwrap(),
            address(&a).to_string()
        );
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_keeps_the_clients_address() {
    on_a_host(|outside| {
        let networks = open();
        let (web, other) = (container(&networks, "web"), container(&networks, "other"));
        serve(web.sandbox.as_fd(), 80);
        let published = networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        assert_eq!(published.len(), 1);
        assert_eq!(published[0].host_ip.to_string(), "0.0.0.0");
        let host = here();
        // From outside: the source stays.
        assert_eq!(
            ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap(),
            OUTSIDE
        );
        // From the host, by its loopback and by its own address.
        assert_eq!(ask(host.as_fd(), "127.0.0.1:8080").unwrap(), "172.17.0.1");
        ask(host.as_fd(), "127.9.9.9:8080").unwrap();
        ask(host.as_fd(), &format!("{HOST}:8080")).unwrap();
        // From a neighbour, and from the container itself, by the host's addresses.
        for client in [&other, &web] {
            for target in [HOST, "172.17.0.1"] {
                let answer = ask(client.sandbox.as_fd(), &format!("{target}:8080"));
                assert_eq!(
                    answer.unwrap(),
                    "172.17.0.1",
                    "{}",
                    client.endpoint.container_name
                );
            }
        }
        networks.unpublish(&web.endpoint, &published).unwrap();
        let refused = ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        TcpListener::bind(("0.0.0.0", 8080)).unwrap();
    });
}

#[test]
fn what_is_not_published_or_only_on_the_loopback_is_not_reached_from_outside() {
    on_a_host(|outside| {
        let networks = open();
        let web = container(&networks, "web");
        serve(web.sandbox.as_fd(), 80);
        serve(web.sandbox.as_fd(), 81);
        networks
            .publish(&web.endpoint, &[tcp(80, Some("127.0.0.1"), Some(8080))])
            .unwrap();
        let (host, away) = (here(), outside.0.as_fd());
        serve_on(host.as_fd(), "127.0.0.1:9000".parse().unwrap());
        ask(host.as_fd(), "127.0.0.1:8080").unwrap();
        ask(away, &format!("{HOST}:8080")).unwrap_err();
        // A neighbour on the wire that routes through this host.
        namespace::enter(away, || {
            ip(&format!("route add 172.17.0.0/16 via {HOST}"));
            ip("addr del 127.0.0.1/8 dev lo");
            ip(&format!("route add 127.0.0.0/8 via {HOST} src {OUTSIDE}"));
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")
        })
        .unwrap();
        ask(away, "172.17.0.2:80").unwrap_err();
        ask(away, "172.17.0.2:81").unwrap_err();
        ask(away, "127.0.0.1:8080").unwrap_err();
        // A container that sends the host's loopback address over its bridge.
        namespace::enter(web.sandbox.as_fd(), || {
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")?;
            ip("addr del 127.0.0.1/8 dev lo");
            ip("route add 127.0.0.0/8 via 172.17.0.1 src 172.17.0.2");
            Ok(())
        })
        .unwrap();
        ask(web.sandbox.as_fd(), "127.0.0.1:9000").unwrap_err();
        ask(host.as_fd(), "127.0.0.1:9000").unwrap();
    });
}

#[test]
fn a_udp_client_follows_the_port_to_the_next_container() {
    on_a_host(|outside| {
        let networks = open();
        let client = namespace::enter(outside.0.as_fd(), || {
            let client = UdpSocket::bind("0.0.0.0:5000")?;
            client.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok(client)
        })
        .unwrap();
        let request = PortRequest {
            protocol: Protocol::Udp,
            ..tcp(53, None, Some(53))
        };
        for name in ["first", "second"] {
            let dns = container(&networks, name);
            let server =
                namespace::enter(dns.sandbox.as_fd(), || UdpSocket::bind("0.0.0.0:53")).unwrap();
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            networks.publish(&dns.endpoint, &[request]).unwrap();
            client.send_to(b"who", (HOST, 53)).unwrap();
            let mut buffer = [0; 16];
            let (_, peer) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(peer.to_string(), format!("{OUTSIDE}:5000"));
            server.send_to(name.as_bytes(), peer).unwrap();
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], name.as_bytes());
            assert_eq!(from.to_string(), format!("{HOST}:53"));
            networks.disconnect(&dns.endpoint).unwrap();
        }
    });
}

#[test]
fn a_taken_port_is_refused_and_its_holder_is_named() {
    on_a_host(|_| {
        let networks = open();
        let (a, b) = (container(&networks, "a"), container(&networks, "b"));
        networks
            .publish(&a.endpoint, &[tcp(80, None, Some(80))])
            .unwrap();
        let wanted = [
            tcp(81, None, Some(81)),
            tcp(80, Some("127.0.0.1"), Some(80)),
        ];
        let error = networks.publish(&b.endpoint, &wanted).unwrap_err();
        let text = "Bind for 127.0.0.1:80 failed: port is already allocated";
        assert_eq!(error.to_string(), text);
        assert!(
            error.hint().unwrap().contains("container a"),
            "{:?}",
            error.hint()
        );
        TcpListener::bind("0.0.0.0:81").unwrap();
        let _server = TcpListener::bind("0.0.0.0:82").unwrap();
        let error = networks
            .publish(&b.endpoint, &[tcp(82, None, Some(82))])
            .unwrap_err();
        assert!(matches!(error, Error::PortTaken { .. }));
        let own = format!("(pid {})", std::process::id());
        assert!(error.hint().unwrap().contains(&own), "{:?}", error.hint());
        let rules = nft("list table inet hull");
        assert_eq!(
            rules.matches("tcp . 8").count(),
            1,
            "nothing half done is left: {rules}"
        );
        // A range takes the first free one, and no port any free one.
        let range = PortRequest {
            host_ports: Some((80, 83)),
            ..tcp(80, None, None)
        };
        assert_eq!(
            networks.publish(&b.endpoint, &[range]).unwrap()[0].host_port,
            81
        );
        let any = networks
            .publish(&b.endpoint, &[tcp(80, None, None); 2])
            .unwrap();
        assert!(
            any[0].host_port >= 32768 && any[0].host_port != any[1].host_port,
            "{any:?}"
        );
    });
}

#[test]
fn flushed_rules_and_a_deleted_bridge_come_back_and_foreign_rules_stay() {
    on_a_host(|outside| {
        let networks = open();
        let web = container(&networks, "web");
        serve(web.sandbox.as_fd(), 80);
        networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        let before = nft("list ruleset");
        assert_eq!(networks.heal().unwrap(), hull_network::Healed::default());
        for damage in [
            "flush ruleset",
            "delete table inet hull",
            "flush chain inet hull forward",
            "delete element inet hull any4 { tcp . 8080 }",
        ] {
            nft(damage);
            assert!(is_readable(networks.monitor_fd()), "{damage}");
            assert!(networks.heal().unwrap().rules, "{damage}");
            assert_eq!(nft("list ruleset"), before);
            ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap();
        }
        nft("add table inet foreign");
        assert!(!networks.heal().unwrap().rules);
        nft("delete table inet hull");
        networks.heal().unwrap();
        assert!(nft("list tables").contains("foreign"));
        ip("link del hull0");
        assert!(is_readable(networks.monitor_fd()));
        assert_eq!(networks.heal().unwrap().bridges, ["hull0"]);
        assert_eq!(
            ask_again(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap(),
            OUTSIDE
        );
        assert_eq!(networks.heal().unwrap(), hull_network::Healed::default());
    });
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let timeout = rustix::event::Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&timeout)).unwrap() == 1
}

#[test]
fn a_hundred_containers_leave_nothing() {
    on_a_host(|_| {
        let networks = open();
        let request = [tcp(80, None, None)];
        let mut containers = Vec::new();
        for number in 0..100 {
            let container = container(&networks, &format!("c{number}"));
            networks.publish(&container.endpoint, &request).unwrap();
            containers.push(container);
        }
        assert_eq!(ip("-o link show type veth").matches("hv").count(), 100);
        for (number, container) in containers.into_iter().enumerate() {
            networks.disconnect(&container.endpoint).unwrap();
            // Half of them live on: their links are taken away.
            if number % 2 == 0 {
                std::mem::forget(container.sandbox);
            }
        }
        eventually("all links gone", || {
            !ip("-o link show type veth").contains("hv")
        });
        assert_eq!(networks.reconcile().unwrap(), []);
        assert!(!nft("list table inet hull").contains("tcp . "));
        eventually("addresses are free", || {
            let next = container(&networks, "next");
            networks.disconnect(&next.endpoint).unwrap();
            next.endpoint.ipv4.unwrap().addr() < Ipv4Addr::new(172, 17, 0, 90)
        });
        networks.tear_down().unwrap();
        assert_eq!(nft("list ruleset"), "");
        assert!(!ip("link").contains("hull0"));
    });
}

#[test]
fn a_failed_connect_leaves_nothing() {
    on_a_host(|_| {
        let networks = open();
        let null = std::fs::File::open("/dev/null").unwrap();
        let request = EndpointRequest::default();
        networks
            .connect(null.as_fd(), "bridge", &request)
            .unwrap_err();
        let sandbox = Sandbox::create().unwrap();
        let taken = EndpointRequest {
            ipv4: Some([172, 17, 0, 1].into()),
            ..request.clone()
        };
        let error = networks
            .connect(sandbox.as_fd(), "bridge", &taken)
            .unwrap_err();
        assert!(matches!(error, Error::AddressTaken(_)), "{error:?}");
        let error = networks
            .connect(sandbox.as_fd(), "nowhere", &request)
            .unwrap_err();
        assert!(matches!(error, Error::NoSuchNetwork(_)), "{error:?}");
        networks
            .connect(sandbox.as_fd(), "host", &request)
            .unwrap_err();
        eventually("no links", || !ip("-o link show type veth").contains("hv"));
    });
}

#[test]
fn a_restarted_daemon_takes_everything_over() {
    on_a_host(|outside| {
        let networks = open();
        let web = container(&networks, "web");
        serve(web.sandbox.as_fd(), 80);
        let published = networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        let (records, before) = (networks.list(), nft("list ruleset"));
        drop(networks);
        let text = serde_json::to_string(&(&records, &web.endpoint, &published)).unwrap();
        let (records, endpoint, published): (Vec<Network>, Endpoint, Vec<Published>) =
            serde_json::from_str(&text).unwrap();

        ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap();
        let networks = Networks::open(Config::default(), &records).unwrap();
        ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap();
        let problems = networks
            .restore(vec![(endpoint.clone(), published.clone())])
            .unwrap();
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(networks.list(), records);
        assert_eq!(nft("list ruleset"), before);
        ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap();
        TcpListener::bind("0.0.0.0:8080").unwrap_err();
        let next = container(&networks, "next");
        assert_eq!(next.endpoint.ipv4.unwrap().addr().to_string(), "172.17.0.3");
        networks.disconnect(&endpoint).unwrap();
        ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap_err();
        drop(networks);

        // A link that the next daemon knows nothing of.
        let networks = Networks::open(Config::default(), &records).unwrap();
        networks.restore(Vec::new()).unwrap();
        assert_eq!(networks.reconcile().unwrap().len(), 1);
        assert_eq!(networks.reconcile().unwrap().len(), 0);
    });
}

#[test]
fn two_daemons_do_not_meet() {
    on_a_host(|outside| {
        let config = Config {
            bridge: Some("other0".into()),
            ..Config::default()
        };
        let (one, two) = (open(), Networks::open(config, &[]).unwrap());
        two.restore(Vec::new()).unwrap();
        let (a, b) = (container(&one, "a"), container(&two, "b"));
        assert_eq!(b.endpoint.ipv4.unwrap().to_string(), "172.18.0.2/16");
        serve(a.sandbox.as_fd(), 80);
        serve(b.sandbox.as_fd(), 80);
        one.publish(&a.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        let error = two
            .publish(&b.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap_err();
        assert!(matches!(error, Error::PortTaken { .. }));
        two.publish(&b.endpoint, &[tcp(80, None, Some(8081))])
            .unwrap();
        for port in [8080, 8081] {
            assert_eq!(
                ask(outside.0.as_fd(), &format!("{HOST}:{port}")).unwrap(),
                OUTSIDE
            );
        }
        ask(a.sandbox.as_fd(), "172.18.0.2:80").unwrap_err();
        assert_eq!(one.reconcile().unwrap(), []);
        assert_eq!(two.reconcile().unwrap(), []);
        assert!(!one.heal().unwrap().rules && !two.heal().unwrap().rules);
        two.tear_down().unwrap();
        assert_eq!(
            ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap(),
            OUTSIDE
        );
    });
}

fn wanted(name: &str) -> Network {
    Network {
        id: String::new(),
        name: name.to_owned(),
        created_at: 0,
        driver: Driver::Bridge,
        subnets: Vec::new(),
        enable_ipv4: true,
        enable_ipv6: false,
        internal: false,
        attachable: false,
        options: std::collections::BTreeMap::new(),
        labels: std::collections::BTreeMap::new(),
    }
}

#[test]
fn networks_of_users_are_apart_from_each_other() {
    on_a_host(|outside| {
        let networks = open();
        let front = networks.create(wanted("front")).unwrap();
        let back = networks
            .create(Network {
                internal: true,
                ..wanted("back")
            })
            .unwrap();
        assert_eq!(front.subnets[0].subnet.to_string(), "172.18.0.0/16");
        assert_eq!(front.bridge().unwrap(), format!("br-{}", &front.id[..12]));
        assert!(matches!(
            networks.create(wanted("front")),
            Err(Error::NameTaken(_))
        ));
        let a = container_in(&networks, "front", "a");
        let b = container_in(&networks, &back.id, "b");
        let c = container(&networks, "c");
        for one in [&a, &b, &c] {
            serve(one.sandbox.as_fd(), 80);
        }
        serve(outside.0.as_fd(), 7000);
        let away = format!("{OUTSIDE}:7000");
        assert_eq!(ask(a.sandbox.as_fd(), &away).unwrap(), HOST);
        ask(b.sandbox.as_fd(), &away).unwrap_err();
        for (from, to) in [(&a, &b), (&a, &c), (&b, &a), (&c, &a), (&c, &b)] {
            ask(from.sandbox.as_fd(), &format!("{}:80", address(to))).unwrap_err();
        }
        // By a published port they do meet.
        networks
            .publish(&a.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        ask(c.sandbox.as_fd(), &format!("{HOST}:8080")).unwrap();
        // A second network makes a second interface and leaves the default route.
        let request = EndpointRequest {
            container_id: "a-id".into(),
            ..Default::default()
        };
        let second = networks
            .connect(a.sandbox.as_fd(), "back", &request)
            .unwrap();
        assert_eq!(second.interface, "eth1");
        ask(a.sandbox.as_fd(), &format!("{}:80", address(&b))).unwrap();
        assert_eq!(ask(a.sandbox.as_fd(), &away).unwrap(), HOST);
        let error = networks.remove("front").unwrap_err();
        assert_eq!(
            error.to_string(),
            "network front has active endpoints (name:\"a\")"
        );
        assert!(matches!(
            networks.remove("bridge"),
            Err(Error::Predefined(_))
        ));
        networks.detach(a.sandbox.as_fd(), &second).unwrap();
        assert!(!ip("link").contains(&second.host_interface));
        networks.disconnect(&a.endpoint).unwrap();
        networks.remove("front").unwrap();
        assert!(!ip("link").contains(front.bridge().unwrap()));
        assert!(!nft("list ruleset").contains(front.bridge().unwrap()));
    });
}

#[test]
fn ipv6_is_there_when_asked_for() {
    on_a_host(|outside| {
        let networks = open();
        let six = Network {
            enable_ipv6: true,
            ..wanted("six")
        };
        networks.create(six).unwrap();
        let web = container_in(&networks, "six", "web");
        let own = web.endpoint.ipv6.unwrap().addr();
        serve_on(web.sandbox.as_fd(), "[::]:80".parse().unwrap());
        ip("addr add 2001:db8::2/64 dev up0 nodad");
        namespace::enter(outside.0.as_fd(), || {
            Ok(ip("addr add 2001:db8::9/64 dev out0 nodad"))
        })
        .unwrap();
        let published = networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        assert_eq!(published.len(), 2, "{published:?}");
        let host = here();
        ask(host.as_fd(), &format!("[{own}]:80")).unwrap();
        assert_eq!(
            ask(outside.0.as_fd(), "[2001:db8::2]:8080").unwrap(),
            "2001:db8::9"
        );
        assert_eq!(
            ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap(),
            OUTSIDE
        );
        ask(host.as_fd(), "[2001:db8::2]:8080").unwrap();
        let refused = ask(host.as_fd(), "[::1]:8080").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        ask(host.as_fd(), "127.0.0.1:8080").unwrap();
        serve_on(outside.0.as_fd(), "[::]:7000".parse().unwrap());
        assert_eq!(
            ask(web.sandbox.as_fd(), "[2001:db8::9]:7000").unwrap(),
            "2001:db8::2"
        );
        ask(web.sandbox.as_fd(), "[2001:db8::2]:8080").unwrap();
    });
}

#[test]
fn without_icc_neighbours_do_not_talk_and_without_firewall_there_are_no_rules() {
    on_a_host(|_| {
        let config = Config {
            icc: false,
            ..Config::default()
        };
        let networks = Networks::open(config, &[]).unwrap();
        networks.restore(Vec::new()).unwrap();
        let (a, b) = (container(&networks, "a"), container(&networks, "b"));
        serve(b.sandbox.as_fd(), 80);
        ask(a.sandbox.as_fd(), &format!("{}:80", address(&b))).unwrap_err();
    });
    on_a_host(|_| {
        let config = Config {
            firewall: false,
            ..Config::default()
        };
        let networks = Networks::open(config, &[]).unwrap();
        networks.restore(Vec::new()).unwrap();
        let web = container(&networks, "web");
        networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        assert!(!networks.heal().unwrap().rules);
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn options_choose_the_bridges_address_and_range() {
    on_a_host(|_| {
        let config = Config {
            bip: Some("10.9.0.1/16".parse().unwrap()),
            fixed_cidr: Some("10.9.8.0/24".parse().unwrap()),
            mtu: 1400,
            ..Config::default()
        };
        let networks = Networks::open(config, &[]).unwrap();
        networks.restore(Vec::new()).unwrap();
        let web = container(&networks, "web");
        assert_eq!(web.endpoint.ipv4.unwrap().to_string(), "10.9.8.0/16");
        assert_eq!(web.endpoint.gateway.unwrap().to_string(), "10.9.0.1");
        assert!(ip(&format!("link show {}", web.endpoint.host_interface)).contains("mtu 1400"));
        let fixed = EndpointRequest {
            ipv4: Some([10, 9, 1, 1].into()),
            mac: Some("02:00:00:00:00:09".to_owned()),
            ..Default::default()
        };
        let sandbox = Sandbox::create().unwrap();
        let endpoint = networks.connect(sandbox.as_fd(), "bridge", &fixed).unwrap();
        assert_eq!(endpoint.ipv4.unwrap().addr(), Ipv4Addr::new(10, 9, 1, 1));
        assert_eq!(endpoint.mac, "02:00:00:00:00:09");
    });
}

#[test]
fn many_at_once_and_flushes_between_end_in_order() {
    on_a_host(|_| {
        let networks = open();
        std::thread::scope(|scope| {
            for worker in 0..6 {
                let networks = &networks;
                scope.spawn(move || {
                    for round in 0..15 {
                        let web = container(networks, &format!("w{worker}-{round}"));
                        networks
                            .publish(&web.endpoint, &[tcp(80, None, None)])
                            .unwrap();
                        networks.disconnect(&web.endpoint).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..20 {
                    nft("flush ruleset");
                    networks.heal().unwrap();
                }
            });
        });
        networks.heal().unwrap();
        eventually("all links gone", || {
            !ip("-o link show type veth").contains("hv")
        });
        assert!(!nft("list table inet hull").contains("tcp . "));
    });
}

#[test]
fn a_containers_first_packet_passes() {
    on_a_host(|outside| {
        let networks = open();
        serve(outside.0.as_fd(), 7000);
        for round in 0..30 {
            let web = container(&networks, &format!("c{round}"));
            // A lost question for an address would be repeated after a second: `ask` gives up
            // before that.
            ask(web.sandbox.as_fd(), &format!("{OUTSIDE}:7000")).unwrap();
            networks.disconnect(&web.endpoint).unwrap();
        }
    });
}

#[test]
fn a_network_that_cannot_be_set_up_is_no_reason_not_to_start() {
    on_a_host(|_| {
        let networks = open();
        let broken = networks.create(wanted("broken")).unwrap();
        let records = networks.list();
        networks.tear_down().unwrap();
        drop(networks);
        let bridge = broken.bridge().unwrap();
        ip(&format!("link add {bridge} type veth peer name x0"));
        let networks = Networks::open(Config::default(), &records).unwrap();
        networks.restore(Vec::new()).unwrap();
        container(&networks, "web");
        let sandbox = networks.sandbox().unwrap();
        let request = EndpointRequest::default();
        networks
            .connect(sandbox.as_fd(), "broken", &request)
            .unwrap_err();
        ip(&format!("link del {bridge}"));
        assert_eq!(networks.heal().unwrap().bridges, [bridge]);
        container_in(&networks, "broken", "web");
    });
}

#[test]
fn a_foreign_chain_that_drops_is_told() {
    on_a_host(|_| {
        let networks = open();
        assert_eq!(networks.warnings().unwrap(), Vec::<String>::new());
        run("iptables", &["-P", "FORWARD", "DROP"]);
        let warnings = networks.warnings().unwrap();
        let seen = warnings
            .iter()
            .any(|text| text.contains("chain FORWARD of table ip filter"));
        let is_legacy = run("iptables", &["-V"]).contains("legacy");
        assert!(seen || is_legacy, "{warnings:?}");
    });
}

/// Not a test of behaviour: `cargo test -- --ignored --nocapture` prints what steps cost.
#[test]
#[ignore = "a measurement"]
fn measure() {
    on_a_host(|_| {
        let networks = open();
        let mut times: [Vec<u128>; 5] = Default::default();
        let mut timed = |index: usize, start: Instant| {
            times[index].push(start.elapsed().as_micros());
        };
        for number in 0..200 {
            let start = Instant::now();
            let made = Sandbox::create().unwrap();
            timed(0, start);
            let start = Instant::now();
            let request = EndpointRequest::default();
            let endpoint = networks.connect(made.as_fd(), "bridge", &request).unwrap();
            timed(1, start);
            let start = Instant::now();
            networks
                .publish(&endpoint, &[tcp(80, None, Some(10000 + number))])
                .unwrap();
            timed(2, start);
            let start = Instant::now();
            networks.disconnect(&endpoint).unwrap();
            drop(made);
            timed(3, start);
            let start = Instant::now();
            networks.heal().unwrap();
            timed(4, start);
            std::thread::sleep(Duration::from_millis(30));
        }
        for (name, times) in ["sandbox", "connect", "publish", "disconnect", "heal"]
            .iter()
            .zip(&mut times)
        {
            times.sort_unstable();
            eprintln!("{name:10} p10 {:6} median {:6} us", times[20], times[100]);
        }
    });
}
