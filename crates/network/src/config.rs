//! What the daemon's options say about networks.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hull_sys::idmap::Mappings;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::ResolverProgram;

/// Options of the daemon, with Docker's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent option of dockerd's"
)]
pub struct Config {
    /// The default bridge (`--bridge`); `None`: there is no default network.
    pub bridge: Option<String>,
    /// The default bridge's own address (`--bip`).
    pub bip: Option<Ipv4Net>,
    /// Where in its subnet addresses are given (`--fixed-cidr`).
    pub fixed_cidr: Option<Ipv4Net>,
    /// IPv6 on the default bridge (`--ipv6`), which takes `fixed_cidr_v6` or a private subnet.
    pub ipv6: bool,
    /// Its IPv6 subnet (`--fixed-cidr-v6`).
    pub fixed_cidr_v6: Option<Ipv6Net>,
    /// The default bridge's own IPv6 address (`--bip6`), which gives it that subnet.
    pub bip6: Option<Ipv6Net>,
    /// Where containers of the default bridge send what is for elsewhere, instead of the bridge
    /// (`--default-gateway`).
    pub default_gateway: Option<Ipv4Addr>,
    /// The same for IPv6 (`--default-gateway-v6`).
    pub default_gateway_v6: Option<Ipv6Addr>,
    /// Options of networks that are made and do not say otherwise (`--default-network-opt`), by
    /// driver.
    pub default_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Where subnets are taken from (`--default-address-pool`); empty: Docker's list.
    pub address_pools: Vec<AddressPool>,
    /// The largest packet (`--mtu`); 0: the kernel's choice.
    pub mtu: u32,
    /// Switch forwarding on (`--ip-forward`).
    pub ip_forward: bool,
    /// Hide containers behind the host's address (`--ip-masq`).
    pub ip_masquerade: bool,
    /// Make rules at all (`--iptables`).
    pub firewall: bool,
    /// Make rules for IPv6 too (`--ip6tables`).
    pub firewall_v6: bool,
    /// What the host's own firewall has to say about published ports (`--firewall-mode`).
    pub firewall_mode: FirewallMode,
    /// Carry to published ports what rules cannot lead there: clients of `::1`, and those of IPv6
    /// to containers that only have IPv4 (`--userland-proxy`).
    pub relays: bool,
    /// TCP ports by which the daemon itself is reached without a certificate: no container is let
    /// near them.
    pub daemon_ports: Vec<u16>,
    /// Containers of the default bridge may talk to each other (`--icc`).
    pub icc: bool,
    /// Where ports are published that name no address (`--ip`).
    pub default_binding: IpAddr,
    /// How many sandboxes are kept ready; 0: each is made when it is needed.
    pub ready_sandboxes: usize,
    /// Who answers for names; `None`: nobody does.
    pub resolver: Option<ResolverProgram>,
    /// Sandboxes belong to user namespaces of their own that translate ids so (`--userns-remap`).
    #[serde(skip)]
    pub user_namespaces: Option<Mappings>,
}

/// What the host's own firewall has to say about published ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirewallMode {
    /// Nothing, as with Docker: publishing a port opens it.
    #[default]
    Docker,
    /// Everything: who would not reach a program of the host's on that port does not reach the
    /// container's.
    Input,
}

impl std::str::FromStr for FirewallMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "docker" => Ok(Self::Docker),
            "input" => Ok(Self::Input),
            other => Err(format!("unknown firewall mode {other:?}: docker or input")),
        }
    }
}

/// A range that subnets are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressPool {
    /// The whole range.
    pub base: IpNet,
    /// The prefix length of each subnet.
    pub size: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bridge: Some("hull0".to_owned()),
            bip: None,
            fixed_cidr: None,
            ipv6: false,
            fixed_cidr_v6: None,
            bip6: None,
            default_gateway: None,
            default_gateway_v6: None,
            default_options: BTreeMap::new(),
            address_pools: Vec::new(),
            mtu: 0,
            ip_forward: true,
            ip_masquerade: true,
            firewall: true,
            firewall_v6: true,
            firewall_mode: FirewallMode::default(),
            relays: true,
            daemon_ports: Vec::new(),
            icc: true,
            default_binding: Ipv4Addr::UNSPECIFIED.into(),
            ready_sandboxes: 2,
            resolver: None,
            user_namespaces: None,
        }
    }
}

impl Config {
    /// Published ports obey the host's rules for packets that are its own.
    pub(crate) fn asks_input(&self) -> bool {
        self.firewall && self.firewall_mode == FirewallMode::Input
    }

    /// The nftables table: a daemon with another bridge has another table. In whichever family it
    /// has the same name.
    pub(crate) fn table(&self) -> String {
        match self.bridge.as_deref() {
            None | Some("hull0") => "hull".to_owned(),
            Some(bridge) => {
                let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
                format!("hull-{}", bridge.chars().map(plain).collect::<String>())
            }
        }
    }
}
