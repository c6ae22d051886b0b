//! Starting what has been made, in order.

use std::collections::BTreeSet;

use super::graph::{self, Before, Order};
use super::{ApplyError, Engine, Named, Result};
use crate::model::Service;
use crate::plan::state::{Container, State};

impl Engine<'_> {
    /// Starts the containers of services along their dependencies, each when the conditions hold.
    ///
    /// # Errors
    /// A container that cannot be started, or a condition that cannot come true.
    pub async fn start(&self) -> Result<()> {
        let state = State {
            containers: super::containers(self.client, &self.project.name).await?,
            ..State::default()
        };
        let before = graph::of_project(self.project, Order::DependenciesFirst);
        self.start_some(before, &state).await
    }

    pub(super) async fn start_some(&self, before: Before, state: &State) -> Result<()> {
        graph::walk(before, self.parallel, |name| async move {
            match self.project.services.get(&name) {
                Some(service) => self.start_service(service, state).await,
                None => Ok(()),
            }
        })
        .await
    }

    async fn start_service(&self, service: &Service, state: &State) -> Result<()> {
        let containers = state.of_service(&service.name);
        if containers.is_empty() && service.replicas() > 0 && service.provider.is_none() {
            return Err(ApplyError::Service {
                service: service.name.clone(),
                message: "it has no container to start; `up` or `create` makes one".into(),
            });
        }
        // A condition is waited for only by what still has to be started.
        if containers
            .iter()
            .all(|container| container.summary.state == "running")
        {
            return Ok(());
        }
        graph::each(&service.depends_on, usize::MAX, |(name, dependency)| {
            self.wait_for(service, name, dependency)
        })
        .await?;
        self.run_pre_start(service, None).await?;
        graph::each(containers, self.parallel, |container| {
            self.start_container(service, container)
        })
        .await
    }

    /// Waits for all that a service depends on.
    pub(super) async fn wait_for_all(&self, service: &Service) -> Result<()> {
        graph::each(&service.depends_on, usize::MAX, |(name, dependency)| {
            self.wait_for(service, name, dependency)
        })
        .await
    }

    async fn start_container(&self, service: &Service, container: &Container) -> Result<()> {
        if container.summary.state == "running" {
            return Ok(());
        }
        let name = container.name();
        self.run_pre_start(service, Some(name)).await?;
        let what = format!("Container {name}");
        self.working(&what, "Starting");
        let started = async {
            self.client
                .container_start(container.id())
                .await
                .named("start the container", name)?;
            for hook in &service.post_start {
                self.hook(service, container.id(), name, hook).await?;
            }
            Ok(())
        };
        let result = started.await;
        self.told(&what, "Started", result)
    }

    /// Waits until all containers run, and are healthy where that is checked.
    ///
    /// # Errors
    /// A container that ends, or is unhealthy.
    pub async fn wait_healthy(&self) -> Result<()> {
        let containers = super::containers(self.client, &self.project.name).await?;
        let gates: BTreeSet<&str> = self
            .project
            .services
            .values()
            .flat_map(|service| &service.depends_on)
            .filter(|(_, dependency)| dependency.condition == "service_completed_successfully")
            .map(|(name, _)| name.as_str())
            .collect();
        let waited = containers.iter().filter(|container| {
            self.project.services.contains_key(container.service())
                && !container.is_one_off()
                && !gates.contains(container.service())
        });
        graph::each(waited, usize::MAX, |container| {
            self.healthy(container, false)
        })
        .await
    }
}
