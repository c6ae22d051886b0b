//! Who starts after whom when the daemon starts: after a reboot an application comes up as it did the
//! first time, each part when what it depends on runs, is healthy or has done its work.
//!
//! What a container depends on stands in the label that Compose gives it,
//! `com.docker.compose.depends_on`: `db:service_healthy:false,cache:service_started:true`; and who
//! lives in another container's namespaces needs that one first. What will not come is not waited for:
//! a dependency that has no restart policy, or that somebody stopped, keeps nothing down; nor does one that
//! `hull compose` calls optional in a label of its own (`depends_on … required: false`) once it is unhealthy or has
//! failed. What is waited for is told meanwhile ([`Waits`]).

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use hull_shim::protocol::HealthStatus;
use tokio::{sync::Notify, time::timeout};

use crate::{
    actor::{Handle, Order},
    model::{ContainerId, IpcNamespace, NetworkMode, PidNamespace},
    record::Record,
    services::Services,
    state::State,
};

/// The label with the project a container belongs to.
const PROJECT: &str = "com.docker.compose.project";
/// The label with its service.
const SERVICE: &str = "com.docker.compose.service";
/// The label that tells containers of `compose run`.
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// The label with what its service depends on.
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// The label in which `hull compose` says which of them need not come: `db,cache`.
const OPTIONAL: &str = "hull.depends_on.optional";

/// The longest wait for a dependency: longer than databases need for their recovery, and short enough
/// that an application whose dependency stays unhealthy is not down for ever.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a shim may take to tell again that its container has ended.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks when no event calls for one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What must be the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Started,
    Healthy,
    Completed,
}

/// Who is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    /// All containers of a service of the same project.
    Service { project: String, service: String },
    /// One container, by name or id.
    Container(String),
}

/// What a container waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gate {
    whom: Whom,
    condition: Condition,
    /// It need not come, though it is waited for while it may.
    is_optional: bool,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.whom {
            Whom::Service { service, .. } => write!(f, "service {service}")?,
            Whom::Container(name) => write!(f, "container {name}")?,
        }
        f.write_str(match self.condition {
            Condition::Started => " to be started",
            Condition::Healthy => " to be healthy",
            Condition::Completed => " to complete",
        })
    }
}

/// What containers wait for that are to start and do not yet.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<BTreeMap<ContainerId, String>>);

impl Waits {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContainerId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a container waits for, in words: `service db to be healthy`.
    pub(crate) fn of(&self, id: &ContainerId) -> Option<String> {
        self.all().get(id).cloned()
    }
}

/// Containers that ended while no daemon was there, until their ends are told: what starts again of them does so
/// in order, as what was lost does, and until then nobody takes them for running.
#[derive(Debug, Default)]
pub(crate) struct Ended(Mutex<HashSet<ContainerId>>);

impl Ended {
    fn all(&self) -> std::sync::MutexGuard<'_, HashSet<ContainerId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, id: ContainerId) {
        self.all().insert(id);
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, id: &ContainerId) -> bool {
        self.all().contains(id)
    }
}

/// How a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    Closed,
    /// It cannot open by itself.
    Stuck,
}

/// What the starts of one daemon's start share.
struct Starts {
    services: Arc<Services>,
    /// Stopped containers that will be started and were not yet.
    coming: Mutex<HashSet<ContainerId>>,
    /// Rung when one of them was.
    tried: Notify,
}

/// Starts what wants to be started: `stopped`, and all that were about to start again.
pub(crate) fn begin(services: &Arc<Services>, stopped: Vec<ContainerId>) {
    let handles = services.registry.all();
    let starts = Arc::new(Starts {
        services: Arc::clone(services),
        coming: Mutex::new(stopped.into_iter().collect()),
        tried: Notify::new(),
    });
    for handle in handles {
        let waits = matches!(handle.record().state, State::Restarting { .. });
        let is_ended = services.ended.has(&handle.id);
        if waits || is_ended || starts.is_coming(&handle.id) {
            tokio::spawn(Arc::clone(&starts).start(handle));
        }
    }
}

