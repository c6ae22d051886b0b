//! A table as `nft` prints it. Tests compare this with what the kernel holds; people read it.

use std::{
    fmt::{self, Display, Formatter},
    net::IpAddr,
};

use super::{
    Chain, Element, Family, Hook, HookPoint, Match, Rule, Sender, Set, Table, TableName, Type,
    Value, Verdict,
};

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {{", self.name)?;
        let mut parts = self
            .sets
            .iter()
            .map(|set| set as &dyn Display)
            .collect::<Vec<_>>();
        parts.extend(self.chains.iter().map(|chain| chain as &dyn Display));
        for (index, part) in parts.iter().enumerate() {
            write!(f, "{}{part}", if index == 0 { "" } else { "\n" })?;
        }
        writeln!(f, "}}")
    }
}

impl Display for TableName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Inet => "inet",
            Family::V4 => "ip",
            Family::V6 => "ip6",
            Family::Bridge => "bridge",
        };
        write!(f, "{family} {}", self.name)
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.data.is_empty() { "set" } else { "map" };
        writeln!(f, "\t{word} {} {{", self.name)?;
        write!(f, "\t\ttype {}", joined(&self.key, " . "))?;
        if !self.data.is_empty() {
            write!(f, " : {}", joined(&self.data, " . "))?;
        }
        writeln!(f)?;
        if !self.elements.is_empty() {
            let separator = ",\n\t\t\t     ";
            writeln!(
                f,
                "\t\telements = {{ {} }}",
                joined(&self.elements, separator)
            )?;
        }
        writeln!(f, "\t}}")
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", joined(&self.key, " . "))?;
        if !self.data.is_empty() {
            write!(f, " : {}", joined(&self.data, " . "))?;
        }
        Ok(())
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InterfaceName => "ifname",
            Self::Protocol => "inet_proto",
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
            Self::Port => "inet_service",
            Self::Mac => "ether_addr",
        })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::InterfaceName(name) => write!(f, "\"{name}\""),
            Self::Protocol(6) => f.write_str("tcp"),
            Self::Protocol(17) => f.write_str("udp"),
            Self::Protocol(132) => f.write_str("sctp"),
            Self::Protocol(number) => write!(f, "{number}"),
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(address) => write!(f, "{address}"),
            Self::Port(number) => write!(f, "{number}"),
            Self::Mac(octets) => f.write_str(&octets.map(|byte| format!("{byte:02x}")).join(":")),
        }
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(hook) = &self.hook {
            writeln!(f, "\t\t{hook}")?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        writeln!(f, "\t}}")
    }
}

