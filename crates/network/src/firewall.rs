//! All rules, from all networks and published ports. Pure: the result is the whole truth, and a
//! published port is one element of one of its maps.
//!
//! ```text
//! raw          loopback addresses never come from or go to a bridge (they could, as the bridge
//!              routes 127/8 for the host's own connections)
//! prerouting   ┐ what is addressed to this host and has a published port
//! output       ┘ goes to the container; the source stays
//! forward      into a bridge only: answers, neighbours, published ports
//! postrouting  out of a bridge: the host's address; back into the same bridge by a published
//!              port, and from the host's loopback: the bridge's address, so that answers return
//! ```
//! Policies accept: what has nothing to do with our bridges is other people's.

pub mod admit;
pub mod guard;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hull_sys::nftables::{
    Chain, Element, Family, Hook, HookPoint, Match, Rule, Set, Table, TableName, Type, Value,
    Verdict,
};
use ipnet::IpNet;

use crate::Protocol;
pub use crate::options::GatewayMode;

/// The sets of ports that are reached by containers' own addresses, for each family.
const DIRECT: [&str; 2] = ["direct4", "direct6"];

const LOOPBACK: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);

/// A frame's content.
const IPV6: u16 = 0x86dd;

/// What the rules need to know of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its interface.
    pub name: String,
    /// Its ranges.
    pub subnets: Vec<IpNet>,
    /// Containers leave with the host's address.
    pub masquerades: bool,
    /// Containers reach each other.
    pub neighbours_talk: bool,
    /// Nothing leads in or out.
    pub is_internal: bool,
    /// How IPv4, and how IPv6, leads in and out.
    pub modes: [GatewayMode; 2],
    /// Interfaces from which everything is reached.
    pub trusted: Vec<String>,
    /// The addresses that containers leave with, unless the host may choose.
    pub outgoing: [Option<IpAddr>; 2],
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Its protocol.
    pub protocol: Protocol,
    /// `0.0.0.0` and `::` stand for every address of the host.
    pub host: SocketAddr,
    /// The container's side, of the same family.
    pub target: SocketAddr,
    /// It is reached by the container's own address and port instead of the host's.
    pub is_direct: bool,
}

/// What the rules need to know of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Daemon {
    /// The tables' name.
    pub table: String,
    /// Where packets come from that the host's own rules have let pass, if these are asked: no other
    /// packet from outside goes to a published port.
    pub gate: Option<String>,
    /// TCP ports of the daemon's own that no container is let near.
    pub ports: Vec<u16>,
    /// IPv6 is somebody else's: no rule has a say about it.
    pub leaves_ipv6: bool,
}

/// The table for everything there is.
pub fn table(daemon: &Daemon, bridges: &[Bridge], forwards: &[Forward]) -> Table {
    let mut sets = interface_sets(bridges);
    sets.extend(maps());
    sets.extend(direct_sets(bridges));
    for forward in forwards {
        let (map, element) = element(forward);
        if let Some(set) = sets.iter_mut().find(|set| set.name == map) {
            set.elements.push(element);
        }
    }
    for set in &mut sets {
        set.elements.sort();
        set.elements.dedup_by(|a, b| a.key == b.key);
    }
    let mut chains = vec![
        published(),
        raw(),
        prerouting(daemon.gate.as_deref()),
        output(),
        forward(bridges),
        postrouting(bridges),
    ];
    chains.extend(input(&daemon.ports));
    if daemon.leaves_ipv6 {
        // Who reaches the daemon is never somebody else's.
        let hooked = chains.iter_mut();
        let hooked = hooked.filter(|chain| chain.hook.is_some() && chain.name != "input");
        hooked.for_each(|chain| chain.rules.insert(0, others()));
    }
    Table {
        name: TableName::new(Family::Inet, &daemon.table),
        sets,
        chains,
    }
}

