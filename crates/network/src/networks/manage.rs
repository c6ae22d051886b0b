//! Networks come and go: the three predefined ones at start, users' own at any time.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::PoisonError,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hull_sys::netlink::route::Route;
use ipnet::IpNet;

use super::{Networks, connect::LEAVING_MAX};
use crate::{Config, Driver, Error, Network, Subnet, bridge, options, pool, record::way_out_name};

/// How often a new network looks whether the last one's bridge has gone.
const LEAVING_PAUSE: Duration = Duration::from_millis(1);

const OPTION: &str = "com.docker.network.bridge.";

impl Networks {
    /// Makes a network. Of `wanted`, an empty id, no creation time, missing subnets, and a missing
    /// bridge name are filled in.
    pub fn create(&self, mut wanted: Network) -> Result<Network, Error> {
        if matches!(wanted.driver, Driver::Host | Driver::Null) && !wanted.config_only {
            let what = "only one instance of this network is allowed";
            return Err(Error::Invalid {
                what,
                value: wanted.driver.as_str().to_owned(),
            });
        }
        self.check_name(&wanted.name)?;
        self.take_settings(&mut wanted)?;
        if wanted.config_only {
            let _choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
            self.check_name(&wanted.name)?;
            return self.keep_settings(wanted);
        }
        self.take_defaults(&mut wanted);
        options::check(&wanted)?;
        self.check_parent(&mut wanted)?;
        self.lease_subnets(&mut wanted)?;
        // Two that choose at the same moment would choose the same.
        let choosing = self.choosing.lock();
        let choosing = choosing.unwrap_or_else(PoisonError::into_inner);
        let completed = self.complete(&mut wanted);
        completed.inspect_err(|_| self.return_subnets(&wanted))?;
        let free = self.wait_for_leavers(&wanted);
        free.inspect_err(|_| self.return_subnets(&wanted))?;
        // In the state first: nobody takes its name or addresses while a plugin takes its time.
        let attached = self.attach(wanted.clone());
        let choosing = (wanted.driver != Driver::Remote).then_some(choosing);
        let made = attached.and_then(|()| self.make_remote(&wanted));
        let is_made = made.is_ok();
        if let Err(error) = made.and_then(|()| self.apply_rules()) {
            if is_made && let Err(error) = self.unmake_remote(&wanted) {
                tracing::warn!(network = wanted.name, %error, "a failed network left something");
            }
            self.return_subnets(&wanted);
            // What failed is what counts; what is left of it is told of.
            if let Err(error) = self.forget(&wanted) {
                tracing::warn!(network = wanted.name, %error, "a failed network left something");
            }
            return Err(error);
        }
        drop(choosing);
        Ok(wanted)
    }

    fn check_name(&self, name: &str) -> Result<(), Error> {
        let state = self.state();
        let mut names = state.networks.values().map(|network| &network.record.name);
        match names.any(|other| other == name) {
            true => Err(Error::NameTaken(name.to_owned())),
            false => Ok(()),
        }
    }

    /// Removes a network that nobody is connected to.
    pub fn remove(&self, reference: &str) -> Result<Network, Error> {
        let missing = || Error::NoSuchNetwork(reference.to_owned());
        let record = self.find(reference).ok_or_else(missing)?;
        if record.is_predefined() {
            return Err(Error::Predefined(record.name));
        }
        self.check_unused(&record)?;
        let state = self.state();
        let connected: Vec<_> = state
            .endpoints()
            .chain(state.in_the_making.values())
            .filter(|endpoint| endpoint.network_id == record.id)
            .map(|endpoint| format!("name:\"{}\"", endpoint.container_name))
            .collect();
        drop(state);
        if !connected.is_empty() {
            return Err(Error::InUse {
                name: record.name,
                endpoints: connected.join(", "),
            });
        }
        self.unmake_remote(&record)?;
        self.forget(&record)?;
        self.return_subnets(&record);
        self.apply_rules()?;
        Ok(record)
    }

    fn forget(&self, record: &Network) -> Result<(), Error> {
        let retired = self.retire_bridge(record);
        if matches!(retired, Err(Error::InUse { .. })) {
            return retired;
        }
        self.names.forget_network(&record.id);
        self.remove_parent(record)?;
        retired
    }

