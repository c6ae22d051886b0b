//! Networks, and a service's place in them.

use serde::Deserialize;

use super::Texts;
use crate::node::Place;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceNetwork {
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_opts: Texts,
    pub(crate) gw_priority: i64,
    pub(crate) interface_name: String,
    pub(crate) ipv4_address: String,
    pub(crate) ipv6_address: String,
    pub(crate) link_local_ips: Vec<String>,
    pub(crate) mac_address: String,
    pub(crate) priority: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Port {
    pub(crate) host_ip: String,
    pub(crate) target: u32,
    pub(crate) published: String,
    pub(crate) protocol: String,
}

/// A network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The hash of what it says.
    #[serde(skip)]
    pub hash: String,
    /// Its name at the daemon.
    pub name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: Texts,
    pub(crate) ipam: Ipam,
    /// Whether it is made by others.
    pub external: bool,
    /// Where it says so.
    #[serde(skip)]
    pub(crate) external_at: Place,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) labels: Texts,
    pub(crate) enable_ipv4: Option<bool>,
    pub(crate) enable_ipv6: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ipam {
    pub(crate) driver: String,
    pub(crate) config: Vec<Pool>,
    pub(crate) options: Texts,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pool {
    pub(crate) subnet: String,
    pub(crate) gateway: String,
    pub(crate) ip_range: String,
    pub(crate) aux_addresses: Texts,
}
