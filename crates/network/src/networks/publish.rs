//! Publishes ports: a reserved port of the host and an element of a map, for each; or a relay where
//! no rule leads to the container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hull_sys::{
    netlink::conntrack,
    nftables::{Element, Family, TableName, Transaction},
};

use super::Networks;
use crate::{
    Endpoint, Error, PortRequest, Protocol, Published,
    firewall::{self, admit},
    names::Relayed,
    ports,
    state::HeldPort,
};

impl Networks {
    /// Publishes ports of an endpoint: all, or none. A port without an address becomes one record
    /// for each family of addresses that the endpoint has.
    pub fn publish(
        &self,
        endpoint: &Endpoint,
        requests: &[PortRequest],
    ) -> Result<Vec<Published>, Error> {
        let leads_out = {
            let state = self.state();
            let network = state.networks.get(&endpoint.network_id);
            network.is_some_and(|n| n.record.bridge().is_some() && !n.record.internal)
        };
        // Who shares a link of the host's is reached by an address of its own.
        if !leads_out {
            return Ok(Vec::new());
        }
        let mut held = Vec::new();
        // Who names one port has it, before others choose from many.
        let mut requests: Vec<_> = requests.iter().collect();
        requests.sort_by_key(|request| match request.host_ports {
            Some((first, last)) => last - first,
            None => u16::MAX,
        });
        for request in requests {
            held.extend(self.hold(endpoint, request)?);
        }
        let published: Vec<_> = held.iter().map(|port| port.published.clone()).collect();
        let mut relays = Vec::new();
        for port in &mut held {
            if let Some(relayed) = self.relayed(endpoint, &port.published) {
                relays.extend(port.reservation.take().map(|socket| (relayed, socket)));
            }
        }
        if !self.state().add_ports(&endpoint.id, held) {
            return Err(Error::NoSuchNetwork(endpoint.network_id.clone()));
        }
        if let Err(error) = self.add_rules(endpoint, &published) {
            drop(self.take_ports(endpoint, &published));
            return Err(error);
        }
        forget_connections(&published);
        for (relayed, socket) in relays {
            if let Err(error) = self.names.relay(relayed, &socket) {
                drop(self.unpublish(endpoint, &published));
                return Err(error);
            }
        }
        Ok(published)
    }

    /// What is to be known of a port that is relayed.
    pub(super) fn relayed(&self, endpoint: &Endpoint, published: &Published) -> Option<Relayed> {
        let state = self.state();
        let relayed = state.relayed(&self.config, endpoint, published);
        relayed.filter(|_| self.names.can_relay())
    }

    /// Closes published ports, and the connections through them. Others of the endpoint stay.
    pub fn unpublish(&self, endpoint: &Endpoint, published: &[Published]) -> Result<(), Error> {
        // Sockets close only after the rules have gone: until then the port leads somewhere.
        let taken = self.take_ports(endpoint, published);
        let result = self.remove_rules(endpoint, published);
        cut_connections(endpoint, published);
        drop(taken);
        result
    }

    fn take_ports(&self, endpoint: &Endpoint, published: &[Published]) -> Vec<HeldPort> {
        self.state().take_ports(&endpoint.id, published)
    }

    /// Reserves a port on each address that is asked for: the same number everywhere.
    fn hold(&self, endpoint: &Endpoint, request: &PortRequest) -> Result<Vec<HeldPort>, Error> {
        let addresses = self.host_addresses(endpoint, request)?;
        let (first, last) = request.host_ports.unwrap_or_else(ports::ephemeral_range);
        let start = match request.host_ports {
            Some(_) => first,
            None => {
                let mut state = self.state();
                let start = state.next_port.filter(|port| (first..=last).contains(port));
                let start = start.unwrap_or(first);
                state.next_port = start.checked_add(1);
                start
            }
        };
        let mut refusal = Error::NoFreePort;
        for port in (start..=last).chain(first..start) {
            match self.hold_number(endpoint, request, &addresses, port) {
                Ok(held) => {
                    if request.host_ports.is_none() {
                        self.state().next_port = port.checked_add(1);
                    }
                    return Ok(held);
                }
                Err(error @ Error::PortTaken { .. }) => refusal = error,
                Err(error) => return Err(error),
            }
        }
        // Of a whole range, no one port is to blame.
        if first == last {
            Err(refusal)
        } else {
            Err(Error::NoFreePort)
        }
    }

    fn hold_number(
        &self,
        endpoint: &Endpoint,
        request: &PortRequest,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<Vec<HeldPort>, Error> {
        let mut held = Vec::with_capacity(addresses.len());
        for address in addresses {
            let published = Published {
                endpoint_id: endpoint.id.clone(),
                host_ip: *address,
                host_port: port,
                container_port: request.container_port,
                protocol: request.protocol,
                is_direct: self.state().is_direct(endpoint, address.is_ipv6()),
            };
            if published.is_direct {
                held.push(HeldPort {
                    published,
                    reservation: None,
                });
                continue;
            }
            held.push(self.hold_one(endpoint, published, request.host_ports.is_some())?);
        }
        Ok(held)
    }

    fn hold_one(
        &self,
        endpoint: &Endpoint,
        published: Published,
        name_holder: bool,
    ) -> Result<HeldPort, Error> {
        let address = SocketAddr::new(published.host_ip, published.host_port);
        let container = self.state().holder(&published).map(|endpoint| {
            format!(
                "container {}",
                endpoint.container_name.trim_start_matches('/')
            )
        });
        if container.is_some() {
            return Err(Error::PortTaken {
                address,
                holder: container,
            });
        }
        let reserved = match self.relayed(endpoint, &published) {
            Some(_) => ports::reserve_to_relay(published.protocol, address).map(Some),
            None => ports::reserve(published.protocol, address),
        };
        match reserved {
            Ok(reservation) => Ok(HeldPort {
                published,
                reservation,
            }),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let search = || ports::holder(published.protocol, address);
                Err(Error::PortTaken {
                    address,
                    holder: name_holder.then(search).flatten(),
                })
            }
            Err(source) => Err(Error::Port { address, source }),
        }
    }

