//! Publishes ports: a reserved port of the host and an element of a map, for each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hull_sys::{
    netlink::conntrack,
    nftables::{Element, Family, TableName, Transaction},
};

use super::Networks;
use crate::{
    Endpoint, Error, PortRequest, Protocol, Published,
    firewall::{self, admit},
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
        let is_bridge = {
            let state = self.state();
            let network = state.networks.get(&endpoint.network_id);
            network.is_some_and(|network| network.record.bridge().is_some())
        };
        // Who shares a link of the host's is reached by an address of its own.
        if !is_bridge {
            return Ok(Vec::new());
        }
        let mut held = Vec::new();
        for request in requests {
            held.extend(self.hold(endpoint, request)?);
        }
        let published: Vec<_> = held.iter().map(|port| port.published.clone()).collect();
        if !self.state().add_ports(&endpoint.id, held) {
            return Err(Error::NoSuchNetwork(endpoint.network_id.clone()));
        }
        if let Err(error) = self.add_rules(endpoint, &published) {
            drop(self.take_ports(endpoint, &published));
            return Err(error);
        }
        forget_connections(&published);
        Ok(published)
    }

    /// Closes published ports. Others of the endpoint stay.
    pub fn unpublish(&self, endpoint: &Endpoint, published: &[Published]) -> Result<(), Error> {
        // Sockets close only after the rules have gone: until then the port leads somewhere.
        let taken = self.take_ports(endpoint, published);
        let result = self.remove_rules(endpoint, published);
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
            };
            if self.state().is_direct(endpoint, address.is_ipv6()) {
                held.push(HeldPort {
                    published,
                    is_direct: true,
                    reservation: None,
                });
                continue;
            }
            held.push(self.hold_one(published, request.host_ports.is_some())?);
        }
        Ok(held)
    }

    fn hold_one(&self, published: Published, name_holder: bool) -> Result<HeldPort, Error> {
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
        match ports::reserve(published.protocol, address) {
            Ok(reservation) => Ok(HeldPort {
                published,
                is_direct: false,
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
        let wanted = request
            .host_ip
            .or_else(|| Some(default).filter(|ip| !ip.is_unspecified()));
        if let Some(address) = wanted {
            let has_family = endpoint
                .addresses()
                .any(|own| own.is_ipv4() == address.is_ipv4());
            let network = endpoint.network_name.clone();
            let what = "ports on addresses of that family";
            return if has_family {
                Ok(vec![address])
            } else {
                Err(Error::Unsupported { network, what })
            };
        }
        let any = |own: IpAddr| match own {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Ok(endpoint.addresses().map(any).collect())
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