impl Display for Hook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = if self.is_nat { "nat" } else { "filter" };
        let point = match self.point {
            HookPoint::Prerouting => "prerouting",
            HookPoint::Input => "input",
            HookPoint::Forward => "forward",
            HookPoint::Output => "output",
            HookPoint::Postrouting => "postrouting",
        };
        // `dstnat` is the name of -100 at prerouting only.
        let named = match (self.priority, self.point) {
            (-300, _) => Some("raw"),
            (-100, HookPoint::Prerouting) => Some("dstnat"),
            (0, _) => Some("filter"),
            (100, HookPoint::Postrouting) => Some("srcnat"),
            _ => None,
        };
        let priority = named.map_or_else(|| self.priority.to_string(), str::to_owned);
        write!(
            f,
            "type {kind} hook {point} priority {priority}; policy accept;"
        )
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        write!(f, "{}", self.verdict)
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = |holds: &bool| if *holds { "" } else { "!= " };
        let version = |address: &IpAddr| if address.is_ipv4() { "ip" } else { "ip6" };
        match self {
            Self::InterfaceIn(name, holds) => write!(f, "iifname {}\"{name}\"", not(holds)),
            Self::InterfaceOut(name, holds) => write!(f, "oifname {}\"{name}\"", not(holds)),
            Self::InterfaceInSet(set, holds) => write!(f, "iifname {}@{set}", not(holds)),
            Self::InterfaceOutSet(set, holds) => write!(f, "oifname {}@{set}", not(holds)),
            Self::InterfacePair(set) => write!(f, "iifname . oifname @{set}"),
            Self::Source(address, length) => {
                write!(
                    f,
                    "{} saddr {}",
                    version(address),
                    network(*address, *length)
                )
            }
            Self::Destination(address, length) => {
                write!(
                    f,
                    "{} daddr {}",
                    version(address),
                    network(*address, *length)
                )
            }
            Self::DestinationIsLocal => f.write_str("fib daddr type local"),
            Self::ProtocolSet(set) => write!(f, "meta l4proto @{set}"),
            Self::SourcePort(protocol, port) => {
                write!(f, "{} sport {port}", Value::Protocol(*protocol))
            }
            Self::DestinationPort(protocol, port) => {
                write!(f, "{} dport {port}", Value::Protocol(*protocol))
            }
            Self::ServiceInSet { set, ipv6 } => {
                let ip = if *ipv6 { "ip6" } else { "ip" };
                write!(f, "meta l4proto . {ip} daddr . th dport @{set}")
            }
            Self::PortInSet(set) => write!(f, "meta l4proto . th dport @{set}"),
            Self::FrameHolds(0x0800) => f.write_str("meta protocol ip"),
            Self::FrameHolds(0x0806) => f.write_str("meta protocol arp"),
            Self::FrameHolds(0x86dd) => f.write_str("meta protocol ip6"),
            Self::FrameHolds(number) => write!(f, "meta protocol {number:#06x}"),
            Self::SenderInSet { set, sender, holds } => {
                write!(f, "iifname . {sender} {}@{set}", not(holds))
            }
            Self::Icmpv6(134) => f.write_str("icmpv6 type nd-router-advert"),
            Self::Icmpv6(136) => f.write_str("icmpv6 type nd-neighbor-advert"),
            Self::Icmpv6(137) => f.write_str("icmpv6 type nd-redirect"),
            Self::Icmpv6(number) => write!(f, "icmpv6 type {number}"),
            Self::New => f.write_str("ct state new"),
            Self::Established => f.write_str("ct state established,related"),
            Self::DestinationTranslated => f.write_str("ct status dnat"),
        }
    }
}

impl Display for Sender {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frame => "ether saddr",
            Self::V4 => "ip saddr",
            Self::V6 => "ip6 saddr",
            Self::ArpMac => "arp saddr ether",
            Self::ArpV4 => "arp saddr ip",
            Self::Advertised => "icmpv6 taddr",
        })
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = |ipv6: &bool| if *ipv6 { "ip6" } else { "ip" };
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Divert { gateway, link, .. } => {
                write!(f, "dup to {gateway} device \"{link}\" drop")
            }
            Self::Masquerade => f.write_str("masquerade"),
            Self::TranslateSource(address) => {
                write!(f, "snat {} to {address}", version(&address.is_ipv6()))
            }
            Self::SetSourcePort(protocol, port) => {
                write!(f, "{} sport set {port}", Value::Protocol(*protocol))
            }
            Self::SetDestinationPort(protocol, port) => {
                write!(f, "{} dport set {port}", Value::Protocol(*protocol))
            }
            Self::TranslateByAddress { map, ipv6 } => {
                let ip = version(ipv6);
                write!(
                    f,
                    "dnat {ip} to meta l4proto . {ip} daddr . th dport map @{map}"
                )
            }
            Self::TranslateByPort { map, ipv6 } => {
                write!(
                    f,
                    "dnat {} to meta l4proto . th dport map @{map}",
                    version(ipv6)
                )
            }
        }
    }
}

fn joined<T: Display>(parts: &[T], separator: &str) -> String {
    parts
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(separator)
}

/// A single address has no length.
fn network(address: IpAddr, length: u8) -> String {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    if length == whole {
        address.to_string()
    } else {
        format!("{address}/{length}")
    }
}
