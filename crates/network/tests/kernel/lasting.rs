//! What outlives flushes, deletions, restarts, and other daemons.

use std::{
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd},
};

use hull_network::{Config, Endpoint, EndpointRequest, Error, Network, Networks, Published};

use crate::host::*;

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

#[test]
fn lost_addresses_and_loose_links_come_back() {
    on_a_host(|outside| {
        let networks = open();
        let web = container(&networks, "web");
        serve(web.sandbox.as_fd(), 80);
        networks
            .publish(&web.endpoint, &[tcp(80, None, Some(8080))])
            .unwrap();
        networks.heal().unwrap();
        assert_eq!(networks.heal().unwrap(), hull_network::Healed::default());
        let link = &web.endpoint.host_interface;
        for damage in [
            "addr flush dev hull0".to_owned(),
            format!("link set {link} nomaster"),
            format!("link set {link} down"),
        ] {
            ip(&damage);
            assert!(is_readable(networks.monitor_fd()), "{damage}");
            let healed = networks.heal().unwrap();
            assert_ne!(healed, hull_network::Healed::default(), "{damage}");
            let answer = ask_again(outside.0.as_fd(), &format!("{HOST}:8080"));
            assert_eq!(answer.unwrap(), OUTSIDE, "{damage}");
            assert_eq!(networks.heal().unwrap(), hull_network::Healed::default());
        }
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

        // The bridge of a network that is gone, whose daemon was killed before it could delete it.
        let gone = networks.create(wanted("gone")).unwrap();
        ip("link add foreign0 type bridge");
        std::mem::forget(networks);
        let networks = Networks::open(Config::default(), &records).unwrap();
        networks.restore(Vec::new()).unwrap();
        let removed = networks.reconcile().unwrap();
        let removed: Vec<_> = removed.into_iter().map(|stray| stray.name).collect();
        assert_eq!(removed, [gone.bridge().unwrap()]);
        assert!(ip("link").contains("foreign0"));
        // A daemon whose state is lost takes its bridge over, and keeps it.
        drop(networks);
        let networks = open();
        assert_eq!(networks.reconcile().unwrap(), []);
        assert!(ip("link").contains("hull0"));
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
