//! Networks, and a container's part in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hull_api::types::{self, EndpointIpamConfig, EndpointSettings};
use hull_engine::{
    model::{EndpointConfig, NetworkMode},
    record::Record,
};
use hull_network::{Driver, Endpoint, Network, Subnet, SubnetUse};
use ipnet::IpNet;

use super::{Invalid, Result, null_if_empty, time};

/// The option that names a network's bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// The text of `NetworkMode`.
pub(crate) fn mode(text: &str) -> Result<NetworkMode> {
    Ok(match text {
        "" | "default" | "bridge" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        _ => match text.split_once(':') {
            Some(("container", "")) => {
                return Err(Invalid::new("invalid container format container:<name|id>"));
            }
            Some(("container", reference)) => NetworkMode::Container(reference.to_owned()),
            _ => NetworkMode::Named(text.to_owned()),
        },
    })
}

/// The key of a mode's network among a create's endpoints.
pub(crate) fn key_of(mode: &str) -> &str {
    if mode.is_empty() || mode == "default" {
        "bridge"
    } else {
        mode
    }
}

/// Back to the text of `NetworkMode`.
pub(crate) fn mode_text(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Container(reference) => format!("container:{reference}"),
        NetworkMode::Named(name) => name.clone(),
    }
}

/// What a container asks of one network.
pub(crate) fn endpoint(settings: EndpointSettings) -> Result<EndpointConfig> {
    let ipam = settings.ipam_config.unwrap_or_default();
    let invalid = |what: &str, text: &str| Invalid::new(format!("invalid {what} address: {text}"));
    let ipv4 = match ipam.ipv4_address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid("IPv4", text))?),
    };
    let ipv6 = match ipam.ipv6_address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid("IPv6", text))?),
    };
    let link_local = ipam.link_local_ips.iter();
    let link_local = link_local
        .map(|text| text.parse().map_err(|_| invalid("link-local IP", text)))
        .collect::<Result<_>>()?;
    Ok(EndpointConfig {
        ipv4,
        ipv6,
        link_local,
        mac_address: mac_address(&settings.mac_address)?,
        aliases: settings.aliases.unwrap_or_default(),
        links: settings.links.unwrap_or_default(),
        driver_options: settings.driver_opts.unwrap_or_default(),
        gateway_priority: settings.gw_priority,
    })
}

/// Six pairs of hex digits, in lower case with colons.
pub(crate) fn mac_address(text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let pairs: Vec<&str> = text.split([':', '-']).collect();
    let hex = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    if pairs.len() != 6 || !pairs.iter().all(hex) {
        return Err(Invalid::new(format!("invalid MAC address: {text}")));
    }
    Ok(pairs.join(":").to_ascii_lowercase())
}

/// What was asked of one network, back to the wire.
pub(crate) fn endpoint_to_wire(config: &EndpointConfig) -> EndpointSettings {
    let address = |address: Option<String>| address.unwrap_or_default();
    let ipam = EndpointIpamConfig {
        ipv4_address: address(config.ipv4.map(|ip| ip.to_string())),
        ipv6_address: address(config.ipv6.map(|ip| ip.to_string())),
        link_local_ips: config.link_local.iter().map(ToString::to_string).collect(),
    };
    EndpointSettings {
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        links: null_if_empty(config.links.clone()),
        aliases: null_if_empty(config.aliases.clone()),
        mac_address: config.mac_address.clone(),
        driver_opts: (!config.driver_options.is_empty()).then(|| config.driver_options.clone()),
        gw_priority: config.gateway_priority,
        ..EndpointSettings::default()
    }
}

/// A container's place in a network, or what was asked of it while it does not run.
pub(crate) fn endpoint_state(
    record: &Record,
    name: &str,
    find: &dyn Fn(&str) -> Option<Network>,
) -> EndpointSettings {
    let asked = record
        .endpoint_configs
        .get(name)
        .cloned()
        .unwrap_or_default();
    let mut wire = endpoint_to_wire(&asked);
    let Some(endpoint) = record
        .endpoints
        .iter()
        .find(|endpoint| endpoint.network_name == name)
    else {
        wire.network_id = find(name).map(|network| network.id).unwrap_or_default();
        return wire;
    };
    wire.network_id.clone_from(&endpoint.network_id);
    wire.endpoint_id.clone_from(&endpoint.id);
    wire.mac_address.clone_from(&endpoint.mac);
    if let Some(address) = endpoint.ipv4 {
        wire.ip_address = address.addr().to_string();
        wire.ip_prefix_len = i64::from(address.prefix_len());
    }
    if let Some(address) = endpoint.ipv6 {
        wire.global_ipv6_address = address.addr().to_string();
        wire.global_ipv6_prefix_len = i64::from(address.prefix_len());
    }
    wire.gateway = endpoint
        .gateway
        .map(|gateway| gateway.to_string())
        .unwrap_or_default();
    wire.ipv6_gateway = endpoint
        .gateway_v6
        .map(|gateway| gateway.to_string())
        .unwrap_or_default();
    if name != "bridge" {
        wire.dns_names = Some(dns_names(record, &asked.aliases));
    }
    wire
}

