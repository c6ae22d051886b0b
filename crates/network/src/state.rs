//! What a running daemon knows: networks with their addresses, endpoints with their ports.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use ipnet::IpNet;

use crate::options::GatewayMode;
use crate::{
    Config, Endpoint, Error, Network, Published,
    bridge::Plan,
    firewall::{self, Forward},
    pool::Addresses,
};

#[derive(Debug, Default)]
pub(crate) struct State {
    /// By id.
    pub(crate) networks: BTreeMap<String, Attached>,
    /// By id.
    pub(crate) endpoints: BTreeMap<String, Connected>,
    /// Where the next search for a free host port begins.
    pub(crate) next_port: Option<u16>,
    /// Host-side interfaces being made right now: not strays.
    pub(crate) in_the_making: Vec<String>,
}

/// A network and what it holds on the host.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) record: Network,
    pub(crate) addresses: Vec<Addresses>,
    /// The bridge's number; 0 for other drivers.
    pub(crate) bridge_index: u32,
}

/// An endpoint and what it holds on the host.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) endpoint: Endpoint,
    pub(crate) ports: Vec<HeldPort>,
}

/// A published port. The open socket keeps other programs from taking it.
#[derive(Debug)]
pub(crate) struct HeldPort {
    pub(crate) published: Published,
    #[expect(dead_code, reason = "held open, closed by dropping")]
    pub(crate) reservation: Option<OwnedFd>,
}

impl Attached {
    pub(crate) fn new(record: Network) -> Self {
        let addresses = record
            .subnets
            .iter()
            .map(|part| {
                let mut addresses = Addresses::new(part.subnet, part.range);
                for address in std::iter::once(&part.gateway).chain(part.reserved.values()) {
                    // An address outside the range needs no keeping.
                    let _ = addresses.take(*address);
                }
                addresses
            })
            .collect();
        Self {
            record,
            addresses,
            bridge_index: 0,
        }
    }

    /// Takes an address of a family: a wanted one, or any.
    pub(crate) fn take(&mut self, wanted: Option<IpAddr>, ipv6: bool) -> Result<IpNet, Error> {
        let mut pools = self
            .addresses
            .iter_mut()
            .filter(|pool| pool.subnet().addr().is_ipv6() == ipv6);
        let (address, subnet) = match wanted {
            Some(address) => {
                let pool = pools.find(|pool| pool.subnet().contains(&address));
                let pool = pool.ok_or(Error::AddressOutside(address))?;
                pool.take(address)?;
                (address, pool.subnet())
            }
            None => pools
                .find_map(|pool| Some((pool.take_any()?, pool.subnet())))
                .ok_or_else(|| Error::NoFreeAddress(self.record.name.clone()))?,
        };
        Ok(IpNet::new_assert(address, subnet.prefix_len()))
    }

    pub(crate) fn release(&mut self, address: IpAddr) {
        for pool in &mut self.addresses {
            pool.release(address);
        }
    }

    /// The way out for a family.
    pub(crate) fn gateway(&self, ipv6: bool) -> Option<IpAddr> {
        let mut subnets = self.record.subnets.iter();
        subnets
            .find(|part| part.gateway.is_ipv6() == ipv6)
            .map(|part| part.gateway)
    }

    pub(crate) fn plan(&self, config: &Config) -> Option<Plan> {
        let name = self.record.bridge()?.to_owned();
        let own = self.record.subnets.iter();
        let own = own.filter(|part| self.record.has_gateway(part.gateway.is_ipv6()));
        let addresses = own.map(|part| IpNet::new_assert(part.gateway, part.subnet.prefix_len()));
        Some(Plan {
            name,
            addresses: addresses.collect(),
            mtu: self.record.mtu(),
            ip_forward: config.ip_forward,
        })
    }
}

impl State {
    /// A network by id, by name, or by the beginning of its id.
    pub(crate) fn network(&self, reference: &str) -> Option<&Attached> {
        if let Some(found) = self.networks.get(reference) {
            return Some(found);
        }
        if let Some(found) = self.networks.values().find(|n| n.record.name == reference) {
            return Some(found);
        }
        let mut matching = self
            .networks
            .values()
            .filter(|n| n.record.id.starts_with(reference));
        let first = matching.next().filter(|_| !reference.is_empty())?;
        matching.next().is_none().then_some(first)
    }

    /// A container's endpoints: the one whose network gives the default route first.
    pub(crate) fn endpoints_of(&self, container_id: &str) -> Vec<&Endpoint> {
        let all = self.endpoints.values().map(|connected| &connected.endpoint);
        let mut own: Vec<_> = all.filter(|e| e.container_id == container_id).collect();
        own.sort_by(|a, b| a.route_order().cmp(&b.route_order()));
        own
    }

    /// The whole truth about rules.
    pub(crate) fn table(&self, config: &Config) -> hull_sys::nftables::Table {
        let bridges: Vec<_> = self.networks.values().filter_map(bridge).collect();
        let held = self.endpoints.values().flat_map(|connected| {
            connected
                .ports
                .iter()
                .map(move |port| (&connected.endpoint, &port.published))
        });
        let forwards: Vec<_> = held
            .filter_map(|(endpoint, published)| self.forward(endpoint, published))
            .collect();
        firewall::table(&config.table(), &bridges, &forwards)
    }

    /// Where a published port leads; `None`: the endpoint has no address of the port's family.
    pub(crate) fn forward(&self, endpoint: &Endpoint, published: &Published) -> Option<Forward> {
        let ipv6 = published.host_ip.is_ipv6();
        let target = endpoint.addresses().find(|a| a.is_ipv6() == ipv6)?;
        let network = self.networks.get(&endpoint.network_id);
        let mode = network.map(|network| network.record.gateway_mode(ipv6));
        Some(Forward {
            protocol: published.protocol,
            host: SocketAddr::new(published.host_ip, published.host_port),
            target: SocketAddr::new(target, published.container_port),
            is_direct: mode == Some(GatewayMode::Routed),
        })
    }

    /// The container that has published a port another one wants.
    pub(crate) fn holder(&self, wanted: &Published) -> Option<&Endpoint> {
        let clashes = |held: &Published| {
            let (a, b) = (held.host_ip, wanted.host_ip);
            held.host_port == wanted.host_port
                && held.protocol == wanted.protocol
                && a.is_ipv4() == b.is_ipv4()
                && (a == b || a.is_unspecified() || b.is_unspecified())
        };
        self.endpoints
            .values()
            .find(|connected| connected.ports.iter().any(|port| clashes(&port.published)))
            .map(|connected| &connected.endpoint)
    }
}

fn bridge(network: &Attached) -> Option<firewall::Bridge> {
    Some(firewall::Bridge {
        name: network.record.bridge()?.to_owned(),
        subnets: network
            .record
            .subnets
            .iter()
            .map(|part| part.subnet)
            .collect(),
        masquerades: network.record.masquerades(),
        neighbours_talk: network.record.icc(),
        is_internal: network.record.internal,
        modes: [false, true].map(|ipv6| network.record.gateway_mode(ipv6)),
        trusted: network.record.trusted_interfaces(),
        outgoing: [false, true].map(|ipv6| network.record.outgoing_address(ipv6)),
    })
}
