//! Networks of users, beside each other.

use std::{io, net::Ipv4Addr, os::fd::AsFd};

use hull_network::{Config, Driver, EndpointRequest, Error, Network, Networks, Sandbox};
use hull_sys::netlink::namespace;

use crate::host::*;

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
        ask(a.sandbox.as_fd(), &format!("{}:80", address(&b))).unwrap_err();
        networks.disconnect(&a.endpoint).unwrap();
        networks.remove("front").unwrap();
        assert!(!nft("list ruleset").contains(front.bridge().unwrap()));
        eventually("bridge and link gone", || {
            let links = ip("link");
            !links.contains(front.bridge().unwrap()) && !links.contains(&second.host_interface)
        });
    });
}

#[test]
fn who_left_a_network_comes_back_at_once_and_so_does_the_network() {
    on_a_host(|_| {
        let networks = open();
        let named = |name: &str| Network {
            options: [("com.docker.network.bridge.name".into(), "shop0".into())].into(),
            ..wanted(name)
        };
        let inside = |a: &Container| {
            namespace::enter(a.sandbox.as_fd(), || Ok(ip("-o addr show dev eth1"))).unwrap()
        };
        let a = container(&networks, "a");
        let request = EndpointRequest {
            container_id: "a-id".into(),
            ..Default::default()
        };
        for round in 0..5 {
            // Each has the bridge and the addresses of the one before.
            let made = networks.create(named(&format!("n{round}"))).unwrap();
            assert_eq!(made.subnets[0].subnet.to_string(), "172.18.0.0/16");
            for _ in 0..2 {
                let second = networks
                    .connect(a.sandbox.as_fd(), &made.id, &request)
                    .unwrap();
                assert_eq!(second.interface, "eth1");
                assert!(inside(&a).contains("inet 172.18."), "{}", inside(&a));
                networks.detach(a.sandbox.as_fd(), &second).unwrap();
            }
            networks.remove(&made.id).unwrap();
        }
        // The daemon's end waits for what it began.
        drop(networks);
        let links = ip("link");
        assert!(
            !links.contains("shop0") && links.contains("hull0"),
            "{links}"
        );
        let left = namespace::enter(a.sandbox.as_fd(), || Ok(ip("-o link"))).unwrap();
        assert!(!left.contains("hvgone"), "{left}");
    });
}

