//! Networks, their records, and a container's part in them.

use std::{
    fs, io,
    net::IpAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hull_network::{Endpoint, EndpointRequest, Network, PortRequest, Protocol, Published, dns};
use serde::{Deserialize, Serialize};

use crate::{
    Engine,
    config::EngineConfig,
    container::start::{Connected, network_to_join},
    error::{Attempt, Error, Result},
    events::Subject,
    model::{EndpointConfig, NetworkMode, PortProtocol},
    record::Record,
    services::Services,
    spec::Files,
    store::{Kind, Store},
};

/// The default network's name.
const BRIDGE: &str = "bridge";

/// Changes of others are looked at together, this long after the first: a firewall is reloaded in
/// many steps.
const HEAL_AFTER: Duration = Duration::from_millis(200);

/// All networks of the daemon, with their records in the state file.
#[derive(Debug)]
pub(crate) struct Networks {
    kernel: hull_network::Networks,
    store: Arc<Store>,
}

impl Networks {
    pub(crate) fn open(config: &EngineConfig, store: Arc<Store>) -> Result<Self> {
        let saved: Vec<Network> = store.all(Kind::Network)?;
        let kernel = hull_network::Networks::open(config.network.clone(), &saved)?;
        for network in kernel.list() {
            if !saved.contains(&network) {
                store.put(Kind::Network, &network.id, &network)?;
            }
        }
        Ok(Self { kernel, store })
    }

    pub(crate) fn find(&self, reference: &str) -> Option<Network> {
        self.kernel.find(reference)
    }

    /// Takes over what running containers have, and removes what nobody owns.
    pub(crate) fn restore(&self, running: &[&Record]) -> Result<()> {
        let mut saved = Vec::new();
        for record in running {
            for endpoint in &record.endpoints {
                let of_this = |port: &&Published| port.endpoint_id == endpoint.id;
                let ports = record.published.iter().filter(of_this).cloned().collect();
                saved.push((endpoint.clone(), ports));
            }
        }
        for problem in self.kernel.restore(saved)? {
            tracing::warn!(problem, "a network could not be taken over fully");
        }
        for stray in self.kernel.reconcile()? {
            tracing::warn!(link = stray.name, "removed a link that no container owns");
        }
        Ok(())
    }

    /// Gives back what a container had.
    pub(crate) fn release(&self, endpoints: &[Endpoint]) {
        for endpoint in endpoints {
            if let Err(error) = self.kernel.disconnect(endpoint) {
                let (network, container) = (&endpoint.network_name, &endpoint.container_name);
                tracing::error!(network, container, %error, "cannot disconnect");
            }
        }
    }
}

impl Engine {
    /// All networks, by name.
    pub fn networks(&self) -> Vec<Network> {
        let mut networks = self.services().networks.kernel.list();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }

    /// A network by its id, its name, or the beginning of its id.
    pub fn network(&self, reference: &str) -> Result<Network> {
        let found = self.services().networks.find(reference);
        found.ok_or_else(|| Error::NoSuchNetwork(reference.to_owned()))
    }

    /// The places of running containers in a network.
    pub fn endpoints_of(&self, network: &Network) -> Vec<Endpoint> {
        let records = self.containers();
        let endpoints = records.iter().flat_map(|record| record.endpoints.iter());
        endpoints
            .filter(|endpoint| endpoint.network_id == network.id)
            .cloned()
            .collect()
    }

    /// Makes a network; what is left open in `wanted` is filled in.
    pub async fn network_create(&self, wanted: Network) -> Result<Network> {
        let services = Arc::clone(self.services());
        let network = self
            .services()
            .block(move || -> Result<Network> {
                let network = services.networks.kernel.create(wanted)?;
                let stored = services
                    .networks
                    .store
                    .put(Kind::Network, &network.id, &network);
                if stored.is_err() {
                    let _ = services.networks.kernel.remove(&network.id);
                }
                stored.map(|()| network)
            })
            .await??;
        self.say_network("create", &network);
        Ok(network)
    }

    /// Takes a network away that no container is in.
    pub async fn network_remove(&self, reference: &str) -> Result<()> {
        let (services, reference) = (Arc::clone(self.services()), reference.to_owned());
        let network = self
            .services()
            .block(move || -> Result<Network> {
                let network = services.networks.kernel.remove(&reference)?;
                services.networks.store.delete(Kind::Network, &network.id)?;
                Ok(network)
            })
            .await??;
        self.say_network("destroy", &network);
        Ok(())
    }

    fn say_network(&self, action: &str, network: &Network) {
        let attributes = [
            ("name", network.name.as_str()),
            ("type", network.driver.as_str()),
        ];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.services()
            .events
            .publish(Subject::Network, action, &network.id, attributes.into());
    }
}

/// Makes again, soon after, what others removed or changed of ours.
pub(crate) async fn keep_whole(services: Arc<Services>) {
    let monitor = services.networks.kernel.monitor_fd().try_clone_to_owned();
    #[expect(
        deprecated,
        reason = "an OwnedFd cannot be closed by others; `register` is unsafe"
    )]
    let watched = monitor.and_then(tokio::io::unix::AsyncFd::new);
    let watched = match watched {
        Ok(watched) => watched,
        Err(error) => {
            tracing::error!(%error, "cannot watch the firewall: a flush will not be noticed");
            return;
        }
    };
    loop {
        match watched.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => return,
        }
        tokio::time::sleep(HEAL_AFTER).await;
        let shared = Arc::clone(&services);
        match services.block(move || shared.networks.kernel.heal()).await {
            Ok(Ok(healed)) if healed.rules || !healed.bridges.is_empty() => {
                tracing::warn!(?healed, "somebody changed our rules or links: made again");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "cannot heal the network"),
            Err(error) => tracing::error!(%error, "cannot heal the network"),
        }
    }
}

