//! Which names a sandbox knows. Pure.
//!
//! Each network has names of its own; a sandbox sees those of the networks it is in, in order.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use ipnet::IpNet;

use crate::protocol::{Order, Sandbox};

/// All names of all networks.
#[derive(Debug, Default)]
pub struct Zones {
    networks: HashMap<String, Network>,
    endpoints: HashMap<String, Endpoint>,
    sandboxes: HashMap<String, Sandbox>,
    /// Not yet named again since the last hello.
    stale: HashSet<String>,
    /// Where the next answer with several addresses begins, for each family.
    turns: [AtomicUsize; 2],
}

/// What is known of an address.
#[derive(Debug, PartialEq, Eq)]
pub enum Reverse {
    /// It has this name.
    Name(String),
    /// It belongs to a network of the sandbox, and nobody has it.
    Nobody,
    /// It is not ours.
    Elsewhere,
}

#[derive(Debug, Default)]
struct Network {
    name: String,
    subnets: Vec<IpNet>,
    /// Ids of endpoints, by name in lower case.
    names: HashMap<String, Vec<String>>,
    owners: HashMap<IpAddr, String>,
}

#[derive(Debug)]
struct Endpoint {
    network: String,
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Zones {
    /// Takes a change in.
    pub fn apply(&mut self, order: Order) {
        match order {
            Order::Hello { .. } => {
                let ids = self.networks.keys().chain(self.endpoints.keys());
                self.stale = ids.chain(self.sandboxes.keys()).cloned().collect();
            }
            Order::Network { id, name, subnets } => {
                self.stale.remove(&id);
                let network = self.networks.entry(id).or_default();
                network.name = name.to_lowercase();
                network.subnets = subnets;
            }
            Order::NetworkGone { id } => drop(self.networks.remove(&id)),
            Order::Endpoint {
                id,
                network,
                names,
                addresses,
            } => {
                self.forget_endpoint(&id);
                self.learn_endpoint(
                    id,
                    Endpoint {
                        network,
                        names: names.iter().map(|name| name.to_lowercase()).collect(),
                        addresses,
                    },
                );
            }
            Order::EndpointGone { id } => self.forget_endpoint(&id),
            Order::Sandbox(mut sandbox) => {
                self.stale.remove(&sandbox.id);
                let links = std::mem::take(&mut sandbox.links).into_iter();
                sandbox.links = links
                    .map(|(alias, name)| (alias.to_lowercase(), name.to_lowercase()))
                    .collect();
                self.sandboxes.insert(sandbox.id.clone(), sandbox);
            }
            Order::SandboxGone { id } => drop(self.sandboxes.remove(&id)),
            Order::Complete => {
                for id in std::mem::take(&mut self.stale) {
                    self.forget_endpoint(&id);
                    self.networks.remove(&id);
                    self.sandboxes.remove(&id);
                }
            }
            // Relays have no names.
            Order::Relay(_) | Order::RelayGone { .. } | Order::Ping | Order::Leave => {}
        }
    }

    /// What a sandbox's questions are answered by.
    pub fn sandbox(&self, id: &str) -> Option<&Sandbox> {
        self.sandboxes.get(id)
    }

    /// The addresses of a name, in lower case and without its last dot, as a sandbox sees it;
    /// `None`: nobody there has the name.
    pub fn addresses(&self, sandbox: &Sandbox, name: &str) -> Option<Vec<IpAddr>> {
        let name = sandbox.links.get(name).map_or(name, String::as_str);
        let networks = || {
            sandbox
                .networks
                .iter()
                .filter_map(|id| self.networks.get(id))
        };
        let found = networks().find_map(|network| self.lookup(network, name));
        // `web.front`: the name in a certain network.
        found.or_else(|| {
            networks().find_map(|network| {
                let bare = name
                    .strip_suffix(network.name.as_str())?
                    .strip_suffix('.')?;
                self.lookup(network, bare)
            })
        })
    }

    /// Those of one family, each answer beginning with another one. (Clients ask for both families
    /// at a time: each has turns of its own.)
    pub fn in_turn(&self, addresses: &[IpAddr], ipv6: bool) -> Vec<IpAddr> {
        let wanted = addresses.iter().filter(|address| address.is_ipv6() == ipv6);
        let mut wanted: Vec<_> = wanted.copied().collect();
        if wanted.len() > 1 {
            let turn = self.turns[usize::from(ipv6)].fetch_add(1, Ordering::Relaxed);
            let start = turn % wanted.len();
            wanted.rotate_left(start);
        }
        wanted
    }

    /// The name of an address, as a sandbox sees it.
    pub fn name_of(&self, sandbox: &Sandbox, address: IpAddr) -> Reverse {
        let networks = || {
            sandbox
                .networks
                .iter()
                .filter_map(|id| self.networks.get(id))
        };
        for network in networks() {
            let owner = network.owners.get(&address);
            if let Some(endpoint) = owner.and_then(|id| self.endpoints.get(id))
                && let Some(name) = endpoint.names.first()
            {
                return Reverse::Name(format!("{name}.{}", network.name));
            }
        }
        let is_ours =
            networks().any(|network| network.subnets.iter().any(|s| s.contains(&address)));
        if is_ours {
            Reverse::Nobody
        } else {
            Reverse::Elsewhere
        }
    }

    fn lookup(&self, network: &Network, name: &str) -> Option<Vec<IpAddr>> {
        let ids = network.names.get(name)?;
        let endpoints = ids.iter().filter_map(|id| self.endpoints.get(id));
        Some(
            endpoints
                .flat_map(|endpoint| endpoint.addresses.iter().copied())
                .collect(),
        )
    }

    fn learn_endpoint(&mut self, id: String, endpoint: Endpoint) {
        self.stale.remove(&id);
        let network = self.networks.entry(endpoint.network.clone()).or_default();
        for name in &endpoint.names {
            let ids = network.names.entry(name.clone()).or_default();
            if !ids.contains(&id) {
                ids.push(id.clone());
            }
        }
        for address in &endpoint.addresses {
            network.owners.insert(*address, id.clone());
        }
        self.endpoints.insert(id, endpoint);
    }

    fn forget_endpoint(&mut self, id: &str) {
        let Some(endpoint) = self.endpoints.remove(id) else {
            return;
        };
        let Some(network) = self.networks.get_mut(&endpoint.network) else {
            return;
        };
        for name in &endpoint.names {
            if let Some(ids) = network.names.get_mut(name) {
                ids.retain(|other| other != id);
                if ids.is_empty() {
                    network.names.remove(name);
                }
            }
        }
        for address in &endpoint.addresses {
            if network.owners.get(address).is_some_and(|owner| owner == id) {
                network.owners.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(id: &str, name: &str, subnet: &str) -> Order {
        Order::Network {
            id: id.to_owned(),
            name: name.to_owned(),
            subnets: vec![subnet.parse().unwrap()],
        }
    }

    fn endpoint(id: &str, network: &str, names: &[&str], address: &str) -> Order {
        Order::Endpoint {
            id: id.to_owned(),
            network: network.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: vec![address.parse().unwrap()],
        }
    }

    fn sandbox(networks: &[&str]) -> Sandbox {
        Sandbox {
            id: "s".to_owned(),
            networks: networks.iter().map(|id| (*id).to_owned()).collect(),
            ..Sandbox::default()
        }
    }

    fn two_networks() -> Zones {
        let mut zones = Zones::default();
        for order in [
            network("f", "front", "10.0.1.0/24"),
            network("b", "back", "10.0.2.0/24"),
            endpoint("1", "f", &["web", "Www", "abc"], "10.0.1.2"),
            endpoint("2", "b", &["db", "store"], "10.0.2.2"),
            endpoint("3", "b", &["db2", "store"], "10.0.2.3"),
        ] {
            zones.apply(order);
        }
        zones
    }

    fn texts(addresses: Option<Vec<IpAddr>>) -> Vec<String> {
        addresses.unwrap().iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn a_sandbox_sees_the_names_of_its_networks_only() {
        let zones = two_networks();
        let front = sandbox(&["f"]);
        assert_eq!(texts(zones.addresses(&front, "web")), ["10.0.1.2"]);
        assert_eq!(texts(zones.addresses(&front, "www")), ["10.0.1.2"]);
        assert_eq!(texts(zones.addresses(&front, "web.front")), ["10.0.1.2"]);
        assert_eq!(zones.addresses(&front, "db"), None);
        assert_eq!(zones.addresses(&front, "web.back"), None);
        assert_eq!(zones.addresses(&front, "front"), None);
        let both = sandbox(&["f", "b"]);
        assert_eq!(texts(zones.addresses(&both, "db")), ["10.0.2.2"]);
        assert_eq!(texts(zones.addresses(&both, "db.back")), ["10.0.2.2"]);
    }

    #[test]
    fn a_shared_alias_takes_turns() {
        let zones = two_networks();
        let back = sandbox(&["b"]);
        let firsts: HashSet<_> = (0..4)
            .map(|_| zones.in_turn(&zones.addresses(&back, "store").unwrap(), false)[0])
            .collect();
        assert_eq!(firsts.len(), 2);
    }

    #[test]
    fn a_link_is_known_to_its_sandbox_alone() {
        let zones = two_networks();
        let mut linked = sandbox(&["b"]);
        linked.links.insert("mine".to_owned(), "db".to_owned());
        assert_eq!(texts(zones.addresses(&linked, "mine")), ["10.0.2.2"]);
        assert_eq!(zones.addresses(&sandbox(&["b"]), "mine"), None);
    }

    #[test]
    fn addresses_have_names_and_unused_ones_are_nobodys() {
        let zones = two_networks();
        let back = sandbox(&["b"]);
        let name = |text: &str| zones.name_of(&back, text.parse().unwrap());
        assert_eq!(name("10.0.2.2"), Reverse::Name("db.back".to_owned()));
        assert_eq!(name("10.0.2.9"), Reverse::Nobody);
        assert_eq!(name("10.0.1.2"), Reverse::Elsewhere);
    }

    #[test]
    fn what_a_new_daemon_does_not_name_again_goes() {
        let mut zones = two_networks();
        zones.apply(Order::Hello { version: 1 });
        zones.apply(network("b", "back", "10.0.2.0/24"));
        zones.apply(endpoint("2", "b", &["db"], "10.0.2.7"));
        let both = sandbox(&["f", "b"]);
        assert!(
            zones.addresses(&both, "web").is_some(),
            "not before all is said"
        );
        zones.apply(Order::Complete);
        assert_eq!(zones.addresses(&both, "web"), None);
        assert_eq!(zones.addresses(&both, "store"), None);
        assert_eq!(texts(zones.addresses(&both, "db")), ["10.0.2.7"]);
    }

    #[test]
    fn an_endpoint_that_leaves_takes_its_names_along() {
        let mut zones = two_networks();
        zones.apply(Order::EndpointGone { id: "2".to_owned() });
        let back = sandbox(&["b"]);
        assert_eq!(zones.addresses(&back, "db"), None);
        assert_eq!(texts(zones.addresses(&back, "store")), ["10.0.2.3"]);
        assert_eq!(
            zones.name_of(&back, "10.0.2.2".parse().unwrap()),
            Reverse::Nobody
        );
    }
}
