//! A container's part in networks: the namespace it starts in, and what is connected to it then
//! and later. Blocks.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
};

use hull_network::{Endpoint, EndpointRequest, PortRequest, Protocol, Published, SandboxOwner};

use crate::{
    container::start::{Connected, network_to_join},
    error::{Attempt, Error, Result},
    model::{EndpointConfig, NetworkMode, PortBinding, PortProtocol, PublishedPort},
    network::{BRIDGE, NONE},
    record::Record,
    services::Services,
};

impl Services {
    /// Makes what a container that starts needs of the network. Fails without a trace.
    pub(crate) fn network_for(&self, record: &Record) -> Result<Connected> {
        match &record.host.network_mode {
            NetworkMode::Host => Ok(Connected::default()),
            NetworkMode::Container(_) => Ok(Connected {
                join: network_to_join(self, record)?,
                user: self.user_namespace_to_join(record)?,
                ..Connected::default()
            }),
            NetworkMode::None | NetworkMode::Bridge | NetworkMode::Named(_) => {
                self.sandbox_with(record)
            }
        }
    }

    /// A namespace of its own, with a place in each network asked for.
    fn sandbox_with(&self, record: &Record) -> Result<Connected> {
        let joined = self.user_namespace_to_join(record)?;
        let owner = match (&joined, self.remap_of(&record.host)) {
            (Some(namespace), _) => SandboxOwner::Given(namespace.as_fd()),
            (None, Some(_)) => SandboxOwner::New,
            (None, None) => SandboxOwner::Host,
        };
        let sandbox = self.networks.kernel.sandbox_of(owner)?;
        let mut connected = Connected::default();
        let filled = self.fill(record, &sandbox, &mut connected);
        if let Err(error) = filled {
            self.networks.release(&connected.endpoints);
            return Err(error);
        }
        let (network, user) = sandbox.into_fds();
        connected.namespace = Some(network);
        connected.user = joined.or(user);
        Ok(connected)
    }

    fn fill(&self, record: &Record, sandbox: &impl AsFd, connected: &mut Connected) -> Result<()> {
        for name in networks_of(record) {
            let request = request(record, &name, record.endpoint_configs.get(&name));
            let endpoint = self
                .networks
                .kernel
                .connect(sandbox.as_fd(), &name, &request)?;
            connected.endpoints.push(endpoint);
        }
        connected.published = self.publish(record, &connected.endpoints, &ports(record))?;
        if connected
            .endpoints
            .iter()
            .any(|e| self.networks.knows_names(e))
        {
            let namespace = sandbox.as_fd().try_clone_to_owned();
            let namespace = namespace.attempt(|| "hold the network namespace".to_owned())?;
            let service = self.name_service(record, &connected.endpoints)?;
            self.networks.kernel.serve_names(namespace, service)?;
        }
        Ok(())
    }

    /// Offers ports on the host, by the endpoint that leads out.
    pub(crate) fn publish(
        &self,
        record: &Record,
        endpoints: &[Endpoint],
        wanted: &[PortRequest],
    ) -> Result<Vec<Published>> {
        let main = endpoints
            .iter()
            .min_by(|a, b| a.route_order().cmp(&b.route_order()));
        let Some(endpoint) = main.filter(|_| !wanted.is_empty()) else {
            return Ok(Vec::new());
        };
        let published = self.networks.kernel.publish(endpoint, wanted);
        published.map_err(|error| programming_failed(record, endpoint, &error))
    }