// ---- a container's network ----------------------------------------------------------------------

impl Services {
    /// Makes what a container that starts needs of the network. Fails without a trace.
    pub(crate) fn network_for(&self, record: &Record) -> Result<Connected> {
        match &record.host.network_mode {
            NetworkMode::Host => Ok(Connected::default()),
            NetworkMode::Container(_) => Ok(Connected {
                join: network_to_join(self, record)?,
                ..Connected::default()
            }),
            NetworkMode::None => self.sandbox_with(record, &[]),
            NetworkMode::Bridge => self.sandbox_with(record, &[BRIDGE]),
            NetworkMode::Named(name) => self.sandbox_with(record, &[name]),
        }
    }

    /// A namespace of its own, with a place in `main` and in each further network asked for.
    fn sandbox_with(&self, record: &Record, main: &[&str]) -> Result<Connected> {
        let kernel = &self.networks.kernel;
        let sandbox = kernel.sandbox()?;
        let mut connected = Connected::default();
        let further = record.endpoint_configs.keys().map(String::as_str);
        let further = further.filter(|name| !main.contains(name) && !main.is_empty());
        for name in main.iter().copied().chain(further) {
            let request = request(record, record.endpoint_configs.get(name));
            match kernel.connect(sandbox.as_fd(), name, &request) {
                Ok(endpoint) => connected.endpoints.push(endpoint),
                Err(error) => {
                    self.networks.release(&connected.endpoints);
                    return Err(error.into());
                }
            }
        }
        let wanted = ports(record);
        if let Some(endpoint) = connected.endpoints.first().filter(|_| !wanted.is_empty()) {
            match kernel.publish(endpoint, &wanted) {
                Ok(published) => connected.published = published,
                Err(error) => {
                    self.networks.release(&connected.endpoints);
                    return Err(programming_failed(record, endpoint, error));
                }
            }
        }
        connected.namespace = Some(sandbox.into_fd());
        Ok(connected)
    }

