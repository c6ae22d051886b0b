//! The host's own firewall has its say about published ports, where the daemon is told so; and how
//! the tools that people use for it get on with ours.

use std::{
    io::Write as _,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use hull_network::{Config, Driver, FirewallMode, Network, Networks};

use crate::host::*;

const OPEN: u16 = 8080;
const CLOSED: u16 = 8081;

fn asking() -> Networks {
    let config = Config {
        firewall_mode: FirewallMode::Input,
        ..Config::default()
    };
    let networks = Networks::open(config, &[]).unwrap();
    networks.restore(Vec::new()).unwrap();
    networks
}

/// A container with two published ports; asks for both from `outside` until it is told by all.
struct Asked {
    web: Container,
}

impl Asked {
    fn start(networks: &Networks) -> Self {
        let web = container(networks, "web");
        serve(web.sandbox.as_fd(), 80);
        let ports = [OPEN, CLOSED].map(|port| tcp(80, None, Some(port)));
        networks.publish(&web.endpoint, &ports).unwrap();
        Self { web }
    }

    /// The open port answers and sees its client, the closed one does not answer.
    fn only_the_open_port_answers(&self, outside: &Outside) {
        let from = |port| ask_again(outside.0.as_fd(), &format!("{HOST}:{port}"));
        assert_eq!(from(OPEN).unwrap(), OUTSIDE);
        let closed = ask(outside.0.as_fd(), &format!("{HOST}:{CLOSED}"));
        closed.unwrap_err();
        // The host itself reaches both, as it reaches its own programs.
        let here = here();
        ask(here.as_fd(), &format!("127.0.0.1:{CLOSED}")).unwrap();
        ask(here.as_fd(), &format!("{HOST}:{OPEN}")).unwrap();
        // The container reaches the world, whoever closes what.
        serve(outside.0.as_fd(), 7000);
        ask_again(self.web.sandbox.as_fd(), &format!("{OUTSIDE}:7000")).unwrap();
    }

    fn both_answer(&self, outside: &Outside) {
        for port in [OPEN, CLOSED] {
            let told = ask_again(outside.0.as_fd(), &format!("{HOST}:{port}"));
            assert_eq!(told.unwrap(), OUTSIDE);
        }
    }
}

fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "{program}: {input}");
}

const PLAIN: &str = "
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto ipv6-icmp accept
        tcp dport 8080 accept
    }
}";

#[test]
fn a_port_that_input_drops_is_closed_and_one_that_it_accepts_is_open() {
    on_a_host(|outside| {
        feed("nft", &["-f", "-"], PLAIN);
        Asked::start(&asking()).only_the_open_port_answers(outside);
    });
}

#[test]
fn as_with_docker_publishing_opens_a_port_whatever_input_says() {
    on_a_host(|outside| {
        feed("nft", &["-f", "-"], PLAIN);
        Asked::start(&open()).both_answer(outside);
    });
}

#[test]
fn without_rules_of_the_hosts_own_all_ports_are_open() {
    on_a_host(|outside| {
        let networks = asking();
        let asked = Asked::start(&networks);
        asked.both_answer(outside);
        // And again when a rule comes and goes.
        feed("nft", &["-f", "-"], PLAIN);
        asked.only_the_open_port_answers(outside);
        nft("delete table inet filter");
        asked.both_answer(outside);
    });
}

#[test]
fn udp_and_ipv6_are_asked_about_too() {
    on_a_host(|outside| {
        ip("-6 addr add fd99::2/64 dev up0 nodad");
        hull_sys::netlink::namespace::enter(outside.0.as_fd(), || {
            ip("-6 addr add fd99::9/64 dev out0 nodad");
            Ok(())
        })
        .unwrap();
        feed("nft", &["-f", "-"], PLAIN);
        let networks = asking();
        let dual = Network {
            enable_ipv6: true,
            driver: Driver::Bridge,
            ..wanted("dual")
        };
        networks.create(dual).unwrap();
        let web = container_in(&networks, "dual", "web");
        serve_on(web.sandbox.as_fd(), "[::]:80".parse().unwrap());
        let ports = [OPEN, CLOSED].map(|port| tcp(80, None, Some(port)));
        networks.publish(&web.endpoint, &ports).unwrap();
        let from = |port| ask_again(outside.0.as_fd(), &format!("[fd99::2]:{port}"));
        assert_eq!(from(OPEN).unwrap(), "fd99::9");
        ask(outside.0.as_fd(), &format!("[fd99::2]:{CLOSED}")).unwrap_err();
        assert_eq!(
            ask(outside.0.as_fd(), &format!("{HOST}:{OPEN}")).unwrap(),
            OUTSIDE
        );
    });
}

