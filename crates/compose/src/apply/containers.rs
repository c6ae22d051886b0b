//! Containers of services: made, replaced, removed.

use std::collections::BTreeMap;

use hull_api::client::StopOptions;
use hull_api::types::ContainerCreate;

use super::update::beside;
use super::{ApplyError, Engine, Named, Result};
use crate::model::Service;
use crate::plan;
use crate::plan::container::{self, Making};
use crate::plan::state::{Container, State};
use crate::words;

/// How containers are removed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// With their anonymous volumes.
    pub volumes: bool,
    /// Though they run.
    pub force: bool,
}

impl Engine<'_> {
    /// The first container of each service, for what refers to `service:NAME`.
    pub(super) async fn known_containers(&self) -> Result<BTreeMap<String, String>> {
        let refers = self
            .project
            .services
            .values()
            .any(|service| !service.shares_with().is_empty());
        if !refers {
            return Ok(BTreeMap::new());
        }
        let all = super::containers(self.client, &self.project.name).await?;
        let state = State {
            containers: all,
            ..State::default()
        };
        Ok(plan::first_containers(self.project, &state))
    }

    /// Makes a container of a service.
    pub(super) async fn create(
        &self,
        service: &Service,
        name: &str,
        making: &Making<'_>,
    ) -> Result<String> {
        let what = format!("Container {name}");
        self.working(&what, "Creating");
        let id = self.make(service, name, making).await;
        self.told(&what, "Created", id)
    }

    pub(super) async fn make(
        &self,
        service: &Service,
        name: &str,
        making: &Making<'_>,
    ) -> Result<String> {
        let body = self.body(service, making)?;
        if self.client.is_rehearsal() {
            return Ok(String::new());
        }
        let created = self
            .client
            .container_create(name, &service.platform, &body)
            .await
            .named("create the container", name)?;
        for warning in &created.warnings {
            self.report.warn(warning);
        }
        if let Err(error) = self.inject(service, &created.id).await {
            // Without its secrets it is of no use, and in the way of the next.
            let removed = self
                .client
                .container_remove(&created.id, true, false, false)
                .await;
            drop(removed);
            return Err(error);
        }
        Ok(created.id)
    }

    pub(super) fn body(&self, service: &Service, making: &Making<'_>) -> Result<ContainerCreate> {
        container::refuse_unavailable(self.project, service)?;
        container::body(self.project, service, making).map_err(|message| ApplyError::Service {
            service: service.name.clone(),
            message,
        })
    }

    /// What a container is made with.
    pub(super) fn making<'m>(
        &self,
        service: &Service,
        state: &'m State,
        number: i64,
        known: &BTreeMap<String, String>,
    ) -> Making<'m> {
        let image = state.images.get(&service.image_name(&self.project.name));
        Making {
            number,
            image_id: image.map_or("", |image| image.id.as_str()),
            image_volumes: image.map_or(&[], |image| image.volumes.as_slice()),
            containers: known.clone(),
            links: self.links(service),
            ..Making::default()
        }
    }

    /// `container:alias`, for each container of each linked service, and as it stands for those of
    /// others.
    fn links(&self, service: &Service) -> Vec<String> {
        let mut links = Vec::new();
        for link in &service.links {
            let (name, alias) = link.split_once(':').unwrap_or((link, link));
            let Some(other) = self.project.services.get(name) else {
                continue;
            };
            for number in 1..=other.replicas().max(1) {
                let container = container::name(&self.project.name, other, number);
                let short = format!("{name}-{number}");
                for alias in [alias, &short, &container] {
                    links.push(format!("{container}:{alias}"));
                }
            }
        }
        links.extend(
            service
                .external_links
                .iter()
                .map(|link| match link.contains(':') {
                    true => link.clone(),
                    false => format!("{link}:{link}"),
                }),
        );
        links
    }

    /// Replaces a container: the new one is made first, so that a mistake leaves the old one alone.
    pub(super) async fn recreate(
        &self,
        service: &Service,
        old: &Container,
        making: Making<'_>,
        renew_volumes: bool,
    ) -> Result<String> {
        let name = container::name(&self.project.name, service, old.number());
        let what = format!("Container {name}");
        self.working(&what, "Recreate");
        let result = self
            .replace(service, old, making, renew_volumes, &name)
            .await;
        self.told(&what, "Recreated", result)
    }

    async fn replace(
        &self,
        service: &Service,
        old: &Container,
        making: Making<'_>,
        renew_volumes: bool,
        name: &str,
    ) -> Result<String> {
        let temporary = beside(name);
        let making = Making {
            inherited: if renew_volumes {
                &[]
            } else {
                &old.summary.mounts
            },
            replaces: Some(old.name()),
            ..making
        };
        let id = self.make(service, &temporary, &making).await?;
        let removed = async {
            self.stop_with_hooks(service, old, None).await?;
            self.client
                .container_remove(old.id(), true, false, false)
                .await
                .named("remove the container", old.name())
        }
        .await;
        if let Err(error) = removed {
            // The old one is still there, so the new one is not needed.
            _ = self.client.container_remove(&id, true, false, false).await;
            return Err(error);
        }
        self.client
            .container_rename(&id, name)
            .await
            .named("rename the container", &temporary)?;
        Ok(id)
    }

    /// Stops a container the way its service says, and tells of it.
    pub(super) async fn stop_one(
        &self,
        container: &Container,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let what = format!("Container {}", container.name());
        self.working(&what, "Stopping");
        let result = match self.project.services.get(container.service()) {
            Some(service) => self.stop_with_hooks(service, container, timeout_s).await,
            None => self.order_stop(container, timeout_s).await,
        };
        self.told(&what, "Stopped", result)
    }

    pub(super) async fn stop_with_hooks(
        &self,
        service: &Service,
        container: &Container,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        if container.is_running() {
            for hook in &service.pre_stop {
                self.hook(service, container.id(), container.name(), hook)
                    .await?;
            }
        }
        let own = service
            .stop_grace_period
            .as_deref()
            .and_then(words::nanoseconds);
        let timeout_s = timeout_s.or(own.map(|time| time / 1_000_000_000));
        self.order_stop(container, timeout_s).await
    }

    pub(super) async fn order_stop(
        &self,
        container: &Container,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let options = StopOptions {
            timeout_s,
            ..StopOptions::default()
        };
        match self.client.container_stop(container.id(), &options).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.named("stop the container", container.name()),
        }
    }

    /// Removes a container, and tells of it.
    pub(super) async fn remove_one(
        &self,
        container: &Container,
        options: RemoveOptions,
    ) -> Result<()> {
        let what = format!("Container {}", container.name());
        self.working(&what, "Removing");
        let result = self
            .client
            .container_remove(container.id(), options.force, options.volumes, false)
            .await;
        let result = match result {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.named("remove the container", container.name()),
        };
        self.told(&what, "Removed", result)
    }

    /// Removes stopped containers.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub async fn remove(&self, containers: &[Container], options: RemoveOptions) -> Result<()> {
        super::graph::each(containers, self.parallel, |container| {
            self.remove_one(container, options)
        })
        .await
    }
}
