//! Finds things again after a restart, and makes them again when somebody removed them.

use std::{collections::BTreeSet, os::fd::BorrowedFd, sync::PoisonError};

use hull_sys::{
    netlink::route::{self, Link},
    nftables::{Family, Table, TableName, Transaction},
};

use super::Networks;
use crate::{
    Endpoint, Error, Published, bridge, gate,
    monitor::Changes,
    ports,
    state::{Connected, HeldPort},
};

/// What [`Networks::heal`] had to do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Healed {
    /// All rules were made again.
    pub rules: bool,
    /// These bridges were set up again.
    pub bridges: Vec<String>,
    /// These containers' links were attached to their bridges again.
    pub links: Vec<String>,
}

/// A link of ours that belongs to no endpoint, or a bridge of ours that belongs to no network.
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
        let mut relays = Vec::new();
        for (endpoint, published) in saved {
            let mut guard = self.state();
            let state = &mut *guard;
            let held = published.into_iter().map(|mut port| {
                port.is_direct = state.is_direct(&endpoint, port.host_ip.is_ipv6());
                let relayed = state.relayed(&self.config, &endpoint, &port);
                let needs_socket = match relayed.filter(|_| self.names.can_relay()) {
                    // The resolver has the socket.
                    Some(relayed) => {
                        relays.push(relayed);
                        false
                    }
                    None => !port.is_direct,
                };
                hold(port, needs_socket, &mut problems)
            });
            let held = held.collect();
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
            state.insert(connected);
        }
        self.names.keep_relaying(relays);
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
        // What is only half made is nothing to heal.
        let _choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bridges: Vec<_> = self
            .list()
            .iter()
            .filter_map(|network| network.bridge().map(str::to_owned))
            .collect();
        if self.config.asks_input() {
            let (near, far) = gate::names(&self.config);
            bridges.extend([near, far]);
        }
        let table = self.config.table();
        let own_port = self.firewall().port();
        let mut changes = self.monitor.changes(&table, own_port, &bridges)?;
        let left = std::mem::take(&mut *self.unhealed());
        changes.is_unsure |= left.is_unsure;
        changes.bare.extend(left.bare);
        changes.loose.extend(left.loose);
        let healed = self.heal_all(&changes);
        if healed.is_err() {
            *self.unhealed() = changes;
        }
        healed
    }

    fn heal_all(&self, changes: &Changes) -> Result<Healed, Error> {
        if changes.rules {
            // Until they are made: what fails now is due at the next look.
            self.applied()
                .iter_mut()
                .for_each(|(_, size)| *size = usize::MAX);
        }
        let mut healed = Healed::default();
        let is_bare = {
            let state = self.state();
            let mut indexes = state.networks.values().map(|network| network.bridge_index);
            !changes.bare.is_empty() && indexes.any(|index| changes.bare.contains(&index))
        };
        let bridges = match changes.bridges || is_bare || !self.bridges_are_there()? {
            true => self.heal_bridges(),
            false => Ok(Vec::new()),
        };
        let has_new_gate = self.config.asks_input() && self.ensure_gate()?;
        if self.config.firewall {
            let is_foreign = has_new_gate || changes.rules || !self.tables_are_there()?;
            if is_foreign || changes.is_unsure {
                self.apply_rules()?;
            }
            healed.rules = is_foreign;
        }
        // A bridge that cannot be made keeps no rules away.
        healed.bridges = bridges?;
        healed.links = self.heal_links(&changes.loose)?;
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
        let (_, far) = gate::names(&self.config);
        let gate = match self.config.asks_input() {
            true => format!(", and those from {far},"),
            false => String::new(),
        };
        let warn = |chain| {
            format!(
                "{chain} drops forwarded packets: accept those from and to {bridges}{gate} there"
            )
        };
        Ok(dropping.into_iter().map(warn).collect())
    }

    /// Links of ours that belong to no endpoint, and bridges and parents that belong to no network.
    pub fn strays(&self) -> Result<Vec<Stray>, Error> {
        let links = self.route().links().map_err(Error::kernel("list links"))?;
        let state = self.state();
        let is_ours = |index| state.networks.values().any(|n| n.bridge_index == index);
        let known = state.endpoints().map(|e| e.host_interface.as_str());
        let known: BTreeSet<_> = known
            .chain(state.in_the_making.keys().map(String::as_str))
            .collect();
        let is_stray_veth = |link: &Link| {
            let named = link.kind == "veth" && link.name.starts_with("hv");
            named && link.master.is_some_and(is_ours) && !known.contains(link.name.as_str())
        };
        let mark = bridge::mark_of_all(&self.config.table());
        let is_stray_bridge = |link: &Link| {
            let id = link.alias.strip_prefix(&mark);
            let is_owned = id.is_some_and(|id| state.networks.contains_key(id));
            let is_leaving = state.leaving_bridges.contains_key(&link.index);
            let is_made = matches!(link.kind.as_str(), "bridge" | "vlan" | "veth");
            is_made && id.is_some() && !is_owned && !is_leaving
        };
        Ok(links
            .into_iter()
            .filter(|link| is_stray_veth(link) || is_stray_bridge(link))
            .map(|link| Stray {
                name: link.name,
                index: link.index,
            })
            .collect())
    }

    /// Removes [`strays`](Self::strays). Gives what was removed.
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

    /// What our tables are called.
    pub fn table(&self) -> String {
        self.config.table()
    }

    /// Removes the tables that we had under another name, before the daemon's options changed: they
    /// would go on leading ports to where nobody is.
    pub fn remove_tables(&self, name: &str) -> Result<(), Error> {
        let mut transaction = Transaction::default();
        for table in self.tables_named(name)? {
            transaction.delete_table(&table);
        }
        self.firewall()
            .commit(transaction)
            .map_err(Error::kernel("remove old rules"))
    }

    /// Removes the rules and bridges of all networks, for good: a test's or an uninstaller's end.
    pub fn tear_down(&self) -> Result<(), Error> {
        let mut transaction = Transaction::default();
        for table in self.tables_there()? {
            transaction.delete_table(&table);
        }
        self.firewall()
            .commit(transaction)
            .map_err(Error::kernel("remove rules"))?;
        gate::remove(&mut self.route(), &self.config)?;
        for network in self.list() {
            if let Some(name) = network.bridge() {
                bridge::remove(&mut self.route(), name)?;
            }
        }
        Ok(())
    }

    /// Makes the gate where there shall be one, and removes it where not. Whether it is a new one.
    pub(super) fn ensure_gate(&self) -> Result<bool, Error> {
        if !self.config.asks_input() {
            gate::remove(&mut self.route(), &self.config)?;
            return Ok(false);
        }
        let (gate, is_new) = gate::ensure(&mut self.route(), &self.config)?;
        self.state().gate = Some(gate);
        Ok(is_new)
    }

    /// Makes all rules from the state, in one transaction.
    pub(super) fn apply_rules(&self) -> Result<(), Error> {
        let there = match self.tables_there() {
            // Without rules wanted, a kernel without nftables will do.
            Err(_) if !self.config.firewall => return Ok(()),
            there => there?,
        };
        let mut transaction = Transaction::default();
        // The state stays locked until the kernel has it: two of these must not cross.
        let mut firewall = self.firewall();
        let wanted = match self.config.firewall {
            true => self.state().tables(&self.config),
            false => Vec::new(),
        };
        for table in &wanted {
            transaction.replace(table);
        }
        for table in there {
            if !wanted.iter().any(|wanted| wanted.name == table) {
                transaction.delete_table(&table);
            }
        }
        firewall
            .commit(transaction)
            .map_err(Error::kernel("make firewall rules"))?;
        let size = |table: &Table| (table.name.clone(), table.sets.len() + table.chains.len());
        *self.applied() = wanted.iter().map(size).collect();
        Ok(())
    }

    /// Our tables that the kernel has. Those of most families mostly are not there.
    fn tables_there(&self) -> Result<Vec<TableName>, Error> {
        self.tables_named(&self.config.table())
    }

    fn tables_named(&self, name: &str) -> Result<Vec<TableName>, Error> {
        let mut there = Vec::new();
        for family in [Family::Inet, Family::V4, Family::V6, Family::Bridge] {
            let table = TableName::new(family, name);
            let size = match self.firewall().table_size(&table) {
                // The kernel has no tables of bridges, or none at all.
                Err(error) if family != Family::Inet => {
                    tracing::debug!(%table, %error, "cannot look at firewall rules");
                    None
                }
                size => size.map_err(Error::kernel("look at firewall rules"))?,
            };
            there.extend(size.map(|_| table));
        }
        Ok(there)
    }

    /// Whether the kernel has as much as it was given.
    fn tables_are_there(&self) -> Result<bool, Error> {
        // Whoever makes rules notes what they are before others can look.
        let mut firewall = self.firewall();
        let wanted = self.applied().clone();
        for (table, size) in wanted {
            let found = firewall.table_size(&table);
            if found.map_err(Error::kernel("look at firewall rules"))? != Some(size) {
                return Ok(false);
            }
        }
        Ok(true)
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
                .filter_map(|n| Some((n.record.id.clone(), n.plan(&self.config)?, !n.record.icc())))
                .collect()
        };
        let mut healed = Vec::new();
        let mut failure = None;
        for (id, plan, isolated) in plans {
            let made = {
                // Nobody removes the network in between: its bridge would stay for ever.
                let state = self.state();
                if !state.networks.contains_key(&id) {
                    continue;
                }
                bridge::ensure(&mut self.route(), &plan)
            };
            let (index, changed) = match made {
                Ok(made) => made,
                Err(error) => {
                    failure.get_or_insert(error);
                    continue;
                }
            };
            let links: Vec<_> = {
                let mut state = self.state();
                if let Some(network) = state.networks.get_mut(&id) {
                    network.bridge_index = index;
                }
                state
                    .endpoints()
                    .filter(|e| e.network_id == id)
                    .map(|e| e.host_interface.clone())
                    .collect()
            };
            if !changed {
                continue;
            }
            for name in links {
                self.reattach(&name, index, isolated)?;
            }
            healed.push(plan.name);
        }
        failure.map_or(Ok(healed), Err)
    }

    /// Attaches links that somebody took down or out of their bridges.
    fn heal_links(&self, loose: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        if loose.is_empty() {
            return Ok(Vec::new());
        }
        let plans: Vec<_> = {
            let state = self.state();
            let known = state.endpoints();
            let known = known.filter(|endpoint| loose.contains(&endpoint.host_interface));
            let plan = |endpoint: &Endpoint| {
                let network = state.networks.get(&endpoint.network_id)?;
                let isolated = !network.record.icc();
                let name = endpoint.host_interface.clone();
                (network.bridge_index != 0).then_some((name, network.bridge_index, isolated))
            };
            known.filter_map(plan).collect()
        };
        let mut healed = Vec::new();
        let mut failure = None;
        for (name, index, isolated) in plans {
            match self.reattach(&name, index, isolated) {
                Ok(true) => healed.push(name),
                Ok(false) => {}
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        failure.map_or(Ok(healed), Err)
    }

    /// Whether anything had to be done.
    fn reattach(&self, name: &str, bridge: u32, isolated: bool) -> Result<bool, Error> {
        // Nobody takes it away in between.
        let state = self.state();
        if state.leaving_links.contains(name) {
            return Ok(false);
        }
        let mut route = self.route();
        let failed = || Error::kernel(format!("attach link {name} to its bridge"));
        let Some(link) = route.link(name).map_err(failed())? else {
            return Ok(false);
        };
        if link.master == Some(bridge) && link.is_up {
            return Ok(false);
        }
        let changes = [
            route::set_master(link.index, bridge),
            route::set_bridge_port(name, true, isolated, link.mtu),
        ];
        match route.apply(&changes) {
            Err(error) if !error.is_not_found() => Err(failed()(error)),
            _ => Ok(true),
        }
    }
}

fn hold(published: Published, needs_socket: bool, problems: &mut Vec<String>) -> HeldPort {
    if !needs_socket {
        return HeldPort {
            published,
            reservation: None,
        };
    }
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