/// What `ufw enable`, `ufw allow 8080/tcp` make of a host, in short: everything comes through chains
/// of its own, INPUT and FORWARD drop.
const UFW: &str = "
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:ufw-before-input - [0:0]
:ufw-before-forward - [0:0]
:ufw-user-input - [0:0]
:ufw-user-forward - [0:0]
-A INPUT -j ufw-before-input
-A FORWARD -j ufw-before-forward
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -m addrtype ! --dst-type LOCAL -j DROP
-A ufw-before-input -j ufw-user-input
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-user-input -p tcp -m tcp --dport 8080 -j ACCEPT
COMMIT
";

/// What the manual says to do there, once: `ufw route allow in on hull0`, `… in on hull-in`.
const UFW_ROUTES: [&str; 2] = ["hull0", "hull-in"];

fn ufw_like(restore: &str, iptables: &str) {
    on_a_host(|outside| {
        feed(restore, &[], UFW);
        for link in UFW_ROUTES {
            let rule = format!("-A ufw-user-forward -i {link} -j ACCEPT");
            run(iptables, &rule.split(' ').collect::<Vec<_>>());
        }
        let networks = asking();
        let asked = Asked::start(&networks);
        asked.only_the_open_port_answers(outside);
        let rule = "-A ufw-user-input -p tcp --dport 8081 -j ACCEPT";
        run(iptables, &rule.split(' ').collect::<Vec<_>>());
        asked.both_answer(outside);
        // None of its rules is ours, and none was touched.
        let saved = run(&format!("{iptables}-save"), &[]);
        assert!(!saved.contains("8080 -j DNAT"), "{saved}");
        assert!(saved.contains(":FORWARD DROP"), "{saved}");
    });
}

#[test]
fn ufw_opens_and_closes_ports_over_nftables() {
    ufw_like("iptables-nft-restore", "iptables-nft");
}

#[test]
fn ufw_opens_and_closes_ports_over_the_old_iptables() {
    ufw_like("iptables-legacy-restore", "iptables-legacy");
}

/// What firewalld makes of a host whose zone opens 8080/tcp, in short: what is translated it
/// forwards, what comes in is accepted by the zone or refused.
const FIREWALLD: &str = "
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname lo accept
        ct state invalid drop
        jump filter_IN_public
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname lo accept
        ct state invalid drop
        jump filter_FWD_public
        reject with icmpx admin-prohibited
    }
    chain filter_IN_public {
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport 8080 ct state { new, untracked } accept
    }
    chain filter_FWD_public {
        iifname hull0 accept
    }
}";

#[test]
fn firewalld_opens_and_closes_ports() {
    on_a_host(|outside| {
        feed("nft", &["-f", "-"], FIREWALLD);
        let networks = asking();
        let asked = Asked::start(&networks);
        asked.only_the_open_port_answers(outside);
        nft("add rule inet firewalld filter_IN_public tcp dport 8081 accept");
        asked.both_answer(outside);
    });
}

#[test]
fn a_container_asks_like_anybody_and_comes_back_to_itself() {
    on_a_host(|_| {
        let networks = asking();
        let web = Asked::start(&networks).web;
        let other = container(&networks, "other");
        for from in [&web, &other] {
            ask_again(from.sandbox.as_fd(), &format!("{HOST}:{OPEN}")).unwrap();
        }
        feed("nft", &["-f", "-"], PLAIN);
        ask(other.sandbox.as_fd(), &format!("{HOST}:{OPEN}")).unwrap();
        ask(other.sandbox.as_fd(), &format!("{HOST}:{CLOSED}")).unwrap_err();
    });
}

#[test]
fn the_gate_is_healed_and_goes_with_the_mode() {
    on_a_host(|outside| {
        let networks = asking();
        let asked = Asked::start(&networks);
        ip("link del hull-in");
        let healed = networks.heal().unwrap();
        assert!(healed.rules);
        asked.both_answer(outside);
        nft("delete table ip hull");
        assert!(networks.heal().unwrap().rules);
        asked.both_answer(outside);
        assert_eq!(networks.heal().unwrap(), hull_network::Healed::default());
        let saved = networks.list();
        drop(networks);
        let networks = Networks::open(Config::default(), &saved).unwrap();
        networks.restore(Vec::new()).unwrap();
        assert!(!ip("-o link").contains("hull-in"));
        assert!(!nft("list tables").contains("table ip hull"));
        networks.tear_down().unwrap();
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn no_container_comes_near_the_daemons_own_port() {
    on_a_host(|outside| {
        let config = Config {
            daemon_ports: vec![2375],
            ..Config::default()
        };
        let networks = Networks::open(config, &[]).unwrap();
        networks.restore(Vec::new()).unwrap();
        let here = here();
        serve(here.as_fd(), 2375);
        serve(here.as_fd(), 2376);
        let web = container(&networks, "web");
        for address in [HOST, "172.17.0.1"] {
            ask_again(web.sandbox.as_fd(), &format!("{address}:2376")).unwrap();
            ask(web.sandbox.as_fd(), &format!("{address}:2375")).unwrap_err();
        }
        ask(outside.0.as_fd(), &format!("{HOST}:2375")).unwrap();
        ask(here.as_fd(), "127.0.0.1:2375").unwrap();
    });
}