    /// Where a port is offered: one address, or every address of the endpoint's families.
    fn host_addresses(
        &self,
        endpoint: &Endpoint,
        request: &PortRequest,
    ) -> Result<Vec<IpAddr>, Error> {
        let default = {
            let state = self.state();
            let network = state.networks.get(&endpoint.network_id);
            network.and_then(|network| network.record.default_binding())
        };
        let default = default.unwrap_or(self.config.default_binding);
        let is_direct = |own: IpAddr| self.state().is_direct(endpoint, own.is_ipv6());
        let is_carried = self.relays()
            && request.protocol != Protocol::Sctp
            && !endpoint.addresses().next().is_some_and(is_direct);
        let has_family = |ipv6| endpoint.addresses().any(|own| own.is_ipv6() == ipv6);
        let wanted = request
            .host_ip
            .or_else(|| Some(default).filter(|ip| !ip.is_unspecified()));
        if let Some(address) = wanted {
            let is_reached = has_family(address.is_ipv6()) || is_carried;
            let network = endpoint.network_name.clone();
            let what = "ports on addresses of that family";
            return if is_reached {
                Ok(vec![address])
            } else {
                Err(Error::Unsupported { network, what })
            };
        }
        let any = |own: IpAddr| match own {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut all: Vec<_> = endpoint.addresses().map(any).collect();
        if !has_family(true) && is_carried && ports::host_has_ipv6() {
            all.push(Ipv6Addr::UNSPECIFIED.into());
        }
        Ok(all)
    }

    fn relays(&self) -> bool {
        self.config.relays && self.names.can_relay()
    }

    /// How ports stand in the tables.
    fn port_elements(
        &self,
        endpoint: &Endpoint,
        published: &[Published],
    ) -> Vec<(TableName, &'static str, Element)> {
        let state = self.state();
        let name = self.config.table();
        let mut all = Vec::new();
        let forwards = published
            .iter()
            .filter_map(|port| state.forward(endpoint, port));
        for forward in forwards {
            let (map, element) = firewall::element(&forward);
            all.push((TableName::new(Family::Inet, &name), map, element));
            let asked = admit::element(&forward).filter(|_| state.gate.is_some());
            if let Some((set, element)) = asked {
                let family = admit::family(forward.target.is_ipv6());
                all.push((TableName::new(family, &name), set, element));
            }
        }
        all
    }

    fn add_rules(&self, endpoint: &Endpoint, published: &[Published]) -> Result<(), Error> {
        if !self.config.firewall {
            return Ok(());
        }
        let mut transaction = Transaction::default();
        for (table, set, element) in self.port_elements(endpoint, published) {
            transaction.add_elements(&table, set, &[element]);
        }
        let result = self.firewall().commit(transaction);
        match result {
            // Somebody removed the table: all of it is made again, with these ports.
            Err(error) if error.is_not_found() => self.apply_rules(),
            result => result.map_err(Error::kernel("publish ports")),
        }
    }

    pub(super) fn remove_rules(
        &self,
        endpoint: &Endpoint,
        published: &[Published],
    ) -> Result<(), Error> {
        self.names.stop_relaying(published);
        if !self.config.firewall || published.is_empty() {
            return Ok(());
        }
        let mut transaction = Transaction::default();
        for (table, set, element) in self.port_elements(endpoint, published) {
            transaction.remove_elements(&table, set, &[element]);
        }
        let result = self.firewall().commit(transaction);
        forget_connections(published);
        match result {
            // Some are not there. The others go when everything is made again.
            Err(error) if error.is_not_found() => self.apply_rules(),
            result => result.map_err(Error::kernel("unpublish ports")),
        }
    }
}

/// A client without connections goes on to where its first packet went, unless that is forgotten.
fn forget_connections(published: &[Published]) {
    for port in published
        .iter()
        .filter(|port| port.protocol != Protocol::Tcp)
    {
        let number = port.protocol.number();
        if let Err(error) = conntrack::forget_port(port.host_ip.is_ipv6(), number, port.host_port) {
            tracing::debug!(port = port.host_port, %error, "cannot forget connections");
        }
    }
}

/// What was led to a container that goes on running would go on, too.
fn cut_connections(endpoint: &Endpoint, published: &[Published]) {
    for port in published {
        let ipv6 = port.host_ip.is_ipv6();
        let own = endpoint.addresses().find(|own| own.is_ipv6() == ipv6);
        let Some(target) = own else { continue };
        let number = port.protocol.number();
        if let Err(error) = conntrack::forget_port_of(target, number, port.host_port) {
            tracing::debug!(port = port.host_port, %error, "cannot cut connections");
        }
    }
}
