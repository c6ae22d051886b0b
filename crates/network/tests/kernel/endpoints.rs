//! Containers join the default bridge and leave it.

use std::{
    net::Ipv4Addr,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use hull_network::{EndpointRequest, Error, Network, Sandbox};
use hull_sys::netlink::namespace;

use crate::host::*;

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

#[test]
fn a_thousand_at_once_leave_nothing() {
    const WORKERS: usize = 8;
    const EACH: usize = 125;
    on_a_host(|_| {
        let networks = open();
        networks.create(wanted("second")).unwrap();
        let before = nft("list ruleset");
        std::thread::scope(|scope| {
            for worker in 0..WORKERS {
                let networks = &networks;
                scope.spawn(move || {
                    for round in 0..EACH {
                        let name = format!("c{worker}-{round}");
                        let first = container(networks, &name);
                        let request = EndpointRequest {
                            container_id: format!("{name}-id"),
                            ..Default::default()
                        };
                        let at = first.sandbox.as_fd();
                        let second = networks.connect(at, "second", &request).unwrap();
                        let port = [tcp(80, None, None)];
                        networks.publish(&second, &port).unwrap();
                        networks.detach(at, &second).unwrap();
                        networks.disconnect(&first.endpoint).unwrap();
                    }
                });
            }
        });
        eventually("all links gone", || {
            !ip("-o link show type veth").contains("hv")
        });
        let all: Vec<_> = networks.list();
        eventually("all addresses free", || {
            let used = all.iter().flat_map(|network| networks.usage(&network.id));
            used.into_iter().all(|part| part.in_use == 3)
        });
        assert_eq!(nft("list ruleset"), before);
        assert_eq!(networks.strays().unwrap(), []);
        networks.remove("second").unwrap();
    });
}

#[test]
fn an_address_that_comes_back_with_another_mac_answers_at_once() {
    on_a_host(|_| {
        let networks = open();
        networks
            .create(Network {
                enable_ipv6: true,
                ..wanted("dual")
            })
            .unwrap();
        let join = |mac: &str, ipv6| {
            let sandbox = networks.sandbox().unwrap();
            let request = EndpointRequest {
                container_id: mac.to_owned(),
                container_name: mac.to_owned(),
                mac: Some(mac.to_owned()),
                ipv4: Some([172, 18, 0, 9].into()),
                ipv6,
                ..Default::default()
            };
            let endpoint = networks.connect(sandbox.as_fd(), "dual", &request).unwrap();
            serve_on(sandbox.as_fd(), "[::]:80".parse().unwrap());
            Container { sandbox, endpoint }
        };
        let other = container_in(&networks, "dual", "other");
        let mut last = None;
        for number in 1..4 {
            let web = join(&format!("02:00:00:00:00:0{number}"), last);
            // Neighbours that remember the last one would wait for seconds.
            let answers = |address: &str| {
                let asked = || ask(other.sandbox.as_fd(), address);
                let mut tries = (0..4).map(|_| asked());
                assert!(tries.any(|answer| answer.is_ok()), "{address}");
            };
            answers("172.18.0.9:80");
            let own = web.endpoint.ipv6.unwrap().addr();
            answers(&format!("[{own}]:80"));
            assert_eq!(own, *last.get_or_insert(own));
            networks.disconnect(&web.endpoint).unwrap();
        }
    });
}
