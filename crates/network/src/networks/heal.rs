//! Finds things again after a restart, and makes them again when somebody removed them.

use std::os::fd::BorrowedFd;

use hull_sys::{netlink::route, nftables::Transaction};

use super::Networks;
use crate::{
    Endpoint, Error, Published, bridge, ports,
    state::{Connected, HeldPort},
};

/// What [`Networks::heal`] had to do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Healed {
    /// All rules were made again.
    pub rules: bool,
    /// These bridges were set up again.
    pub bridges: Vec<String>,
}

/// A link of ours that belongs to no endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
}

impl Networks {
    /// Takes over the endpoints and ports of containers that kept running, and makes all rules.
    /// To be called once, after [`open`](Self::open), even with nothing to restore.
    ///
    /// What cannot be taken over fully (an address twice, a port that another program took) is
    /// told in the result and works as far as it can.
    pub fn restore(&self, saved: Vec<(Endpoint, Vec<Published>)>) -> Result<Vec<String>, Error> {
        let mut problems = Vec::new();
        for (endpoint, published) in saved {
            let held = published
                .into_iter()
                .map(|port| hold(port, &mut problems))
                .collect();
            let mut guard = self.state();
            let state = &mut *guard;
            let Some(network) = state.networks.get_mut(&endpoint.network_id) else {
                let (name, network) = (&endpoint.container_name, &endpoint.network_name);
                problems.push(format!(
                    "container {name} is in network {network}, which is gone"
                ));
                continue;
            };
            for address in endpoint.addresses() {
                for pool in &mut network.addresses {
                    if pool.subnet().contains(&address)
                        && let Err(error) = pool.take(address)
                    {
                        problems.push(format!("container {}: {error}", endpoint.container_name));
                    }
                }
            }
            let connected = Connected {
                endpoint: endpoint.clone(),
                ports: held,
            };
            state.endpoints.insert(endpoint.id, connected);
        }
        self.apply_rules()?;
        Ok(problems)
    }