/// How a published port stands in the table: the map's name and the element.
pub fn element(forward: &Forward) -> (&'static str, Element) {
    let protocol = Value::Protocol(forward.protocol.number());
    let port = Value::Port(forward.host.port());
    if forward.is_direct {
        let target = forward.target;
        let set = DIRECT[usize::from(target.is_ipv6())];
        let key = vec![protocol, target.ip().into(), Value::Port(target.port())];
        return (
            set,
            Element {
                key,
                data: Vec::new(),
            },
        );
    }
    let address = forward.host.ip();
    let data = vec![
        forward.target.ip().into(),
        Value::Port(forward.target.port()),
    ];
    if address.is_unspecified() {
        let map = if address.is_ipv4() { "any4" } else { "any6" };
        return (
            map,
            Element {
                key: vec![protocol, port],
                data,
            },
        );
    }
    let map = if address.is_ipv4() { "one4" } else { "one6" };
    (
        map,
        Element {
            key: vec![protocol, address.into(), port],
            data,
        },
    )
}

fn interface_sets(bridges: &[Bridge]) -> Vec<Set> {
    let name = |bridge: &Bridge| Value::InterfaceName(bridge.name.clone());
    let set = |set: &str, key: Vec<Type>, elements: Vec<Vec<Value>>| Set {
        name: set.to_owned(),
        key,
        data: Vec::new(),
        elements: elements
            .into_iter()
            .map(|key| Element {
                key,
                data: Vec::new(),
            })
            .collect(),
    };
    let one = || vec![Type::InterfaceName];
    let talking = bridges.iter().filter(|bridge| bridge.neighbours_talk);
    let internal = bridges.iter().filter(|bridge| bridge.is_internal);
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let numbers = protocols
        .iter()
        .map(|protocol| vec![Value::Protocol(protocol.number())]);
    vec![
        set(
            "bridges",
            one(),
            bridges.iter().map(|bridge| vec![name(bridge)]).collect(),
        ),
        set(
            "internal",
            one(),
            internal.map(|bridge| vec![name(bridge)]).collect(),
        ),
        set(
            "neighbours",
            vec![Type::InterfaceName, Type::InterfaceName],
            talking
                .map(|bridge| vec![name(bridge), name(bridge)])
                .collect(),
        ),
        set("protocols", vec![Type::Protocol], numbers.collect()),
    ]
}

/// Ports that are reached by containers' own addresses. Hosts without such networks have none.
fn direct_sets(bridges: &[Bridge]) -> Vec<Set> {
    let address = [Type::V4, Type::V6];
    let set = |ipv6: usize| Set {
        name: DIRECT[ipv6].to_owned(),
        key: vec![Type::Protocol, address[ipv6], Type::Port],
        data: Vec::new(),
        elements: Vec::new(),
    };
    let is_routed = |ipv6: &usize| has_direct(bridges, *ipv6);
    [0, 1].into_iter().filter(is_routed).map(set).collect()
}

fn has_direct(bridges: &[Bridge], ipv6: usize) -> bool {
    bridges
        .iter()
        .any(|bridge| bridge.modes[ipv6] == GatewayMode::Routed)
}

fn maps() -> [Set; 4] {
    let map = |name: &str, key: &[Type], address| Set {
        name: name.to_owned(),
        key: key.to_vec(),
        data: vec![address, Type::Port],
        elements: Vec::new(),
    };
    [
        map("one4", &[Type::Protocol, Type::V4, Type::Port], Type::V4),
        map("any4", &[Type::Protocol, Type::Port], Type::V4),
        map("one6", &[Type::Protocol, Type::V6, Type::Port], Type::V6),
        map("any6", &[Type::Protocol, Type::Port], Type::V6),
    ]
}

fn published() -> Chain {
    let protocols = || vec![Match::ProtocolSet("protocols".to_owned())];
    let one = |map: &str, ipv6| Verdict::TranslateByAddress {
        map: map.to_owned(),
        ipv6,
    };
    let any = |map: &str, ipv6| Verdict::TranslateByPort {
        map: map.to_owned(),
        ipv6,
    };
    Chain {
        name: "published".to_owned(),
        hook: None,
        rules: vec![
            rule(protocols(), one("one4", false)),
            rule(protocols(), any("any4", false)),
            rule(protocols(), one("one6", true)),
            rule(protocols(), any("any6", true)),
        ],
    }
}

