//! The one owner of a container.
//!
//! A task per container takes orders from verbs and events from the container's shim, one after the
//! other, decides with [`state`](crate::state), stores the record and publishes a view of it. Verbs
//! that only read take the view and never wait. What takes long (a grace period, a client's stream)
//! is the verb's own business: no order here waits for a workload.

mod change;
mod networks;
mod removal;
mod shim_said;

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use hull_network::Network;
use hull_shim::protocol::{Attach, Event, Exit, HealthState, HealthStatus, Request, Target};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    container::{
        exec::{Exec, ExecPhase},
        publish::Bindings,
        start,
    },
    error::{Error, Result},
    events::Subject,
    logs::forward::Forwarding,
    model::{ContainerId, EndpointConfig, ExecId, Name, Resources, RestartPolicy},
    record::Record,
    services::Services,
    shim::{EventStream, ShimLink},
    state::{Command, Refusal, StartFailure, State, backoff},
    volume::Volume,
};

/// Orders that wait in line for one container; more make their callers wait.
const ORDERS_WAITING_MAX: usize = 64;

/// The pause between two tries to reach a shim that does not answer.
const SILENCE: Duration = Duration::from_secs(1);

/// How the rest of the engine sees a container.
#[derive(Debug)]
pub struct Handle {
    /// Its id.
    pub id: ContainerId,
    orders: mpsc::Sender<Order>,
    view: ArcSwap<Record>,
    lifecycle: watch::Receiver<Lifecycle>,
    execs: Mutex<BTreeMap<ExecId, Exec>>,
    /// Somebody wants it stopped whom the daemon was about to start.
    pub(crate) called_off: AtomicBool,
}

/// What waiters wait for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// Init exists.
    pub running: bool,
    /// How often it ended.
    pub exits: u64,
    /// How it last ended.
    pub code: i32,
    /// It is gone.
    pub removed: bool,
}

/// Why a signal is sent, which decides what follows the exit it may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Just a signal.
    Signal,
    /// The container shall stop and stay so.
    Stop,
    /// The container shall stop, and the caller starts it again.
    Restart,
}

/// A place for the streams of a process that may start later.
pub type AttachTicket = oneshot::Receiver<std::os::unix::net::UnixStream>;

/// What the owner can be asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    Start(Reply<()>),
    /// What waits to start again does so now.
    StartAgain(Reply<()>),
    /// What was ended for its bad health starts again: a restart that counts as one.
    Revive(Reply<()>),
    Signal {
        signal: i32,
        intent: Intent,
        reply: Reply<()>,
    },
    Freeze {
        frozen: bool,
        reply: Reply<()>,
    },
    Resize {
        rows: u16,
        columns: u16,
        reply: Reply<()>,
    },
    Rename {
        name: Name,
        reply: Reply<()>,
    },
    /// A volume it has got another name.
    VolumeRenamed {
        volume: Arc<Volume>,
        reply: Reply<()>,
    },
    StandOn {
        lower: Vec<std::path::PathBuf>,
        reply: Reply<()>,
    },
    Update {
        resources: Box<Resources>,
        policy: Option<RestartPolicy>,
        reply: Reply<()>,
    },
    Remove {
        force: bool,
        volumes: bool,
        reply: Reply<()>,
    },
    Attach {
        attach: Attach,
        reply: Reply<AttachTicket>,
    },
    Connect {
        network: Box<Network>,
        config: Box<EndpointConfig>,
        reply: Reply<()>,
    },
    Disconnect {
        network: Box<Network>,
        reply: Reply<()>,
    },
    ChangePorts {
        /// What is published from now on, and what is not.
        change: Box<(Bindings, Bindings)>,
        reply: Reply<()>,
    },
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

impl Handle {
    /// The container as it is now.
    pub fn record(&self) -> Arc<Record> {
        self.view.load_full()
    }

    /// Follows its life.
    pub fn lifecycle(&self) -> watch::Receiver<Lifecycle> {
        self.lifecycle.clone()
    }

