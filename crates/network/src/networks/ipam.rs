//! Addresses that a plugin gives: of whole networks, and of one endpoint at a time.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::Networks;
use crate::{
    Endpoint, EndpointRequest, Error, Network, Subnet,
    plugins::{
        Address, AddressSpaces, Done, Nothing, OfPool, Plugin, PluginKind, Pool, ReleaseAddress,
        RequestAddress, RequestPool,
    },
};

const KIND_OF_ADDRESS: &str = "RequestAddressType";
const GATEWAY: &str = "com.docker.network.gateway";
const MAC: &str = "com.docker.network.endpoint.macaddress";

/// An address that a plugin has given.
#[derive(Debug)]
pub(super) struct Lease {
    plugin: String,
    pool: String,
    address: IpAddr,
}

impl Networks {
    /// The plugin that gives a network's addresses.
    fn ipam<'a>(&'a self, network: &'a Network) -> Result<Option<Plugin<'a>>, Error> {
        let Some(name) = network.ipam_plugin.as_deref() else {
            return Ok(None);
        };
        let missing = || Error::UnknownDriver(name.to_owned());
        let way = self.plugins.as_deref().ok_or_else(missing)?;
        let kind = PluginKind::Ipam;
        Ok(Some(Plugin { way, name, kind }))
    }

