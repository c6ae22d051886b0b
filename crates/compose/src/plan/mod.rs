//! The difference between what should be and what is, as steps with reasons. Pure.

pub(crate) mod container;
pub(crate) mod files;
mod keys;
pub(crate) mod mounts;
mod resources;
pub mod state;

pub use files::check_context;
pub use keys::differences;

use std::collections::{BTreeMap, BTreeSet};

use hull_api::types::MountPoint;

use crate::labels;
use crate::model::{Project, Service};
use state::{Container, State};

/// When containers are made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recreate {
    /// When what they should be differs from what they are.
    #[default]
    Diverged,
    /// Always.
    Force,
    /// Never.
    Never,
}

/// What is asked for besides the files.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// For the services that were named, or all of them.
    pub recreate: Recreate,
    /// For what they depend on.
    pub recreate_dependencies: Recreate,
    /// The services that were named; none means all.
    pub services: Vec<String>,
    /// Anonymous volumes are made anew, too.
    pub renew_volumes: bool,
    /// Containers of services that are no longer there go.
    pub remove_orphans: bool,
    /// Services that are no longer there, and whose containers go whatever happens to those of others.
    pub leaving: BTreeSet<String>,
}

/// What happens to a place for a container.
#[derive(Debug, Clone)]
pub enum Step {
    /// A container is made.
    Create {
        /// Its number.
        number: i64,
        /// Its name.
        name: String,
    },
    /// A container is replaced.
    Recreate {
        /// The one there is.
        old: Box<Container>,
        /// Why.
        reason: String,
    },
    /// A container goes.
    Remove {
        /// Which.
        old: Box<Container>,
        /// Why.
        reason: String,
    },
    /// A container is what it should be, and has a name that it was to have for a while only.
    Rename {
        /// Which.
        old: Box<Container>,
        /// The name that it should have.
        name: String,
    },
    /// A container is what it should be.
    Keep(Box<Container>),
}

/// What happens to an object that a project has beside its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Create,
    /// It differs, and is made anew.
    Replace(String),
    /// It is what it should be.
    Keep,
    /// It should be there, and is not.
    Missing,
}

/// The whole difference.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Networks by their key.
    pub networks: BTreeMap<String, Change>,
    /// Volumes by their key.
    pub volumes: BTreeMap<String, Change>,
    /// Steps by service.
    pub services: BTreeMap<String, Vec<Step>>,
    /// Containers of services that are not in the file.
    pub orphans: Vec<Container>,
    /// Containers that go with their services.
    pub leaving: Vec<Container>,
}

impl Plan {
    /// Whether there is nothing to make, replace or remove.
    pub fn is_empty(&self) -> bool {
        let kept = |change: &Change| *change == Change::Keep;
        self.networks.values().all(kept)
            && self.volumes.values().all(kept)
            && self
                .services
                .values()
                .flatten()
                .all(|step| matches!(step, Step::Keep(_)))
    }
}

/// A container that is what it should be, and does not run.
#[derive(Debug, Clone)]
pub struct Resting<'p> {
    /// Which.
    pub container: &'p Container,
    /// How it stands.
    pub reason: String,
    /// It is a step that others wait for, and has been done: `up` runs it again, as Docker's does,
    /// but nothing is amiss.
    pub is_done: bool,
}

impl Plan {
    /// What `up` starts though it has nothing to make of it.
    pub fn resting<'p>(&'p self, project: &Project) -> Vec<Resting<'p>> {
        let gates = gates(project);
        let kept = self.services.values().flatten().filter_map(Step::kept);
        kept.filter_map(|container| {
            let is_done = gates.contains(container.service()) && container.exit_code() == Some(0);
            Some(Resting {
                container,
                reason: container.at_rest()?,
                is_done,
            })
        })
        .collect()
    }
}

impl Step {
    /// Whether a container is made.
    pub fn makes(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Recreate { .. })
    }

    /// The container, if it stays as it is.
    pub(crate) fn kept(&self) -> Option<&Container> {
        match self {
            Self::Keep(container) | Self::Rename { old: container, .. } => Some(container),
            _ => None,
        }
    }
}