impl Starts {
    fn is_coming(&self, id: &ContainerId) -> bool {
        let coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        coming.contains(id)
    }

    async fn start(self: Arc<Self>, handle: Arc<Handle>) {
        if self.services.ended.has(&handle.id) && !self.starts_again(&handle).await {
            self.tried.notify_waiters();
            return;
        }
        let gates = gates(&handle.record());
        if !gates.is_empty()
            && timeout(WAIT_MAX, self.opened(&handle, &gates))
                .await
                .is_err()
        {
            tracing::warn!(
                container = handle.id.short(),
                "what it depends on has not come up; it is started all the same"
            );
        }
        self.services.waits.all().remove(&handle.id);
        let is_coming = self.is_coming(&handle.id);
        // Who has run meanwhile was started by somebody: what follows is theirs.
        let has_run = handle.lifecycle().borrow().exits > 0;
        let is_off = has_run || handle.called_off.load(Ordering::Relaxed);
        let outcome = if is_coming && is_off {
            Ok(())
        } else if is_coming {
            handle.order(Order::Start).await
        } else {
            handle.order(Order::StartAgain).await
        };
        if let Err(error) = outcome {
            tracing::warn!(container = handle.id.short(), %error, "cannot start again");
        }
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        coming.remove(&handle.id);
        drop(coming);
        self.tried.notify_waiters();
    }

    /// Waits until the end of a container is told that ended while no daemon was there; whether it is to
    /// start again.
    async fn starts_again(&self, handle: &Handle) -> bool {
        let mut life = handle.lifecycle();
        let told = timeout(TOLD_WITHIN, life.wait_for(|life| !life.running));
        let _ = told.await;
        self.services.ended.all().remove(&handle.id);
        // Told late, its owner may have left the start to us already; a start too many changes nothing.
        matches!(handle.record().state, State::Restarting { .. })
    }

    /// Waits until no gate is closed.
    async fn opened(&self, handle: &Handle, gates: &[Gate]) {
        let mut events = self.services.events.watch();
        for gate in gates {
            let mut told = false;
            loop {
                let tried = self.tried.notified();
                match self.standing(gate) {
                    Standing::Open => break,
                    Standing::Stuck => {
                        tracing::warn!(
                            container = handle.id.short(),
                            ?gate,
                            "what it depends on will not come by itself"
                        );
                        break;
                    }
                    Standing::Closed if told => {}
                    Standing::Closed => {
                        told = true;
                        let mut waits = self.services.waits.all();
                        waits.insert(handle.id.clone(), gate.to_string());
                    }
                }
                let news = async {
                    tokio::select! {
                        _ = events.next() => {}
                        () = tried => {}
                    }
                };
                // However it goes, it is looked at again.
                let _ = timeout(LOOK_AGAIN, news).await;
            }
        }
    }

    fn standing(&self, gate: &Gate) -> Standing {
        let containers: Vec<Arc<Handle>> = match &gate.whom {
            Whom::Container(reference) => {
                self.services.registry.find(reference).into_iter().collect()
            }
            Whom::Service { project, service } => {
                let mut all = self.services.registry.all();
                all.retain(|handle| belongs(&handle.record(), project, service));
                all
            }
        };
        let each = containers.iter().map(|handle| {
            if self.services.ended.has(&handle.id) {
                return Standing::Closed;
            }
            let is_coming = self.is_coming(&handle.id);
            standing(gate, &handle.record(), is_coming)
        });
        each.max_by_key(|standing| match standing {
            Standing::Open => 0,
            Standing::Stuck => 1,
            Standing::Closed => 2,
        })
        .unwrap_or(Standing::Open)
    }
}