fn raw() -> Chain {
    let from_bridge = || Match::InterfaceInSet("bridges".to_owned(), true);
    let rules = vec![
        rule(
            vec![from_bridge(), Match::Destination(LOOPBACK.0, LOOPBACK.1)],
            Verdict::Drop,
        ),
        rule(
            vec![from_bridge(), Match::Source(LOOPBACK.0, LOOPBACK.1)],
            Verdict::Drop,
        ),
    ];
    base("raw", false, HookPoint::Prerouting, -300, rules)
}

fn prerouting(gate: Option<&str>) -> Chain {
    let elsewhere = |gate: &str| {
        let matches = vec![Match::InterfaceIn(gate.to_owned(), false)];
        rule(matches, Verdict::Return)
    };
    let mut rules: Vec<_> = gate.map(elsewhere).into_iter().collect();
    // A neighbour on the wire must not reach what is published on the loopback alone.
    rules.extend([
        rule(
            vec![Match::Destination(LOOPBACK.0, LOOPBACK.1)],
            Verdict::Return,
        ),
        rule(
            vec![Match::DestinationIsLocal],
            Verdict::Jump("published".to_owned()),
        ),
    ]);
    base("prerouting", true, HookPoint::Prerouting, -100, rules)
}

/// Whoever reaches the daemon's own port is root on this host.
fn input(ports: &[u16]) -> Option<Chain> {
    let from_bridge = || Match::InterfaceInSet("bridges".to_owned(), true);
    let to = |port: &u16| Match::DestinationPort(Protocol::Tcp.number(), *port);
    let rules = ports
        .iter()
        .map(|port| rule(vec![from_bridge(), to(port)], Verdict::Drop));
    let rules: Vec<_> = rules.collect();
    (!rules.is_empty()).then(|| base("input", false, HookPoint::Input, 0, rules))
}

fn output() -> Chain {
    // Unlike 127/8, ::1 cannot leave its host: what is sent there reaches the socket of a relay, if the
    // port has one, or is refused, and programs go on to 127.0.0.1.
    let rules = vec![
        rule(
            vec![Match::Destination(Ipv6Addr::LOCALHOST.into(), 128)],
            Verdict::Return,
        ),
        rule(
            vec![Match::DestinationIsLocal],
            Verdict::Jump("published".to_owned()),
        ),
    ];
    base("output", true, HookPoint::Output, -100, rules)
}

fn forward(bridges: &[Bridge]) -> Chain {
    let from = |set: &str, holds| Match::InterfaceInSet(set.to_owned(), holds);
    let to = |set: &str, holds| Match::InterfaceOutSet(set.to_owned(), holds);
    let mut rules = vec![
        rule(
            vec![from("bridges", false), to("bridges", false)],
            Verdict::Accept,
        ),
        rule(vec![Match::Established], Verdict::Accept),
        rule(
            vec![Match::InterfacePair("neighbours".to_owned())],
            Verdict::Accept,
        ),
        rule(vec![from("internal", true)], Verdict::Drop),
        rule(vec![to("internal", true)], Verdict::Drop),
        rule(
            vec![to("bridges", true), Match::DestinationTranslated],
            Verdict::Accept,
        ),
    ];
    rules.extend(bridges.iter().flat_map(reached_directly));
    for ipv6 in [0, 1].into_iter().filter(|ipv6| has_direct(bridges, *ipv6)) {
        let service = Match::ServiceInSet {
            set: DIRECT[ipv6].to_owned(),
            ipv6: ipv6 == 1,
        };
        rules.push(rule(vec![to("bridges", true), service], Verdict::Accept));
    }
    rules.push(rule(vec![to("bridges", true)], Verdict::Drop));
    base("forward", false, HookPoint::Forward, 0, rules)
}