/// Services that run to their end before others start.
pub(crate) fn gates(project: &Project) -> BTreeSet<&str> {
    project
        .services
        .values()
        .flat_map(|service| &service.depends_on)
        .filter(|(_, dependency)| dependency.condition == "service_completed_successfully")
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Compares.
pub fn plan(project: &Project, state: &State, wishes: &Wishes) -> Plan {
    let mut plan = Plan::default();
    for (key, network) in &project.networks {
        let change = match state.networks.get(&network.name) {
            None if network.external => Change::Missing,
            None => Change::Create,
            Some(found) if network.external => known(found.labels.as_ref(), None),
            Some(found) => known(found.labels.as_ref(), Some(&network.hash)),
        };
        plan.networks.insert(key.clone(), change);
    }
    for (key, volume) in &project.volumes {
        let change = match state.volumes.get(&volume.name) {
            None if volume.external => Change::Missing,
            None => Change::Create,
            Some(found) if volume.external => known(found.labels.as_ref(), None),
            Some(found) => known(found.labels.as_ref(), Some(&volume.hash)),
        };
        plan.volumes.insert(key.clone(), change);
    }
    let known = first_containers(project, state);
    for service in in_order(project) {
        let compare = Compare {
            known: &known,
            project,
            state,
            plan: &plan,
            recreate: match wishes.services.is_empty() || wishes.services.contains(&service.name) {
                true => wishes.recreate,
                false => wishes.recreate_dependencies,
            },
        };
        let steps = compare.service(service);
        plan.services.insert(service.name.clone(), steps);
    }
    let leaves = |container: &Container| wishes.leaving.contains(container.service());
    let own = state.containers.iter().filter(|one| !one.is_one_off());
    plan.leaving = own.filter(|one| leaves(one)).cloned().collect();
    plan.orphans = orphans(project, state);
    plan.orphans.retain(|one| !leaves(one));
    plan
}

/// Containers whose service the file does not have, not even switched off.
pub fn orphans(project: &Project, state: &State) -> Vec<Container> {
    let is_known =
        |name: &str| project.services.contains_key(name) || project.disabled.contains(name);
    state
        .containers
        .iter()
        .filter(|container| !is_known(container.service()) && !container.is_one_off())
        .cloned()
        .collect()
}

fn known(found: Option<&BTreeMap<String, String>>, wanted: Option<&String>) -> Change {
    let hash = found.and_then(|labels| labels.get(labels::HASH));
    match (hash, wanted) {
        (Some(hash), Some(wanted)) if hash != wanted => {
            Change::Replace("its configuration changed".into())
        }
        _ => Change::Keep,
    }
}

/// The first container of each service that has one.
pub(crate) fn first_containers(project: &Project, state: &State) -> BTreeMap<String, String> {
    let first = |name: &String| {
        let id = state.of_service(name).first()?.id().to_owned();
        Some((name.clone(), id))
    };
    project.services.keys().filter_map(first).collect()
}

/// Services, those first whose containers others share.
fn in_order(project: &Project) -> Vec<&Service> {
    let mut ordered: Vec<&Service> = Vec::new();
    let mut left: Vec<&Service> = project.services.values().collect();
    while !left.is_empty() {
        let is_open = |name: &str| left.iter().any(|service| service.name == name);
        let (ready, waiting): (Vec<_>, Vec<_>) = left
            .iter()
            .partition(|service| !service.shares_with().iter().any(|name| is_open(name)));
        // Loading refuses circles; should there be one, the order does not matter.
        if ready.is_empty() {
            ordered.extend(waiting);
            break;
        }
        ordered.extend(ready);
        left = waiting;
    }
    ordered
}

/// What a name has behind it while a new container takes an old one's place…
pub(crate) const PASSING_NEW: &str = ".new";
/// …and what the old one's has then.
pub(crate) const PASSING_OLD: &str = ".before";

/// Whether a name is one that a container has while it takes another one's place: `web-1.new`, `web-1.before`,
/// and Docker's `0123456789ab_web-1`.
fn is_passing(found: &str, name: &str) -> bool {
    let is_id = |text: &str| text.len() == 12 && text.chars().all(|c| c.is_ascii_hexdigit());
    let beside = found.strip_suffix(name).and_then(|id| id.strip_suffix('_'));
    let behind = found.strip_prefix(name).unwrap_or_default();
    beside.is_some_and(is_id) || [PASSING_NEW, PASSING_OLD].contains(&behind)
}

struct Compare<'c> {
    known: &'c BTreeMap<String, String>,
    project: &'c Project,
    state: &'c State,
    plan: &'c Plan,
    recreate: Recreate,
}