    /// Its exec sessions.
    pub(crate) fn execs(&self) -> MutexGuard<'_, BTreeMap<ExecId, Exec>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives an order and waits for its outcome.
    pub(crate) async fn order<T>(&self, make: impl FnOnce(Reply<T>) -> Order) -> Result<T> {
        let (reply, outcome) = oneshot::channel();
        let gone = || Error::NoSuchContainer(self.id.to_string());
        self.orders.send(make(reply)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

/// The task's state.
struct Actor {
    services: Arc<Services>,
    handle: Arc<Handle>,
    record: Record,
    orders: mpsc::Receiver<Order>,
    lifecycle: watch::Sender<Lifecycle>,
    /// The shim's events, while there is a shim.
    events: Option<EventStream>,
    /// The log's way to a collector, if it has one.
    forwarding: Option<Forwarding>,
    /// When there is something to do by itself: a restart in state `Restarting`, another try to
    /// reach a silent shim while it runs.
    wake_at: Option<Instant>,
    /// How many restarts in a row came soon after the one before.
    backoff_step: u32,
    /// Streams promised to clients that attached before the start.
    waiting_attaches: Vec<(Attach, oneshot::Sender<std::os::unix::net::UnixStream>)>,
    /// What the last signal was meant to do.
    intent: Intent,
    /// The earlier daemon knew it to be unhealthy, and may not have acted on that.
    owes_action: bool,
    /// A removal that waits for the exit: whether volumes go too, and who asked.
    removal: Option<(bool, Reply<()>)>,
    gone: bool,
}

/// Starts the owner of a container. `events`: its shim's, if it runs already.
pub(crate) fn launch(
    services: &Arc<Services>,
    record: Record,
    events: Option<EventStream>,
) -> Arc<Handle> {
    let (orders, inbox) = mpsc::channel(ORDERS_WAITING_MAX);
    let lifecycle = Lifecycle {
        running: record.state.is_running(),
        code: record.state.exit().map_or(0, |exit| exit.code),
        ..Lifecycle::default()
    };
    let lifecycle = watch::Sender::new(lifecycle);
    let handle = Arc::new(Handle {
        id: record.id.clone(),
        orders,
        view: ArcSwap::from_pointee(record.clone()),
        lifecycle: lifecycle.subscribe(),
        execs: Mutex::default(),
        called_off: AtomicBool::default(),
    });
    services.registry.insert(Arc::clone(&handle));
    let actor = Actor {
        services: Arc::clone(services),
        handle: Arc::clone(&handle),
        forwarding: Forwarding::begin(services, &record),
        record,
        orders: inbox,
        lifecycle,
        events,
        wake_at: None,
        backoff_step: 0,
        waiting_attaches: Vec::new(),
        intent: Intent::Signal,
        owes_action: false,
        removal: None,
        gone: false,
    };
    tokio::spawn(actor.run());
    handle
}

impl Actor {
    async fn run(mut self) {
        self.resume();
        while !self.gone {
            let wake_at = self.wake_at;
            let due = async move {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                event = next_event(&mut self.events) => self.shim_said(event).await,
                order = self.orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    None => return,
                },
                () = due => self.wake().await,
            }
        }
    }

    /// After a daemon's restart: what was due is due at once, but for a restart, which is
    /// [ordered](crate::order) when what it waits for is there.
    fn resume(&mut self) {
        if !self.record.state.is_running() {
            return;
        }
        if self.events.is_none() {
            self.wake_at = Some(Instant::now());
        }
        let health = self.record.health.as_ref().map(|health| health.status);
        // Who was about to act on it is gone; whether it still is so, its shim says first of all.
        self.owes_action = health == Some(HealthStatus::Unhealthy);
    }

    async fn wake(&mut self) {
        self.wake_at = None;
        match self.record.state {
            State::Running(_) | State::Paused(_) => self.shim_vanished().await,
            State::Restarting { .. } => self.restart().await,
            _ => {}
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Start(reply) => {
                let outcome = self.start_asked().await;
                let _ = reply.send(outcome);
            }
            Order::StartAgain(reply) => self.start_again(reply).await,
            Order::Revive(reply) => self.revive(reply).await,
            Order::Signal {
                signal,
                intent,
                reply,
            } => {
                let outcome = self.signal(signal, intent).await;
                let _ = reply.send(outcome);
            }
            Order::Freeze { frozen, reply } => {
                let outcome = self.freeze(frozen).await;
                let _ = reply.send(outcome);
            }
            Order::Resize {
                rows,
                columns,
                reply,
            } => {
                let _ = reply.send(self.resize(rows, columns).await);
            }
            Order::Rename { name, reply } => {
                let _ = reply.send(self.rename(name));
            }
            Order::VolumeRenamed { volume, reply } => {
                self.volume_renamed(&volume);
                let _ = reply.send(Ok(()));
            }
            Order::StandOn { lower, reply } => {
                let _ = reply.send(self.stand_on(lower));
            }
            Order::Update {
                resources,
                policy,
                reply,
            } => {
                let _ = reply.send(self.update(*resources, policy).await);
            }
            Order::Remove {
                force,
                volumes,
                reply,
            } => self.remove(force, volumes, reply).await,
            Order::Attach { attach, reply } => {
                let outcome = self.attach(attach).await;
                let _ = reply.send(outcome);
            }
            Order::Connect {
                network,
                config,
                reply,
            } => {
                let _ = reply.send(self.connect(*network, *config).await);
            }
            Order::ChangePorts { change, reply } => {
                let (add, remove) = *change;
                let _ = reply.send(self.change_ports(add, remove).await);
            }
            Order::Disconnect { network, reply } => {
                let _ = reply.send(self.disconnect(*network).await);
            }
        }
    }

    // ---- start ---------------------------------------------------------------------------------

    async fn start_asked(&mut self) -> Result<()> {
        self.permitted(Command::Start)?;
        let due = self.wake_at.take();
        self.record.restarts = 0;
        self.backoff_step = 0;
        self.record.asked_to_stop = false;
        let outcome = self.start().await;
        if outcome.is_err() && matches!(self.record.state, State::Restarting { .. }) {
            // Nothing came of it: its policy goes on.
            self.wake_at = due;
        }
        outcome
    }

    /// The daemon ended it: it is counted like any other restart, and tried again if the host is what is wrong.
    async fn revive(&mut self, reply: Reply<()>) {
        let outcome = match self.permitted(Command::Start) {
            // Somebody stopped it meanwhile: that wish stands.
            Ok(()) if self.record.asked_to_stop => Err(self.refused(Refusal::NotRunning)),
            Ok(()) => {
                self.wake_at = None;
                if let State::Exited { exit, .. } = &self.record.state {
                    self.record.state = State::Restarting {
                        started_at_ns: exit.started_at_ns,
                        exit: exit.clone(),
                    };
                    self.save();
                }
                self.restart().await;
                match self.record.state.is_running() {
                    true => Ok(()),
                    false => Err(self.refused(Refusal::NotRunning)),
                }
            }
            Err(refused) => Err(refused),
        };
        let _ = reply.send(outcome);
    }

    /// What it waited for is there.
    async fn start_again(&mut self, reply: Reply<()>) {
        if matches!(self.record.state, State::Restarting { .. }) {
            self.wake_at = None;
            self.restart().await;
        }
        let _ = reply.send(Ok(()));
    }

    async fn restart(&mut self) {
        self.record.restarts += 1;
        self.backoff_step += 1;
        let before = self.record.state.clone();
        let Err(error) = self.start().await else {
            return;
        };
        tracing::warn!(container = %self.record.id.short(), %error, "cannot start again");
        // What is wrong with the container stays wrong; what is wrong with the host may pass.
        let is_final = matches!(
            error,
            Error::Start {
                code: 126 | 127,
                ..
            }
        );
        let has_tries = match self.record.host.restart_policy {
            RestartPolicy::No => false,
            RestartPolicy::OnFailure { retries_max } => {
                retries_max == 0 || self.record.restarts < retries_max
            }
            RestartPolicy::Always | RestartPolicy::UnlessStopped | RestartPolicy::OnUnhealthy => {
                true
            }
        };
        // Who copies files just now is no failure of the container's: nothing was tried.
        let is_untried = matches!(self.record.state, State::Restarting { .. });
        let has_more = !is_final && has_tries && !self.gone && !self.record.asked_to_stop;
        if is_untried || has_more {
            self.record.state = before;
            self.save();
            self.wake_at = Some(Instant::now() + backoff(self.backoff_step));
        }
    }

    async fn start(&mut self) -> Result<()> {
        self.intent = Intent::Signal;
        // Who copies files just now is no failure of the container's.
        let (claims, record) = (Arc::clone(&self.services.claims), self.record.clone());
        let claim = tokio::task::spawn_blocking(move || claims.take(&record))
            .await
            .unwrap_or_else(|panic| Err(Error::Internal(panic.to_string())))?;
        let attaches = std::mem::take(&mut self.waiting_attaches);
        self.record.cgroup = self.services.next_cgroup_path(&self.record);
        let job = start::Job {
            services: Arc::clone(&self.services),
            record: self.record.clone(),
            attaches,
            claim,
        };
        let outcome = match tokio::task::spawn_blocking(move || job.run()).await {
            Ok(outcome) => outcome,
            Err(panic) => Err(start::Failed::internal(format!(
                "the start broke off: {panic}"
            ))),
        };
        match outcome {
            Ok(started) => {
                // It runs, whatever happens here: if it cannot be followed yet, that is tried again.
                self.events = EventStream::new(started.events)
                    .inspect_err(|error| tracing::warn!(%error, "cannot follow a shim yet"))
                    .ok();
                self.wake_at = self.events.is_none().then(|| Instant::now() + SILENCE);
                self.record.endpoints = started.endpoints;
                self.record.published = started.published;
                // Who looks before the first probe must find that there will be one.
                self.record.health = started.has_probe.then(unknown_health);
                if let State::Exited { exit, .. } | State::Restarting { exit, .. } =
                    &self.record.state
                {
                    self.record.last_end_ns = exit.finished_at_ns;
                }
                self.record.state = State::Running(started.run);
                self.save();
                drop(started.claim);
                self.services.say_volumes("mount", &self.record);
                self.services
                    .say_attachments("connect", &self.record.endpoints);
                self.say("start", BTreeMap::new());
                self.lifecycle.send_modify(|life| life.running = true);
                Ok(())
            }
            Err(failed) => Err(self.start_failed(failed)),
        }
    }

    fn start_failed(&mut self, failed: start::Failed) -> Error {
        let failure = StartFailure {
            code: failed.code,
            message: failed.message.clone(),
        };
        self.record.state = self.record.state.after_failed_start(failure);
        self.save();
        let code = failed.code;
        // No exit: it never ran. Who waits for one goes on waiting, as with Docker.
        self.lifecycle.send_modify(|life| {
            life.code = code;
            life.running = false;
        });
        if self.record.host.auto_remove {
            self.finish_removal(true);
        }
        Error::Start {
            code,
            message: failed.message,
        }
    }

    // ---- signals -------------------------------------------------------------------------------

    async fn signal(&mut self, signal: i32, intent: Intent) -> Result<()> {
        let command = if intent == Intent::Signal {
            Command::Kill
        } else {
            Command::Stop
        };
        let is_restarting = matches!(self.record.state, State::Restarting { .. });
        // As with Docker, who kills it while it waits for its restart calls that off.
        if is_restarting && (intent != Intent::Signal || self.means_stop(signal)) {
            self.cancel_restart(intent);
            return Ok(());
        }
        self.permitted(command)?;
        if intent != Intent::Signal {
            self.intent = intent;
        }
        // A restart is to end in a start, also if another daemon sees the end.
        if intent == Intent::Stop || (intent == Intent::Signal && self.means_stop(signal)) {
            self.ask_to_stop();
        }
        // A frozen process hears no signal (but, on cgroup v2, SIGKILL), so it is thawed: whatever
        // the record says, for nothing else ends it.
        if signal == libc::SIGKILL {
            let cgroup = self.services.cgroup_of(&self.record)?;
            if let Err(error) = self.services.block(move || cgroup.thaw()).await? {
                // Its cgroup goes before the news of its end comes.
                tracing::debug!(container = %self.record.id.short(), %error, "cannot thaw");
            }
        }
        let was_frozen = matches!(self.record.state, State::Paused(_));
        let request = Request::Signal {
            target: Target::Init,
            signal,
            all: false,
        };
        match self.link().ask(request).await {
            Ok(_) => {}
            // It ended by itself: the news of it is on its way.
            Err(Error::State(_)) if intent != Intent::Signal => return Ok(()),
            // A shim that is held up does not keep its container alive.
            Err(Error::Unavailable(_)) if signal == libc::SIGKILL => {
                let cgroup = self.services.cgroup_of(&self.record)?;
                self.services
                    .block(move || cgroup.signal_all(libc::SIGKILL))
                    .await??;
            }
            Err(error) => return Err(error),
        }
        let is_asked = intent != Intent::Signal || self.means_stop(signal);
        if was_frozen && is_asked && signal != libc::SIGKILL {
            self.freeze(false).await?;
        }
        let attributes = BTreeMap::from([("signal".to_owned(), signal.to_string())]);
        self.say("kill", attributes);
        Ok(())
    }

    /// The user's wish, which the restart policy respects.
    fn ask_to_stop(&mut self) {
        if !self.record.asked_to_stop {
            self.record.asked_to_stop = true;
            self.save();
        }
    }

    fn means_stop(&self, signal: i32) -> bool {
        signal == libc::SIGKILL || signal == libc::SIGTERM || signal == self.record.stop_signal()
    }

    fn cancel_restart(&mut self, intent: Intent) {
        self.record.asked_to_stop |= intent != Intent::Restart;
        if let State::Restarting { exit, .. } = &self.record.state {
            self.record.state = State::Exited {
                exit: exit.clone(),
                failure: None,
            };
            self.wake_at = None;
            self.save();
            self.say("stop", BTreeMap::new());
        }
    }

    async fn freeze(&mut self, frozen: bool) -> Result<()> {
        self.permitted(if frozen {
            Command::Pause
        } else {
            Command::Unpause
        })?;
        let cgroup = self.services.cgroup_of(&self.record)?;
        // No probe may start in a frozen container: its start would never end.
        if frozen {
            self.link().ask(Request::PauseHealth(true)).await?;
        }
        let changed = self
            .services
            .block(move || {
                if frozen {
                    cgroup.freeze()
                } else {
                    cgroup.thaw()
                }
            })
            .await?;
        if !frozen || changed.is_err() {
            self.link().ask(Request::PauseHealth(false)).await?;
        }
        changed?;
        if let Some(run) = self.record.state.run().cloned() {
            self.record.state = if frozen {
                State::Paused(run)
            } else {
                State::Running(run)
            };
            self.save();
            self.say(if frozen { "pause" } else { "unpause" }, BTreeMap::new());
        }
        Ok(())
    }

    // ---- attach --------------------------------------------------------------------------------

    async fn attach(&mut self, attach: Attach) -> Result<AttachTicket> {
        let (sender, ticket) = oneshot::channel();
        match &self.record.state {
            State::Removing { .. } => return Err(self.refused(Refusal::Removing)),
            State::Paused(_) => {
                let text = "You cannot attach to a paused container, unpause it first";
                return Err(Error::State(text.to_owned()));
            }
            State::Running(_) => {
                let _ = sender.send(self.link().attach(attach).await?);
            }
            State::Created { .. } | State::Exited { .. } | State::Restarting { .. } => {
                self.waiting_attaches
                    .retain(|(_, waiting)| !waiting.is_closed());
                self.waiting_attaches.push((attach, sender));
            }
        }
        self.say("attach", BTreeMap::new());
        Ok(ticket)
    }

    // ---- exec ----------------------------------------------------------------------------------

    fn exec_exited(&self, id: &str, exit: &Exit) {
        let Some(exec_id) = ExecId::parse(id) else {
            return;
        };
        if let Some(exec) = self.handle.execs().get_mut(&exec_id) {
            // A shim that lost us in the middle tells it again.
            if matches!(exec.phase, ExecPhase::Ended { .. }) {
                return;
            }
            exec.finish(exit.code);
        }
        self.say_exec("exec_die", id, Some(exit.code));
    }

    fn say_exec(&self, action: &str, id: &str, code: Option<i32>) {
        let mut attributes = BTreeMap::from([("execID".to_owned(), id.to_owned())]);
        if let Some(code) = code {
            attributes.insert("exitCode".to_owned(), code.to_string());
        }
        self.say(action, attributes);
    }

    /// Sessions that still ran ended with their container.
    fn forget_execs(&self) {
        for exec in self.handle.execs().values_mut() {
            exec.finish_with_container();
        }
    }

    // ---- common --------------------------------------------------------------------------------

    fn permitted(&self, command: Command) -> Result<()> {
        self.record
            .state
            .permits(command)
            .map_err(|refusal| self.refused(refusal))
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let id = &self.record.id;
        match refusal {
            Refusal::Already => Error::NotModified(format!("container {id} is so already")),
            Refusal::NotRunning => Error::State(format!("container {id} is not running")),
            Refusal::Paused => Error::State(format!(
                "container {id} is paused, unpause the container first"
            )),
            Refusal::NotPaused => Error::Internal(format!("container {id} is not paused")),
            Refusal::Restarting => Error::State(format!(
                "Container {id} is restarting, wait until the container is running"
            )),
            Refusal::Running => Error::State(format!("container {id} is running")),
            Refusal::Removing => Error::State(format!(
                "container {id} is marked for removal and cannot be used"
            )),
        }
    }

    fn link(&self) -> ShimLink {
        self.services.shim_of(&self.record.id)
    }

    /// Stores the record and shows it; says whether it is stored.
    fn save(&self) -> bool {
        let stored = self.services.save(&self.record);
        self.publish();
        stored
    }

    fn publish(&self) {
        self.handle.view.store(Arc::new(self.record.clone()));
    }

    fn say(&self, action: impl Into<String>, more: BTreeMap<String, String>) {
        let mut attributes = self.record.event_attributes();
        attributes.extend(more);
        let id = self.record.id.as_str();
        self.services
            .events
            .publish(Subject::Container, action, id, attributes);
    }
}

/// The health of a container that was not probed yet.
fn unknown_health() -> HealthState {
    HealthState {
        status: HealthStatus::Starting,
        failing_streak: 0,
        log: Vec::new(),
    }
}

async fn next_event(events: &mut Option<EventStream>) -> Option<Event> {
    match events {
        Some(stream) => stream.next().await,
        None => pending().await,
    }
}
