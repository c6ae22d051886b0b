//! Replacing containers that run as their service wants it: so many at a time, the new one before the
//! old one stops or after it, each watched for a while, and with a way back.
//!
//! An old container stays, stopped and under another name, until all of its service are replaced:
//!
//! ```text
//! web-1 (old)            → web-1.before → removed when all is well
//!                                       → web-1 again, and started, should it come back
//! web-1.new (new)        → web-1
//! ```
//! A run that is broken off leaves two containers of one number; the next `up` keeps the one that has
//! the name, and removes the other (`plan`).

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::condition::{PAUSE_MAX, PAUSE_MIN, full, health};
use super::graph::{self, Order};
use super::up::Ground;
use super::{ApplyError, Engine, Named, Result};
use crate::model::{Manner, OnFailure, Service};
use crate::plan::container::{self, Making};
use crate::plan::state::{Container, State};
use crate::plan::{PASSING_NEW, PASSING_OLD};

/// A container that has taken another one's place.
struct Exchanged<'c> {
    old: &'c Container,
    /// The id of the new one.
    new: String,
    /// The name both want.
    name: String,
}

/// Why a container was not replaced well.
struct Failure<'c> {
    error: ApplyError,
    /// The new one stands in the old one's place all the same.
    exchanged: Option<Exchanged<'c>>,
}

impl From<ApplyError> for Failure<'_> {
    fn from(error: ApplyError) -> Self {
        Self {
            error,
            exchanged: None,
        }
    }
}

/// How a service is updated.
#[derive(Clone, Copy)]
struct Update<'u> {
    service: &'u Service,
    manner: &'u Manner,
    ground: Ground<'u>,
}

