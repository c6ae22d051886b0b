//! What callers store and give back: networks, endpoints, published ports; and what they ask for.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The endpoint option for kernel settings of its interface.
pub(crate) const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent member of Docker's"
)]
pub struct Network {
    /// 64 hex digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// What makes it.
    pub driver: Driver,
    /// Its subnets, IPv4 ones first.
    pub subnets: Vec<Subnet>,
    /// Endpoints have IPv4 addresses.
    pub enable_ipv4: bool,
    /// Endpoints have IPv6 addresses.
    pub enable_ipv6: bool,
    /// Nothing leads out of it.
    pub internal: bool,
    /// For swarms; kept and shown.
    pub attachable: bool,
    /// Driver options, under Docker's names.
    pub options: BTreeMap<String, String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// It is nothing but settings, for networks that name it.
    #[serde(default)]
    pub config_only: bool,
    /// The name of the network whose settings it has.
    #[serde(default)]
    pub config_from: Option<String>,
    /// The plugin that makes it.
    #[serde(default)]
    pub plugin: Option<String>,
    /// The plugin that gives its addresses; `None`: we do.
    #[serde(default)]
    pub ipam_plugin: Option<String>,
    /// What that plugin is told.
    #[serde(default)]
    pub ipam_options: BTreeMap<String, String>,
    /// Its parent interface was made for it, and goes with it.
    #[serde(default)]
    pub owns_parent: bool,
}

/// How many addresses of a subnet are in use, and how many can still be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetUse {
    /// The range.
    pub subnet: IpNet,
    /// Addresses that are taken or never given.
    pub in_use: u64,
    /// Addresses of the part that is given out that are free.
    pub available: u64,
}

/// What makes a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of the host, with addresses of its own.
    #[default]
    Bridge,
    /// Interfaces with link-layer addresses of their own on one of the host's links.
    Macvlan,
    /// Interfaces on one of the host's links, with its link-layer address.
    Ipvlan,
    /// The host's own namespace.
    Host,
    /// A sandbox with nothing but a loopback.
    Null,
    /// Whatever a plugin makes of it.
    Remote,
}

/// A range of a network's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The range.
    pub subnet: IpNet,
    /// The part of it that is given out, if not all.
    pub range: Option<IpNet>,
    /// The host's address.
    pub gateway: IpAddr,
    /// Named addresses that are never given out.
    #[serde(default)]
    pub reserved: BTreeMap<String, IpAddr>,
    /// What the plugin calls it that gives its addresses.
    #[serde(default)]
    pub pool: Option<String>,
}

impl Subnet {
    /// Where containers of a bridge send what is for elsewhere: the host, unless a reserved address has
    /// the name that Docker gives to another way out.
    pub(crate) fn way_out(&self) -> IpAddr {
        let other = self.reserved.get(way_out_name(self.gateway.is_ipv6()));
        other.copied().unwrap_or(self.gateway)
    }
}

/// The name of the reserved address that is a bridge's other way out.
pub(crate) fn way_out_name(ipv6: bool) -> &'static str {
    ["DefaultGatewayIPv4", "DefaultGatewayIPv6"][usize::from(ipv6)]
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// What a container asks of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointRequest {
    /// Whose it will be.
    pub container_id: String,
    /// The container's name, for messages.
    pub container_name: String,
    /// A fixed address.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed address.
    pub ipv6: Option<Ipv6Addr>,
    /// `aa:bb:cc:dd:ee:ff`; `None`: made from the address.
    pub mac: Option<String>,
    /// Further names.
    pub aliases: Vec<String>,
    /// All names it answers to on the network; the first is what its addresses are called.
    pub names: Vec<String>,
    /// Driver options, under Docker's names.
    pub driver_options: BTreeMap<String, String>,
    /// The network with the highest one gives the default route.
    pub gateway_priority: i64,
    /// Further addresses that hold on the link alone.
    pub link_local: Vec<IpAddr>,
}

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// 64 hex digits.
    pub id: String,
    /// The network's id.
    pub network_id: String,
    /// The network's name.
    pub network_name: String,
    /// Whose it is.
    pub container_id: String,
    /// The container's name.
    pub container_name: String,
    /// Its address and the length of its subnet.
    pub ipv4: Option<Ipv4Net>,
    /// The way out, unless the network is internal.
    pub gateway: Option<Ipv4Addr>,
    /// Its address and the length of its subnet.
    pub ipv6: Option<Ipv6Net>,
    /// The way out, unless the network is internal.
    pub gateway_v6: Option<Ipv6Addr>,
    /// `02:42:ac:11:00:02`.
    pub mac: String,
    /// The interface inside, `eth0`.
    pub interface: String,
    /// The interface on the host; empty for networks without links.
    pub host_interface: String,
    /// Its number.
    pub host_index: u32,
    /// Further names.
    pub aliases: Vec<String>,
    /// All names it answers to.
    #[serde(default)]
    pub names: Vec<String>,
    /// As asked.
    pub driver_options: BTreeMap<String, String>,
    /// As asked.
    pub gateway_priority: i64,
    /// Further addresses that hold on the link alone.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// What a plugin called its interface on the host.
    #[serde(default)]
    pub plugin_link: String,
}