impl Compare<'_> {
    fn service(&self, service: &Service) -> Vec<Step> {
        if service.provider.is_some() {
            return Vec::new();
        }
        let mut containers = self.state.of_service(&service.name);
        let wanted = usize::try_from(service.replicas()).unwrap_or_default();
        let leftovers = self.leftovers(service, &mut containers);
        // If there are too many, those go first that would have to be replaced anyway.
        let mut surplus = Vec::new();
        while containers.len() > wanted {
            let at = containers
                .iter()
                .rposition(|container| self.reason(service, container).is_some())
                .unwrap_or(containers.len() - 1);
            surplus.push(containers.remove(at));
        }
        let mut steps: Vec<Step> = surplus
            .into_iter()
            .map(|container| Step::Remove {
                old: Box::new(container.clone()),
                reason: format!(
                    "the service has {wanted} of {}",
                    if wanted == 1 { "it" } else { "them" }
                ),
            })
            .collect();
        steps.extend(leftovers.into_iter().map(|container| Step::Remove {
            old: Box::new(container.clone()),
            reason: "it is left over from an update that was broken off".into(),
        }));
        let taken: BTreeSet<i64> = containers
            .iter()
            .map(|container| container.number())
            .collect();
        for container in &containers {
            let old = Box::new((*container).clone());
            steps.push(match self.reason(service, container) {
                Some(reason) => Step::Recreate { old, reason },
                None if is_passing(
                    old.name(),
                    &container::name(&self.project.name, service, old.number()),
                ) =>
                {
                    let name = container::name(&self.project.name, service, old.number());
                    Step::Rename { old, name }
                }
                None => Step::Keep(old),
            });
        }
        let free = (1..).filter(|number| !taken.contains(number));
        for number in free.take(wanted.saturating_sub(containers.len())) {
            let name = container::name(&self.project.name, service, number);
            steps.push(Step::Create { number, name });
        }
        steps
    }

    /// Takes out what shares its number with another container: both the old and the new one are there
    /// if an update was broken off. The one that stays has the name, or at least is what it should be.
    fn leftovers<'s>(
        &self,
        service: &Service,
        containers: &mut Vec<&'s Container>,
    ) -> Vec<&'s Container> {
        let mut best: BTreeMap<i64, (bool, bool, bool)> = BTreeMap::new();
        let rank = |container: &Container| {
            let name = container::name(&self.project.name, service, container.number());
            (
                container.name() == name,
                self.reason(service, container).is_none(),
                container.is_running(),
            )
        };
        for container in containers.iter() {
            let place = best.entry(container.number()).or_default();
            *place = rank(container).max(*place);
        }
        let mut leftovers = Vec::new();
        containers.retain(|container| {
            // The first that is the best stays; the others find the place taken.
            let stays = best.get(&container.number()) == Some(&rank(container));
            match stays {
                true => _ = best.remove(&container.number()),
                false => leftovers.push(*container),
            }
            stays
        });
        leftovers
    }

    /// Why a container must be replaced.
    fn reason(&self, service: &Service, container: &Container) -> Option<String> {
        match self.recreate {
            Recreate::Never => return None,
            Recreate::Force => return Some("it was asked for".into()),
            Recreate::Diverged => {}
        }
        let shares = service.shares_with();
        let is_new = |name: &&&str| {
            let steps = self.plan.services.get(**name);
            steps.is_some_and(|steps| steps.iter().any(Step::makes))
        };
        if let Some(name) = shares.iter().find(is_new) {
            return Some(format!("it shares with `{name}`, which is made anew"));
        }
        if container.label(labels::HASH) != service.hash_beside(self.known) {
            return Some("its configuration changed".into());
        }
        if self.state.outdated.contains(container.id()) {
            return Some("its secrets or configs are not what it was handed".into());
        }
        let image = self
            .state
            .images
            .get(&service.image_name(&self.project.name));
        let made_from = container.label(labels::IMAGE);
        if image.is_some_and(|image| !made_from.is_empty() && image.id != made_from) {
            return Some("its image changed".into());
        }
        self.networks(service, container)
            .or_else(|| self.volumes(service, container))
    }

    fn networks(&self, service: &Service, container: &Container) -> Option<String> {
        if !service.network_mode.is_empty() {
            return None;
        }
        let joined = &container.summary.network_settings.networks;
        for key in service.networks.keys() {
            let network = self.project.networks.get(key)?;
            if matches!(
                self.plan.networks.get(key),
                Some(Change::Replace(_) | Change::Create)
            ) {
                return Some(format!("the network `{key}` is made anew"));
            }
            let id = self
                .state
                .networks
                .get(&network.name)
                .map(|found| found.id.as_str());
            let is_joined = joined.iter().any(|(name, endpoint)| {
                *name == network.name || (id.is_some() && Some(endpoint.network_id.as_str()) == id)
            });
            if !is_joined {
                return Some(format!("it is not on the network `{key}`"));
            }
        }
        None
    }

    fn volumes(&self, service: &Service, container: &Container) -> Option<String> {
        let mounted = |name: &str| {
            container
                .summary
                .mounts
                .iter()
                .any(|mount: &MountPoint| mount.kind == "volume" && mount.name == name)
        };
        for mount in service
            .volumes
            .iter()
            .filter(|mount| mount.kind == "volume" && !mount.source.is_empty())
        {
            let volume = self.project.volumes.get(&mount.source)?;
            if !mounted(&volume.name) {
                return Some(format!("it has not the volume `{}`", mount.source));
            }
        }
        None
    }
}
