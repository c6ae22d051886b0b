//! A container's owner changes the networks it is in.

use std::{collections::BTreeMap, sync::Arc};

use hull_network::Network;

use super::Actor;
use crate::{
    container::publish::Bindings,
    error::{Error, Result},
    model::{EndpointConfig, NetworkMode},
    network::{NONE, attach, sandbox},
    state::{Refusal, State},
};

impl Actor {
    pub(super) async fn connect(&mut self, network: Network, config: EndpointConfig) -> Result<()> {
        self.networks_may_change()?;
        attach::may_join(&self.record, &network, &config)?;
        let name = network.name.clone();
        // There is nothing to be joined in none.
        if self.record.state.is_running() && name != NONE {
            let (services, record) = (Arc::clone(&self.services), self.record.clone());
            let (network, config) = (name.clone(), config.clone());
            let job = move || services.join_network(&record, &network, &config);
            let (endpoint, published) = self.services.block(job).await??;
            self.record.endpoints.push(endpoint);
            self.record.published = published;
        }
        if self.is_main_network(&network) {
            self.record.left_main_network = false;
        }
        self.record.endpoint_configs.insert(name, config);
        self.networks_changed();
        if let Some(endpoint) = self.record.endpoints.last()
            && endpoint.network_id == network.id
        {
            let driver = network.driver_name();
            self.services.say_attachment("connect", endpoint, driver);
        }
        Ok(())
    }

    pub(super) async fn disconnect(&mut self, network: Network) -> Result<()> {
        self.networks_may_change()?;
        attach::may_change(&self.record, &network)?;
        let is_in_none = (self.is_main_network(&network) && !self.record.left_main_network)
            || self.record.endpoint_configs.contains_key(&network.name);
        if !is_in_none && !sandbox::networks_of(&self.record).contains(&network.name) {
            return Err(Error::Internal(format!(
                "container {} is not connected to network {}",
                self.record.id, network.name
            )));
        }
        let mut endpoints = self.record.endpoints.iter();
        let place = endpoints.position(|endpoint| endpoint.network_id == network.id);
        if let Some(place) = place {
            let endpoint = self.record.endpoints[place].clone();
            let (services, record) = (Arc::clone(&self.services), self.record.clone());
            let gone = endpoint.clone();
            let job = move || services.leave_network(&record, &gone);
            self.record.published = self.services.block(job).await??;
            self.record.endpoints.remove(place);
            let driver = network.driver_name();
            self.services
                .say_attachment("disconnect", &endpoint, driver);
        }
        self.record.left_main_network |= self.is_main_network(&network);
        self.record.endpoint_configs.remove(&network.name);
        self.networks_changed();
        Ok(())
    }

    pub(super) async fn change_ports(&mut self, add: Bindings, remove: Bindings) -> Result<()> {
        self.networks_may_change()?;
        let exposed: Vec<_> = add.keys().copied().collect();
        let (services, record) = (Arc::clone(&self.services), self.record.clone());
        let job = move || services.change_ports(&record, &add, &remove);
        let changed = self.services.block(job).await??;
        self.record.host.port_bindings = changed.bindings;
        self.record.published = changed.published;
        self.record.config.exposed_ports.extend(exposed);
        self.networks_changed();
        self.say("update", BTreeMap::new());
        Ok(())
    }

    fn networks_may_change(&self) -> Result<()> {
        if matches!(self.record.state, State::Removing { .. }) {
            return Err(self.refused(Refusal::Removing));
        }
        Ok(())
    }

    fn is_main_network(&self, network: &Network) -> bool {
        match &self.record.host.network_mode {
            NetworkMode::Bridge => network.name == "bridge",
            NetworkMode::Named(name) => *name == network.name,
            NetworkMode::None => network.name == NONE,
            NetworkMode::Host | NetworkMode::Container(_) => false,
        }
    }

    fn networks_changed(&self) {
        self.save();
        self.services.keep_copy(&self.record);
    }
}