#[test]
fn a_bridge_of_the_hosts_outlives_its_network() {
    on_a_host(|_| {
        let networks = open();
        ip("link add lan0 type bridge");
        let on_it = Network {
            options: [("com.docker.network.bridge.name".into(), "lan0".into())].into(),
            ..wanted("lan")
        };
        let made = networks.create(on_it).unwrap();
        networks.remove(&made.id).unwrap();
        drop(networks);
        assert!(ip("link").contains("lan0"));
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
fn settings_are_kept_for_networks_that_name_them() {
    on_a_host(|_| {
        let networks = open();
        let part: hull_network::Subnet = subnet("10.50.0.0/24", "10.50.0.1");
        let settings = Network {
            config_only: true,
            subnets: vec![part],
            options: [(
                "com.docker.network.driver.mtu".to_owned(),
                "1400".to_owned(),
            )]
            .into(),
            labels: [("team".to_owned(), "red".to_owned())].into(),
            ..wanted("settings")
        };
        let settings = networks.create(settings).unwrap();
        assert_eq!(settings.driver.as_str(), "null");
        assert!(!ip("-o link").contains("br-"));
        let like = |name: &str| Network {
            config_from: Some("settings".to_owned()),
            ..wanted(name)
        };
        let front = networks.create(like("front")).unwrap();
        assert_eq!(front.subnets[0].subnet.to_string(), "10.50.0.0/24");
        assert_eq!(front.labels["team"], "red");
        let web = container_in(&networks, "front", "web");
        assert_eq!(address(&web).to_string(), "10.50.0.2");
        let complaint = |network| networks.create(network).unwrap_err().to_string();
        let own = Network {
            options: [("a".to_owned(), "b".to_owned())].into(),
            ..like("own")
        };
        assert!(complaint(own).contains("the driver options"));
        let nobody = Network {
            config_from: Some("bridge".to_owned()),
            ..wanted("other")
        };
        assert!(complaint(nobody).contains("is not a configuration network"));
        let in_use = networks.remove("settings").unwrap_err().to_string();
        assert!(in_use.contains("in use by network \"front\""), "{in_use}");
        let request = EndpointRequest::default();
        let sandbox = networks.sandbox().unwrap();
        let refused = networks.connect(sandbox.as_fd(), "settings", &request);
        refused.unwrap_err();
        networks.disconnect(&web.endpoint).unwrap();
        networks.remove("front").unwrap();
        networks.remove("settings").unwrap();
    });
}

fn subnet(range: &str, gateway: &str) -> hull_network::Subnet {
    hull_network::Subnet {
        subnet: range.parse().unwrap(),
        range: None,
        gateway: gateway.parse().unwrap(),
        reserved: Default::default(),
        pool: None,
    }
}

#[test]
fn the_daemons_options_hold_for_networks_that_say_nothing() {
    on_a_host(|_| {
        let mtu = "com.docker.network.driver.mtu".to_owned();
        let own = [(mtu.clone(), "1300".to_owned())].into();
        let config = Config {
            default_options: [("bridge".to_owned(), own)].into(),
            ipv6: true,
            bip6: Some("fd77::1:1/64".parse().unwrap()),
            ..Config::default()
        };
        let networks = Networks::open(config, &[]).unwrap();
        networks.restore(Vec::new()).unwrap();
        let silent = networks.create(wanted("silent")).unwrap();
        assert_eq!(silent.options[&mtu], "1300");
        let loud = Network {
            options: [(mtu.clone(), "1400".to_owned())].into(),
            ..wanted("loud")
        };
        assert_eq!(networks.create(loud).unwrap().options[&mtu], "1400");
        assert!(ip("-o link").contains("mtu 1300"));
        let default = networks.find("bridge").unwrap();
        assert_eq!(default.subnets[1].gateway.to_string(), "fd77::1:1");
        assert!(ip("-6 addr show dev hull0").contains("fd77::1:1/64"));
    });
}

#[test]
fn the_default_bridge_leads_out_by_another_gateway_if_it_shall() {
    on_a_host(|_| {
        let config = |gateway: Option<&str>| Config {
            bip: Some("172.30.0.1/24".parse().unwrap()),
            default_gateway: gateway.map(|text| text.parse().unwrap()),
            ..Config::default()
        };
        let networks = Networks::open(config(Some("172.30.0.9")), &[]).unwrap();
        networks.restore(Vec::new()).unwrap();
        let web = container_in(&networks, "bridge", "web");
        let routes = namespace::enter(web.sandbox.as_fd(), || Ok(ip("route show default")));
        assert!(routes.unwrap().contains("via 172.30.0.9 "));
        assert!(ip("-4 addr show dev hull0").contains("172.30.0.1/24"));
        for number in 2..12 {
            let other = container_in(&networks, "bridge", &format!("other{number}"));
            assert_ne!(address(&other).to_string(), "172.30.0.9");
        }
        let saved = networks.list();
        let outside = Networks::open(config(Some("10.0.0.1")), &saved).unwrap_err();
        assert!(
            outside.to_string().contains("not in 172.30.0.0/24"),
            "{outside}"
        );
        let networks = Networks::open(config(None), &saved).unwrap();
        let default = networks.find("bridge").unwrap();
        assert!(default.subnets[0].reserved.is_empty());
    });
}

#[test]
fn a_network_has_ipv6_alone_if_it_shall() {
    on_a_host(|outside| {
        ip("-6 addr add fd99::2/64 dev up0 nodad");
        namespace::enter(outside.0.as_fd(), || {
            ip("-6 addr add fd99::9/64 dev out0 nodad");
            Ok(())
        })
        .unwrap();
        let networks = open();
        let six = Network {
            enable_ipv4: false,
            enable_ipv6: true,
            ..wanted("six")
        };
        let six = networks.create(six).unwrap();
        assert_eq!(six.subnets.len(), 1);
        let web = container_in(&networks, "six", "web");
        let other = container_in(&networks, "six", "other");
        assert_eq!(web.endpoint.ipv4, None);
        serve_on(web.sandbox.as_fd(), "[::]:80".parse().unwrap());
        let at = web.endpoint.ipv6.unwrap().addr();
        let told = ask_again(other.sandbox.as_fd(), &format!("[{at}]:80")).unwrap();
        assert_eq!(told, other.endpoint.ipv6.unwrap().addr().to_string());
        let ports = networks.publish(&web.endpoint, &[tcp(80, None, Some(8080))]);
        assert_eq!(ports.unwrap().len(), 1);
        let told = ask_again(outside.0.as_fd(), "[fd99::2]:8080").unwrap();
        assert_eq!(told, "fd99::9");
        let inside = namespace::enter(web.sandbox.as_fd(), || Ok(ip("-4 -o addr show dev eth0")));
        assert_eq!(inside.unwrap(), "");
        let neither = Network {
            enable_ipv4: false,
            ..wanted("neither")
        };
        let refused = networks.create(neither).unwrap_err().to_string();
        assert!(
            refused.contains("IPv4 or IPv6 must be enabled"),
            "{refused}"
        );
    });
}

#[test]
fn a_network_of_ipv4_has_no_ipv6_inside_and_none_passes() {
    on_a_host(|_| {
        let networks = open();
        let web = container(&networks, "web");
        let off = namespace::enter(web.sandbox.as_fd(), || {
            let text = std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/disable_ipv6")?;
            let addresses = ip("-6 -o addr");
            Ok((text, addresses))
        });
        assert_eq!(off.unwrap(), ("1\n".to_owned(), String::new()));
        assert!(!ip("-6 -o addr").contains("hull0"));
    });
}

#[test]
fn how_full_a_network_is() {
    on_a_host(|_| {
        let networks = open();
        let network = Network {
            subnets: vec![subnet("10.51.0.0/24", "10.51.0.1")],
            ..wanted("small")
        };
        let network = networks.create(network).unwrap();
        let used = || networks.usage(&network.id)[0];
        assert_eq!((used().in_use, used().available), (3, 253));
        let web = container_in(&networks, "small", "web");
        assert_eq!((used().in_use, used().available), (4, 252));
        networks.disconnect(&web.endpoint).unwrap();
        drop(web.sandbox);
        eventually("the address is free", || used().in_use == 3);
    });
}

#[test]
fn an_interface_of_a_vlan_comes_and_goes_with_its_network() {
    on_a_host(|_| {
        let networks = open();
        let vlan = |name: &str, parent: &str| Network {
            driver: Driver::Macvlan,
            options: [("parent".to_owned(), parent.to_owned())].into(),
            ..wanted(name)
        };
        let refused = |parent| {
            networks
                .create(vlan("bad", parent))
                .unwrap_err()
                .to_string()
        };
        for parent in ["nothere", "nothere.10", "up0.4095"] {
            let text = refused(parent);
            assert!(text.contains("parent: the host has no"), "{text}");
        }
        match networks.create(vlan("ten", "up0.10")) {
            Err(error) if error.to_string().contains("this kernel has none") => {
                eprintln!("skipped: this kernel has no VLANs (8021q): {error}");
                assert!(networks.find("ten").is_none());
            }
            made => {
                made.unwrap();
                assert!(ip("-o -d link show up0.10").contains("vlan protocol 802.1Q id 10"));
                networks.remove("ten").unwrap();
            }
        }
        assert!(!ip("-o link").contains("up0.10"));
        // One that was there before stays.
        networks.create(vlan("flat", "up0")).unwrap();
        networks.remove("flat").unwrap();
        ip("link show up0");
    });
}

#[test]
fn networks_that_are_made_at_the_same_moment_have_addresses_of_their_own() {
    on_a_host(|_| {
        let networks = open();
        // The host of this test is the thread's: its sockets were opened there.
        std::thread::scope(|scope| {
            for number in 0..8 {
                let networks = &networks;
                scope.spawn(move || networks.create(wanted(&format!("n{number}"))).unwrap());
            }
        });
        let mut subnets: Vec<_> = networks
            .list()
            .iter()
            .flat_map(|network| network.subnets.iter().map(|part| part.subnet))
            .collect();
        subnets.sort();
        let count = subnets.len();
        subnets.dedup();
        assert_eq!((subnets.len(), count), (9, 9), "{subnets:?}");
    });
}