fn belongs(record: &Record, project: &str, service: &str) -> bool {
    let label = |key: &str| record.config.labels.get(key).map(String::as_str);
    label(PROJECT) == Some(project)
        && label(SERVICE) == Some(service)
        && label(ONE_OFF) != Some("True")
}

/// What a container waits for.
fn gates(record: &Record) -> Vec<Gate> {
    let labels = &record.config.labels;
    let mut gates = Vec::new();
    if let (Some(project), Some(text)) = (labels.get(PROJECT), labels.get(DEPENDS_ON)) {
        let optional = labels.get(OPTIONAL).map_or("", String::as_str);
        gates = declared(project, text, optional);
    }
    let mut donors = Vec::new();
    if let NetworkMode::Container(donor) = &record.host.network_mode {
        donors.push(donor);
    }
    if let IpcNamespace::Container(donor) = &record.host.ipc {
        donors.push(donor);
    }
    if let PidNamespace::Container(donor) = &record.host.pid {
        donors.push(donor);
    }
    gates.extend(donors.into_iter().map(|donor| Gate {
        whom: Whom::Container(donor.clone()),
        condition: Condition::Started,
        is_optional: false,
    }));
    gates
}

/// `db:service_healthy:false,cache:service_started:true`
fn declared(project: &str, text: &str, optional: &str) -> Vec<Gate> {
    let each = text.split(',').filter(|part| !part.is_empty());
    each.map(|part| {
        let (service, rest) = part.split_once(':').unwrap_or((part, ""));
        let condition = match rest.split(':').next() {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            _ => Condition::Started,
        };
        Gate {
            whom: Whom::Service {
                project: project.to_owned(),
                service: service.to_owned(),
            },
            condition,
            is_optional: optional.split(',').any(|name| name == service),
        }
    })
    .collect()
}

/// How a gate stands as far as one container is concerned.
fn standing(gate: &Gate, record: &Record, is_coming: bool) -> Standing {
    let Gate {
        condition,
        is_optional,
        ..
    } = *gate;
    let health = record.health.as_ref().map(|health| health.status);
    let code = record.state.exit().map(|exit| exit.code);
    let is_running = record.state.is_running();
    match condition {
        Condition::Started if is_running => Standing::Open,
        Condition::Healthy if is_running => match health {
            None | Some(HealthStatus::Healthy) => Standing::Open,
            Some(HealthStatus::Unhealthy) if is_optional => Standing::Stuck,
            Some(HealthStatus::Starting | HealthStatus::Unhealthy) => Standing::Closed,
        },
        Condition::Completed if is_running => Standing::Closed,
        // It has been tried since, and has failed.
        Condition::Completed if is_optional && !is_coming && code != Some(0) => Standing::Stuck,
        _ if is_coming || matches!(record.state, State::Restarting { .. }) => Standing::Closed,
        Condition::Completed if code == Some(0) => Standing::Open,
        _ => Standing::Stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compose_writes_is_read() {
        let gates = declared(
            "shop",
            "db:service_healthy:false,jobs:service_completed_successfully:false,cache",
            "jobs,other",
        );
        let told: Vec<String> = gates.iter().map(Gate::to_string).collect();
        assert_eq!(
            told,
            [
                "service db to be healthy",
                "service jobs to complete",
                "service cache to be started"
            ]
        );
        let optional: Vec<bool> = gates.iter().map(|gate| gate.is_optional).collect();
        assert_eq!(optional, [false, true, false]);
        let read: Vec<(&str, Condition)> = gates
            .iter()
            .filter_map(|gate| match &gate.whom {
                Whom::Service { service, .. } => Some((service.as_str(), gate.condition)),
                Whom::Container(_) => None,
            })
            .collect();
        assert_eq!(
            read,
            [
                ("db", Condition::Healthy),
                ("jobs", Condition::Completed),
                ("cache", Condition::Started)
            ]
        );
        assert_eq!(declared("shop", "", ""), []);
    }
}
