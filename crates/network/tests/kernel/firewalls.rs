//! The host's own firewall has its say about published ports, where the daemon is told so; and how
//! the tools that people use for it get on with ours.

use std::{
    cell::OnceCell,
    io::Write as _,
    net::UdpSocket,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use hull_network::{Config, Driver, FirewallMode, Network, Networks};
use hull_sys::netlink::namespace;

use crate::{host::*, tools::Tools};

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
    /// Whether there is somebody in the world.
    world: OnceCell<()>,
}

impl Asked {
    fn start(networks: &Networks) -> Self {
        let web = container(networks, "web");
        serve(web.sandbox.as_fd(), 80);
        let ports = [OPEN, CLOSED].map(|port| tcp(80, None, Some(port)));
        networks.publish(&web.endpoint, &ports).unwrap();
        Self {
            web,
            world: OnceCell::new(),
        }
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
        self.world.get_or_init(|| serve(outside.0.as_fd(), 7000));
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

/// firewalld lists all rules whenever it changes one: rules that cannot be read end it.
#[test]
fn what_we_make_can_be_read_by_the_tools_of_others() {
    on_a_host(|_| {
        let networks = asking();
        let guarded = Network {
            options: [("hull.antispoof".to_owned(), "true".to_owned())].into(),
            enable_ipv6: true,
            ..wanted("guarded")
        };
        let internal = Network {
            internal: true,
            ..wanted("internal")
        };
        for network in [guarded, internal] {
            networks.create(network).unwrap();
        }
        let web = container_in(&networks, "guarded", "web");
        let port = tcp(80, Some("127.0.0.1"), Some(OPEN));
        networks
            .publish(&web.endpoint, &[port, tcp(80, None, Some(CLOSED))])
            .unwrap();
        let _asked = container_in(&networks, "internal", "db");
        let text = nft("list ruleset");
        for table in ["inet hull", "ip hull", "ip6 hull", "bridge hull"] {
            assert!(text.contains(&format!("table {table} {{")), "{text}");
        }
        nft("-j list ruleset");
        // What is written down of them makes the same again. (Of frames nft can write down less.)
        let tables = ["inet hull", "ip hull", "ip6 hull"];
        let before = tables.map(|table| nft(&format!("list table {table}")));
        nft("flush ruleset");
        feed("nft", &["-f", "-"], &before.concat());
        let after = tables.map(|table| nft(&format!("list table {table}")));
        assert_eq!(after, before);
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
fn ipv6_is_asked_about_too() {
    on_a_host(|outside| {
        ip("-6 addr add fd99::2/64 dev up0 nodad");
        namespace::enter(outside.0.as_fd(), || {
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

#[test]
fn nothing_leads_out_of_an_internal_network_round_by_the_gate() {
    on_a_host(|outside| {
        let networks = asking();
        let asked = Asked::start(&networks);
        let internal = Network {
            internal: true,
            ..wanted("internal")
        };
        let gateway = networks.create(internal).unwrap().subnets[0].gateway;
        let db = container_in(&networks, "internal", "db");
        // It has no way out by itself: one that makes itself a way gets no farther.
        namespace::enter(db.sandbox.as_fd(), || {
            Ok(ip(&format!("route add default via {gateway}")))
        })
        .unwrap();
        for host in [
            HOST.to_owned(),
            gateway.to_string(),
            address(&asked.web).to_string(),
        ] {
            for port in [OPEN, 80] {
                ask(db.sandbox.as_fd(), &format!("{host}:{port}")).unwrap_err();
            }
        }
        asked.both_answer(outside);
    });
}

#[test]
fn datagrams_ask_as_connections_do() {
    use hull_network::{PortRequest, Protocol};
    on_a_host(|outside| {
        let rules = PLAIN.replace("tcp dport", "udp dport");
        feed("nft", &["-f", "-"], &rules);
        let networks = asking();
        let echo = container(&networks, "echo");
        let server = namespace::enter(echo.sandbox.as_fd(), || UdpSocket::bind("0.0.0.0:53"));
        let server = server.unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&buffer[..length], from);
            }
        });
        let ports = [OPEN, CLOSED].map(|port| PortRequest {
            protocol: Protocol::Udp,
            ..tcp(53, None, Some(port))
        });
        networks.publish(&echo.endpoint, &ports).unwrap();
        let ask = |port: u16| {
            namespace::enter(outside.0.as_fd(), || {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.set_read_timeout(Some(std::time::Duration::from_millis(500)))?;
                socket.connect((HOST, port))?;
                let mut answer = [0; 64];
                let mut lengths = Vec::new();
                for text in ["one", "three"] {
                    socket.send(text.as_bytes())?;
                    lengths.push(socket.recv(&mut answer)?);
                }
                Ok(lengths)
            })
        };
        // The first packets after a change of links may be lost.
        eventually("an answer", || ask(OPEN).is_ok());
        assert_eq!(ask(OPEN).unwrap(), [3, 5]);
        ask(CLOSED).unwrap_err();
    });
}

fn obeys_ufw(iptables: &str) {
    on_a_host(|outside| {
        let tools = Tools::open();
        tools.ufw(iptables);
        tools.run("ufw allow 8080/tcp");
        // What the manual says to do where forwarded packets are dropped, once.
        tools.run("ufw route allow in on hull0 && ufw route allow in on hull-in");
        let networks = asking();
        let asked = Asked::start(&networks);
        asked.only_the_open_port_answers(outside);
        tools.run("ufw allow 8081/tcp");
        asked.both_answer(outside);
        tools.run("ufw delete allow 8081/tcp");
        asked.only_the_open_port_answers(outside);
        // A reload makes all its rules anew, and none of ours.
        let ours = nft("list table inet hull");
        tools.run("ufw reload");
        assert_eq!(nft("list table inet hull"), ours);
        asked.only_the_open_port_answers(outside);
        // None of its rules is ours, and none was touched.
        let status = tools.run("ufw status verbose");
        assert!(status.contains("deny (incoming)"), "{status}");
        tools.run("ufw --force disable");
        asked.both_answer(outside);
    });
}

#[test]
fn ufw_opens_and_closes_ports_over_nftables() {
    obeys_ufw("iptables-nft");
}

#[test]
fn ufw_opens_and_closes_ports_over_the_old_iptables() {
    obeys_ufw("iptables-legacy");
}

#[test]
fn firewalld_opens_and_closes_ports() {
    on_a_host(|outside| {
        let tools = Tools::open();
        tools.firewalld();
        tools.run("firewall-cmd --add-port=8080/tcp");
        // What the manual says to do, once: containers are trusted to reach the world.
        tools.run("firewall-cmd --zone=trusted --add-interface=hull0");
        let networks = asking();
        let asked = Asked::start(&networks);
        asked.only_the_open_port_answers(outside);
        tools.run("firewall-cmd --add-port=8081/tcp");
        asked.both_answer(outside);
        tools.run("firewall-cmd --remove-port=8081/tcp");
        asked.only_the_open_port_answers(outside);
        let ours = nft("list table inet hull");
        tools.run("firewall-cmd --reload && firewall-cmd --state");
        assert_eq!(nft("list table inet hull"), ours);
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
