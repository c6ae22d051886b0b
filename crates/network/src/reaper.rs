//! The background thread: takes endpoints away whose containers have ended, deletes networks' bridges,
//! and keeps sandboxes ready. Removing a link takes the kernel tens of milliseconds, so nobody waits
//! for it; mostly it dies by itself with its sandbox. An address is free again only when its link has
//! gone.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hull_sys::{
    idmap::Mappings,
    netlink::{
        conntrack,
        route::{self, Route},
    },
};

use crate::{Config, Endpoint, Error, Sandbox, state::State};

/// How long a link may live on before it is removed by force.
const GRACE: Duration = Duration::from_millis(400);
/// So many links may wait to be deleted.
const WAITING_MAX: usize = 8;
/// How often leaving links are looked at.
const INTERVAL: Duration = Duration::from_millis(25);

#[derive(Debug)]
pub(crate) struct Reaper {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    ready: Arc<Mutex<VecDeque<Sandbox>>>,
    /// Links that wait to be deleted.
    waiting: Arc<AtomicUsize>,
    /// Endpoints whose addresses are on their way back.
    leaving: Arc<AtomicUsize>,
}

enum Job {
    Leave(Box<Endpoint>),
    Remove(Box<Endpoint>),
    RemoveBridge(u32),
    Refill,
}

impl Reaper {
    /// Starts the thread in the caller's network namespace.
    pub(crate) fn start(state: Arc<Mutex<State>>, config: &Config) -> Result<Self, Error> {
        let route = Route::open().map_err(Error::kernel("watch leaving links"))?;
        let (jobs, inbox) = channel();
        let ready = Arc::new(Mutex::new(VecDeque::new()));
        let (waiting, leaving) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = Work {
            state,
            route,
            leaving: Vec::new(),
            bridges: Vec::new(),
            waiting: Arc::clone(&waiting),
            holding: Arc::clone(&leaving),
            ready: Arc::clone(&ready),
            sandboxes: config.ready_sandboxes,
            user_namespaces: config.user_namespaces.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("networks".to_owned())
            .spawn(move || work.run(&inbox))
            .map_err(Error::io("start the networks' thread"))?;
        let reaper = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            ready,
            waiting,
            leaving,
        };
        reaper.send(Job::Refill);
        Ok(reaper)
    }

    /// Takes an endpoint away, some time.
    pub(crate) fn leave(&self, endpoint: Endpoint) {
        self.leaving.fetch_add(1, Ordering::Relaxed);
        self.send(Job::Leave(Box::new(endpoint)));
    }

    /// Whether so many links wait to be deleted that another one had better be deleted by whoever is
    /// done with it: nobody makes them quicker than they go.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= WAITING_MAX
    }

    /// Whether addresses are on their way back.
    pub(crate) fn returns_addresses(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) > 0
    }

    /// Takes an endpoint away whose link lives on, at once.
    pub(crate) fn remove(&self, endpoint: Endpoint) {
        self.leaving.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.send(Job::Remove(Box::new(endpoint)));
    }

    /// Deletes a bridge of those that are leaving.
    pub(crate) fn remove_bridge(&self, index: u32) {
        self.send(Job::RemoveBridge(index));
    }

    /// A sandbox that is ready, if there is one.
    pub(crate) fn sandbox(&self) -> Option<Sandbox> {
        let sandbox = self
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        if sandbox.is_some() {
            self.send(Job::Refill);
        }
        sandbox
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this side has hung up.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    state: Arc<Mutex<State>>,
    route: Route,
    leaving: Vec<(Endpoint, Instant)>,
    waiting: Arc<AtomicUsize>,
    holding: Arc<AtomicUsize>,
    /// Bridges that could not be deleted yet.
    bridges: Vec<(u32, Instant)>,
    ready: Arc<Mutex<VecDeque<Sandbox>>>,
    sandboxes: usize,
    user_namespaces: Option<Mappings>,
}

impl Work {
    fn run(mut self, inbox: &Receiver<Job>) {
        loop {
            let job = if self.leaving.is_empty() && self.bridges.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(INTERVAL)
            };
            match job {
                Ok(Job::Leave(endpoint)) => self.leaving.push((*endpoint, Instant::now() + GRACE)),
                Ok(Job::Remove(endpoint)) => {
                    self.leaving.push((*endpoint, Instant::now()));
                    self.look(false);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Ok(Job::RemoveBridge(index)) => {
                    self.bridges.push((index, Instant::now()));
                    self.delete_bridges(false);
                }
                Ok(Job::Refill) => self.refill(),
                Err(RecvTimeoutError::Timeout) => {
                    self.look(false);
                    self.delete_bridges(false);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.look(true);
                    self.delete_bridges(true);
                    return;
                }
            }
        }
    }

    fn refill(&self) {
        loop {
            let count = self
                .ready
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len();
            if count >= self.sandboxes {
                return;
            }
            match Sandbox::for_options(self.user_namespaces.as_ref()) {
                Ok(sandbox) => {
                    self.ready
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_back(sandbox);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot keep a sandbox ready");
                    return;
                }
            }
        }
    }

    fn look(&mut self, at_once: bool) {
        for (endpoint, deadline) in std::mem::take(&mut self.leaving) {
            match self.is_gone(&endpoint, at_once || Instant::now() >= deadline) {
                Ok(true) => self.release(&endpoint),
                Ok(false) => self.leaving.push((endpoint, deadline)),
                Err(error) => {
                    tracing::warn!(link = endpoint.host_interface, %error, "cannot remove link");
                    self.leaving.push((endpoint, Instant::now() + GRACE));
                }
            }
        }
    }

    fn delete_bridges(&mut self, at_once: bool) {
        for (index, not_before) in std::mem::take(&mut self.bridges) {
            if !at_once && Instant::now() < not_before {
                self.bridges.push((index, not_before));
                continue;
            }
            match self.route.apply(&[route::delete_link(index)]) {
                Err(error) if !error.is_not_found() => {
                    tracing::warn!(link = index, %error, "cannot remove bridge");
                    self.bridges.push((index, Instant::now() + GRACE));
                }
                _ => {
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.leaving_bridges.remove(&index);
                }
            }
        }
    }

    fn is_gone(&mut self, endpoint: &Endpoint, force: bool) -> Result<bool, Error> {
        // Nothing of it is on the host.
        if endpoint.host_interface.is_empty() {
            return Ok(true);
        }
        let failed = || Error::kernel(format!("remove link {}", endpoint.host_interface));
        let link = self
            .route
            .link(&endpoint.host_interface)
            .map_err(failed())?;
        // Of one whose making broke off, the number is not known; its name is nobody else's.
        let is_its = |link: &route::Link| [0, link.index].contains(&endpoint.host_index);
        let Some(link) = link.filter(is_its) else {
            return Ok(true);
        };
        if !force {
            return Ok(false);
        }
        match self.route.apply(&[route::delete_link(link.index)]) {
            Err(error) if !error.is_not_found() => Err(failed()(error)),
            _ => Ok(true),
        }
    }

    fn release(&self, endpoint: &Endpoint) {
        for address in endpoint.addresses() {
            if let Err(error) = conntrack::forget_answers_of(address) {
                tracing::debug!(%address, %error, "cannot forget connections");
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(network) = state.networks.get_mut(&endpoint.network_id) {
            endpoint
                .addresses()
                .for_each(|address| network.release(address));
        }
        drop(state);
        self.holding.fetch_sub(1, Ordering::Relaxed);
    }
}
