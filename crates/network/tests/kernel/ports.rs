//! Published ports: who reaches them, and as whom they are seen.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use hull_network::{Error, Network, PortRequest, Protocol};
use hull_sys::netlink::namespace;

use crate::host::*;

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
        // A program that another test starts at this moment has its copy of the socket for an instant.
        eventually("port 81 is free", || {
            TcpListener::bind("0.0.0.0:81").is_ok()
        });
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
fn a_routed_networks_ports_take_none_of_the_hosts() {
    on_a_host(|outside| {
        let networks = open();
        let routed = Network {
            options: [(
                "com.docker.network.bridge.gateway_mode_ipv4".to_owned(),
                "routed".to_owned(),
            )]
            .into(),
            ..wanted("routed")
        };
        networks.create(routed).unwrap();
        let here = here();
        serve(here.as_fd(), 8080);
        let first = container_in(&networks, "routed", "first");
        let second = container_in(&networks, "routed", "second");
        let third = container(&networks, "third");
        for web in [&first, &second] {
            networks
                .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
                .unwrap();
        }
        // The host's own program keeps its port, and nobody else is told that it is free.
        ask(outside.0.as_fd(), &format!("{HOST}:8080")).unwrap();
        let taken = networks.publish(&third.endpoint, &[tcp(80, None, Some(8080))]);
        assert!(taken.unwrap_err().hint().unwrap().contains("process"));
    });
}

#[test]
fn a_container_reaches_itself_and_its_neighbour_by_the_hosts_port() {
    on_a_host(|_| {
        let networks = open();
        networks.create(wanted("other")).unwrap();
        let web = container(&networks, "web");
        let neighbour = container(&networks, "neighbour");
        let stranger = container_in(&networks, "other", "stranger");
        serve(web.sandbox.as_fd(), 80);
        networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        let from = |container: &Container| {
            ask_again(container.sandbox.as_fd(), &format!("{HOST}:8080")).unwrap()
        };
        // It must be the bridge that asks: else an answer to somebody on one of the container's own
        // networks would go the short way, and be nobody's.
        let gateway = web.endpoint.gateway.unwrap().to_string();
        for asking in [&web, &neighbour, &stranger] {
            assert_eq!(from(asking), gateway);
        }
    });
}

#[test]
fn sctp_is_published_where_the_kernel_has_it() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
    let open_socket = || {
        let kind = Some(ipproto::SCTP);
        let flags = SocketFlags::CLOEXEC;
        socket_with(AddressFamily::INET, SocketType::STREAM, flags, kind)
    };
    on_a_host(|outside| {
        let networks = open();
        let web = container(&networks, "web");
        let request = PortRequest {
            protocol: Protocol::Sctp,
            ..tcp(80, None, Some(8080))
        };
        networks.publish(&web.endpoint, &[request]).unwrap();
        assert!(nft("list map inet hull any4").contains("sctp . 8080 : 172.17.0.2 . 80"));
        if let Err(error) = open_socket() {
            eprintln!("skipped: this kernel has no SCTP: {error}");
            return;
        }
        let any: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let server = namespace::enter(web.sandbox.as_fd(), || {
            let server = open_socket()?;
            rustix::net::bind(&server, &any)?;
            rustix::net::listen(&server, 1)?;
            Ok(server)
        })
        .unwrap();
        let there: SocketAddr = format!("{HOST}:8080").parse().unwrap();
        namespace::enter(outside.0.as_fd(), || {
            let client = open_socket()?;
            rustix::net::connect(&client, &there)?;
            Ok(())
        })
        .unwrap();
        rustix::net::accept(&server).unwrap();
    });
}
