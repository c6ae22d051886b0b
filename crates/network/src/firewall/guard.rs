//! Who may send under which addresses: frames of containers on networks that say
//! `hull.antispoof=true`. Pure.
//!
//! A table of the bridges' family, which other hosts do not have. It looks at frames before a bridge
//! learns from them, so that a forged one changes nobody's way either.
//!
//! ```text
//! guarded     links whose containers send under their own addresses
//! macs        a link and the address its frames come from, and that its ARP messages tell
//! senders4/6  a link and the addresses its packets come from, and that it may claim to have
//! ```

use std::net::{IpAddr, Ipv6Addr};

use hull_sys::nftables::{
    Chain, Element, Family, Hook, HookPoint, Match, Rule, Sender, Set, Table, TableName, Type,
    Value, Verdict,
};

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// ICMPv6 messages that make others' routes: no container is a router here.
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// A container's link and all that it may say it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The host's end.
    pub link: String,
    /// The container's link-layer address.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The table for all guarded links.
pub fn table(name: &str, all: &[Guarded]) -> Table {
    let mut sets = sets();
    for (set, element) in all.iter().flat_map(elements) {
        if let Some(set) = sets.iter_mut().find(|known| known.name == set) {
            set.elements.push(element);
        }
    }
    for set in &mut sets {
        set.elements.sort();
        set.elements.dedup();
    }
    Table {
        name: TableName::new(Family::Bridge, name),
        sets: sets.into(),
        chains: vec![senders()],
    }
}

/// How a link stands in the table.
pub fn elements(guarded: &Guarded) -> Vec<(&'static str, Element)> {
    let link = || Value::InterfaceName(guarded.link.clone());
    let element = |key| Element {
        key,
        data: Vec::new(),
    };
    let mut all = vec![
        ("macs", element(vec![link(), Value::Mac(guarded.mac)])),
        // Whoever has no address yet asks for his own under this one.
        (
            "senders6",
            element(vec![link(), Value::V6(Ipv6Addr::UNSPECIFIED)]),
        ),
        (
            "senders6",
            element(vec![link(), Value::V6(on_link(guarded.mac))]),
        ),
    ];
    let own = IpAddr::V6(on_link(guarded.mac));
    for address in guarded.addresses.iter().filter(|known| **known != own) {
        let set = if address.is_ipv4() {
            "senders4"
        } else {
            "senders6"
        };
        all.push((set, element(vec![link(), (*address).into()])));
    }
    // The last: a link is guarded only when all else is known.
    all.push(("guarded", element(vec![link()])));
    all
}

/// The address that a link gives itself (RFC 4291, appendix A).
fn on_link([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let octets = [
        0xfe,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        a ^ 2,
        b,
        c,
        0xff,
        0xfe,
        d,
        e,
        f,
    ];
    octets.into()
}

fn sets() -> [Set; 4] {
    let set = |name: &str, further: Option<Type>| Set {
        name: name.to_owned(),
        key: std::iter::once(Type::InterfaceName)
            .chain(further)
            .collect(),
        data: Vec::new(),
        elements: Vec::new(),
    };
    [
        set("guarded", None),
        set("macs", Some(Type::Mac)),
        set("senders4", Some(Type::V4)),
        set("senders6", Some(Type::V6)),
    ]
}

fn senders() -> Chain {
    let rule = |matches, verdict| Rule { matches, verdict };
    let is = |sender, set: &str, holds| Match::SenderInSet {
        set: set.to_owned(),
        sender,
        holds,
    };
    let lies = |frame, sender, set| {
        let matches = vec![Match::FrameHolds(frame), is(sender, set, false)];
        rule(matches, Verdict::Drop)
    };
    let holds = |frame| rule(vec![Match::FrameHolds(frame)], Verdict::Accept);
    let guarded = "guarded".to_owned();
    Chain {
        name: "senders".to_owned(),
        hook: Some(Hook {
            is_nat: false,
            point: HookPoint::Prerouting,
            priority: -400,
        }),
        rules: vec![
            rule(vec![Match::InterfaceInSet(guarded, false)], Verdict::Accept),
            rule(vec![is(Sender::Frame, "macs", false)], Verdict::Drop),
            lies(IPV4, Sender::V4, "senders4"),
            lies(ARP, Sender::ArpMac, "macs"),
            lies(ARP, Sender::ArpV4, "senders4"),
            lies(IPV6, Sender::V6, "senders6"),
            rule(vec![Match::Icmpv6(ROUTER_ADVERTISEMENT)], Verdict::Drop),
            rule(vec![Match::Icmpv6(REDIRECT)], Verdict::Drop),
            rule(
                vec![
                    Match::Icmpv6(NEIGHBOUR_ADVERTISEMENT),
                    is(Sender::Advertised, "senders6", false),
                ],
                Verdict::Drop,
            ),
            holds(IPV4),
            holds(ARP),
            holds(IPV6),
            // Nothing else has a sender that could be looked at.
            rule(Vec::new(), Verdict::Drop),
        ],
    }
}
