//! Networks that a plugin makes: it is told of each step, gives an interface, and we put that into the
//! container.

use std::{
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use hull_sys::netlink::{
    namespace,
    route::{self, Route},
};
use ipnet::IpNet;
use serde_json::json;

use super::{
    Networks,
    connect::{Draft, parse_mac, show_mac},
};
use crate::{
    Endpoint, Error, Network,
    plugins::{
        self, CreateEndpoint, CreateNetwork, CreatedEndpoint, Done, Interface, IpamData, Join,
        Joined, OfEndpoint, OfNetwork, Plugin, PluginKind,
    },
    sandbox::{self, Arrived, StaticRoute},
};

impl Networks {
    /// The plugin that makes a network.
    fn maker<'a>(&'a self, network: &'a Network) -> Result<Option<Plugin<'a>>, Error> {
        let Some(name) = network.plugin.as_deref() else {
            return Ok(None);
        };
        let missing = || Error::UnknownDriver(name.to_owned());
        let way = self.plugins.as_deref().ok_or_else(missing)?;
        let kind = PluginKind::Network;
        Ok(Some(Plugin { way, name, kind }))
    }

    /// Has a plugin make a network.
    pub(super) fn make_remote(&self, network: &Network) -> Result<(), Error> {
        let Some(plugin) = self.maker(network)? else {
            return Ok(());
        };
        let data = |ipv6: bool| {
            let parts = network.subnets.iter();
            let parts = parts.filter(|part| part.subnet.addr().is_ipv6() == ipv6);
            let with_length = |address: IpAddr, part: &crate::Subnet| {
                IpNet::new_assert(address, part.subnet.prefix_len())
            };
            let parts = parts.map(|part| IpamData {
                address_space: "LocalDefault".to_owned(),
                pool: part.subnet,
                gateway: with_length(part.gateway, part),
                aux_addresses: part
                    .reserved
                    .iter()
                    .map(|(name, address)| (name.clone(), with_length(*address, part)))
                    .collect(),
            });
            parts.collect()
        };
        let body = CreateNetwork {
            network_id: &network.id,
            options: json!({
                "com.docker.network.generic": network.options,
                "com.docker.network.enable_ipv4": network.enable_ipv4,
                "com.docker.network.enable_ipv6": network.enable_ipv6,
                "com.docker.network.internal": network.internal,
            }),
            ipv4_data: data(false),
            ipv6_data: data(true),
        };
        let asked = plugin.ask("NetworkDriver.CreateNetwork", &body);
        asked.map(|Done {}| ())
    }

    /// Has a plugin take a network away.
    pub(super) fn unmake_remote(&self, network: &Network) -> Result<(), Error> {
        let Some(plugin) = self.maker(network)? else {
            return Ok(());
        };
        let network_id = network.id.as_str();
        let asked = plugin.ask("NetworkDriver.DeleteNetwork", &OfNetwork { network_id });
        asked.map(|Done {}| ())
    }

    /// Puts the interface that a plugin gives into a sandbox. On failure the plugin knows nothing of
    /// the endpoint.
    pub(super) fn join_remote(
        &self,
        sandbox: BorrowedFd<'_>,
        draft: &mut Draft,
    ) -> Result<(), Error> {
        draft.endpoint.host_interface.clear();
        let missing = || Error::NoSuchNetwork(draft.endpoint.network_name.clone());
        let network = self.find(&draft.endpoint.network_id).ok_or_else(missing)?;
        let plugin = self.maker(&network)?.ok_or_else(missing)?;
        let made = create_endpoint(&plugin, draft);
        let joined = made
            .and_then(|()| join(&plugin, sandbox, draft))
            .and_then(|joined| self.take_in(sandbox, draft, &plugin, &joined));
        if joined.is_err() {
            self.leave_remote(&draft.endpoint);
        }
        joined
    }

    /// Brings a plugin's interface into the sandbox and sets it up there.
    fn take_in(
        &self,
        sandbox: BorrowedFd<'_>,
        draft: &mut Draft,
        plugin: &Plugin<'_>,
        joined: &Joined,
    ) -> Result<(), Error> {
        let nonsense = |text: String| nonsense(plugin, text);
        draft.take_gateways([
            gateway(plugin, &joined.gateway)?,
            gateway(plugin, &joined.gateway_v6)?,
        ]);
        draft.routes = routes(plugin, joined)?;
        let names = joined.interface_name.as_ref();
        let Some(names) = names.filter(|names| !names.src_name.is_empty()) else {
            return Ok(());
        };
        let wanted = match (names.dst_name.as_str(), names.dst_prefix.as_str()) {
            ("", "") => draft.wanted_name(),
            ("", prefix) => format!("{prefix}%d"),
            (name, _) => name.to_owned(),
        };
        let failed = || Error::kernel(format!("take in interface {}", names.src_name));
        let found = self.route().link(&names.src_name).map_err(failed())?;
        let no_link = || nonsense(format!("its interface {:?} is not there", names.src_name));
        let link = found.ok_or_else(no_link)?;
        let moved = route::move_link(link.index, sandbox, &draft.name);
        self.route().apply(&[moved]).map_err(failed())?;
        draft.endpoint.plugin_link.clone_from(&names.src_name);
        draft.endpoint.interface.clone_from(&draft.name);
        let mac = Some(parse_mac(&draft.endpoint.mac)?).filter(|_| draft.mac_is_asked);
        let arrived = Arrived::Name(draft.name.clone(), wanted);
        let set_up = sandbox::set_up(sandbox, &draft.inside(arrived, mac));
        let failed = Error::io(format!(
            "set up interface {} in the sandbox",
            names.src_name
        ));
        match set_up {
            Ok((name, mac)) => {
                draft.endpoint.interface = name;
                if let Some(mac) = mac {
                    draft.endpoint.mac = show_mac(mac);
                }
                Ok(())
            }
            Err(error) => {
                self.give_link_back(sandbox, &draft.endpoint);
                Err(failed(error))
            }
        }
    }

    /// Gives a plugin its interface back. What fails is told of: the plugin takes away what it finds.
    pub(super) fn give_link_back(&self, sandbox: BorrowedFd<'_>, endpoint: &Endpoint) {
        let (inside, name) = (&endpoint.interface, &endpoint.plugin_link);
        let moved = namespace::current().and_then(|home| {
            namespace::enter(sandbox, || {
                let mut route = Route::open().map_err(std::io::Error::other)?;
                let link = route.link(inside).map_err(std::io::Error::other)?;
                let Some(link) = link else { return Ok(()) };
                let back = route::move_link(link.index, home.as_fd(), name);
                route.apply(&[back]).map_err(std::io::Error::other)
            })
        });
        if let Err(error) = moved {
            tracing::warn!(interface = name, %error, "an interface was not given back");
        }
    }

    /// Tells a plugin that an endpoint has gone. What fails is told of.
    pub(super) fn leave_remote(&self, endpoint: &Endpoint) {
        let Some(network) = self.find(&endpoint.network_id) else {
            return;
        };
        let Ok(Some(plugin)) = self.maker(&network) else {
            return;
        };
        for question in ["NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint"] {
            if let Err(error) = plugin.ask::<Done>(question, &of(endpoint)) {
                let network = &network.name;
                tracing::warn!(network, %error, "a plugin was not told that an endpoint has gone");
            }
        }
    }
}

fn of(endpoint: &Endpoint) -> OfEndpoint<'_> {
    OfEndpoint {
        network_id: &endpoint.network_id,
        endpoint_id: &endpoint.id,
    }
}

