//! Bringing a project to what its files say.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{self, Before, Order};
use super::{Engine, Named, Pull, RemoveOptions, Result};
use crate::model::{Manner, Project, Service};
use crate::plan::state::{Container, State};
use crate::plan::{self, Plan, Step, Wishes};

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
        let state = self.observe().await?;
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

    /// All that the daemon has of the project, and what of it was handed other secrets than these.
    async fn observe(&self) -> Result<State> {
        let mut state = super::observe(self.client, self.project).await?;
        state.outdated = self.outdated(&state).await?;
        Ok(state)
    }

    async fn create_some(&self, before: Before, options: &UpOptions) -> Result<()> {
        self.check_first(&options.wishes).await?;
        let images = self
            .ensure_images(&options.pull, options.quiet_pull)
            .await?;
        let mut state = self.observe().await?;
        state.images = images;
        let plan = plan::plan(self.project, &state, &options.wishes);
        for (name, steps) in &plan.services {
            let service = self.project.services.get(name);
            if let Some(service) = service.filter(|_| steps.iter().any(Step::makes)) {
                self.refuse_missing(service)?;
            }
        }
        (self.begins)();
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
        .await?;
        self.restart_dependents(plan, state, options).await
    }

    async fn orphans(&self, plan: &Plan, options: &UpOptions) -> Result<()> {
        self.take_away(&plan.leaving, options).await?;
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
        self.take_away(&plan.orphans, options).await
    }

    async fn take_away(&self, containers: &[Container], options: &UpOptions) -> Result<()> {
        if containers.is_empty() {
            return Ok(());
        }
        self.stop(containers, options.timeout_s).await?;
        let remove = RemoveOptions {
            volumes: false,
            force: true,
        };
        self.remove(containers, remove).await
    }

    /// Services that want to be restarted with what they depend on stop before that is replaced at once.
    async fn stop_dependents(&self, plan: &Plan, state: &State, options: &UpOptions) -> Result<()> {
        let followed = Followed::of(self.project, plan, options);
        let dependents: Vec<Container> = self
            .project
            .services
            .values()
            .filter(|service| followed.at_once(service))
            .flat_map(|service| state.of_service(&service.name))
            .filter(|container| container.is_running())
            .cloned()
            .collect();
        self.stop(&dependents, options.timeout_s).await
    }

    /// What is replaced one after the other answers all the time, and so do those that want to be restarted
    /// with it: they are, when it is done, one after the other as well.
    async fn restart_dependents(
        &self,
        plan: &Plan,
        state: &State,
        options: &UpOptions,
    ) -> Result<()> {
        let followed = Followed::of(self.project, plan, options);
        let before = graph::of_project(self.project, Order::DependenciesFirst);
        let followed = &followed;
        graph::walk(before, self.parallel, |name| async move {
            let service = self.project.services.get(&name);
            let Some(service) = service.filter(|service| followed.afterwards(service)) else {
                return Ok(());
            };
            let own = state.of_service(&service.name).into_iter();
            let steps = plan.services.get(&service.name).into_iter().flatten();
            let gone: Vec<&str> = steps
                .filter_map(|step| match step {
                    Step::Remove { old, .. } => Some(old.id()),
                    _ => None,
                })
                .collect();
            let stays = |one: &&Container| one.is_running() && !gone.contains(&one.id());
            for container in own.filter(stays) {
                self.stop_one(container, options.timeout_s).await?;
                self.start_container(service, container.id(), container.name())
                    .await?;
            }
            Ok(())
        })
        .await
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
            Step::Rename { old, name } => {
                let renamed = self.client.container_rename(old.id(), name).await;
                renamed.named("rename the container", old.name())?;
                self.done(&format!("Container {name}"), "Renamed");
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

/// What is replaced, for those that want to be restarted with it.
struct Followed<'f> {
    /// Services whose running containers are replaced all at once.
    at_once: BTreeSet<&'f str>,
    /// Those whose containers are replaced one after the other.
    in_turn: BTreeSet<&'f str>,
}

impl<'f> Followed<'f> {
    fn of(project: &Project, plan: &'f Plan, options: &UpOptions) -> Self {
        let (mut at_once, mut in_turn) = (BTreeSet::new(), BTreeSet::new());
        for (name, steps) in &plan.services {
            let mut olds = steps
                .iter()
                .filter(|step| matches!(step, Step::Recreate { .. }));
            let service = project.services.get(name);
            let manner = service.and_then(|service| options.manner(service));
            match (olds.next(), manner) {
                (None, _) => false,
                (Some(_), None) => at_once.insert(name.as_str()),
                (Some(_), Some(_)) => in_turn.insert(name.as_str()),
            };
        }
        Self { at_once, in_turn }
    }

    fn depends(service: &Service, on: &BTreeSet<&str>) -> bool {
        let mut restarting = service.depends_on.iter().filter(|(_, one)| one.restart);
        restarting.any(|(name, _)| on.contains(name.as_str()))
    }

    /// Whether a service stops before; what is itself replaced in turn stops by itself.
    fn at_once(&self, service: &Service) -> bool {
        Self::depends(service, &self.at_once) && !self.in_turn.contains(service.name.as_str())
    }

    /// Whether it is restarted when all is replaced; what is itself replaced has begun anew already.
    fn afterwards(&self, service: &Service) -> bool {
        let is_replaced = |name| self.at_once.contains(name) || self.in_turn.contains(name);
        Self::depends(service, &self.in_turn)
            && !self.at_once(service)
            && !is_replaced(service.name.as_str())
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
