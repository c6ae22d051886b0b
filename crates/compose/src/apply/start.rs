//! Starting what has been made, in order.

use super::graph::{self, Before, Order};
use super::{ApplyError, Engine, Named, Result};
use crate::model::Service;
use crate::plan;
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
        let result = self.start_some(before, &state).await;
        self.notes.ran.take();
        result
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
        // Also what runs already stands on its conditions: that a step before it fails now is told.
        if !containers.is_empty() {
            self.wait_for_all(service).await?;
        }
        let has_run = self.notes.ran.borrow().contains(&service.name);
        let is_up = |container: &&Container| match container.summary.state.as_str() {
            "running" => true,
            // It was made anew and has done its work, for what was updated stands on it.
            _ => has_run && container.exit_code() == Some(0),
        };
        if containers.iter().all(is_up) {
            return Ok(());
        }
        self.run_pre_start(service, None).await?;
        graph::each(containers, self.parallel, |container| {
            self.start_at_rest(service, container)
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

    async fn start_at_rest(&self, service: &Service, container: &Container) -> Result<()> {
        match container.summary.state.as_str() {
            "running" => Ok(()),
            _ => {
                self.start_container(service, container.id(), container.name())
                    .await
            }
        }
    }

    /// Starts a container that does not run, with all that belongs to it, and tells of it.
    pub(super) async fn start_container(
        &self,
        service: &Service,
        id: &str,
        name: &str,
    ) -> Result<()> {
        self.run_pre_start(service, Some(name)).await?;
        let what = format!("Container {name}");
        self.working(&what, "Starting");
        let result = self.start_with_hooks(service, id, name).await;
        self.told(&what, "Started", result)
    }

    /// Starts a container, and runs what its service wants run after that.
    pub(super) async fn start_with_hooks(
        &self,
        service: &Service,
        id: &str,
        name: &str,
    ) -> Result<()> {
        self.client
            .container_start(id)
            .await
            .named("start the container", name)?;
        for hook in &service.post_start {
            self.hook(service, id, name, hook).await?;
        }
        Ok(())
    }

    /// Waits until all containers run, and are healthy where that is checked.
    ///
    /// # Errors
    /// A container that ends, or is unhealthy.
    pub async fn wait_healthy(&self) -> Result<()> {
        let containers = super::containers(self.client, &self.project.name).await?;
        let gates = plan::gates(self.project);
        let waited = containers.iter().filter(|container| {
            self.project.services.contains_key(container.service())
                && !container.is_one_off()
                && !gates.contains(container.service())
        });
        graph::each(waited, usize::MAX, |container| async move {
            // Nothing depends on it: it is what is waited for itself.
            match self.healthy(container, false).await {
                Err(ApplyError::Dependency { message }) => {
                    Err(ApplyError::Other(message + self.follows(container)))
                }
                other => other,
            }
        })
        .await
    }

    /// What the daemon does about a container that is not well.
    fn follows(&self, container: &Container) -> &'static str {
        let service = self.project.services.get(container.service());
        match service.is_some_and(Service::restarts_unhealthy) {
            true => "; the daemon starts it again (`restart: on-unhealthy`)",
            false => "",
        }
    }
}