/// A port to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// The port inside.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// An address of the host; `None`: the daemon's default.
    pub host_ip: Option<IpAddr>,
    /// First and last port to choose from; `None`: any free one.
    pub host_ports: Option<(u16, u16)>,
}

/// A published port: one for each family of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Where it leads.
    pub endpoint_id: String,
    /// `0.0.0.0` and `::` stand for every address.
    pub host_ip: IpAddr,
    /// The port of the host.
    pub host_port: u16,
    /// The port inside.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// It is reached by the container's own address: on the host, no port is in use.
    #[serde(default)]
    pub is_direct: bool,
}

impl Driver {
    /// Docker's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Host => "host",
            Self::Null => "null",
            Self::Remote => "remote",
        }
    }
}

impl Protocol {
    /// The lowercase name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// IP's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Network {
    /// What its driver is called: a plugin's by the plugin's name.
    pub fn driver_name(&self) -> &str {
        let plugin = self.plugin.as_deref();
        plugin.unwrap_or(self.driver.as_str())
    }

    /// The bridge's name; `None` for other drivers.
    pub fn bridge(&self) -> Option<&str> {
        let name = self
            .options
            .get("com.docker.network.bridge.name")
            .map(String::as_str);
        name.filter(|_| self.driver == Driver::Bridge)
    }

    /// Whether the daemon made it for itself.
    pub fn is_predefined(&self) -> bool {
        (matches!(self.driver, Driver::Host | Driver::Null) && !self.config_only)
            || (self.name == "bridge"
                && self.flag("com.docker.network.bridge.default_bridge", false))
    }

    /// Containers may talk to each other.
    pub(crate) fn icc(&self) -> bool {
        self.flag("com.docker.network.bridge.enable_icc", true)
    }

    /// Containers hide behind the host's address.
    pub(crate) fn masquerades(&self) -> bool {
        self.flag("com.docker.network.bridge.enable_ip_masquerade", true)
    }

    /// The beginning of interfaces' names inside, `eth` unless the user chose.
    pub(crate) fn interface_prefix(&self) -> &str {
        let name = "com.docker.network.container_iface_prefix";
        self.options.get(name).map_or("eth", String::as_str)
    }

    pub(crate) fn mtu(&self) -> u32 {
        let text = self.options.get("com.docker.network.driver.mtu");
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        match self.options.get(name).map(String::as_str) {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some(_) => false,
            None => default,
        }
    }
}

impl Endpoint {
    /// Sorts a container's endpoints by their right to give the default route: a way out at all,
    /// then the highest priority, then the network's name.
    pub fn route_order(&self) -> impl Ord + '_ {
        let leads_nowhere = self.gateway.is_none() && self.gateway_v6.is_none();
        let priority = std::cmp::Reverse(self.gateway_priority);
        (leads_nowhere, priority, self.network_name.as_str())
    }

    /// The way out for a family.
    pub fn gateway_of(&self, ipv6: bool) -> Option<IpAddr> {
        if ipv6 {
            self.gateway_v6.map(IpAddr::V6)
        } else {
            self.gateway.map(IpAddr::V4)
        }
    }

    /// Kernel settings of its interface: `net.ipv4.conf.IFNAME.forwarding=1`, several by commas.
    pub(crate) fn sysctls(&self) -> Vec<(String, String)> {
        let text = self.driver_options.get(SYSCTLS).map_or("", String::as_str);
        let pairs = text.split(',').filter_map(|entry| entry.split_once('='));
        pairs
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect()
    }

    /// Its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.ipv4.map(|net| IpAddr::from(net.addr()));
        v4.into_iter()
            .chain(self.ipv6.map(|net| IpAddr::from(net.addr())))
    }
}