/// The names a container answers to on a network of its user's.
fn dns_names(record: &Record, aliases: &[String]) -> Vec<String> {
    let mut names = vec![record.name.to_string()];
    let further = aliases.iter().cloned();
    let further = further.chain([record.id.short().to_owned(), record.config.hostname.clone()]);
    for name in further {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Every network of a container by name.
pub(crate) fn endpoints(
    record: &Record,
    find: &dyn Fn(&str) -> Option<Network>,
) -> BTreeMap<String, EndpointSettings> {
    let mut names: BTreeSet<String> = record.endpoint_configs.keys().cloned().collect();
    names.extend(
        record
            .endpoints
            .iter()
            .map(|endpoint| endpoint.network_name.clone()),
    );
    match &record.host.network_mode {
        NetworkMode::Container(_) => names.clear(),
        // A network may be asked for by its id; it is shown by its name.
        NetworkMode::Named(reference) => {
            names.remove(reference);
            names.insert(find(reference).map_or_else(|| reference.clone(), |known| known.name));
        }
        mode => {
            names.insert(mode_text(mode));
        }
    }
    if record.left_main_network {
        names.remove(&mode_text(&record.host.network_mode));
    }
    names
        .into_iter()
        .map(|name| (name.clone(), endpoint_state(record, &name, find)))
        .collect()
}

/// A network; its containers only on its own.
pub(crate) fn to_wire(mut network: Network, endpoints: Option<&[Endpoint]>) -> types::Network {
    // A bridge's name that nobody chose is no option: clients compare these with what they asked for.
    let own_name = network.id.get(..12).map(|short| format!("br-{short}"));
    let mut options = std::mem::take(&mut network.options);
    options.retain(|key, value| key != BRIDGE_NAME || Some(&*value) != own_name.as_ref());
    let created = i64::try_from(network.created_at)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000);
    types::Network {
        driver: network.driver_name().to_owned(),
        name: network.name,
        id: network.id,
        created: time::text(created),
        scope: "local".to_owned(),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: types::Ipam {
            driver: network.ipam_plugin.unwrap_or_else(|| "default".to_owned()),
            options: (!network.ipam_options.is_empty()).then_some(network.ipam_options),
            config: Some(network.subnets.iter().map(subnet).collect()),
        },
        internal: network.internal,
        attachable: network.attachable,
        config_from: types::ConfigReference {
            network: network.config_from.unwrap_or_default(),
        },
        config_only: network.config_only,
        containers: endpoints.map(|all| all.iter().map(resource).collect()),
        options: Some(options),
        labels: Some(network.labels),
        ..types::Network::default()
    }
}

/// How full a network is.
pub(crate) fn status(usage: &[SubnetUse]) -> types::NetworkStatus {
    let subnet = |usage: &SubnetUse| {
        let status = types::SubnetStatus {
            ips_in_use: usage.in_use,
            dynamic_ips_available: usage.available,
        };
        (usage.subnet.to_string(), status)
    };
    types::NetworkStatus {
        ipam: types::IpamStatus {
            subnets: usage.iter().map(subnet).collect(),
        },
    }
}

fn subnet(subnet: &Subnet) -> types::IpamConfig {
    let reserved = subnet.reserved.iter();
    types::IpamConfig {
        subnet: subnet.subnet.to_string(),
        ip_range: subnet
            .range
            .map(|range| range.to_string())
            .unwrap_or_default(),
        gateway: subnet.gateway.to_string(),
        auxiliary_addresses: reserved
            .map(|(name, ip)| (name.clone(), ip.to_string()))
            .collect(),
    }
}

fn resource(endpoint: &Endpoint) -> (String, types::EndpointResource) {
    let resource = types::EndpointResource {
        name: endpoint.container_name.clone(),
        endpoint_id: endpoint.id.clone(),
        mac_address: endpoint.mac.clone(),
        ipv4_address: endpoint
            .ipv4
            .map(|address| address.to_string())
            .unwrap_or_default(),
        ipv6_address: endpoint
            .ipv6
            .map(|address| address.to_string())
            .unwrap_or_default(),
    };
    (endpoint.container_id.clone(), resource)
}

/// The body of a create. What is left open is the engine's to fill in.
pub(crate) fn order(wire: types::NetworkCreate) -> Result<Network> {
    if wire.name.trim().is_empty() {
        return Err(Invalid::new("invalid name: name is empty"));
    }
    if wire.ingress {
        return Err(Invalid::new("ingress networks need swarm mode"));
    }
    if !matches!(wire.scope.as_str(), "" | "local") {
        let scope = &wire.scope;
        return Err(Invalid::new(format!(
            "networks of scope {scope:?} need swarm mode: leave it out, or say \"local\""
        )));
    }
    let config_from = wire.config_from.map(|from| from.network);
    let driver = match wire.driver.as_str() {
        "" | "bridge" | "default" => Driver::Bridge,
        "macvlan" => Driver::Macvlan,
        "ipvlan" => Driver::Ipvlan,
        "host" => Driver::Host,
        "null" | "none" => Driver::Null,
        // Overlays are made by swarms, which are not there.
        "overlay" => {
            return Err(Invalid::new(
                "network driver \"overlay\" is not available: this daemon has bridge, macvlan, \
                 ipvlan, host, null and those of plugins",
            ));
        }
        _ => Driver::Remote,
    };
    let ipam = wire.ipam.unwrap_or_default();
    let ipam_plugin = Some(ipam.driver).filter(|name| !["", "default"].contains(&name.as_str()));
    let subnets = ipam.config.unwrap_or_default();
    // What says nothing is nothing.
    let subnets = subnets.iter();
    let subnets = subnets.filter(|subnet| **subnet != types::IpamConfig::default());
    Ok(Network {
        id: String::new(),
        name: wire.name,
        created_at: 0,
        driver,
        subnets: subnets.map(subnet_order).collect::<Result<_>>()?,
        enable_ipv4: wire.enable_ipv4.unwrap_or(true),
        enable_ipv6: wire.enable_ipv6.unwrap_or(false),
        internal: wire.internal,
        attachable: wire.attachable,
        options: wire.options.unwrap_or_default(),
        labels: wire.labels.unwrap_or_default(),
        config_only: wire.config_only,
        config_from: config_from.filter(|name| !name.is_empty()),
        plugin: (driver == Driver::Remote).then_some(wire.driver),
        ipam_plugin,
        ipam_options: ipam.options.unwrap_or_default(),
        owns_parent: false,
    })
}

/// Addresses that are no container's.
fn reserved(
    wire: &types::IpamConfig,
    subnet: IpNet,
    gateway: IpAddr,
) -> Result<BTreeMap<String, IpAddr>> {
    let mut reserved = BTreeMap::new();
    for (name, text) in &wire.auxiliary_addresses {
        let address: IpAddr = text
            .parse()
            .map_err(|_| Invalid::new(format!("invalid auxiliary address: {text}")))?;
        if !subnet.contains(&address) {
            return Err(Invalid::new(format!(
                "invalid network config: auxiliary address {name}: {address} is not in subnet {subnet}"
            )));
        }
        if address == gateway {
            return Err(Invalid::new(format!(
                "failed to allocate secondary ip address ({name}:{address}): Address already in use: \
                 it is the gateway's, choose another one"
            )));
        }
        reserved.insert(name.clone(), address);
    }
    Ok(reserved)
}

fn subnet_order(wire: &types::IpamConfig) -> Result<Subnet> {
    let invalid = |what: &str, text: &str| Invalid::new(format!("invalid {what}: {text}"));
    if wire.subnet.is_empty() {
        return Err(Invalid::new(
            "invalid subnet: a gateway, a range and auxiliary addresses need the subnet they are of",
        ));
    }
    let subnet: IpNet = wire
        .subnet
        .parse()
        .map_err(|_| invalid("subnet", &wire.subnet))?;
    if subnet != subnet.trunc() {
        return Err(Invalid::new(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        )));
    }
    if subnet.addr().is_multicast() || subnet.addr().is_loopback() {
        return Err(invalid("subnet", &wire.subnet));
    }
    let range = match wire.ip_range.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| invalid("ip-range", text))?),
    };
    let gateway = match wire.gateway.as_str() {
        // The first address of an IPv6 network is every router's.
        "" => subnet
            .hosts()
            .nth(usize::from(
                subnet.addr().is_ipv6() && subnet.prefix_len() < 127,
            ))
            .ok_or_else(|| invalid("subnet", &wire.subnet))?,
        text => text.parse().map_err(|_| invalid("gateway", text))?,
    };
    let is_nobodys = match subnet {
        IpNet::V4(own) => {
            own.prefix_len() < 31
                && [own.network(), own.broadcast()]
                    .map(IpAddr::V4)
                    .contains(&gateway)
        }
        IpNet::V6(_) => false,
    };
    if is_nobodys {
        return Err(Invalid::new(format!(
            "invalid gateway: {gateway} is the network's own or its broadcast address: choose another one of {subnet}"
        )));
    }
    if !subnet.contains(&gateway) {
        return Err(Invalid::new(format!(
            "invalid network config: no matching subnet for gateway {gateway}"
        )));
    }
    let reserved = reserved(wire, subnet, gateway)?;
    Ok(Subnet {
        subnet,
        range,
        gateway,
        reserved,
        pool: None,
    })
}