    /// Has a plugin choose, or agree to, a new network's subnets. On failure it keeps none.
    pub(super) fn lease_subnets(&self, wanted: &mut Network) -> Result<(), Error> {
        let copy = wanted.clone();
        let Some(plugin) = self.ipam(&copy)? else {
            return Ok(());
        };
        let spaces: AddressSpaces =
            plugin.ask("IpamDriver.GetDefaultAddressSpaces", &Nothing {})?;
        let space = spaces.local_default_address_space;
        let mut orders: Vec<_> = std::mem::take(&mut wanted.subnets)
            .into_iter()
            .map(|part| (part.subnet.addr().is_ipv6(), Some(part)))
            .collect();
        for (is_wanted, ipv6) in [(wanted.enable_ipv4, false), (wanted.enable_ipv6, true)] {
            if is_wanted && !orders.iter().any(|(family, _)| *family == ipv6) {
                orders.push((ipv6, None));
            }
        }
        for (ipv6, order) in orders {
            match lease_subnet(&plugin, &space, &copy.ipam_options, ipv6, order) {
                Ok(part) => wanted.subnets.push(part),
                Err(error) => {
                    self.return_subnets(wanted);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives a network's subnets back. What fails is told of.
    pub(super) fn return_subnets(&self, network: &Network) {
        let Ok(Some(plugin)) = self.ipam(network) else {
            return;
        };
        for part in &network.subnets {
            let Some(pool) = &part.pool else { continue };
            let own = std::iter::once(&part.gateway).chain(part.reserved.values());
            own.for_each(|address| return_address(&plugin, pool, *address));
            let body = OfPool { id: pool };
            if let Err(error) = plugin.ask::<Done>("IpamDriver.ReleasePool", &body) {
                tracing::warn!(network = network.name, pool, %error, "a pool was not given back");
            }
        }
    }

    /// Asks a plugin for an endpoint's addresses, where one gives them: these are then those that
    /// the endpoint asks for.
    pub(super) fn lease(
        &self,
        network: &str,
        request: &EndpointRequest,
    ) -> Result<(EndpointRequest, Vec<Lease>), Error> {
        let mut request = request.clone();
        let mut leases = Vec::new();
        let Some(network) = self.find(network) else {
            return Ok((request, leases));
        };
        let Some(plugin) = self.ipam(&network)? else {
            return Ok((request, leases));
        };
        for part in first_of_each_family(&network) {
            let asked = match part.subnet {
                IpNet::V4(_) => request.ipv4.map(IpAddr::V4),
                IpNet::V6(_) => request.ipv6.map(IpAddr::V6),
            };
            let options = request.mac.iter();
            let options = options.map(|mac| (MAC.to_owned(), mac.clone())).collect();
            let pool = part.pool.clone().unwrap_or_default();
            match request_address(&plugin, &pool, asked, options) {
                Ok(address) => {
                    match address {
                        IpAddr::V4(v4) => request.ipv4 = Some(v4),
                        IpAddr::V6(v6) => request.ipv6 = Some(v6),
                    }
                    let plugin = plugin.name.to_owned();
                    leases.push(Lease {
                        plugin,
                        pool,
                        address,
                    });
                }
                Err(error) => {
                    self.give_back(&leases);
                    return Err(error);
                }
            }
        }
        Ok((request, leases))
    }

    /// What a plugin has given an endpoint.
    pub(super) fn leases_of(&self, endpoint: &Endpoint) -> Vec<Lease> {
        let Some(network) = self.find(&endpoint.network_id) else {
            return Vec::new();
        };
        let Some(plugin) = &network.ipam_plugin else {
            return Vec::new();
        };
        let lease = |address: IpAddr| {
            let part = network.subnets.iter().find(|p| p.subnet.contains(&address));
            Some(Lease {
                plugin: plugin.clone(),
                pool: part?.pool.clone()?,
                address,
            })
        };
        endpoint.addresses().filter_map(lease).collect()
    }

    /// Gives addresses back. What fails is told of.
    pub(super) fn give_back(&self, leases: &[Lease]) {
        for lease in leases {
            if let Some(way) = self.plugins.as_deref() {
                let (name, kind) = (lease.plugin.as_str(), PluginKind::Ipam);
                return_address(&Plugin { way, name, kind }, &lease.pool, lease.address);
            }
        }
    }
}

fn first_of_each_family(network: &Network) -> impl Iterator<Item = &Subnet> {
    [false, true].into_iter().filter_map(|ipv6| {
        let is_on = if ipv6 {
            network.enable_ipv6
        } else {
            network.enable_ipv4
        };
        let mut parts = network.subnets.iter();
        parts.find(|part| is_on && part.subnet.addr().is_ipv6() == ipv6)
    })
}

fn lease_subnet(
    plugin: &Plugin<'_>,
    space: &str,
    options: &BTreeMap<String, String>,
    v6: bool,
    order: Option<Subnet>,
) -> Result<Subnet, Error> {
    let text = |range: Option<IpNet>| range.map(|range| range.to_string()).unwrap_or_default();
    let question = "IpamDriver.RequestPool";
    let body = RequestPool {
        address_space: space,
        pool: text(order.as_ref().map(|part| part.subnet)),
        sub_pool: text(order.as_ref().and_then(|part| part.range)),
        options,
        v6,
    };
    let pool: Pool = plugin.ask(question, &body)?;
    let leased = complete(plugin, &pool, order);
    if leased.is_err() {
        // Nobody will know of it.
        let _ = plugin.ask::<Done>("IpamDriver.ReleasePool", &OfPool { id: &pool.id });
    }
    leased
}

/// Takes the addresses of a pool that are no container's.
fn complete(plugin: &Plugin<'_>, pool: &Pool, order: Option<Subnet>) -> Result<Subnet, Error> {
    let range: IpNet = parsed(plugin, "IpamDriver.RequestPool", &pool.range)?;
    let told = pool.data.as_ref().and_then(|data| data.get(GATEWAY));
    let gateway = match (told, &order) {
        (Some(text), None) => parsed::<IpNet>(plugin, "IpamDriver.RequestPool", text)?.addr(),
        _ => {
            let options = [(KIND_OF_ADDRESS.to_owned(), GATEWAY.to_owned())].into();
            let asked = order.as_ref().map(|part| part.gateway);
            request_address(plugin, &pool.id, asked, options)?
        }
    };
    let reserved = order.as_ref().map(|part| part.reserved.clone());
    let reserved = reserved.unwrap_or_default();
    for address in reserved.values() {
        request_address(plugin, &pool.id, Some(*address), BTreeMap::new())?;
    }
    Ok(Subnet {
        subnet: range.trunc(),
        range: order.and_then(|part| part.range),
        gateway,
        reserved,
        pool: Some(pool.id.clone()),
    })
}

fn request_address(
    plugin: &Plugin<'_>,
    pool: &str,
    address: Option<IpAddr>,
    options: BTreeMap<String, String>,
) -> Result<IpAddr, Error> {
    let question = "IpamDriver.RequestAddress";
    let body = RequestAddress {
        of: OfPool { id: pool },
        address: address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        options,
    };
    let given: Address = plugin.ask(question, &body)?;
    Ok(parsed::<IpNet>(plugin, question, &given.address)?.addr())
}

fn return_address(plugin: &Plugin<'_>, pool: &str, address: IpAddr) {
    let of = OfPool { id: pool };
    let body = ReleaseAddress { of, address };
    if let Err(error) = plugin.ask::<Done>("IpamDriver.ReleaseAddress", &body) {
        tracing::warn!(%address, pool, %error, "an address was not given back");
    }
}

fn parsed<T: std::str::FromStr>(
    plugin: &Plugin<'_>,
    question: &'static str,
    text: &str,
) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Plugin {
        plugin: plugin.name.to_owned(),
        question,
        source: format!("its answer {text:?} is no address with a length").into(),
    })
}
