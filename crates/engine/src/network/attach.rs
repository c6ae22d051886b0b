//! Puts containers into networks and takes them out, running or not.

use std::collections::BTreeMap;

use hull_network::{Endpoint, Network};

use crate::{
    Engine,
    actor::Order,
    error::{Error, Result},
    events::Subject,
    model::{EndpointConfig, NetworkMode},
    network::{BRIDGE, NONE, sandbox},
    record::Record,
    services::Services,
};

impl Engine {
    /// Puts a container into a network; a running one is there on return.
    pub async fn network_connect(
        &self,
        network: &str,
        container: &str,
        config: EndpointConfig,
    ) -> Result<()> {
        let network = Box::new(self.network(network)?);
        let config = Box::new(config);
        let handle = self.find(container)?;
        handle
            .order(|reply| Order::Connect {
                network,
                config,
                reply,
            })
            .await
    }

    /// Takes a container out of a network.
    pub async fn network_disconnect(&self, network: &str, container: &str) -> Result<()> {
        let network = Box::new(self.network(network)?);
        let handle = self.find(container)?;
        handle
            .order(|reply| Order::Disconnect { network, reply })
            .await
    }
}

impl Services {
    /// A container has joined or left a network.
    pub(crate) fn say_attachment(&self, action: &str, endpoint: &Endpoint, driver: &str) {
        let attributes = [
            ("container", endpoint.container_id.as_str()),
            ("name", endpoint.network_name.as_str()),
            ("type", driver),
        ];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let attributes: BTreeMap<_, _> = attributes.into();
        self.events
            .publish(Subject::Network, action, &endpoint.network_id, attributes);
    }

    /// The same for several networks.
    pub(crate) fn say_attachments(&self, action: &str, endpoints: &[Endpoint]) {
        for endpoint in endpoints {
            let network = self.networks.find(&endpoint.network_id);
            let driver = network.as_ref().map_or("bridge", Network::driver_name);
            self.say_attachment(action, endpoint, driver);
        }
    }
}

/// Whether a container may join a network like that.
pub(crate) fn may_join(record: &Record, network: &Network, config: &EndpointConfig) -> Result<()> {
    let refuse = |text: &str| Err(Error::Invalid(text.to_owned()));
    may_change(record, network)?;
    if network.name == BRIDGE {
        if !config.aliases.is_empty() {
            return refuse(
                "network-scoped alias is supported only for containers in user defined networks",
            );
        }
        if config.ipv4.is_some() || config.ipv6.is_some() {
            return refuse("user specified IP address is supported on user defined networks only");
        }
    }
    let is_alone = (record.host.network_mode == NetworkMode::None && !record.left_main_network)
        || record.endpoint_configs.contains_key(NONE);
    let is_elsewhere = !sandbox::networks_of(record).is_empty();
    if is_alone || (network.name == NONE && is_elsewhere) {
        return refuse(
            "container cannot be connected to multiple networks with one of the networks in \
             private (none) mode",
        );
    }
    if record
        .endpoints
        .iter()
        .any(|endpoint| endpoint.network_id == network.id)
    {
        return Err(Error::Forbidden(format!(
            "endpoint with name {} already exists in network {}",
            record.name, network.name
        )));
    }
    Ok(())
}

/// Whether a container's networks can change at all.
pub(crate) fn may_change(record: &Record, network: &Network) -> Result<()> {
    let refuse = |text: &str| Err(Error::Invalid(text.to_owned()));
    match record.host.network_mode {
        NetworkMode::Container(_) => refuse(
            "container sharing network namespace with another container or host cannot be \
             connected to any other network",
        ),
        NetworkMode::Host => refuse(
            "container cannot be disconnected from host network or connected to host network",
        ),
        _ if network.name == "host" => refuse(
            "container cannot be disconnected from host network or connected to host network",
        ),
        _ => Ok(()),
    }
}
