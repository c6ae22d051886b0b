//! Puts a sandbox into a network, and takes it out again.

use std::{
    net::IpAddr,
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use hull_sys::{
    netlink::route::{self, Child, ChildKind, Link, Mac, Veth},
    nftables::{Family, TableName, Transaction},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Networks;
use crate::{
    Driver, Endpoint, EndpointRequest, Error, NameService,
    bridge::{mac_for, random_id},
    firewall::guard,
    options::{self, GatewayMode},
    reaper::Reaper,
    sandbox::{self, Arrived, Inside, StaticRoute},
    state::{Attached, Connected},
};

/// `hv` and 12 hex digits of the endpoint's id: interface names have at most 15 bytes.
pub(crate) const PREFIX: &str = "hv";
const NAME_DIGITS: usize = 12;

/// An endpoint's option: its interface's name inside.
const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";

/// How long an address or a bridge may be on its way back: longer than links take to go.
pub(super) const LEAVING_MAX: Duration = Duration::from_secs(3);
const LEAVING_PAUSE: Duration = Duration::from_millis(10);

impl Networks {
    /// Gives a sandbox an interface and addresses in a network (an id or a name).
    ///
    /// On failure nothing is left on the host.
    pub fn connect(
        &self,
        sandbox: BorrowedFd<'_>,
        network: &str,
        request: &EndpointRequest,
    ) -> Result<Endpoint, Error> {
        let (request, leases) = self.lease(network, request)?;
        let drafted = self.draft_in_turn(network, &request);
        let mut draft = drafted.inspect_err(|_| self.give_back(&leases))?;
        let made = self
            .guard(&draft.endpoint)
            .and_then(|()| self.link(sandbox, &mut draft));
        let mut state = self.state();
        state.in_the_making.remove(&draft.name);
        if let Err(error) = made {
            drop(state);
            self.unguard(&draft.endpoint);
            self.give_back(&leases);
            // The reaper removes what there is of the link, and frees the addresses after that.
            self.reaper.leave(draft.endpoint);
            return Err(error);
        }
        let connected = Connected {
            endpoint: draft.endpoint.clone(),
            ports: Vec::new(),
        };
        state.insert(connected);
        drop(state);
        self.names.announce(&draft.endpoint);
        self.names.refresh(&draft.endpoint.container_id);
        Ok(draft.endpoint)
    }

    /// Takes an endpoint away whose container has ended. The link dies with the sandbox, or is
    /// removed in the background; the addresses are free after that. Published ports close now.
    pub fn disconnect(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.withdraw(endpoint, Reaper::leave)
    }

    fn withdraw(
        &self,
        endpoint: &Endpoint,
        take_over: impl FnOnce(&Reaper, Endpoint),
    ) -> Result<(), Error> {
        let Some(connected) = self.state().remove(&endpoint.id) else {
            return Ok(());
        };
        let published: Vec<_> = connected
            .ports
            .iter()
            .map(|port| port.published.clone())
            .collect();
        self.names.withdraw(&connected.endpoint);
        let result = self.remove_rules(&connected.endpoint, &published);
        // Sockets close only after the rules have gone: until then the port leads somewhere.
        drop(connected.ports);
        self.unguard(&connected.endpoint);
        self.leave_remote(&connected.endpoint);
        self.give_back(&self.leases_of(&connected.endpoint));
        take_over(&self.reaper, connected.endpoint);
        result
    }

    /// Has an endpoint's frames looked at, if its network wants that: before there are any.
    fn guard(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let Some(guarded) = self.guarded(endpoint) else {
            return Ok(());
        };
        let mut transaction = Transaction::default();
        let table = TableName::new(Family::Bridge, &self.config.table());
        for (set, element) in guard::elements(&guarded) {
            transaction.add_elements(&table, set, &[element]);
        }
        let result = self.firewall().commit(transaction);
        match result {
            // Somebody removed the table: all of it is made again, with this endpoint.
            Err(error) if error.is_not_found() => self.apply_rules(),
            result => result.map_err(Error::kernel(format!(
                "watch what containers send on network {}",
                endpoint.network_name
            ))),
        }
    }

    /// Nobody sends there any more.
    fn unguard(&self, endpoint: &Endpoint) {
        let Some(guarded) = self.guarded(endpoint) else {
            return;
        };
        let mut transaction = Transaction::default();
        let table = TableName::new(Family::Bridge, &self.config.table());
        for (set, element) in guard::elements(&guarded) {
            transaction.remove_elements(&table, set, &[element]);
        }
        let result = self.firewall().commit(transaction);
        let result = match result {
            // Some are not there. The others go when everything is made again.
            Err(error) if error.is_not_found() => self.apply_rules(),
            result => result.map_err(Error::kernel("forget a sender")),
        };
        if let Err(error) = result {
            tracing::warn!(link = endpoint.host_interface, %error, "a sender stays known");
        }
    }

    fn guarded(&self, endpoint: &Endpoint) -> Option<guard::Guarded> {
        let state = self.state();
        state.guarded(endpoint).filter(|_| self.config.firewall)
    }

    /// Takes a running container's endpoint away: on return nothing passes its link, whose name in
    /// the sandbox is free, and another of its networks gives the default route. The kernel takes its
    /// time to delete a link, so nobody waits for that.
    pub fn detach(&self, sandbox: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), Error> {
        let link = &endpoint.host_interface;
        self.state().leaving_links.insert(link.clone());
        let result = self.take_away(sandbox, endpoint);
        self.state().leaving_links.remove(link);
        result
    }

    fn take_away(&self, sandbox: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), Error> {
        if !endpoint.plugin_link.is_empty() {
            self.give_link_back(sandbox, endpoint);
        } else if endpoint.host_interface.is_empty() {
            let failed = Error::io(format!("remove interface {}", endpoint.interface));
            sandbox::remove_link(sandbox, &endpoint.interface).map_err(failed)?;
        }
        let link = self.host_link(endpoint)?;
        if let Some(link) = link.filter(|link| link.index == endpoint.host_index) {
            let change = match self.reaper.is_behind() {
                true => route::delete_link(link.index),
                false => route::set_down(link.index),
            };
            match self.route().apply(&[change]) {
                Err(error) if !error.is_not_found() => {
                    return Err(Error::kernel(format!("take link {} down", link.name))(
                        error,
                    ));
                }
                _ => {}
            }
            sandbox::retire_link(sandbox, &endpoint.interface).map_err(Error::io(format!(
                "take interface {} down",
                endpoint.interface
            )))?;
        }
        self.withdraw(endpoint, Reaper::remove)?;
        let routes = self.default_routes(&endpoint.container_id);
        sandbox::set_default_routes(sandbox, &routes)
            .map_err(Error::io("set the default route in the sandbox"))
    }

    /// An endpoint's link on the host, if it has one.
    fn host_link(&self, endpoint: &Endpoint) -> Result<Option<Link>, Error> {
        let name = &endpoint.host_interface;
        if name.is_empty() {
            return Ok(None);
        }
        let failed = Error::kernel(format!("remove link {name}"));
        self.route().link(name).map_err(failed)
    }

    /// The interfaces and gateways that lead out of a container.
    fn default_routes(&self, container_id: &str) -> Vec<(String, IpAddr)> {
        let state = self.state();
        let own = state.endpoints_of(container_id);
        [false, true]
            .into_iter()
            .filter_map(|ipv6| {
                own.iter()
                    .find_map(|e| Some((e.interface.clone(), e.gateway_of(ipv6)?)))
            })
            .collect()
    }

    /// A container has another name, and endpoints other names.
    pub fn rename(&self, container_id: &str, name: &str, names: impl Fn(&Endpoint) -> Vec<String>) {
        let renamed = self.state().rename(container_id, name, names);
        for endpoint in renamed {
            self.names.announce(&endpoint);
        }
    }

    /// Has a container's questions for names answered at 127.0.0.11, if it is in a network that
    /// knows names. To be called before its first process runs, or when it joins the first such.
    pub fn serve_names(&self, sandbox: OwnedFd, service: NameService) -> Result<(), Error> {
        self.names.serve(service, sandbox)
    }

    /// After [`restore`](Self::restore): the same for all containers that kept running.
    pub fn restore_names(&self, all: Vec<(NameService, OwnedFd)>) -> Result<(), Error> {
        self.names.take_up(all)
    }

    /// Waits for an address that is asked for while its last owner's link is still going.
    fn draft_in_turn(&self, network: &str, request: &EndpointRequest) -> Result<Draft, Error> {
        let deadline = Instant::now() + LEAVING_MAX;
        loop {
            match self.draft(network, request) {
                Err(Error::AddressTaken(address))
                    if !self.has_endpoint_at(network, address) && Instant::now() < deadline =>
                {
                    std::thread::sleep(LEAVING_PAUSE);
                }
                // All are taken, and some are on their way back.
                Err(Error::NoFreeAddress(_))
                    if self.reaper.returns_addresses() && Instant::now() < deadline =>
                {
                    std::thread::sleep(LEAVING_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    fn has_endpoint_at(&self, network: &str, address: IpAddr) -> bool {
        let state = self.state();
        let id = state.network(network).map(|found| found.record.id.clone());
        state.endpoints().any(|endpoint| {
            Some(&endpoint.network_id) == id.as_ref()
                && endpoint.addresses().any(|own| own == address)
        })
    }

    /// Decides everything about an endpoint, and takes its addresses.
    fn draft(&self, network: &str, request: &EndpointRequest) -> Result<Draft, Error> {
        let given = request.mac.as_deref().map(parse_mac).transpose()?;
        let asked = request.driver_options.get(INTERFACE_NAME);
        let is_name = |name: &&String| options::is_interface(&name.replacen("%d", "0", 1));
        if let Some(name) = asked.filter(|name| !is_name(name)) {
            return Err(Error::Invalid {
                what: "interface name",
                value: name.chars().take(options::NAME_SHOWN).collect(),
            });
        }
        let mut guard = self.state();
        let state = &mut *guard;
        let missing = || Error::NoSuchNetwork(network.to_owned());
        let network_id = state
            .network(network)
            .ok_or_else(missing)?
            .record
            .id
            .clone();
        let attached = state.networks.get_mut(&network_id).ok_or_else(missing)?;
        let way = way_into(attached)?;
        let endpoint = draft_endpoint(attached, request, given)?;
        let mut draft = Draft {
            name: endpoint.host_interface.clone(),
            mac_is_asked: given.is_some(),
            routes: Vec::new(),
            way,
            mtu: attached.record.mtu(),
            isolated: !attached.record.icc(),
            interface_prefix: attached.record.interface_prefix().to_owned(),
            gateways: Vec::new(),
            endpoint,
        };
        let own = state.endpoints_of(&request.container_id);
        draft.gateways = [false, true]
            .into_iter()
            .filter_map(|ipv6| {
                let comes_first = own
                    .iter()
                    .filter(|other| other.gateway_of(ipv6).is_some())
                    .all(|other| draft.endpoint.route_order() < other.route_order());
                draft.endpoint.gateway_of(ipv6).filter(|_| comes_first)
            })
            .collect();
        state
            .in_the_making
            .insert(draft.name.clone(), draft.endpoint.clone());
        Ok(draft)
    }

    fn link(&self, sandbox: BorrowedFd<'_>, draft: &mut Draft) -> Result<(), Error> {
        match draft.way.clone() {
            Way::Bridge { name, index } => self.link_to_bridge(sandbox, draft, (&name, index)),
            Way::Shared { parent, kind } => self.share_link(sandbox, draft, &parent, kind),
            Way::Plugin => self.join_remote(sandbox, draft),
        }
    }

    /// Makes an interface in the sandbox on a link of the host's.
    fn share_link(
        &self,
        sandbox: BorrowedFd<'_>,
        draft: &mut Draft,
        parent: &str,
        kind: ChildKind,
    ) -> Result<(), Error> {
        draft.endpoint.host_interface.clear();
        let (network, what) = (
            draft.endpoint.network_name.clone(),
            draft.endpoint.interface.clone(),
        );
        let failed = || Error::kernel(format!("connect to network {network}"));
        // It may not have been possible when the daemon started.
        if let Some(record) = self.find(&draft.endpoint.network_id) {
            self.ensure_parent(&record)?;
        }
        let found = self.route().link(parent).map_err(failed())?;
        let found = found.ok_or_else(|| Error::Invalid {
            what: "parent: the host has no such interface",
            value: parent.to_owned(),
        })?;
        let mac = parse_mac(&draft.endpoint.mac)?;
        let mac = Some(mac).filter(|_| matches!(kind, ChildKind::Macvlan(_)));
        let child = Child {
            name: &draft.name,
            parent: found.index,
            kind,
            namespace: sandbox,
            mac,
            mtu: draft.mtu,
        };
        match self.route().apply(&[route::create_child(&child)]) {
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
                let what = "endpoints: this kernel has no such interfaces";
                return Err(Error::Unsupported { network, what });
            }
            made => made.map_err(failed())?,
        }
        let arrived = Arrived::Name(draft.name.clone(), draft.wanted_name());
        let set_up = sandbox::set_up(sandbox, &draft.inside(arrived, mac));
        let (interface, mac) = set_up.map_err(|error| {
            // Half made, it would stay as long as the container.
            let _ = sandbox::remove_link(sandbox, &draft.name);
            Error::io(format!("set up interface {what} in the sandbox"))(error)
        })?;
        draft.endpoint.interface = interface;
        if let Some(mac) = mac {
            draft.endpoint.mac = show_mac(mac);
        }
        Ok(())
    }

    /// Makes a pair of interfaces: one send on the host's side, one inside.
    fn link_to_bridge(
        &self,
        sandbox: BorrowedFd<'_>,
        draft: &mut Draft,
        (bridge_name, bridge): (&str, u32),
    ) -> Result<(), Error> {
        let name = draft.endpoint.host_interface.clone();
        let mac = parse_mac(&draft.endpoint.mac)?;
        let peer_name = draft.wanted_name();
        let veth = Veth {
            name: &name,
            master: bridge,
            peer_name: &peer_name,
            peer_mac: Some(mac),
            peer_namespace: sandbox,
            mtu: draft.mtu,
        };
        let messages = [
            route::create_veth(&veth),
            route::set_bridge_port(&name, true, draft.isolated, draft.mtu),
            route::get_link(&name),
        ];
        let failed = || {
            Error::kernel(format!(
                "connect to network {}",
                draft.endpoint.network_name
            ))
        };
        let made = self.route().apply_and_get(&messages);
        let links = match made {
            Err(error) if error.is_already_there() && !peer_name.contains('%') => {
                return Err(Error::Invalid {
                    what: "interface name",
                    value: format!("{peer_name}: the container has an interface of that name"),
                });
            }
            made => made.map_err(failed())?,
        };
        let vanished = || Error::io("find the new link")(std::io::ErrorKind::NotFound.into());
        let link = links.into_iter().next().ok_or_else(vanished)?;
        draft.endpoint.host_index = link.index;
        let arrived = Arrived::Index(link.peer.ok_or_else(vanished)?);
        let inside = draft.inside(arrived, Some(mac));
        let set_up = sandbox::set_up(sandbox, &inside);
        let failed = Error::io(format!(
            "set up the interface in network {} in the sandbox",
            draft.endpoint.network_name
        ));
        draft.endpoint.interface = set_up.map_err(failed)?.0;
        self.wait_until_running(&name, bridge_name)?;
        // Not heard, it is found out by the neighbours in their own time.
        if let Err(error) = sandbox::announce(sandbox, &draft.endpoint.interface, mac) {
            tracing::debug!(link = name, %error, "a new neighbour is not announced");
        }
        Ok(())
    }

    /// Waits until the bridge passes the new link's packets on. Its first ones would be lost before
    /// that, and a lost question for a neighbour's address costs the container a whole second.
    fn wait_until_running(&self, link: &str, bridge: &str) -> Result<(), Error> {
        const ATTEMPTS: u32 = 50;
        const PAUSE: Duration = Duration::from_millis(1);
        for _ in 0..ATTEMPTS {
            // The port's state decides the bridge's: in this order.
            let messages = [route::get_link(link), route::get_link(bridge)];
            let links = self.route().apply_and_get(&messages);
            let links = links.map_err(Error::kernel(format!("bring link {link} up")))?;
            if links.iter().all(|link| link.is_running) {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        // Late rather than never: packets pass some time.
        Ok(())
    }
}

/// An endpoint that is decided and not yet made.
pub(super) struct Draft {
    pub(super) endpoint: Endpoint,
    /// What its interface is called while it is made.
    pub(super) name: String,
    /// Its link-layer address is not ours to choose.
    pub(super) mac_is_asked: bool,
    /// Routes besides the default ones.
    pub(super) routes: Vec<StaticRoute>,
    way: Way,
    mtu: u32,
    isolated: bool,
    interface_prefix: String,
    /// The default routes it gives.
    gateways: Vec<IpAddr>,
}

/// How an endpoint gets into its network.
#[derive(Debug, Clone)]
enum Way {
    /// By a bridge of the host.
    Bridge { name: String, index: u32 },
    /// On a link of the host.
    Shared { parent: String, kind: ChildKind },
    /// As its plugin has it.
    Plugin,
}

fn way_into(network: &Attached) -> Result<Way, Error> {
    let unsupported = |what| Error::Unsupported {
        network: network.record.name.clone(),
        what,
    };
    if let (Some(kind), Some(parent)) = (network.record.child_kind(), network.record.parent()) {
        let parent = parent.to_owned();
        return Ok(Way::Shared { parent, kind });
    }
    if network.record.driver == Driver::Remote {
        return Ok(Way::Plugin);
    }
    match network.record.bridge() {
        None => Err(unsupported("endpoints")),
        Some(_) if network.bridge_index == 0 => {
            Err(unsupported("endpoints while its bridge is missing"))
        }
        Some(name) => Ok(Way::Bridge {
            name: name.to_owned(),
            index: network.bridge_index,
        }),
    }
}

/// Takes addresses for an endpoint. On failure none is taken.
fn draft_endpoint(
    network: &mut Attached,
    request: &EndpointRequest,
    mac: Option<Mac>,
) -> Result<Endpoint, Error> {
    let id = random_id()?;
    let (v4, v6) = (network.record.enable_ipv4, network.record.enable_ipv6);
    let ipv4 = v4
        .then(|| network.take(request.ipv4.map(IpAddr::V4), false))
        .transpose()?;
    let ipv6 = v6
        .then(|| network.take(request.ipv6.map(IpAddr::V6), true))
        .transpose();
    let ipv6 = ipv6.inspect_err(|_| {
        ipv4.into_iter()
            .for_each(|address| network.release(address.addr()));
    })?;
    let mac = mac.unwrap_or_else(|| mac_for(&id, ipv4.map(|net| net.addr())));
    let gateway = |ipv6| {
        let leads_out =
            !network.record.internal && network.record.gateway_mode(ipv6) != GatewayMode::Isolated;
        network.gateway(ipv6).filter(|_| leads_out)
    };
    Ok(Endpoint {
        host_interface: format!("{PREFIX}{}", &id[..NAME_DIGITS]),
        id,
        network_id: network.record.id.clone(),
        network_name: network.record.name.clone(),
        container_id: request.container_id.clone(),
        container_name: request.container_name.clone(),
        ipv4: ipv4.and_then(as_v4),
        gateway: gateway(false).filter(|_| v4).and_then(only_v4),
        ipv6: ipv6.and_then(as_v6),
        gateway_v6: gateway(true).filter(|_| v6).and_then(only_v6),
        mac: show_mac(mac),
        interface: String::new(),
        host_index: 0,
        aliases: request.aliases.clone(),
        names: request.names.clone(),
        driver_options: request.driver_options.clone(),
        gateway_priority: request.gateway_priority,
        link_local: request.link_local.clone(),
        plugin_link: String::new(),
    })
}

impl Draft {
    /// Takes other gateways than those of its subnets, or none.
    pub(super) fn take_gateways(&mut self, given: [Option<IpAddr>; 2]) {
        self.endpoint.gateway = given[0].and_then(only_v4);
        self.endpoint.gateway_v6 = given[1].and_then(only_v6);
        let families = self.gateways.iter().map(IpAddr::is_ipv6);
        let families = families.filter_map(|ipv6| self.endpoint.gateway_of(ipv6));
        self.gateways = families.collect();
    }

    /// The interface's name inside: the one asked for, or the first free one.
    pub(super) fn wanted_name(&self) -> String {
        let options = &self.endpoint.driver_options;
        let asked = options.get(INTERFACE_NAME).cloned();
        asked.unwrap_or_else(|| format!("{}%d", self.interface_prefix))
    }

    pub(super) fn inside(&self, link: Arrived, mac: Option<Mac>) -> Inside {
        let endpoint = &self.endpoint;
        let v4 = endpoint
            .ipv4
            .map(|net| (IpAddr::V4(net.addr()), net.prefix_len()));
        let v6 = endpoint
            .ipv6
            .map(|net| (IpAddr::V6(net.addr()), net.prefix_len()));
        let link_local = endpoint.link_local.iter().map(|address| {
            let length = if address.is_ipv4() { 16 } else { 64 };
            (*address, length)
        });
        Inside {
            link,
            mac,
            addresses: v4.into_iter().chain(v6).chain(link_local).collect(),
            gateways: self.gateways.clone(),
            routes: self.routes.clone(),
            sysctls: endpoint.sysctls(),
        }
    }
}

pub(crate) fn parse_mac(text: &str) -> Result<Mac, Error> {
    let invalid = || Error::Invalid {
        what: "MAC address",
        value: text.to_owned(),
    };
    let parts: Vec<u8> = text
        .split([':', '-'])
        .map(|part| u8::from_str_radix(part, 16).map_err(|_| invalid()))
        .collect::<Result<_, _>>()?;
    parts.try_into().map_err(|_| invalid())
}

pub(super) fn show_mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn as_v4(net: IpNet) -> Option<Ipv4Net> {
    if let IpNet::V4(net) = net {
        Some(net)
    } else {
        None
    }
}

fn as_v6(net: IpNet) -> Option<Ipv6Net> {
    if let IpNet::V6(net) = net {
        Some(net)
    } else {
        None
    }
}

fn only_v4(address: IpAddr) -> Option<std::net::Ipv4Addr> {
    if let IpAddr::V4(address) = address {
        Some(address)
    } else {
        None
    }
}

fn only_v6(address: IpAddr) -> Option<std::net::Ipv6Addr> {
    if let IpAddr::V6(address) = address {
        Some(address)
    } else {
        None
    }
}
