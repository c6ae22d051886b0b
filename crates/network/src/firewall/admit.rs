//! Published ports that obey the host's INPUT rules. Pure.
//!
//! A published port is forwarded, so that a host's rules for packets that are its own (INPUT: what
//! ufw and firewalld open and close) are never asked. Here they are: the first packet of a
//! connection is left as it is, goes to the host, and whoever has a rule about it has his say. Only
//! then, last of all at that hook, it is sent out by the near end of the gate
//! ([`crate::gate`]) and comes in again by the far end, where it is translated as ever. All other
//! packets of the connection follow it without a detour. The source stays, and no program is needed.
//!
//! To send on packets is a verdict of tables of one version of IP only: there is one for each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hull_sys::nftables::{
    Chain, Element, Family, Hook, HookPoint, Match, Rule, Set, Table, TableName, Type, Value,
    Verdict,
};

use super::Forward;
use crate::gate::{self, Gate};

/// After everybody's rules, and before the kernel takes note of the connection.
const LAST: i32 = 1000;

/// Who is asked to take packets: any neighbour at the near end, where nobody looks.
const NEIGHBOURS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 9)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9)),
];

/// The tables for all ports. `internal`: bridges that nothing leads out of.
pub fn tables(name: &str, gate: &Gate, internal: &[String], forwards: &[Forward]) -> [Table; 2] {
    [false, true].map(|ipv6| {
        let mut sets = sets(ipv6);
        let own = forwards.iter().filter(|f| f.target.is_ipv6() == ipv6);
        for (set, element) in own.filter_map(element) {
            if let Some(set) = sets.iter_mut().find(|known| known.name == set) {
                set.elements.push(element);
            }
        }
        for set in &mut sets {
            set.elements.sort();
            set.elements.dedup();
        }
        Table {
            name: TableName::new(family(ipv6), name),
            sets: sets.into(),
            chains: vec![admit(gate, internal, ipv6)],
        }
    })
}

/// The family of the table for a version of IP.
pub fn family(ipv6: bool) -> Family {
    if ipv6 { Family::V6 } else { Family::V4 }
}

/// How a port stands in the table of its family; `None`: it is not the host's port at all.
pub fn element(forward: &Forward) -> Option<(&'static str, Element)> {
    if forward.is_direct {
        return None;
    }
    let protocol = Value::Protocol(forward.protocol.number());
    let (address, port) = (forward.host.ip(), Value::Port(forward.host.port()));
    let (set, key) = if address.is_unspecified() {
        ("any", vec![protocol, port])
    } else {
        ("one", vec![protocol, address.into(), port])
    };
    let data = Vec::new();
    Some((set, Element { key, data }))
}

fn sets(ipv6: bool) -> [Set; 2] {
    let address = if ipv6 { Type::V6 } else { Type::V4 };
    let set = |name: &str, key: &[Type]| Set {
        name: name.to_owned(),
        key: key.to_vec(),
        data: Vec::new(),
        elements: Vec::new(),
    };
    [
        set("one", &[Type::Protocol, address, Type::Port]),
        set("any", &[Type::Protocol, Type::Port]),
    ]
}

fn admit(gate: &Gate, internal: &[String], ipv6: bool) -> Chain {
    let divert = || Verdict::Divert {
        gateway: NEIGHBOURS[usize::from(ipv6)],
        link: gate.near.clone(),
        index: gate.near_index,
    };
    let one = Match::ServiceInSet {
        set: "one".to_owned(),
        ipv6,
    };
    let any = Match::PortInSet("any".to_owned());
    let rule = |matches, verdict| Rule { matches, verdict };
    let from = |name: &str| Match::InterfaceIn(name.to_owned(), true);
    let mut rules = vec![
        // What comes back from the gate has just lost its port: it is not sent round again.
        rule(vec![from(&gate.far)], Verdict::Accept),
        rule(vec![from(gate::LOOPBACK)], Verdict::Accept),
    ];
    // Nothing leads out of an internal network, not even round by the gate.
    let internal = internal
        .iter()
        .map(|name| rule(vec![from(name)], Verdict::Accept));
    rules.extend(internal);
    rules.push(rule(vec![Match::New, one], divert()));
    rules.push(rule(vec![Match::New, any], divert()));
    Chain {
        name: "admit".to_owned(),
        hook: Some(Hook {
            is_nat: false,
            point: HookPoint::Input,
            priority: LAST,
        }),
        rules,
    }
}