    /// Writes `hosts`, `hostname` and `resolv.conf` into the bundle; files that the user changed
    /// since they were made are kept.
    pub(crate) fn write_network_files(
        &self,
        record: &Record,
        connected: &Connected,
    ) -> Result<Files> {
        if let NetworkMode::Container(reference) = &record.host.network_mode {
            // One network, one set of names.
            let owner = self.registry.find(reference)?.record();
            let bundle = self.paths.bundle(&owner.id);
            return Ok(files_in(&bundle));
        }
        let bundle = self.paths.bundle(&record.id);
        let texts = self.texts(record, connected)?;
        let before = Texts::load(&bundle.join(MADE));
        for (name, text, made) in [
            ("hosts", &texts.hosts, &before.hosts),
            ("hostname", &texts.hostname, &before.hostname),
            ("resolv.conf", &texts.resolv_conf, &before.resolv_conf),
        ] {
            let path = bundle.join(name);
            let current = if made.is_empty() {
                None
            } else {
                fs::read_to_string(&path).ok()
            };
            let made = (!made.is_empty()).then_some(made.as_str());
            if let Some(next) = dns::regenerated(current.as_deref(), made, text.clone())
                && current.as_deref() != Some(&next)
            {
                fs::write(&path, next).attempt(|| format!("write {}", path.display()))?;
            }
        }
        if before != texts {
            texts.save(&bundle.join(MADE))?;
        }
        Ok(files_in(&bundle))
    }

    fn texts(&self, record: &Record, connected: &Connected) -> Result<Texts> {
        let own_namespace = connected.namespace.is_some();
        let hostname = &record.config.hostname;
        let resolver = self.resolver(record);
        let host = host_file("/etc/resolv.conf")?;
        let host = match dns::host_resolv_conf_path(&host) {
            "/etc/resolv.conf" => host,
            other => host_file(other)?,
        };
        let ipv6 = connected
            .endpoints
            .iter()
            .any(|endpoint| endpoint.ipv6.is_some());
        let hosts = if own_namespace {
            dns::hosts(&dns::Hosts {
                hostname: hostname.clone(),
                domain_name: record.config.domainname.clone(),
                addresses: connected
                    .endpoints
                    .iter()
                    .flat_map(Endpoint::addresses)
                    .collect(),
                extra: self.extra_hosts(record, connected)?,
                links: self.links(record)?,
                ipv6,
            })
        } else {
            let mut text = host_file("/etc/hosts")?;
            for (name, address) in self.extra_hosts(record, connected)? {
                text.push_str(&format!("{address}\t{name}\n"));
            }
            text
        };
        Ok(Texts {
            hosts,
            hostname: dns::hostname(hostname),
            resolv_conf: dns::resolv_conf(&host, &resolver, own_namespace, ipv6),
        })
    }

    fn resolver(&self, record: &Record) -> dns::ResolverOptions {
        let (host, daemon) = (&record.host, &self.config);
        let or = |own: &Vec<String>, default: &Vec<String>| {
            if own.is_empty() {
                default.clone()
            } else {
                own.clone()
            }
        };
        dns::ResolverOptions {
            servers: if host.dns.is_empty() {
                daemon.dns.clone()
            } else {
                host.dns.clone()
            },
            search: or(&host.dns_search, &daemon.dns_search),
            options: or(&host.dns_options, &daemon.dns_options),
        }
    }

    fn extra_hosts(&self, record: &Record, connected: &Connected) -> Result<Vec<(String, IpAddr)>> {
        let mut gateways = self.config.host_gateway.clone();
        if gateways.is_empty() {
            let bridge = self.networks.find(BRIDGE);
            let subnet = bridge.and_then(|network| network.subnets.first().map(|s| s.gateway));
            gateways.extend(subnet);
        }
        if connected.namespace.is_none() {
            gateways = vec![IpAddr::from([127, 0, 0, 1])];
        }
        dns::extra_hosts(&record.host.extra_hosts, &gateways)
            .map_err(|entry| Error::Invalid(format!("bad format for add-host: \"{entry}\"")))
    }

