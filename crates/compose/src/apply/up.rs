//! Bringing a project to what its files say.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{self, Before, Order};
use super::{Engine, Pull, RemoveOptions, Result};
use crate::model::{Manner, Service};
use crate::plan::state::{Container, State};
use crate::plan::{self, Plan, Step, Wishes};
use crate::plan::{container, files};

/// How a project is brought up.
#[derive(Debug, Clone, Default)]
pub struct UpOptions {
    /// What is asked for besides the files.
    pub wishes: Wishes,
    /// When images are pulled.
    pub pull: Pull,
    /// Say little about it.
    pub quiet_pull: bool,
    /// Say nothing of containers of services that are not in the file.
    pub ignore_orphans: bool,
    /// Seconds before a container that is replaced is killed.
    pub timeout_s: Option<i64>,
    /// How containers that run are replaced.
    pub updating: Updating,
}

/// How containers that run are replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Updating {
    /// All at once; nothing is started.
    #[default]
    AtOnce,
    /// As each service says.
    AsWritten,
    /// So that one always answers: the old one goes when the new one is healthy.
    Rolling,
}

/// What the work on services stands on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'g> {
    pub(super) state: &'g State,
    /// The first container of each service, for what refers to `service:NAME`.
    pub(super) known: &'g BTreeMap<String, String>,
    pub(super) options: &'g UpOptions,
}