    /// Puts a running container into a network. Fails without a trace. Gives its place there, and all
    /// of the container's ports.
    pub(crate) fn join_network(
        &self,
        record: &Record,
        network: &str,
        config: &EndpointConfig,
    ) -> Result<(Endpoint, Vec<Published>)> {
        let namespace = self.open_of(record, "ns/net")?;
        let request = request(record, network, Some(config));
        let kernel = &self.networks.kernel;
        let endpoint = kernel.connect(namespace.as_fd(), network, &request)?;
        let mut after = record.clone();
        after.endpoints.push(endpoint.clone());
        after
            .endpoint_configs
            .insert(network.to_owned(), config.clone());
        let joined = self.finish_joining(record, &after, &endpoint, namespace);
        if joined.is_err() {
            let left = self
                .open_of(record, "ns/net")
                .and_then(|namespace| Ok(kernel.detach(namespace.as_fd(), &endpoint)?));
            if let Err(error) = left {
                // Its process has gone, or goes: the link goes with it.
                tracing::debug!(container = record.id.short(), network, %error, "not detached");
                self.networks.release(std::slice::from_ref(&endpoint));
            }
        }
        joined.map(|published| (endpoint, published))
    }

    fn finish_joining(
        &self,
        before: &Record,
        after: &Record,
        endpoint: &Endpoint,
        namespace: OwnedFd,
    ) -> Result<Vec<Published>> {
        let leads = after.endpoints.iter();
        let leads = leads.min_by(|a, b| a.route_order().cmp(&b.route_order()));
        let published = if before.published.is_empty() {
            // Ports that had nowhere to lead to, for want of a network.
            self.publish(after, std::slice::from_ref(endpoint), &ports(after))?
        } else if leads.is_some_and(|main| main.id == endpoint.id) {
            self.move_ports(before, endpoint)?
        } else {
            before.published.clone()
        };
        if self.networks.knows_names(endpoint) {
            let service = self.name_service(after, &after.endpoints)?;
            self.networks.kernel.serve_names(namespace, service)?;
        }
        self.rewrite_network_files(after)?;
        Ok(published)
    }

    /// Ports lead through the network that leads out. Gives all; on failure they are where they were.
    fn move_ports(&self, before: &Record, to: &Endpoint) -> Result<Vec<Published>> {
        let wanted: Vec<_> = before.published.iter().map(as_before).collect();
        let kernel = &self.networks.kernel;
        for old in &before.endpoints {
            let own = before.published.iter();
            let own: Vec<_> = own
                .filter(|port| port.endpoint_id == old.id)
                .cloned()
                .collect();
            if !own.is_empty() {
                kernel.unpublish(old, &own)?;
            }
        }
        match self.publish(before, std::slice::from_ref(to), &wanted) {
            Ok(published) if !published.is_empty() => Ok(published),
            // That network offers none, or the host none on its behalf.
            failed => {
                let back = self.publish(before, &before.endpoints, &wanted)?;
                failed.map(|_| back)
            }
        }
    }

    /// Takes a running container out of a network. Ports that led through it lead through another
    /// of the container's networks then.
    pub(crate) fn leave_network(
        &self,
        record: &Record,
        endpoint: &Endpoint,
    ) -> Result<Vec<Published>> {
        let namespace = self.open_of(record, "ns/net")?;
        self.networks.kernel.detach(namespace.as_fd(), endpoint)?;
        let mut after = record.clone();
        after.endpoints.retain(|other| other.id != endpoint.id);
        let (moving, staying): (Vec<_>, Vec<_>) = after
            .published
            .drain(..)
            .partition(|port| port.endpoint_id == endpoint.id);
        let wanted: Vec<_> = moving.iter().map(as_before).collect();
        let mut published = staying;
        match self.publish(&after, &after.endpoints, &wanted) {
            Ok(moved) => published.extend(moved),
            Err(error) => {
                tracing::error!(container = record.id.short(), %error, "ports are closed now");
            }
        }
        if after.endpoints.iter().any(|e| self.networks.knows_names(e)) {
            // Whom to ask from where depends on the addresses that are left.
            let told = self
                .name_service(&after, &after.endpoints)
                .and_then(|service| Ok(self.networks.kernel.serve_names(namespace, service)?));
            if let Err(error) = told {
                tracing::error!(container = record.id.short(), %error, "cannot serve names");
            }
        }
        self.rewrite_network_files(&after)?;
        Ok(published)
    }
}