    /// Gives a network's name free, and its bridge's, at the same moment: the next network of that
    /// name waits for the bridge to go.
    fn retire_bridge(&self, record: &Network) -> Result<(), Error> {
        let mut state = self.state();
        // Somebody may have joined since it was looked at.
        let mut endpoints = state.endpoints().chain(state.in_the_making.values());
        if let Some(endpoint) = endpoints.find(|endpoint| endpoint.network_id == record.id) {
            return Err(Error::InUse {
                name: record.name.clone(),
                endpoints: format!("name:\"{}\"", endpoint.container_name),
            });
        }
        drop(endpoints);
        state.networks.remove(&record.id);
        let Some(name) = record.bridge() else {
            return Ok(());
        };
        let table = self.config.table();
        if let Some(index) = bridge::retire(&mut self.route(), name, &table, &record.id)? {
            let subnets = record.subnets.iter().map(|part| part.subnet).collect();
            let leaving = (name.to_owned(), subnets);
            state.leaving_bridges.insert(index, leaving);
            self.reaper.remove_bridge(index);
        }
        Ok(())
    }

    /// Waits until nothing is left of networks that had the same bridge or overlapping addresses.
    fn wait_for_leavers(&self, wanted: &Network) -> Result<(), Error> {
        let overlap = |one: &IpNet| {
            let own = wanted.subnets.iter();
            own.clone().any(|part| pool::overlaps(*one, part.subnet))
        };
        let is_in_the_way = |(name, subnets): &(String, Vec<IpNet>)| {
            wanted.bridge() == Some(name) || subnets.iter().any(overlap)
        };
        let deadline = Instant::now() + LEAVING_MAX;
        while Instant::now() < deadline && self.state().leaving_bridges.values().any(is_in_the_way)
        {
            std::thread::sleep(LEAVING_PAUSE);
        }
        let has_the_name =
            |(name, _): &(String, Vec<IpNet>)| wanted.bridge() == Some(name.as_str());
        match self.state().leaving_bridges.values().any(has_the_name) {
            true => Err(Error::Invalid {
                what: "bridge name: the last bridge of that name is still being deleted",
                value: wanted.bridge().unwrap_or_default().to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// What is the host's own address elsewhere cannot be its address on a bridge, too.
    fn check_gateways(&self, wanted: &Network) -> Result<(), Error> {
        if wanted.driver != Driver::Bridge {
            return Ok(());
        }
        let mut route = self.route();
        let failed = || Error::kernel("look at the host's addresses");
        // A bridge that is there has its addresses already.
        if let Some(name) = wanted.bridge()
            && route.link(name).map_err(failed())?.is_some()
        {
            return Ok(());
        }
        let held = route.addresses().map_err(failed())?;
        let ours = bridge::mark_of_all(&self.config.table());
        for part in &wanted.subnets {
            let is_taken = wanted.has_gateway(part.gateway.is_ipv6());
            let holder = held.iter().find(|(_, (held, _))| *held == part.gateway);
            let Some((index, _)) = holder.filter(|_| is_taken) else {
                continue;
            };
            let link = route.link_by_index(*index).map_err(failed())?;
            let Some(link) = link.filter(|link| !link.alias.starts_with(&ours)) else {
                continue;
            };
            return Err(Error::Invalid {
                what: "gateway",
                value: format!(
                    "{} is the host's own address on {}: choose another subnet, or a --gateway nobody has",
                    part.gateway, link.name
                ),
            });
        }
        Ok(())
    }

    fn complete(&self, wanted: &mut Network) -> Result<(), Error> {
        if wanted.id.is_empty() {
            name_it(wanted)?;
        }
        let mut taken = bridge::ranges_in_use(&mut self.route())?;
        let leaving = self.state().leaving_bridges.clone();
        let is_leaving = |range: &IpNet| {
            leaving
                .values()
                .any(|(_, gone)| gone.contains(&range.trunc()))
        };
        // Who removes a network and makes another gets the same addresses again.
        taken.retain(|range| !is_leaving(range));
        self.check_name(&wanted.name)?;
        let networks = self.list();
        // Mere settings take no addresses.
        let others = networks.iter().filter(|network| !network.config_only);
        let others: Vec<_> = others
            .flat_map(|network| network.subnets.iter().map(|part| part.subnet))
            .collect();
        for (number, part) in wanted.subnets.iter().enumerate() {
            let own = wanted.subnets[..number].iter().map(|part| &part.subnet);
            let mut all = others.iter().chain(own);
            if all.any(|other| pool::overlaps(*other, part.subnet)) {
                return Err(Error::SubnetTaken(part.subnet));
            }
            check(part)?;
            if let Some(why) = unfit(part.subnet) {
                return Err(Error::Invalid {
                    what: "subnet",
                    value: format!("{}: {why}: choose another one", part.subnet),
                });
            }
            let is_ipv6 = part.subnet.addr().is_ipv6();
            let mut own = wanted.subnets[..number].iter();
            if wanted.driver == Driver::Bridge
                && own.any(|other| other.subnet.addr().is_ipv6() == is_ipv6)
            {
                return Err(Error::ManySubnets(part.subnet));
            }
        }
        self.check_gateways(wanted)?;
        taken.extend(others);
        fill_subnets(&self.config, wanted, &taken)?;
        if wanted.driver != Driver::Bridge {
            return Ok(());
        }
        if let Some(name) = wanted.bridge()
            && let Some(other) = networks.iter().find(|other| other.bridge() == Some(name))
        {
            return Err(Error::Invalid {
                what: "bridge name: another network has it",
                value: format!("{name} (network {})", other.name),
            });
        }
        let default = format!("br-{}", &wanted.id[..12]);
        wanted
            .options
            .entry(format!("{OPTION}name"))
            .or_insert(default);
        if self.config.mtu != 0 {
            let key = "com.docker.network.driver.mtu".to_owned();
            wanted
                .options
                .entry(key)
                .or_insert(self.config.mtu.to_string());
        }
        Ok(())
    }
}

/// Gives a new network its id.
pub(super) fn name_it(network: &mut Network) -> Result<(), Error> {
    network.id = bridge::random_id()?;
    network.created_at = now();
    Ok(())
}

/// The predefined networks (new ones where nothing was saved) and all other saved ones.
pub(super) fn all_networks(
    config: &Config,
    saved: &[Network],
    route: &mut Route,
) -> Result<Vec<Network>, Error> {
    let named = |name: &str| saved.iter().find(|network| network.name == name);
    let mut all = vec![
        predefined("host", Driver::Host, named("host"))?,
        predefined("none", Driver::Null, named("none"))?,
    ];
    if config.bridge.is_some() {
        all.push(default_bridge(config, named("bridge"), saved, route)?);
    }
    all.extend(
        saved
            .iter()
            .filter(|network| !network.is_predefined())
            .cloned(),
    );
    Ok(all)
}

fn predefined(name: &str, driver: Driver, saved: Option<&Network>) -> Result<Network, Error> {
    let (id, created_at) = match saved {
        Some(saved) => (saved.id.clone(), saved.created_at),
        None => (bridge::random_id()?, now()),
    };
    Ok(Network {
        id,
        name: name.to_owned(),
        created_at,
        driver,
        enable_ipv4: true,
        ..Network::default()
    })
}

/// The default bridge as the options now say; what they leave open stays as it was.
fn default_bridge(
    config: &Config,
    saved: Option<&Network>,
    all: &[Network],
    route: &mut Route,
) -> Result<Network, Error> {
    let name = config.bridge.clone().unwrap_or_default();
    let mut network = predefined("bridge", Driver::Bridge, saved)?;
    network.enable_ipv6 = config.ipv6;
    network.options = bridge_options(config, &name);

    let present = bridge::address_of(route, &name)?;
    let saved_v4 = saved.and_then(|saved| saved.subnets.iter().find(|s| s.gateway.is_ipv4()));
    let range = config.fixed_cidr.map(IpNet::from);
    let own = config.bip.map(IpNet::from).or(present);
    let own = own.or(saved_v4.map(|s| IpNet::new_assert(s.gateway, s.subnet.prefix_len())));
    if let Some(own) = own {
        network.subnets.push(subnet(own.trunc(), own.addr(), range));
    }
    let saved_v6 = saved.and_then(|saved| saved.subnets.iter().find(|s| s.gateway.is_ipv6()));
    if let Some(own) = config.bip6.filter(|_| config.ipv6) {
        let range = config.fixed_cidr_v6.map(IpNet::from);
        let own = IpNet::from(own);
        network.subnets.push(subnet(own.trunc(), own.addr(), range));
    } else if let Some(own) = config.fixed_cidr_v6.filter(|_| config.ipv6) {
        network
            .subnets
            .push(subnet(own.trunc().into(), first(own.trunc().into()), None));
    } else if let Some(saved) = saved_v6.filter(|_| config.ipv6) {
        network.subnets.push(saved.clone());
    }
    let mut taken = bridge::ranges_in_use(route)?;
    taken.extend(
        all.iter()
            .flat_map(|network| network.subnets.iter().map(|part| part.subnet)),
    );
    fill_subnets(config, &mut network, &taken)?;
    if let Some(part) = network
        .subnets
        .iter_mut()
        .find(|part| part.gateway.is_ipv4())
    {
        part.range = range;
    }
    for part in &mut network.subnets {
        let ipv6 = part.gateway.is_ipv6();
        let given = [
            config.default_gateway.map(IpAddr::from),
            config.default_gateway_v6.map(IpAddr::from),
        ];
        let name = way_out_name(ipv6).to_owned();
        // An option that has gone takes the saved one along.
        part.reserved.remove(&name);
        part.reserved
            .extend(given[usize::from(ipv6)].map(|address| (name, address)));
    }
    network.subnets.iter().try_for_each(check)?;
    Ok(network)
}

fn bridge_options(config: &Config, name: &str) -> BTreeMap<String, String> {
    let mtu = if config.mtu == 0 { 1500 } else { config.mtu };
    [
        ("default_bridge", "true".to_owned()),
        ("enable_icc", config.icc.to_string()),
        ("enable_ip_masquerade", config.ip_masquerade.to_string()),
        ("host_binding_ipv4", config.default_binding.to_string()),
        ("name", name.to_owned()),
    ]
    .into_iter()
    .map(|(option, value)| (format!("{OPTION}{option}"), value))
    .chain([("com.docker.network.driver.mtu".to_owned(), mtu.to_string())])
    .collect()
}

/// Chooses a subnet for each family that is wanted and has none.
fn fill_subnets(config: &Config, network: &mut Network, taken: &[IpNet]) -> Result<(), Error> {
    let pools = if config.address_pools.is_empty() {
        pool::default_pools()
    } else {
        config.address_pools.clone()
    };
    let has = |network: &Network, ipv6| {
        network
            .subnets
            .iter()
            .any(|s| s.subnet.addr().is_ipv6() == ipv6)
    };
    if network.enable_ipv4 && !has(network, false) {
        let chosen = pool::choose_subnet(&pools, false, taken).ok_or(Error::NoFreeSubnet)?;
        network
            .subnets
            .insert(0, subnet(chosen, first(chosen), None));
    }
    if network.enable_ipv6 && !has(network, true) {
        let chosen = match pool::choose_subnet(&pools, true, taken) {
            Some(chosen) => chosen,
            None => pool::private_ipv6(bridge::random_bytes()?).into(),
        };
        network.subnets.push(subnet(chosen, first(chosen), None));
    }
    Ok(())
}

fn subnet(subnet: IpNet, gateway: IpAddr, range: Option<IpNet>) -> Subnet {
    Subnet {
        subnet,
        range,
        gateway,
        reserved: BTreeMap::new(),
        pool: None,
    }
}

fn first(subnet: IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(net) => IpAddr::V4((net.network().to_bits() | 1).into()),
        IpNet::V6(net) => IpAddr::V6((net.network().to_bits() | 1).into()),
    }
}

/// Why no container can have an address of a subnet.
fn unfit(subnet: IpNet) -> Option<&'static str> {
    let is_within = |all: &str| all.parse().is_ok_and(|all: IpNet| all.contains(&subnet));
    if subnet.prefix_len() == subnet.max_prefix_len() {
        return Some("it has one address, and that is the gateway's");
    }
    let kinds = [
        ("0.0.0.0/8", "these addresses are of this host itself"),
        ("127.0.0.0/8", "these addresses are of the loopback"),
        ("224.0.0.0/4", "these addresses are of multicast groups"),
        ("240.0.0.0/4", "these addresses are nobody's"),
        ("::/96", "these addresses are of this host itself"),
        (
            "::ffff:0:0/96",
            "these are IPv4 addresses, written as IPv6 ones",
        ),
        ("ff00::/8", "these addresses are of multicast groups"),
    ];
    let kind = kinds.iter().find(|(all, _)| is_within(all));
    kind.map(|(_, why)| *why)
}

fn check(part: &Subnet) -> Result<(), Error> {
    if let (IpNet::V4(own), IpAddr::V4(gateway)) = (part.subnet, part.gateway)
        && own.prefix_len() < 31
        && (gateway == own.network() || gateway == own.broadcast())
    {
        return Err(Error::Invalid {
            what: "gateway",
            value: format!(
                "{gateway} is the network's own or its broadcast address: choose another one of {own}"
            ),
        });
    }
    if !part.subnet.contains(&part.gateway) {
        return Err(Error::Invalid {
            what: "gateway",
            value: part.gateway.to_string(),
        });
    }
    let way_out = part.way_out();
    if !part.subnet.contains(&way_out) {
        return Err(Error::Invalid {
            what: way_out_name(way_out.is_ipv6()),
            value: format!("{way_out}, which is not in {}", part.subnet),
        });
    }
    match part.range {
        Some(range) if !part.subnet.contains(&range) => Err(Error::Invalid {
            what: "address range",
            value: range.to_string(),
        }),
        _ => Ok(()),
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
