//! A container's part in a network.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// A transport protocol a port belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum PortProtocol {
    Tcp,
    Udp,
    Sctp,
}

/// A port of a container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishedPort {
    /// 1 to 65535.
    pub number: u16,
    /// Its protocol.
    pub protocol: PortProtocol,
}

/// Where the host offers a container's port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// `None`: every address of the host.
    pub address: Option<IpAddr>,
    /// First and last port to choose from; `None`: any free one.
    pub ports: Option<(u16, u16)>,
}

/// What a container asks of one network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConfig {
    /// A fixed IPv4 address.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// A fixed IPv6 address.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// Further link-local addresses.
    pub link_local: Vec<IpAddr>,
    /// `aa:bb:cc:dd:ee:ff`; empty: one is made up.
    pub mac_address: String,
    /// Further names it answers to on this network.
    pub aliases: Vec<String>,
    /// `container:alias`, each.
    pub links: Vec<String>,
    /// Options of the network's driver.
    pub driver_options: BTreeMap<String, String>,
    /// Which network gives the default route: the highest.
    pub gateway_priority: i64,
}

impl PortProtocol {
    /// The lowercase name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Takes a name in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
    }
}

impl PublishedPort {
    /// Takes `80`, `80/tcp`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number: u16 = number.parse().ok()?;
        let protocol = PortProtocol::parse(protocol)?;
        (number != 0).then_some(Self { number, protocol })
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

impl Serialize for PublishedPort {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublishedPort {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("no port: {text}")))
    }
}