    /// Becomes readable when somebody changes rules or links. Then call [`heal`](Self::heal).
    pub fn monitor_fd(&self) -> BorrowedFd<'_> {
        self.monitor.fd()
    }

    /// Makes again what others removed or changed: rules, bridges, links' places in bridges.
    /// Cheap when there is nothing to do.
    pub fn heal(&self) -> Result<Healed, Error> {
        let bridges: Vec<_> = self
            .list()
            .iter()
            .filter_map(|network| network.bridge().map(str::to_owned))
            .collect();
        let table = self.config.table();
        let own_port = self.firewall().port();
        let changes = self.monitor.changes(&table, own_port, &bridges)?;
        let mut healed = Healed::default();
        if changes.bridges || !self.bridges_are_there()? {
            healed.bridges = self.heal_bridges()?;
        }
        if self.config.firewall && (changes.rules || !self.table_is_there()?) {
            self.apply_rules()?;
            healed.rules = true;
        }
        Ok(healed)
    }

    /// What on this host keeps containers from the network although our rules are right, for
    /// people. Foreign rules are theirs to change.
    pub fn warnings(&self) -> Result<Vec<String>, Error> {
        if !self.config.firewall {
            return Ok(Vec::new());
        }
        let dropping = self.firewall().chains_that_drop_forwarded();
        let dropping = dropping.map_err(Error::kernel("look at firewall rules"))?;
        let bridges = self.config.bridge.as_deref().unwrap_or("br-*");
        let warn = |chain| {
            format!("{chain} drops forwarded packets: accept those from and to {bridges} there")
        };
        Ok(dropping.into_iter().map(warn).collect())
    }

    /// Links of ours that belong to no endpoint.
    pub fn strays(&self) -> Result<Vec<Stray>, Error> {
        let links = self.route().links().map_err(Error::kernel("list links"))?;
        let state = self.state();
        let is_ours = |index| state.networks.values().any(|n| n.bridge_index == index);
        let is_known = |name: &str| {
            state.in_the_making.iter().any(|making| making == name)
                || state
                    .endpoints
                    .values()
                    .any(|c| c.endpoint.host_interface == name)
        };
        Ok(links
            .into_iter()
            .filter(|link| link.kind == "veth" && link.name.starts_with("hv"))
            .filter(|link| link.master.is_some_and(is_ours) && !is_known(&link.name))
            .map(|link| Stray {
                name: link.name,
                index: link.index,
            })
            .collect())
    }

    /// Removes links of ours that belong to no endpoint. Gives what was removed.
    pub fn reconcile(&self) -> Result<Vec<Stray>, Error> {
        let strays = self.strays()?;
        for stray in &strays {
            match self.route().apply(&[route::delete_link(stray.index)]) {
                Err(error) if !error.is_not_found() => {
                    return Err(Error::kernel(format!("remove link {}", stray.name))(error));
                }
                _ => {}
            }
        }
        Ok(strays)
    }

    /// Removes the rules and bridges of all networks, for good: a test's or an uninstaller's end.
    pub fn tear_down(&self) -> Result<(), Error> {
        let mut transaction = Transaction::default();
        transaction.delete_table(&self.config.table());
        self.firewall()
            .commit(transaction)
            .map_err(Error::kernel("remove rules"))?;
        for network in self.list() {
            if let Some(name) = network.bridge() {
                bridge::remove(&mut self.route(), name)?;
            }
        }
        Ok(())
    }

    /// Makes all rules from the state, in one transaction.
    pub(super) fn apply_rules(&self) -> Result<(), Error> {
        let mut transaction = Transaction::default();
        // The state stays locked until the kernel has it: two of these must not cross.
        let mut firewall = self.firewall();
        if self.config.firewall {
            transaction.replace(&self.state().table(&self.config));
        } else {
            transaction.delete_table(&self.config.table());
        }
        match firewall.commit(transaction) {
            // Without rules wanted, a kernel without nftables will do.
            Err(_) if !self.config.firewall => Ok(()),
            result => result.map_err(Error::kernel("make firewall rules")),
        }
    }

    fn table_is_there(&self) -> Result<bool, Error> {
        let wanted = {
            let table = self.state().table(&self.config);
            table.sets.len() + table.chains.len()
        };
        let found = self.firewall().table_size(&self.config.table());
        Ok(found.map_err(Error::kernel("look at firewall rules"))? == Some(wanted))
    }

    fn bridges_are_there(&self) -> Result<bool, Error> {
        let wanted: Vec<_> = {
            let state = self.state();
            let bridges = state.networks.values();
            bridges
                .filter_map(|n| Some((n.record.bridge()?.to_owned(), n.bridge_index)))
                .collect()
        };
        for (name, index) in wanted {
            let link = self
                .route()
                .link(&name)
                .map_err(Error::kernel("look at bridges"))?;
            if link.is_none_or(|link| link.index != index || !link.is_up) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn heal_bridges(&self) -> Result<Vec<String>, Error> {
        let plans: Vec<_> = {
            let state = self.state();
            let networks = state.networks.values();
            networks
                .filter_map(|n| Some((n.record.id.clone(), n.plan(&self.config)?)))
                .collect()
        };
        let mut healed = Vec::new();
        for (id, plan) in plans {
            let (index, changed) = bridge::ensure(&mut self.route(), &plan)?;
            let links: Vec<_> = {
                let mut state = self.state();
                if let Some(network) = state.networks.get_mut(&id) {
                    network.bridge_index = index;
                }
                let connected = state
                    .endpoints
                    .values()
                    .map(|connected| &connected.endpoint);
                connected
                    .filter(|e| e.network_id == id)
                    .map(|e| e.host_interface.clone())
                    .collect()
            };
            if !changed {
                continue;
            }
            for name in links {
                self.reattach(&name, index)?;
            }
            healed.push(plan.name);
        }
        Ok(healed)
    }

    fn reattach(&self, name: &str, bridge: u32) -> Result<(), Error> {
        let mut route = self.route();
        let failed = || Error::kernel(format!("attach link {name} to its bridge"));
        let Some(link) = route.link(name).map_err(failed())? else {
            return Ok(());
        };
        if link.master == Some(bridge) {
            return Ok(());
        }
        let changes = [
            route::set_master(link.index, bridge),
            route::set_bridge_port(name, true, false),
        ];
        match route.apply(&changes) {
            Err(error) if !error.is_not_found() => Err(failed()(error)),
            _ => Ok(()),
        }
    }
}

fn hold(published: Published, problems: &mut Vec<String>) -> HeldPort {
    let address = std::net::SocketAddr::new(published.host_ip, published.host_port);
    let reservation = match ports::reserve(published.protocol, address) {
        Ok(reservation) => reservation,
        Err(error) => {
            problems.push(format!(
                "port {address}/{} is not reserved: {error}",
                published.protocol
            ));
            None
        }
    };
    HeldPort {
        published,
        reservation,
    }
}