fn create_endpoint(plugin: &Plugin<'_>, draft: &mut Draft) -> Result<(), Error> {
    let endpoint = &draft.endpoint;
    let mac = if draft.mac_is_asked {
        endpoint.mac.clone()
    } else {
        String::new()
    };
    let body = CreateEndpoint {
        of: of(endpoint),
        interface: Interface {
            address: endpoint.ipv4.map(|a| a.to_string()).unwrap_or_default(),
            address_v6: endpoint.ipv6.map(|a| a.to_string()).unwrap_or_default(),
            mac,
        },
        options: &endpoint.driver_options,
    };
    let question = "NetworkDriver.CreateEndpoint";
    let made: CreatedEndpoint = plugin.ask(question, &body)?;
    let mac = made.interface.map(|interface| interface.mac);
    if let Some(mac) = mac.filter(|mac| !mac.is_empty() && !draft.mac_is_asked) {
        parse_mac(&mac)?;
        draft.endpoint.mac = mac;
        draft.mac_is_asked = true;
    }
    Ok(())
}

fn join(plugin: &Plugin<'_>, sandbox: BorrowedFd<'_>, draft: &Draft) -> Result<Joined, Error> {
    // Sandboxes have no name on the host: this one holds as long as the question takes.
    let sandbox_key = format!("/proc/{}/fd/{}", std::process::id(), sandbox.as_raw_fd());
    let body = Join {
        of: of(&draft.endpoint),
        sandbox_key,
        options: &draft.endpoint.driver_options,
    };
    plugin.ask("NetworkDriver.Join", &body)
}

fn nonsense(plugin: &Plugin<'_>, text: String) -> Error {
    Error::Plugin {
        plugin: plugin.name.to_owned(),
        question: "NetworkDriver.Join",
        source: text.into(),
    }
}

fn gateway(plugin: &Plugin<'_>, text: &str) -> Result<Option<IpAddr>, Error> {
    let parsed = (!text.is_empty()).then(|| text.parse()).transpose();
    parsed.map_err(|_| nonsense(plugin, format!("its gateway {text:?} is no address")))
}

fn routes(plugin: &Plugin<'_>, joined: &Joined) -> Result<Vec<StaticRoute>, Error> {
    const BY_A_NEIGHBOUR: i64 = 0;
    let route = |told: &plugins::StaticRoute| {
        let to: IpNet = told.destination.parse().ok()?;
        let by = match told.route_type {
            BY_A_NEIGHBOUR => Some(told.next_hop.parse().ok()?),
            _ => None,
        };
        Some(StaticRoute { to, by })
    };
    let all = joined.static_routes.iter().flatten();
    all.map(|told| {
        route(told).ok_or_else(|| nonsense(plugin, format!("its route {told:?} is none")))
    })
    .collect()
}