/// What reaches a bridge's containers by their own addresses.
fn reached_directly(bridge: &Bridge) -> Vec<Rule> {
    let into = || Match::InterfaceOut(bridge.name.clone(), true);
    let open = bridge.subnets.iter().filter(|subnet| {
        bridge.modes[usize::from(subnet.addr().is_ipv6())] == GatewayMode::NatUnprotected
    });
    let open = open.map(|subnet| {
        let there = Match::Destination(subnet.network(), subnet.prefix_len());
        rule(vec![into(), there], Verdict::Accept)
    });
    let trusted = bridge.trusted.iter().map(|name| {
        let from = Match::InterfaceIn(name.clone(), true);
        rule(vec![from, into()], Verdict::Accept)
    });
    open.chain(trusted).collect()
}

fn postrouting(bridges: &[Bridge]) -> Chain {
    let to_bridge = || Match::InterfaceOutSet("bridges".to_owned(), true);
    let mut rules = vec![rule(
        vec![to_bridge(), Match::Source(LOOPBACK.0, LOOPBACK.1)],
        Verdict::Masquerade,
    )];
    for bridge in bridges.iter().filter(|bridge| !bridge.is_internal) {
        for subnet in &bridge.subnets {
            let from = || Match::Source(subnet.network(), subnet.prefix_len());
            let out = |holds| Match::InterfaceOut(bridge.name.clone(), holds);
            let ipv6 = usize::from(subnet.addr().is_ipv6());
            let is_translated = matches!(
                bridge.modes[ipv6],
                GatewayMode::Nat | GatewayMode::NatUnprotected
            );
            if bridge.masquerades && is_translated {
                let verdict =
                    bridge.outgoing[ipv6].map_or(Verdict::Masquerade, Verdict::TranslateSource);
                rules.push(rule(vec![from(), out(false)], verdict));
            }
            let back = vec![from(), out(true), Match::DestinationTranslated];
            rules.push(rule(back, Verdict::Masquerade));
        }
    }
    base("postrouting", true, HookPoint::Postrouting, 100, rules)
}

/// IPv6 passes.
fn others() -> Rule {
    rule(vec![Match::FrameHolds(IPV6)], Verdict::Accept)
}

fn rule(matches: Vec<Match>, verdict: Verdict) -> Rule {
    Rule { matches, verdict }
}