impl Engine<'_> {
    /// What `up` would do.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn difference(&self, wishes: &Wishes) -> Result<(Plan, State)> {
        let state = super::observe(self.client, self.project).await?;
        Ok((plan::plan(self.project, &state, wishes), state))
    }

    /// Makes networks, volumes and containers; starts nothing.
    ///
    /// # Errors
    /// What cannot be made.
    pub async fn create_all(&self, options: &UpOptions) -> Result<()> {
        let before = graph::of_project(self.project, Order::DependenciesFirst);
        self.create_some(before, options).await
    }

    /// Brings up all that a container for one command of a service needs, but no container of the
    /// service itself.
    ///
    /// # Errors
    /// What cannot be made or started.
    pub async fn prepare(&self, service: &str, options: &UpOptions) -> Result<()> {
        let mut before = graph::of_project(self.project, Order::DependenciesFirst);
        before.remove(service);
        self.create_some(before.clone(), options).await?;
        let state = State {
            containers: super::containers(self.client, &self.project.name).await?,
            ..State::default()
        };
        self.start_some(before, &state).await?;
        match self.project.services.get(service) {
            Some(service) => self.wait_for_all(service).await,
            None => Ok(()),
        }
    }

    async fn create_some(&self, before: Before, options: &UpOptions) -> Result<()> {
        for service in self.project.services.values() {
            container::refuse_unavailable(self.project, service)?;
        }
        let images = self
            .ensure_images(&options.pull, options.quiet_pull)
            .await?;
        let mut state = super::observe(self.client, self.project).await?;
        state.images = images;
        let plan = plan::plan(self.project, &state, &options.wishes);
        for (name, steps) in &plan.services {
            let service = self.project.services.get(name);
            if let Some(service) = service.filter(|_| steps.iter().any(Step::makes)) {
                self.refuse_missing(service)?;
            }
        }
        self.orphans(&plan, options).await?;
        if plan.is_empty() {
            for container in plan.services.values().flatten().filter_map(Step::kept) {
                if container.is_running() {
                    self.done(&format!("Container {}", container.name()), "Running");
                }
            }
            return Ok(());
        }
        self.ensure_networks(&plan, &state).await?;
        self.ensure_volumes(&plan).await?;
        self.stop_dependents(&plan, &state, options).await?;
        let (plan, state) = (&plan, &state);
        graph::walk(before, self.parallel, |name| async move {
            let (Some(service), Some(steps)) =
                (self.project.services.get(&name), plan.services.get(&name))
            else {
                return Ok(());
            };
            self.converge(service, steps, state, options).await
        })
        .await
    }

    /// Refuses a service whose secrets and configs are not there, before anything is made.
    pub(super) fn refuse_missing(&self, service: &Service) -> Result<()> {
        // Another machine's daemon has the files of its own.
        if self.client.host().starts_with("unix://") {
            files::check_objects(self.project, service)?;
        }
        self.check_injected(service)
    }

    async fn orphans(&self, plan: &Plan, options: &UpOptions) -> Result<()> {
        if plan.orphans.is_empty() || options.ignore_orphans {
            return Ok(());
        }
        if !options.wishes.remove_orphans {
            let names: Vec<&str> = plan.orphans.iter().map(Container::name).collect();
            self.report.warn(&format!(
                "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
                names.join(" ")
            ));
            return Ok(());
        }
        self.stop(&plan.orphans, options.timeout_s).await?;
        let remove = RemoveOptions {
            volumes: false,
            force: true,
        };
        self.remove(&plan.orphans, remove).await
    }

    /// Services that want to be restarted with what they depend on stop before that is replaced.
    async fn stop_dependents(&self, plan: &Plan, state: &State, options: &UpOptions) -> Result<()> {
        let replaced: BTreeSet<&str> = plan
            .services
            .iter()
            .filter(|(_, steps)| {
                steps
                    .iter()
                    .any(|step| matches!(step, Step::Recreate { .. }))
            })
            .map(|(name, _)| name.as_str())
            .collect();
        let follows = |service: &&Service| {
            service
                .depends_on
                .iter()
                .any(|(name, dependency)| dependency.restart && replaced.contains(name.as_str()))
        };
        // What is replaced one after the other stops by itself, after what it depends on.
        let is_updated = |service: &Service| {
            replaced.contains(service.name.as_str()) && options.manner(service).is_some()
        };
        let dependents: Vec<Container> = self
            .project
            .services
            .values()
            .filter(follows)
            .filter(|service| !is_updated(service))
            .flat_map(|service| state.of_service(&service.name))
            .filter(|container| container.is_running())
            .cloned()
            .collect();
        self.stop(&dependents, options.timeout_s).await
    }

    async fn converge(
        &self,
        service: &Service,
        steps: &[Step],
        state: &State,
        options: &UpOptions,
    ) -> Result<()> {
        let known = &self.known_containers().await?;
        let ground = Ground {
            state,
            known,
            options,
        };
        let manner = options.manner(service);
        // There are as many as there should be without those that go, and one that is left over from
        // an update has a name that its successor needs.
        let (going, staying): (Vec<&Step>, Vec<&Step>) = steps
            .iter()
            .partition(|step| matches!(step, Step::Remove { .. }));
        graph::each(going, self.parallel, |step| {
            self.step(service, step, ground)
        })
        .await?;
        let Some(manner) = manner else {
            return graph::each(staying, self.parallel, |step| {
                self.step(service, step, ground)
            })
            .await;
        };
        let olds: Vec<&Container> = staying.iter().copied().filter_map(running).collect();
        if !olds.is_empty() {
            self.update(service, &olds, &manner, ground).await?;
        }
        let others = staying.into_iter().filter(|step| running(step).is_none());
        graph::each(others, self.parallel, |step| {
            self.step(service, step, ground)
        })
        .await
    }

    async fn step(&self, service: &Service, step: &Step, ground: Ground<'_>) -> Result<()> {
        let options = ground.options;
        match step {
            Step::Keep(container) => {
                if container.is_running() {
                    self.done(&format!("Container {}", container.name()), "Running");
                }
                Ok(())
            }
            Step::Create { number, name } => {
                let making = self.making(service, ground.state, *number, ground.known);
                self.create(service, name, &making).await.map(drop)
            }
            Step::Remove { old, .. } => {
                self.stop_one(old, options.timeout_s).await?;
                let remove = RemoveOptions {
                    volumes: false,
                    force: true,
                };
                self.remove_one(old, remove).await
            }
            Step::Recreate { old, .. } => {
                let making = self.making(service, ground.state, old.number(), ground.known);
                self.recreate(service, old, making, options.wishes.renew_volumes)
                    .await
                    .map(drop)
            }
        }
    }
}

impl UpOptions {
    /// How a service's running containers are replaced; nothing: all at once.
    fn manner(&self, service: &Service) -> Option<Manner> {
        match self.updating {
            Updating::AtOnce => None,
            Updating::AsWritten => service.manner(false),
            Updating::Rolling => service.manner(true),
        }
    }
}

/// The container that is to be replaced while it runs.
fn running(step: &Step) -> Option<&Container> {
    match step {
        Step::Recreate { old, .. } if old.is_running() => Some(old),
        _ => None,
    }
}