/// The networks a container joins when it starts, the one of its mode first.
pub(crate) fn networks_of(record: &Record) -> Vec<String> {
    let main = match &record.host.network_mode {
        NetworkMode::Host | NetworkMode::Container(_) => return Vec::new(),
        // Only who has left it can be in others.
        NetworkMode::None if record.left_main_network => NONE,
        NetworkMode::None => return Vec::new(),
        NetworkMode::Bridge => BRIDGE,
        NetworkMode::Named(name) => name,
    };
    let main_itself = (!record.left_main_network).then_some(main);
    let further = record.endpoint_configs.keys().map(String::as_str);
    // In none there is nothing to be joined.
    let further = further.filter(|name| *name != main && *name != NONE);
    main_itself
        .into_iter()
        .chain(further)
        .map(str::to_owned)
        .collect()
}

/// All names a container answers to on a network: its own, its aliases, its short id, its host's.
pub(crate) fn names_on(record: &Record, aliases: &[String]) -> Vec<String> {
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

fn request(record: &Record, network: &str, config: Option<&EndpointConfig>) -> EndpointRequest {
    let config = config.cloned().unwrap_or_default();
    // The container's own link-layer address is that of its first network.
    let is_main = networks_of(record)
        .first()
        .is_some_and(|main| main == network);
    let own = Some(record.config.mac_address.clone()).filter(|_| is_main);
    let mac = [Some(config.mac_address), own];
    EndpointRequest {
        container_id: record.id.to_string(),
        container_name: record.name.to_string(),
        ipv4: config.ipv4,
        ipv6: config.ipv6,
        mac: mac.into_iter().flatten().find(|mac| !mac.is_empty()),
        names: names_on(record, &config.aliases),
        aliases: config.aliases,
        driver_options: config.driver_options,
        gateway_priority: config.gateway_priority,
        link_local: config.link_local,
    }
}

/// The same port again, on another endpoint.
pub(crate) fn as_before(port: &Published) -> PortRequest {
    PortRequest {
        container_port: port.container_port,
        protocol: port.protocol,
        host_ip: Some(port.host_ip),
        host_ports: Some((port.host_port, port.host_port)),
    }
}

/// Docker's words around a network's failure at start, with the way out.
fn programming_failed(record: &Record, endpoint: &Endpoint, error: &hull_network::Error) -> Error {
    let hint = error
        .hint()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default();
    Error::Internal(format!(
        "failed to set up container networking: driver failed programming external connectivity on \
         endpoint {} ({}): {}{hint}",
        record.name,
        endpoint.id,
        crate::shim::chain(error)
    ))
}

/// The ports a container asks the host to offer.
pub(crate) fn ports(record: &Record) -> Vec<PortRequest> {
    let mut ports = requests(&record.host.port_bindings);
    if record.host.publish_all_ports {
        let open = |port: &&PublishedPort| !record.host.port_bindings.contains_key(port);
        let open = record.config.exposed_ports.iter().filter(open);
        ports.extend(open.map(anywhere));
    }
    ports
}

/// Ports with where the host shall offer them, as the network takes them.
pub(crate) fn requests(bindings: &BTreeMap<PublishedPort, Vec<PortBinding>>) -> Vec<PortRequest> {
    let mut ports = Vec::new();
    for (port, bindings) in bindings {
        let any = anywhere(port);
        if bindings.is_empty() {
            ports.push(any);
        }
        ports.extend(bindings.iter().map(|binding| PortRequest {
            host_ip: binding.address,
            host_ports: binding.ports,
            ..any
        }));
    }
    ports
}

fn anywhere(port: &PublishedPort) -> PortRequest {
    PortRequest {
        container_port: port.number,
        protocol: match port.protocol {
            PortProtocol::Tcp => Protocol::Tcp,
            PortProtocol::Udp => Protocol::Udp,
            PortProtocol::Sctp => Protocol::Sctp,
        },
        host_ip: None,
        host_ports: None,
    }
}
