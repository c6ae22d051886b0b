//! The words of a ruleset.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4: some verdicts are there only.
    V4,
    /// IPv6: likewise.
    V6,
    /// Frames that cross a bridge.
    Bridge,
}

/// What tells tables apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Tables of two families may share a name.
    pub family: Family,
    /// The name.
    pub name: String,
}

impl TableName {
    /// A table's name in a family.
    pub fn new(family: Family, name: &str) -> Self {
        Self {
            family,
            name: name.to_owned(),
        }
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its family and name.
    pub name: TableName,
    /// Its sets and maps.
    pub sets: Vec<Set>,
    /// Its chains; a chain stands before those that jump to it.
    pub chains: Vec<Chain>,
}

/// A named set, or a map if it has data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// The parts of a key.
    pub key: Vec<Type>,
    /// The parts of a value; empty for a set.
    pub data: Vec<Type>,
    /// What it holds.
    pub elements: Vec<Element>,
}

/// An entry of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// As the set's key.
    pub key: Vec<Value>,
    /// As the set's data.
    pub data: Vec<Value>,
}

/// The type of a part of a key or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Type {
    InterfaceName,
    Protocol,
    V4,
    V6,
    Port,
    Mac,
}

/// A part of a key or value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    InterfaceName(String),
    /// The IP protocol's number.
    Protocol(u8),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Port(u16),
    Mac([u8; 6]),
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6(v6),
        }
    }
}

/// Rules in order; a base chain if it has a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where the kernel calls it, if the kernel does.
    pub hook: Option<Hook>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where and when the kernel calls a chain. The policy is always to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Translates addresses; otherwise the chain filters.
    pub is_nat: bool,
    /// Where.
    pub point: HookPoint,
    /// Lower comes first.
    pub priority: i32,
}

/// The kernel's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HookPoint {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// What to do with packets for which every match holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All must hold.
    pub matches: Vec<Match>,
    /// What then happens.
    pub verdict: Verdict,
}

/// One question about a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// It came in by this interface (`false`: by any other).
    InterfaceIn(String, bool),
    /// It leaves by this interface (`false`: by any other).
    InterfaceOut(String, bool),
    /// It came in by an interface of a set (`false`: by none of them).
    InterfaceInSet(String, bool),
    /// It leaves by an interface of a set (`false`: by none of them).
    InterfaceOutSet(String, bool),
    /// In and out are a pair of a set.
    InterfacePair(String),
    /// Its source lies in a network.
    Source(IpAddr, u8),
    /// Its destination lies in a network.
    Destination(IpAddr, u8),
    /// Its destination is an address of this host.
    DestinationIsLocal,
    /// Its protocol is in a set.
    ProtocolSet(String),
    /// It has this protocol (by number) and comes from this port.
    SourcePort(u8, u16),
    /// It has this protocol (by number) and goes to this port.
    DestinationPort(u8, u16),
    /// Its protocol, destination and port are in a set.
    ServiceInSet {
        /// The set.
        set: String,
        /// The family of its addresses.
        ipv6: bool,
    },
    /// Its protocol and port are in a set.
    PortInSet(String),
    /// It has this protocol of a frame's content: IPv4, ARP, IPv6 …
    FrameHolds(u16),
    /// Where it came in and who it says has sent it are in a set (`false`: are not).
    SenderInSet {
        /// The set.
        set: String,
        /// Where it says so.
        sender: Sender,
        /// Whether they must be.
        holds: bool,
    },
    /// It is an ICMPv6 message of this type.
    Icmpv6(u8),
    /// It belongs to a connection known already, or is related to one.
    Established,
    /// It begins a connection.
    New,
    /// Its connection's destination was translated.
    DestinationTranslated,
}

/// The place of a frame that names its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The frame's source.
    Frame,
    /// The IPv4 source.
    V4,
    /// The IPv6 source.
    V6,
    /// Whose link-layer address an ARP message tells.
    ArpMac,
    /// Whose IPv4 address an ARP message tells.
    ArpV4,
    /// Whose IPv6 address a neighbour's advertisement tells.
    Advertised,
}

/// What happens to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This chain lets it pass.
    Accept,
    /// It is thrown away.
    Drop,
    /// Back to the calling chain.
    Return,
    /// On with another chain.
    Jump(String),
    /// It leaves by this link (its name and number) to a neighbour there, unchanged and without its
    /// connection; here its way ends. For tables of one version of IP.
    Divert {
        /// The neighbour.
        gateway: IpAddr,
        /// The link's name, for people.
        link: String,
        /// The link's number, for the kernel.
        index: u32,
    },
    /// It leaves with this host's address.
    Masquerade,
    /// It leaves with this address; its family is matched before.
    TranslateSource(IpAddr),
    /// It goes on with another source port; its protocol is matched before.
    SetSourcePort(u8, u16),
    /// It goes on with another destination port; its protocol is matched before.
    SetDestinationPort(u8, u16),
    /// To the address and port that a map has for its protocol, destination and port; passes on to
    /// the next rule if there is none.
    TranslateByAddress {
        /// The map.
        map: String,
        /// The family of the addresses.
        ipv6: bool,
    },
    /// To the address and port that a map has for its protocol and port, whatever its destination;
    /// passes on to the next rule if there is none.
    TranslateByPort {
        /// The map.
        map: String,
        /// The family of the addresses.
        ipv6: bool,
    },
}
