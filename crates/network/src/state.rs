//! What a running daemon knows: networks with their addresses, endpoints with their ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use hull_sys::nftables::Table;
use ipnet::IpNet;

use crate::options::GatewayMode;
use crate::{
    Config, Driver, Endpoint, Error, Network, Protocol, Published,
    bridge::{self, Plan},
    firewall::{self, Forward, admit, guard},
    gate::Gate,
    names::Relayed,
    pool::Addresses,
};

/// Endpoints and ports are found by whose they are: with thousands of them, one more costs what the
/// first did.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By id.
    pub(crate) networks: BTreeMap<String, Attached>,
    /// By id. Added and removed by functions below, which keep the indexes.
    endpoints: BTreeMap<String, Connected>,
    /// Ids of endpoints, by container.
    by_container: BTreeMap<String, BTreeSet<String>>,
    /// Addresses where a port of the host is published, with the endpoint's id.
    by_port: ByPort,
    /// Where the next search for a free host port begins.
    pub(crate) next_port: Option<u16>,
    /// Endpoints being made right now, by their host-side interface: these are no strays, and their
    /// senders are guarded before their first frame.
    pub(crate) in_the_making: BTreeMap<String, Endpoint>,
    /// Host-side interfaces that are being taken away right now: whoever finds them down leaves them so.
    pub(crate) leaving_links: BTreeSet<String>,
    /// Bridges being deleted right now, by their numbers, each with its name and addresses: until it
    /// has gone, no other network can have these.
    pub(crate) leaving_bridges: BTreeMap<u32, (String, Vec<IpNet>)>,
    /// How packets come to published ports that the host's own rules have let pass.
    pub(crate) gate: Option<Gate>,
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
            .map(|part| match self.record.driver {
                Driver::Bridge => part.way_out(),
                _ => part.gateway,
            })
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
            guarded: config.firewall,
            mark: bridge::mark(&config.table(), &self.record.id),
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

    /// All endpoints.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values().map(|connected| &connected.endpoint)
    }

    /// A container's endpoints: the one whose network gives the default route first.
    pub(crate) fn endpoints_of(&self, container_id: &str) -> Vec<&Endpoint> {
        let ids = self.by_container.get(container_id).into_iter().flatten();
        let own = ids.filter_map(|id| Some(&self.endpoints.get(id)?.endpoint));
        let mut own: Vec<_> = own.collect();
        own.sort_by(|a, b| a.route_order().cmp(&b.route_order()));
        own
    }

    /// Adds an endpoint that is there.
    pub(crate) fn insert(&mut self, connected: Connected) {
        let endpoint = &connected.endpoint;
        let own = self.by_container.entry(endpoint.container_id.clone());
        own.or_default().insert(endpoint.id.clone());
        let id = endpoint.id.clone();
        for port in &connected.ports {
            note(&mut self.by_port, &id, port);
        }
        self.endpoints.insert(id, connected);
    }

    /// Takes an endpoint away with its ports.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Connected> {
        let connected = self.endpoints.remove(id)?;
        let container = &connected.endpoint.container_id;
        if let Some(own) = self.by_container.get_mut(container) {
            own.remove(id);
            if own.is_empty() {
                self.by_container.remove(container);
            }
        }
        for port in &connected.ports {
            forget(&mut self.by_port, id, &port.published);
        }
        Some(connected)
    }

    /// Adds ports to an endpoint; `false`: it has gone.
    pub(crate) fn add_ports(&mut self, id: &str, held: Vec<HeldPort>) -> bool {
        let Some(connected) = self.endpoints.get_mut(id) else {
            return false;
        };
        for port in &held {
            note(&mut self.by_port, id, port);
        }
        connected.ports.extend(held);
        true
    }

    /// Takes ports from an endpoint.
    pub(crate) fn take_ports(&mut self, id: &str, published: &[Published]) -> Vec<HeldPort> {
        let Some(connected) = self.endpoints.get_mut(id) else {
            return Vec::new();
        };
        let is_meant = |port: &mut HeldPort| published.contains(&port.published);
        let taken: Vec<_> = connected.ports.extract_if(.., is_meant).collect();
        for port in &taken {
            forget(&mut self.by_port, id, &port.published);
        }
        taken
    }

    /// A container has another name, and its endpoints other names.
    pub(crate) fn rename(
        &mut self,
        container_id: &str,
        name: &str,
        names: impl Fn(&Endpoint) -> Vec<String>,
    ) -> Vec<Endpoint> {
        let ids = self.by_container.get(container_id).into_iter().flatten();
        let mut renamed = Vec::new();
        for id in ids {
            if let Some(connected) = self.endpoints.get_mut(id) {
                name.clone_into(&mut connected.endpoint.container_name);
                connected.endpoint.names = names(&connected.endpoint);
                renamed.push(connected.endpoint.clone());
            }
        }
        renamed
    }

    /// The whole truth about rules.
    pub(crate) fn tables(&self, config: &Config) -> Vec<Table> {
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
        let daemon = firewall::Daemon {
            table: config.table(),
            gate: self.gate.as_ref().map(|gate| gate.far.clone()),
            ports: config.daemon_ports.clone(),
            leaves_ipv6: !config.firewall_v6,
        };
        let mut tables = vec![firewall::table(&daemon, &bridges, &forwards)];
        if let Some(gate) = &self.gate {
            let internal = bridges.iter().filter(|bridge| bridge.is_internal);
            let internal: Vec<_> = internal.map(|bridge| bridge.name.clone()).collect();
            let both = admit::tables(&daemon.table, gate, &internal, &forwards);
            let versions = if daemon.leaves_ipv6 { 1 } else { 2 };
            tables.extend(both.into_iter().take(versions));
        }
        if self.networks.values().any(|n| n.record.guards_senders()) {
            let all = self.endpoints().chain(self.in_the_making.values());
            let guarded: Vec<_> = all.filter_map(|endpoint| self.guarded(endpoint)).collect();
            tables.push(guard::table(&daemon.table, &guarded));
        }
        tables
    }

    /// What an endpoint may say it is, if its network wants that watched.
    pub(crate) fn guarded(&self, endpoint: &Endpoint) -> Option<guard::Guarded> {
        let network = self.networks.get(&endpoint.network_id)?;
        if !network.record.guards_senders() {
            return None;
        }
        let further = endpoint.link_local.iter().copied();
        Some(guard::Guarded {
            link: endpoint.host_interface.clone(),
            mac: crate::networks::parse_mac(&endpoint.mac).ok()?,
            addresses: endpoint.addresses().chain(further).collect(),
        })
    }

    /// Where a published port leads that no rule can lead there, so that it is relayed: the kernel
    /// translates no family into the other, and lets nothing from `::1` leave the host.
    pub(crate) fn relayed(
        &self,
        config: &Config,
        endpoint: &Endpoint,
        port: &Published,
    ) -> Option<Relayed> {
        let ipv6 = port.host_ip.is_ipv6();
        let network = self.networks.get(&endpoint.network_id)?;
        if !config.relays || network.record.internal || port.protocol == Protocol::Sctp {
            return None;
        }
        let same = endpoint.addresses().find(|own| own.is_ipv6() == ipv6);
        let is_led = same.is_some() && config.firewall;
        let is_from_loopback = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST];
        if is_led && !is_from_loopback.iter().any(|own| port.host_ip == *own) {
            return None;
        }
        let target = same.or_else(|| endpoint.addresses().next())?;
        // Who is reached by an address of its own is reached by no other.
        if self.is_direct(endpoint, target.is_ipv6()) {
            return None;
        }
        Some(Relayed {
            published: port.clone(),
            target: SocketAddr::new(target, port.container_port),
            link: endpoint.host_interface.clone(),
        })
    }

    /// Where a published port leads; `None`: the endpoint has no address of the port's family.
    pub(crate) fn forward(&self, endpoint: &Endpoint, published: &Published) -> Option<Forward> {
        let ipv6 = published.host_ip.is_ipv6();
        let target = endpoint.addresses().find(|a| a.is_ipv6() == ipv6)?;
        Some(Forward {
            protocol: published.protocol,
            host: SocketAddr::new(published.host_ip, published.host_port),
            target: SocketAddr::new(target, published.container_port),
            is_direct: self.is_direct(endpoint, ipv6),
        })
    }

    /// Whether an endpoint's ports are reached by its own address.
    pub(crate) fn is_direct(&self, endpoint: &Endpoint, ipv6: bool) -> bool {
        let network = self.networks.get(&endpoint.network_id);
        network.is_some_and(|n| n.record.gateway_mode(ipv6) == GatewayMode::Routed)
    }

    /// The container that has published a port another one wants.
    pub(crate) fn holder(&self, wanted: &Published) -> Option<&Endpoint> {
        let at = self.by_port.get(&(wanted.protocol, wanted.host_port))?;
        let clashes = |held: IpAddr| {
            let own = wanted.host_ip;
            held.is_ipv4() == own.is_ipv4()
                && (held == own || held.is_unspecified() || own.is_unspecified())
        };
        let (_, id) = at.iter().find(|(address, _)| clashes(*address))?;
        Some(&self.endpoints.get(id)?.endpoint)
    }
}

type ByPort = BTreeMap<(Protocol, u16), Vec<(IpAddr, String)>>;

fn note(by_port: &mut ByPort, id: &str, held: &HeldPort) {
    let port = &held.published;
    if port.is_direct {
        return;
    }
    let at = by_port.entry((port.protocol, port.host_port)).or_default();
    at.push((port.host_ip, id.to_owned()));
}

fn forget(by_port: &mut ByPort, id: &str, port: &Published) {
    let key = (port.protocol, port.host_port);
    if let Some(at) = by_port.get_mut(&key) {
        at.retain(|(address, owner)| *address != port.host_ip || owner != id);
        if at.is_empty() {
            by_port.remove(&key);
        }
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
