//! What stands in the way of bringing a project up, told before anything is pulled, built or made.

use std::collections::BTreeSet;

use hull_api::filters::Filters;

use super::{ApplyError, Engine, Named, Result};
use crate::error::LoadError;
use crate::model::{Network, Service, Volume};
use crate::plan::{Plan, Step, Wishes, container, files};

impl Engine<'_> {
    /// Refuses what cannot be brought about in any case: what Hull has not, what others were to make and
    /// have not, and files that are not there.
    ///
    /// # Errors
    /// The first of these, with its place.
    pub async fn check_first(&self, wishes: &Wishes) -> Result<()> {
        for service in self.project.services.values() {
            container::refuse_unavailable(self.project, service)?;
        }
        self.check_external().await?;
        let mut services = self.project.services.values();
        if services.all(|service| self.refuse_missing(service).is_ok()) {
            return Ok(());
        }
        // A container that stays as it is needs them no more.
        let (plan, _) = self.difference(wishes).await?;
        self.lacking(&plan).into_iter().next().map_or(Ok(()), Err)
    }

    /// Secrets and configs that are not there, of services of which a container is to be made.
    pub fn lacking(&self, plan: &Plan) -> Vec<ApplyError> {
        let is_made = |service: &&Service| {
            let steps = plan.services.get(&service.name);
            steps.is_some_and(|steps| steps.iter().any(Step::makes))
        };
        let services = self.project.services.values().filter(is_made);
        let refused = services.map(|service| self.refuse_missing(service));
        refused.filter_map(Result::err).collect()
    }

    /// Refuses external networks and volumes that are not there.
    async fn check_external(&self) -> Result<()> {
        let networks = self.project.networks.iter();
        let networks: Vec<_> = networks.filter(|(_, one)| one.external).collect();
        if !networks.is_empty() {
            let there = self.client.networks(&Filters::default()).await;
            let there = there.named("list", "networks")?;
            let there: BTreeSet<String> = there.into_iter().map(|one| one.name).collect();
            let missing = networks
                .into_iter()
                .find(|(_, one)| !there.contains(&one.name));
            if let Some((key, network)) = missing {
                return Err(missing_network(key, network));
            }
        }
        for (key, volume) in self.project.volumes.iter().filter(|(_, one)| one.external) {
            match self.client.volume(&volume.name).await {
                Err(error) if error.is_not_found() => return Err(missing_volume(key, volume)),
                found => found.named("look at the volume", &volume.name)?,
            };
        }
        Ok(())
    }

    /// Refuses a service whose secrets and configs are not there.
    pub(super) fn refuse_missing(&self, service: &Service) -> Result<()> {
        // Another machine's daemon has the files of its own.
        if self.client.host().starts_with("unix://") {
            files::check_objects(self.project, service)?;
        }
        self.check_injected(service)
    }
}

/// A network that somebody else was to make.
pub(super) fn missing_network(key: &str, network: &Network) -> ApplyError {
    let name = &network.name;
    let message =
        format!("networks.{key}: network {name} declared as external, but could not be found");
    let error = LoadError::written(&network.external_at, message);
    error
        .with_hint(format!("make it: `network create {name}`"))
        .into()
}

/// The same of a volume.
pub(super) fn missing_volume(key: &str, volume: &Volume) -> ApplyError {
    let name = &volume.name;
    let message = format!("volumes.{key}: external volume \"{name}\" not found");
    let error = LoadError::written(&volume.external_at, message);
    error
        .with_hint(format!("make it: `volume create {name}`"))
        .into()
}