fn base(name: &str, is_nat: bool, point: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name.to_owned(),
        hook: Some(Hook {
            is_nat,
            point,
            priority,
        }),
        rules,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(name: &str, subnet: &str) -> Bridge {
        Bridge {
            name: name.to_owned(),
            subnets: vec![subnet.parse().unwrap()],
            masquerades: true,
            neighbours_talk: true,
            is_internal: false,
            modes: [GatewayMode::Nat; 2],
            trusted: Vec::new(),
            outgoing: [None; 2],
        }
    }

    fn daemon() -> Daemon {
        Daemon {
            table: "hull".to_owned(),
            ..Daemon::default()
        }
    }

    fn tcp(host: &str, target: &str) -> Forward {
        Forward {
            protocol: Protocol::Tcp,
            host: host.parse().unwrap(),
            target: target.parse().unwrap(),
            is_direct: false,
        }
    }

    #[test]
    fn the_default_bridge_with_ports() {
        let forwards = [
            tcp("0.0.0.0:8080", "172.17.0.2:80"),
            tcp("127.0.0.1:5432", "172.17.0.3:5432"),
            Forward {
                protocol: Protocol::Udp,
                ..tcp("0.0.0.0:53", "172.17.0.4:53")
            },
        ];
        let table = table(&daemon(), &[bridge("hull0", "172.17.0.0/16")], &forwards);
        assert_eq!(
            table.to_string(),
            include_str!("../tests/golden/default-bridge.nft")
        );
    }

    #[test]
    fn ports_that_ask_the_hosts_own_rules_and_senders_that_are_guarded() {
        let gate = crate::gate::Gate {
            near: "hull-admit".to_owned(),
            near_index: 7,
            far: "hull-in".to_owned(),
        };
        let daemon = Daemon {
            gate: Some(gate.far.clone()),
            ports: vec![2375],
            ..daemon()
        };
        let forwards = [
            tcp("0.0.0.0:8080", "172.17.0.2:80"),
            tcp("192.0.2.1:81", "172.17.0.2:81"),
            tcp("[::]:8080", "[fd00:1::2]:80"),
        ];
        let guarded = guard::Guarded {
            link: "hv1".to_owned(),
            mac: [2, 0x42, 172, 17, 0, 2],
            addresses: vec!["172.17.0.2".parse().unwrap(), "fd00:1::2".parse().unwrap()],
        };
        let bridges = [bridge("hull0", "172.17.0.0/16")];
        let mut text = table(&daemon, &bridges, &forwards).to_string();
        for table in admit::tables("hull", &gate, &[], &forwards) {
            text.push_str(&table.to_string());
        }
        text.push_str(&guard::table("hull", &[guarded]).to_string());
        assert_eq!(text, include_str!("../tests/golden/asked-and-guarded.nft"));
    }

    #[test]
    fn ipv6_that_is_left_alone_passes_every_hook_first() {
        let daemon = Daemon {
            ports: vec![2375],
            leaves_ipv6: true,
            ..daemon()
        };
        let table = table(&daemon, &[bridge("hull0", "172.17.0.0/16")], &[]);
        let hooked = table.chains.iter();
        let hooked = hooked.filter(|chain| chain.hook.is_some() && chain.name != "input");
        let firsts: Vec<_> = hooked.map(|chain| chain.rules[0].to_string()).collect();
        assert_eq!(firsts, ["meta protocol ip6 accept"; 5]);
    }

    #[test]
    fn many_networks_of_every_sort() {
        let silent = Bridge {
            neighbours_talk: false,
            masquerades: false,
            ..bridge("br-b", "172.18.0.0/16")
        };
        let internal = Bridge {
            is_internal: true,
            ..bridge("br-c", "172.19.0.0/16")
        };
        let mut dual = bridge("br-d", "172.20.0.0/16");
        dual.subnets.push("fd00:1::/64".parse().unwrap());
        let bridges = [bridge("hull0", "172.17.0.0/16"), silent, internal, dual];
        let forwards = [
            tcp("[::]:80", "[fd00:1::2]:80"),
            tcp("[2001:db8::1]:81", "[fd00:1::2]:81"),
        ];
        let table = table(&daemon(), &bridges, &forwards);
        assert_eq!(
            table.to_string(),
            include_str!("../tests/golden/many-networks.nft")
        );
    }

    #[test]
    fn routed_and_open_networks_are_reached_by_their_own_addresses() {
        let routed = Bridge {
            modes: [GatewayMode::Routed, GatewayMode::Nat],
            trusted: vec!["vpn0".to_owned()],
            ..bridge("br-r", "172.18.0.0/16")
        };
        let open = Bridge {
            modes: [GatewayMode::NatUnprotected; 2],
            outgoing: [Some([192, 0, 2, 7].into()), None],
            ..bridge("br-o", "172.19.0.0/16")
        };
        let direct = Forward {
            is_direct: true,
            ..tcp("0.0.0.0:8080", "172.18.0.2:80")
        };
        let table = table(&daemon(), &[routed, open], &[direct]);
        assert_eq!(
            table.to_string(),
            include_str!("../tests/golden/gateway-modes.nft")
        );
    }

    #[test]
    fn a_port_that_is_published_twice_leads_to_one_place() {
        let twice = [
            tcp("0.0.0.0:80", "172.17.0.2:80"),
            tcp("0.0.0.0:80", "172.17.0.3:80"),
        ];
        let table = table(&daemon(), &[], &twice);
        let any = table.sets.iter().find(|set| set.name == "any4").unwrap();
        assert_eq!(any.elements.len(), 1);
    }
}