impl Engine<'_> {
    /// Replaces containers of a service.
    ///
    /// # Errors
    /// More of the new ones failed than may, and what was done about it.
    pub(super) async fn update(
        &self,
        service: &Service,
        olds: &[&Container],
        manner: &Manner,
        ground: Ground<'_>,
    ) -> Result<()> {
        let manner = &self.possible(service, manner);
        let update = Update {
            service,
            manner,
            ground,
        };
        if self.client.is_rehearsal() {
            for old in olds {
                let what = format!("Container {}", old.name());
                self.working(&what, "Updating");
                self.done(&what, "Updated");
            }
            return Ok(());
        }
        self.bring_up_before(service).await?;
        self.run_pre_start(service, None).await?;
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        for (number, batch) in olds.chunks(manner.batch(olds.len())).enumerate() {
            if number > 0 {
                tokio::time::sleep(manner.delay).await;
            }
            for result in join_all(batch.iter().map(|old| self.exchange(update, old))).await {
                match result {
                    Ok(exchanged) => done.push(exchanged),
                    Err(failure) => {
                        done.extend(failure.exchanged);
                        failures.push(full(&failure.error));
                    }
                }
            }
            if manner.is_broken_by(failures.len(), olds.len())
                && manner.on_failure != OnFailure::Continue
            {
                return self
                    .break_off(update, &done, &failures.join("; "), olds.len())
                    .await;
            }
        }
        self.let_go(&done).await?;
        if failures.is_empty() {
            return Ok(());
        }
        let why = failures.join("; ");
        if manner.is_broken_by(failures.len(), olds.len()) {
            let stay = self.unreplaced(olds).await?;
            let stay = match stay.is_empty() {
                true => "all are replaced".to_owned(),
                false => format!("what was before stays in {}", stay.join(", ")),
            };
            let others = match failures.len() < olds.len() {
                true => ", and the others were all the same",
                false => "",
            };
            let message = format!(
                "{} of {} were not updated well{others}; {stay}: {why}",
                failures.len(),
                olds.len()
            );
            let mut unwell = self.notes.unwell.borrow_mut();
            unwell.push(failed(service, message).to_string());
            return Ok(());
        }
        let name = &service.name;
        self.report
            .warn(&format!("service {name} is updated all the same: {why}"));
        Ok(())
    }

    /// Those of the old containers that are still there, by name.
    async fn unreplaced(&self, olds: &[&Container]) -> Result<Vec<String>> {
        let now = super::containers(self.client, &self.project.name).await?;
        // The engine's order is of when they were made, which may be one and the same moment.
        let named = |old: &&Container| now.iter().find(|one| one.id() == old.id());
        let stay = olds.iter().filter_map(named);
        Ok(stay.map(|one| one.name().to_owned()).collect())
    }

    /// The manner as it can be had: a port of the host has one container at a time.
    fn possible(&self, service: &Service, manner: &Manner) -> Manner {
        let mut manner = manner.clone();
        if let Some(port) = service.fixed_port().filter(|_| manner.starts_first) {
            self.report.warn(&format!(
                "{}: services.{}: only one container can have the port {port} of the host, so the old one stops before the new one starts",
                service.place_of("ports"), service.name
            ));
            manner.starts_first = false;
        }
        if let Some(address) = service.fixed_address().filter(|_| manner.starts_first) {
            self.report.warn(&format!(
                "{}: services.{}: only one container can have the address {address}, so the old one stops before the new one starts",
                service.place_of("networks"), service.name
            ));
            manner.starts_first = false;
        }
        manner
    }

    /// What a service stands on runs before its new containers start.
    async fn bring_up_before(&self, service: &Service) -> Result<()> {
        let mut needed: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = service.depends_on.keys().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if needed.insert(name)
                && let Some(other) = self.project.services.get(name)
            {
                open.extend(other.depends_on.keys().map(String::as_str));
            }
        }
        if needed.is_empty() {
            return Ok(());
        }
        // Two services that are updated at a time may stand on the same.
        let _one_at_a_time = self.bringing.lock().await;
        let state = State {
            containers: super::containers(self.client, &self.project.name).await?,
            ..State::default()
        };
        // What has run to its end runs again when all is started, and only then.
        let gates = crate::plan::gates(self.project);
        let is_done = |name: &str| {
            let mut own = state.of_service(name).into_iter();
            gates.contains(name) && own.all(|container| container.exit_code() == Some(0))
        };
        let mut before = graph::of_project(self.project, Order::DependenciesFirst);
        before.retain(|name, _| needed.contains(name.as_str()) && !is_done(name));
        for open in before.values_mut() {
            open.retain(|name| !is_done(name));
        }
        let ran: Vec<String> = before
            .keys()
            .filter(|name| gates.contains(name.as_str()))
            .cloned()
            .collect();
        self.start_some(before, &state).await?;
        self.wait_for_all(service).await?;
        self.notes.ran.borrow_mut().extend(ran);
        Ok(())
    }

    /// Too many have failed: the rest stays as it is, or all come back.
    async fn break_off(
        &self,
        update: Update<'_>,
        done: &[Exchanged<'_>],
        why: &str,
        count: usize,
    ) -> Result<()> {
        let what = match update.manner.on_failure {
            OnFailure::RollBack => {
                let back = self.roll_back(update.service, done).await;
                let back = back.map_err(|error| {
                    let error = full(&error);
                    format!("its update failed ({why}), and the way back, too: {error}")
                });
                if let Err(message) = back {
                    let kept = self.unreplaced(&olds(done)).await.unwrap_or_default();
                    let kept = match kept.is_empty() {
                        true => "nothing of what was before is left".to_owned(),
                        false => format!("of what was before there is {}", kept.join(", ")),
                    };
                    return Err(failed(update.service, format!("{message}; {kept}")));
                }
                "failed, and what was before is back".to_owned()
            }
            OnFailure::Pause | OnFailure::Continue => {
                if let Err(error) = self.let_go(done).await {
                    self.report.warn(&full(&error));
                }
                format!("stopped with {} of {count} replaced", done.len())
            }
        };
        Err(failed(update.service, format!("its update {what}: {why}")))
    }

    async fn exchange<'c>(
        &self,
        update: Update<'_>,
        old: &'c Container,
    ) -> std::result::Result<Exchanged<'c>, Failure<'c>> {
        let name = container::name(&self.project.name, update.service, old.number());
        let what = format!("Container {name}");
        self.working(&what, "Updating");
        let exchanged = Exchanged {
            old,
            new: self.make_beside(update, old, &name).await?,
            name,
        };
        let result = match update.manner.starts_first {
            true => self.start_first(update, exchanged).await,
            false => self.stop_first(update, exchanged).await,
        };
        match result {
            Ok(exchanged) => {
                self.done(&what, "Updated");
                Ok(exchanged)
            }
            Err(failure) => self
                .told(&what, "", Err(failure.error))
                .map_err(|error| Failure {
                    error,
                    exchanged: failure.exchanged,
                }),
        }
    }

    /// Makes the new container under another name: a mistake leaves the old one alone.
    async fn make_beside(&self, update: Update<'_>, old: &Container, name: &str) -> Result<String> {
        let ground = update.ground;
        let making = self.making(update.service, ground.state, old.number(), ground.known);
        let making = Making {
            inherited: match ground.options.wishes.renew_volumes {
                true => &[],
                false => &old.summary.mounts,
            },
            replaces: Some(old.name()),
            ..making
        };
        self.make(update.service, &beside(name), &making).await
    }

    async fn start_first<'c>(
        &self,
        update: Update<'_>,
        exchanged: Exchanged<'c>,
    ) -> std::result::Result<Exchanged<'c>, Failure<'c>> {
        let service = update.service;
        let begun = async {
            self.begin(service, &exchanged, update.manner.monitor)
                .await?;
            self.take_names(&exchanged).await
        };
        if let Err(error) = begun.await {
            // The old one goes on as if nothing had been.
            self.withdraw(&exchanged.new).await;
            return Err(error.into());
        }
        let timeout_s = update.ground.options.timeout_s;
        match self
            .stop_with_hooks(service, exchanged.old, timeout_s)
            .await
        {
            Ok(()) => Ok(exchanged),
            Err(error) => Err(Failure {
                error,
                exchanged: Some(exchanged),
            }),
        }
    }

    async fn stop_first<'c>(
        &self,
        update: Update<'_>,
        exchanged: Exchanged<'c>,
    ) -> std::result::Result<Exchanged<'c>, Failure<'c>> {
        let service = update.service;
        let timeout_s = update.ground.options.timeout_s;
        let stopped = self.stop_with_hooks(service, exchanged.old, timeout_s);
        if let Err(error) = stopped.await {
            self.withdraw(&exchanged.new).await;
            return Err(error.into());
        }
        if let Err(error) = self.take_names(&exchanged).await {
            self.withdraw(&exchanged.new).await;
            _ = self.client.container_start(exchanged.old.id()).await;
            return Err(error.into());
        }
        match self.begin(service, &exchanged, update.manner.monitor).await {
            Ok(()) => Ok(exchanged),
            Err(error) => Err(Failure {
                error,
                exchanged: Some(exchanged),
            }),
        }
    }

    /// Starts the new container and sees whether it is well.
    async fn begin(
        &self,
        service: &Service,
        exchanged: &Exchanged<'_>,
        monitor: Duration,
    ) -> Result<()> {
        let (id, name) = (&exchanged.new, &exchanged.name);
        self.run_pre_start(service, Some(name)).await?;
        self.start_with_hooks(service, id, name).await?;
        let result = self.watch(id, name, monitor).await;
        if result.is_err() {
            self.tell_last_words(id, name).await;
        }
        result
    }

    /// Waits until a container is healthy where that is checked, and has gone on for a while.
    async fn watch(&self, id: &str, name: &str, monitor: Duration) -> Result<()> {
        let until = Instant::now() + monitor;
        let mut pause = PAUSE_MIN;
        loop {
            let found = self.client.container(id).await;
            let found = found.named("look at the container", name)?;
            if found.restart_count > 0 || found.state.restarting {
                let code = found.state.exit_code;
                let message = format!("container {name} exited ({code}) and is started again");
                return Err(ApplyError::Other(message));
            }
            match health(&found.state, false) {
                Some(Err(message)) => {
                    return Err(ApplyError::Other(format!("container {name} {message}")));
                }
                Some(Ok(())) if Instant::now() >= until => return Ok(()),
                Some(Ok(())) | None => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The new container gets the name, the old one another.
    async fn take_names(&self, exchanged: &Exchanged<'_>) -> Result<()> {
        let (old, name) = (exchanged.old, &exchanged.name);
        self.rename(old.id(), name, &before(name)).await?;
        let renamed = self.rename(&exchanged.new, &beside(name), name).await;
        if renamed.is_err() {
            _ = self.client.container_rename(old.id(), name).await;
        }
        renamed
    }

    async fn rename(&self, id: &str, from: &str, to: &str) -> Result<()> {
        let renamed = self.client.container_rename(id, to).await;
        renamed.named("rename the container", from)
    }

    /// Removes a new container that is not wanted after all.
    async fn withdraw(&self, id: &str) {
        _ = self.client.container_remove(id, true, false, false).await;
    }

    /// Removes the old containers: nobody wants them back.
    async fn let_go(&self, done: &[Exchanged<'_>]) -> Result<()> {
        graph::each(done, self.parallel, |exchanged| async move {
            let removed = self
                .client
                .container_remove(exchanged.old.id(), true, false, false)
                .await;
            match removed {
                Err(error) if error.is_not_found() => Ok(()),
                other => other.named("remove the container", &before(&exchanged.name)),
            }
        })
        .await
    }

    /// Brings the old containers back, as the service says.
    async fn roll_back(&self, service: &Service, done: &[Exchanged<'_>]) -> Result<()> {
        let manner = self.possible(service, &service.way_back());
        let mut failures = Vec::new();
        for (number, batch) in done.chunks(manner.batch(done.len())).enumerate() {
            if number > 0 {
                tokio::time::sleep(manner.delay).await;
            }
            let back = batch.iter().map(|one| self.put_back(service, one, &manner));
            let results = join_all(back).await;
            failures.extend(results.into_iter().filter_map(Result::err));
            if manner.is_broken_by(failures.len(), done.len())
                && manner.on_failure != OnFailure::Continue
            {
                break;
            }
        }
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    async fn put_back(
        &self,
        service: &Service,
        exchanged: &Exchanged<'_>,
        manner: &Manner,
    ) -> Result<()> {
        let (old, name) = (exchanged.old, &exchanged.name);
        let what = format!("Container {name}");
        self.working(&what, "Rolling back");
        let back = async {
            if manner.starts_first {
                self.start_with_hooks(service, old.id(), name).await?;
                self.watch(old.id(), name, manner.monitor).await?;
            }
            let mut new = old.clone();
            new.summary.id.clone_from(&exchanged.new);
            self.order_stop(&new, None).await?;
            let removed = self
                .client
                .container_remove(&exchanged.new, true, false, false)
                .await;
            removed.named("remove the container", name)?;
            self.rename(old.id(), &before(name), name).await?;
            if !manner.starts_first {
                self.start_with_hooks(service, old.id(), name).await?;
                self.watch(old.id(), name, manner.monitor).await?;
            }
            Ok(())
        };
        let result = back.await;
        self.told(&what, "Rolled back", result)
    }
}

fn olds<'c>(done: &[Exchanged<'c>]) -> Vec<&'c Container> {
    done.iter().map(|exchanged| exchanged.old).collect()
}

/// What a new container is called until it has the name of the old one. Docker's Compose has a name of its own
/// for that, and fails where it is taken: should this be broken off, that one goes on all the same.
pub(super) fn beside(name: &str) -> String {
    format!("{name}{PASSING_NEW}")
}

/// What an old container is called from then on.
fn before(name: &str) -> String {
    format!("{name}{PASSING_OLD}")
}

fn failed(service: &Service, message: String) -> ApplyError {
    ApplyError::Service {
        service: service.name.clone(),
        message,
    }
}