    /// Linked containers on the default bridge.
    fn links(&self, record: &Record) -> Result<Vec<(IpAddr, Vec<String>)>> {
        let mut links = Vec::new();
        for link in &record.host.links {
            let (reference, alias) = link.split_once(':').unwrap_or((link, link));
            let alias = alias.rsplit('/').next().unwrap_or(alias);
            let target = self
                .registry
                .find(reference.trim_start_matches('/'))?
                .record();
            let address = target.endpoints.iter().flat_map(Endpoint::addresses).next();
            let Some(address) = address else {
                return Err(Error::State(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    target.name, record.name
                )));
            };
            let names = [alias, &target.config.hostname, target.name.as_str()];
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            names.dedup();
            links.push((address, names));
        }
        Ok(links)
    }
}

/// Docker's words around a network's failure at start, with the way out.
fn programming_failed(record: &Record, endpoint: &Endpoint, error: hull_network::Error) -> Error {
    let hint = error
        .hint()
        .map(|hint| format!(" ({hint})"))
        .unwrap_or_default();
    Error::Internal(format!(
        "failed to set up container networking: driver failed programming external connectivity on \
         endpoint {} ({}): {}{hint}",
        record.name,
        endpoint.id,
        crate::shim::chain(&error)
    ))
}

fn request(record: &Record, config: Option<&EndpointConfig>) -> EndpointRequest {
    let config = config.cloned().unwrap_or_default();
    let mac = [config.mac_address, record.config.mac_address.clone()];
    EndpointRequest {
        container_id: record.id.to_string(),
        container_name: record.name.to_string(),
        ipv4: config.ipv4,
        ipv6: config.ipv6,
        mac: mac.into_iter().find(|mac| !mac.is_empty()),
        aliases: config.aliases,
        driver_options: config.driver_options,
        gateway_priority: config.gateway_priority,
    }
}

/// The ports a container asks the host to offer.
fn ports(record: &Record) -> Vec<PortRequest> {
    let protocol = |protocol| match protocol {
        PortProtocol::Tcp => Protocol::Tcp,
        PortProtocol::Udp => Protocol::Udp,
        PortProtocol::Sctp => Protocol::Sctp,
    };
    let mut ports = Vec::new();
    for (port, bindings) in &record.host.port_bindings {
        let mut request = PortRequest {
            container_port: port.number,
            protocol: protocol(port.protocol),
            host_ip: None,
            host_ports: None,
        };
        if bindings.is_empty() {
            ports.push(request);
        }
        for binding in bindings {
            request.host_ip = binding.address;
            request.host_ports = binding.ports;
            ports.push(request);
        }
    }
    if record.host.publish_all_ports {
        let open =
            |port: &&crate::model::PublishedPort| !record.host.port_bindings.contains_key(port);
        ports.extend(
            record
                .config
                .exposed_ports
                .iter()
                .filter(open)
                .map(|port| PortRequest {
                    container_port: port.number,
                    protocol: protocol(port.protocol),
                    host_ip: None,
                    host_ports: None,
                }),
        );
    }
    ports
}

// ---- the files by which a container finds names --------------------------------------------------

/// The name of the file that remembers what was made, to tell it from what the user changed.
const MADE: &str = "names.json";

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    hosts: String,
    hostname: String,
    resolv_conf: String,
}

impl Texts {
    fn load(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::Internal(format!("encode {}: {error}", path.display())))?;
        fs::write(path, text).attempt(|| format!("write {}", path.display()))
    }
}

fn files_in(bundle: &Path) -> Files {
    let file = |name: &str| -> Option<PathBuf> { Some(bundle.join(name)) };
    Files {
        hosts: file("hosts"),
        hostname: file("hostname"),
        resolv_conf: file("resolv.conf"),
    }
}

/// A file of the host; one that is not there is empty.
fn host_file(path: &str) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(Error::Host {
            attempt: format!("read {path}"),
            source,
        }),
    }
}
