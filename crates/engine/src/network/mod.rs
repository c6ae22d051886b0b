//! Networks and their records. [`sandbox`] is a container's part in them, [`names`] how it finds
//! others by name, [`attach`] how it joins and leaves while it is there.

pub(crate) mod attach;
mod names;
mod plugins;
pub(crate) mod sandbox;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use hull_network::{Endpoint, Healed, Network, Published, SubnetUse};

use crate::{
    Engine,
    config::EngineConfig,
    error::{Error, Result},
    events::Subject,
    record::Record,
    services::Services,
    store::{Kind, Store},
};

/// The default network's name.
const BRIDGE: &str = "bridge";

/// The network of those that are in none.
pub(crate) const NONE: &str = "none";

/// Changes of others are looked at together, this long after the first: a firewall is reloaded in
/// many steps.
const HEAL_AFTER: Duration = Duration::from_millis(200);

/// What could not be healed is tried again after this.
const HEAL_AGAIN: Duration = Duration::from_secs(5);

/// All networks of the daemon, with their records in the state file.
#[derive(Debug)]
pub(crate) struct Networks {
    pub(crate) kernel: hull_network::Networks,
    store: Arc<Store>,
}

/// What our tables of rules were called last.
#[derive(Serialize, Deserialize)]
struct Tables(String);

/// The name goes by that of the default bridge, which the daemon's options may have changed.
fn forget_old_tables(kernel: &hull_network::Networks, store: &Store) -> Result<()> {
    let now = kernel.table();
    let before = store.get::<Tables>(Kind::Setting, "tables")?;
    match before {
        Some(Tables(before)) if before == now => return Ok(()),
        Some(Tables(before)) => kernel.remove_tables(&before)?,
        None => {}
    }
    store.put(Kind::Setting, "tables", &Tables(now))
}

impl Networks {
    pub(crate) fn open(config: &EngineConfig, store: Arc<Store>) -> Result<Self> {
        let saved: Vec<Network> = store.all(Kind::Network)?;
        let way = plugins::Way::of(config);
        let kernel = hull_network::Networks::open_with(config.network.clone(), Some(way), &saved)?;
        for network in kernel.list() {
            if !saved.contains(&network) {
                store.put(Kind::Network, &network.id, &network)?;
            }
        }
        forget_old_tables(&kernel, &store)?;
        Ok(Self { kernel, store })
    }

    pub(crate) fn find(&self, reference: &str) -> Option<Network> {
        self.kernel.find(reference)
    }

    /// Whether names are answered in an endpoint's network.
    pub(crate) fn knows_names(&self, endpoint: &Endpoint) -> bool {
        self.find(&endpoint.network_id)
            .is_some_and(|network| !network.is_predefined())
    }

    /// A container has another name.
    pub(crate) fn rename(&self, record: &Record) {
        self.kernel
            .rename(record.id.as_str(), &record.name.to_string(), |endpoint| {
                sandbox::names_on(record, &endpoint.aliases)
            });
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
        for warning in self.kernel.warnings().unwrap_or_default() {
            tracing::warn!(warning, "containers may not reach the network");
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

    /// How full a network is, for each of its subnets.
    pub fn network_usage(&self, network: &Network) -> Vec<SubnetUse> {
        self.services().networks.kernel.usage(&network.id)
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
                let networks = &services.networks;
                let missing = || Error::NoSuchNetwork(reference.clone());
                let network = networks.find(&reference).ok_or_else(missing)?;
                let removed = networks.kernel.remove(&network.id);
                // What has gone must not come back with the next start, whatever it left.
                if networks.find(&network.id).is_none() {
                    networks.store.delete(Kind::Network, &network.id)?;
                }
                Ok(removed?)
            })
            .await??;
        self.say_network("destroy", &network);
        Ok(())
    }

    fn say_network(&self, action: &str, network: &Network) {
        let attributes = [
            ("name", network.name.as_str()),
            ("type", network.driver_name()),
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
    let mut is_due = false;
    loop {
        let patience = if is_due { HEAL_AGAIN } else { Duration::MAX };
        match tokio::time::timeout(patience, watched.readable()).await {
            Ok(Ok(mut ready)) => ready.clear_ready(),
            Ok(Err(_)) => return,
            Err(_) => {}
        }
        tokio::time::sleep(HEAL_AFTER).await;
        let shared = Arc::clone(&services);
        let healed = services.block(move || shared.networks.kernel.heal()).await;
        is_due = !matches!(healed, Ok(Ok(_)));
        match healed {
            Ok(Ok(healed)) if healed != Healed::default() => {
                tracing::warn!(?healed, "somebody changed our rules or links: made again");
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "cannot heal the network"),
            Err(error) => tracing::error!(%error, "cannot heal the network"),
        }
    }
}
