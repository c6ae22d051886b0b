//! Publishes further ports of a container, and fewer, also while it runs.

use std::collections::BTreeMap;

use hull_network::{Protocol, Published};

use crate::{
    Engine,
    actor::Order,
    error::{Error, Result},
    model::{NetworkMode, PortBinding, PortProtocol, PublishedPort},
    network::sandbox::{as_before, requests},
    record::Record,
    services::Services,
};

/// Ports with where the host offers them.
pub type Bindings = BTreeMap<PublishedPort, Vec<PortBinding>>;

/// What is published then, and what the record says of it.
pub(crate) struct Changed {
    pub(crate) bindings: Bindings,
    pub(crate) published: Vec<Published>,
}

impl Engine {
    /// Publishes the ports of `add`, and those of `remove` no longer (all of a port's bindings
    /// where it names none). All of it happens, or nothing.
    pub async fn change_ports(
        &self,
        reference: &str,
        add: Bindings,
        remove: Bindings,
    ) -> Result<()> {
        let change = Box::new((add, remove));
        let handle = self.find(reference)?;
        handle
            .order(|reply| Order::ChangePorts { change, reply })
            .await
    }
}

impl Services {
    /// Changes the ports of a container, running or not. Fails without a trace. Blocks.
    pub(crate) fn change_ports(
        &self,
        record: &Record,
        add: &Bindings,
        remove: &Bindings,
    ) -> Result<Changed> {
        if !matches!(
            record.host.network_mode,
            NetworkMode::Bridge | NetworkMode::Named(_)
        ) {
            return Err(Error::Invalid(format!(
                "container {} has no network of its own to publish ports of",
                record.name
            )));
        }
        let mut bindings = without(&record.host.port_bindings, remove)?;
        for (port, places) in add {
            let known = bindings.entry(*port).or_default();
            known.extend(
                places
                    .iter()
                    .filter(|place| !known.contains(place))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        }
        if !record.state.is_running() {
            return Ok(Changed {
                bindings,
                published: Vec::new(),
            });
        }
        let (going, mut published): (Vec<_>, Vec<_>) = record
            .published
            .iter()
            .cloned()
            .partition(|port| is_among(port, remove));
        self.unpublish(record, &going)?;
        match self.publish(record, &record.endpoints, &requests(add)) {
            Ok(new) => published.extend(new),
            Err(error) => {
                let again: Vec<_> = going.iter().map(as_before).collect();
                if let Err(error) = self.publish(record, &record.endpoints, &again) {
                    tracing::error!(container = record.id.short(), %error, "ports are closed now");
                }
                return Err(error);
            }
        }
        Ok(Changed {
            bindings,
            published,
        })
    }

    fn unpublish(&self, record: &Record, ports: &[Published]) -> Result<()> {
        for endpoint in &record.endpoints {
            let of_this = ports.iter().filter(|port| port.endpoint_id == endpoint.id);
            let of_this: Vec<_> = of_this.cloned().collect();
            if !of_this.is_empty() {
                self.networks.kernel.unpublish(endpoint, &of_this)?;
            }
        }
        Ok(())
    }
}

/// The bindings that are left. What is not there cannot go.
fn without(bindings: &Bindings, remove: &Bindings) -> Result<Bindings> {
    let mut left = bindings.clone();
    for (port, places) in remove {
        let missing =
            || Error::Invalid(format!("port {port} is not published so: see `hull port`"));
        let known = left.get_mut(port).ok_or_else(missing)?;
        let before = known.len();
        known.retain(|binding| !is_meant(places, binding.address, binding.ports));
        if known.len() == before && !is_any(places) {
            return Err(missing());
        }
        if known.is_empty() || is_any(places) {
            left.remove(port);
        }
    }
    Ok(left)
}

fn is_among(published: &Published, remove: &Bindings) -> bool {
    let protocol = match published.protocol {
        Protocol::Tcp => PortProtocol::Tcp,
        Protocol::Udp => PortProtocol::Udp,
        Protocol::Sctp => PortProtocol::Sctp,
    };
    let port = PublishedPort {
        number: published.container_port,
        protocol,
    };
    let Some(places) = remove.get(&port) else {
        return false;
    };
    let address = Some(published.host_ip).filter(|ip| !ip.is_unspecified());
    is_meant(
        places,
        address,
        Some((published.host_port, published.host_port)),
    )
}

/// Whether one of `places` stands for a binding: one without an address for every address, one
/// without a port for every port.
fn is_meant(
    places: &[PortBinding],
    address: Option<std::net::IpAddr>,
    ports: Option<(u16, u16)>,
) -> bool {
    places.iter().any(|place| {
        (place.address.is_none() || place.address == address)
            && (place.ports.is_none() || place.ports == ports)
    })
}

fn is_any(places: &[PortBinding]) -> bool {
    is_meant(places, None, None) && places.iter().any(|place| place.ports.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: Option<&str>, port: Option<u16>) -> PortBinding {
        PortBinding {
            address: address.map(|text| text.parse().unwrap()),
            ports: port.map(|port| (port, port)),
        }
    }

    fn bound(places: &[PortBinding]) -> Bindings {
        let port = PublishedPort {
            number: 80,
            protocol: PortProtocol::Tcp,
        };
        Bindings::from([(port, places.to_vec())])
    }

    #[test]
    fn one_binding_goes_or_all_of_a_port() {
        let two = bound(&[at(None, Some(8080)), at(Some("127.0.0.1"), Some(8081))]);
        let one = without(&two, &bound(&[at(None, Some(8080))])).unwrap();
        assert_eq!(one, bound(&[at(Some("127.0.0.1"), Some(8081))]));
        assert!(without(&two, &bound(&[at(None, None)])).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_published_cannot_go() {
        let one = bound(&[at(None, Some(8080))]);
        assert!(without(&one, &bound(&[at(None, Some(9))])).is_err());
        assert!(without(&Bindings::new(), &one).is_err());
    }
}
