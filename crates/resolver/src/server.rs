//! The event loop: orders from the daemon, questions from sandboxes, replies from upstream, what
//! reaches relayed ports.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use hull_resolver::{
    cache::Cache,
    message::{self, Answer, Kind, Question},
    protocol::{Connection, MISSING_MAX, Order, Relay, Reply, VERSION},
    zone::{Reverse, Zones},
};
use rustix::event::{Timespec, epoll};

use crate::{
    forward::Forwarder,
    orphans,
    relay::{Arrival, Relays},
    stream::Streams,
};

/// How long it stays without a sandbox: a container that is made again finds it still there.
const LINGER: Duration = Duration::from_millis(500);

/// How often it is looked whether sandboxes still have processes while no daemon says so.
const LOOK: Duration = Duration::from_secs(2);

/// How often waiting questions are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Questions that one sandbox gets answered before others have their turn.
const TURN: usize = 64;

/// The largest question that is read.
const QUESTION_MAX: usize = 4096;

/// How many events one wait takes.
const EVENTS_MAX: usize = 64;

/// Whose a descriptor is.
#[derive(Debug, Clone)]
enum Source {
    Listener,
    Control,
    Questions(Arc<str>),
    Streams(Arc<str>),
    Relay(Arrival),
}

/// The resolver.
pub(crate) struct Server {
    epoll: OwnedFd,
    listener: (OwnedFd, PathBuf),
    control: Option<(u64, Connection)>,
    zones: Arc<RwLock<Zones>>,
    sandboxes: HashMap<Arc<str>, Held>,
    sources: HashMap<u64, Source>,
    forwarder: Forwarder,
    streams: Streams,
    relays: Relays,
    /// Numbers of descriptors; never used again.
    next_token: u64,
    /// Sandboxes and relays that were named without sockets, and are new.
    missing: Vec<String>,
    /// Since when there is nobody to serve.
    idle_since: Option<Instant>,
    /// When to look for what nobody uses any more: only while there is no daemon.
    next_look: Option<Instant>,
}

/// A sandbox's sockets.
pub(crate) struct Held {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
    pub(crate) namespace: Arc<OwnedFd>,
    tokens: [u64; 2],
    pub(crate) cache: Cache,
    /// The upstream server to ask first instead of the first, and how long.
    pub(crate) preferred: Option<(usize, Instant)>,
    /// Its connections at a time.
    pub(crate) streams: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn new(listener: (OwnedFd, PathBuf)) -> io::Result<Self> {
        let zones = Arc::new(RwLock::new(Zones::default()));
        let mut server = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            listener,
            control: None,
            streams: Streams::new(Arc::clone(&zones)),
            zones,
            sandboxes: HashMap::new(),
            sources: HashMap::new(),
            forwarder: Forwarder::new()?,
            relays: Relays::default(),
            next_token: 0,
            missing: Vec::new(),
            idle_since: Some(Instant::now()),
            next_look: None,
        };
        let token = server.token();
        add(&server.epoll, &server.listener.0, token)?;
        server.sources.insert(token, Source::Listener);
        Ok(server)
    }

    /// Listens to a daemon. An earlier one is gone, or should be.
    pub(crate) fn adopt(&mut self, connection: Connection) -> io::Result<()> {
        self.let_control_go();
        let token = self.token();
        add(&self.epoll, &connection, token)?;
        self.sources.insert(token, Source::Control);
        self.control = Some((token, connection));
        self.next_look = None;
        // It has something to say.
        self.idle_since = None;
        self.note_idleness();
        Ok(())
    }

    /// Serves until there is nobody to serve.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if self.idle_since.is_some_and(|since| now >= since + LINGER) {
                // Whoever connects from now on finds nobody, and starts another.
                let _ = std::fs::remove_file(&self.listener.1);
                return Ok(());
            }
            if self.next_look.is_some_and(|at| now >= at) {
                self.let_orphans_go();
            }
            let waits = [
                self.forwarder.is_waiting().then_some(TICK),
                self.idle_since
                    .map(|since| (since + LINGER).saturating_duration_since(now)),
                self.next_look.map(|at| at.saturating_duration_since(now)),
                self.relays
                    .next_look()
                    .map(|at| at.saturating_duration_since(now)),
            ];
            let wait = waits.into_iter().flatten().min();
            let mut events = Vec::with_capacity(EVENTS_MAX);
            let timeout = wait.map(|wait| timespec(wait + Duration::from_micros(50)));
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events {
                let token = event.data;
                if self.serve(token.u64())? {
                    let _ = std::fs::remove_file(&self.listener.1);
                    return Ok(());
                }
            }
            self.forwarder
                .look_after(&self.epoll, &read(&self.zones), &mut self.sandboxes);
            let silent = self.relays.look_after();
            self.drop_sources(&silent);
        }
    }

    /// Whether it was told to leave.
    fn serve(&mut self, token: u64) -> io::Result<bool> {
        match self.sources.get(&token).cloned() {
            Some(Source::Listener) => {
                if let Ok(socket) = rustix::net::accept(&self.listener.0) {
                    self.adopt(Connection::from_fd(socket))?;
                }
            }
            Some(Source::Control) => return self.obey(),
            Some(Source::Questions(id)) => self.answer_all(&id),
            Some(Source::Streams(id)) => {
                if let Some(held) = self.sandboxes.get(&id) {
                    self.streams.accept(held, &id);
                }
            }
            Some(Source::Relay(arrival)) => {
                let new = self
                    .relays
                    .serve(&arrival, &self.epoll, &mut self.next_token);
                let new = new.into_iter();
                self.sources
                    .extend(new.map(|(token, arrival)| (token, Source::Relay(arrival))));
            }
            None => {
                self.forwarder
                    .reply(token, &read(&self.zones), &mut self.sandboxes, &self.epoll)
            }
        }
        Ok(false)
    }

    // ---- the daemon ----------------------------------------------------------------------------

    fn obey(&mut self) -> io::Result<bool> {
        let Some((_, control)) = &self.control else {
            return Ok(false);
        };
        let (order, fds) = match control.receive::<Order>() {
            Ok(Some(packet)) => packet,
            Ok(None) | Err(_) => {
                self.let_control_go();
                return Ok(false);
            }
        };
        match order {
            Order::Leave => return Ok(true),
            Order::Ping => self.reply(&Reply::Done),
            Order::Hello { version } => {
                self.reply(&Reply::Hello { version: VERSION });
                // Another's orders would be misread.
                if version == VERSION {
                    write(&self.zones).apply(Order::Hello { version });
                    self.relays.begin();
                }
            }
            Order::Complete => {
                write(&self.zones).apply(Order::Complete);
                self.drop_unnamed();
                let unnamed = self.relays.complete();
                self.drop_sources(&unnamed);
                self.note_idleness();
                let missing = std::mem::take(&mut self.missing);
                for some in missing.chunks(MISSING_MAX) {
                    self.reply(&Reply::Missing(some.to_vec()));
                }
                self.reply(&Reply::Done);
            }
            Order::Sandbox(sandbox) => {
                let id: Arc<str> = sandbox.id.as_str().into();
                write(&self.zones).apply(Order::Sandbox(sandbox));
                self.hold(&id, fds)?;
            }
            Order::SandboxGone { id } => {
                write(&self.zones).apply(Order::SandboxGone { id: id.clone() });
                self.release(&id);
            }
            Order::Relay(relay) => self.relay(relay, fds)?,
            Order::RelayGone { id } => self.stop_relaying(&id),
            other => write(&self.zones).apply(other),
        }
        Ok(false)
    }

    fn reply(&mut self, reply: &Reply) {
        let failed = match &self.control {
            Some((_, control)) => control.send(reply, &[]).is_err(),
            None => false,
        };
        if failed {
            self.let_control_go();
        }
    }

    fn let_control_go(&mut self) {
        if let Some((token, connection)) = self.control.take() {
            let _ = epoll::delete(&self.epoll, &connection);
            self.sources.remove(&token);
            self.next_look = Some(Instant::now() + LOOK);
        }
    }

    /// Lets go of sandboxes that have no process any more, and of relays to them. Our own sockets
    /// would keep them for ever if the daemon never came back.
    fn let_orphans_go(&mut self) {
        self.next_look = Some(Instant::now() + LOOK);
        for id in self.relays.orphans() {
            self.stop_relaying(&id);
        }
        let Ok(inhabited) = orphans::inhabited() else {
            return;
        };
        let is_orphan = |held: &Held| {
            let identity = hull_sys::netlink::namespace::identity(&*held.namespace);
            identity.is_ok_and(|identity| !inhabited.contains(&identity))
        };
        let all = self.sandboxes.iter();
        let orphans: Vec<_> = all
            .filter(|(_, held)| is_orphan(held))
            .map(|(id, _)| Arc::clone(id))
            .collect();
        for id in orphans {
            let id = id.to_string();
            write(&self.zones).apply(Order::SandboxGone { id: id.clone() });
            self.release(&id);
        }
    }

    fn hold(&mut self, id: &Arc<str>, fds: Vec<OwnedFd>) -> io::Result<()> {
        let Ok([namespace, udp, tcp]) = <[OwnedFd; 3]>::try_from(fds) else {
            if !self.sandboxes.contains_key(id) {
                self.missing.push(id.to_string());
            }
            return Ok(());
        };
        let before = self.sandboxes.remove(id);
        if let Some(held) = &before {
            self.forget(held);
        }
        let tokens = [self.token(), self.token()];
        let (udp, tcp) = (UdpSocket::from(udp), TcpListener::from(tcp));
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        add(&self.epoll, &udp, tokens[0])?;
        add(&self.epoll, &tcp, tokens[1])?;
        self.sources
            .insert(tokens[0], Source::Questions(Arc::clone(id)));
        self.sources
            .insert(tokens[1], Source::Streams(Arc::clone(id)));
        let held = Held {
            udp,
            tcp,
            namespace: Arc::new(namespace),
            tokens,
            cache: before.map(|held| held.cache).unwrap_or_default(),
            preferred: None,
            streams: Arc::default(),
        };
        self.sandboxes.insert(Arc::clone(id), held);
        self.idle_since = None;
        Ok(())
    }

    fn release(&mut self, id: &str) {
        if let Some(held) = self.sandboxes.remove(id) {
            self.forget(&held);
        }
        self.forwarder.forget(id, &self.epoll);
        self.note_idleness();
    }

    fn note_idleness(&mut self) {
        if self.sandboxes.is_empty() && self.relays.is_empty() {
            self.idle_since.get_or_insert_with(Instant::now);
        }
    }

    fn drop_sources(&mut self, tokens: &[u64]) {
        for token in tokens {
            self.sources.remove(token);
        }
    }

    fn forget(&mut self, held: &Held) {
        let _ = epoll::delete(&self.epoll, &held.udp);
        let _ = epoll::delete(&self.epoll, &held.tcp);
        for token in held.tokens {
            self.sources.remove(&token);
        }
    }

    fn drop_unnamed(&mut self) {
        let gone: Vec<_> = {
            let zones = read(&self.zones);
            let ids = self.sandboxes.keys();
            ids.filter(|id| zones.sandbox(id).is_none())
                .cloned()
                .collect()
        };
        for id in gone {
            self.release(&id);
        }
    }

    // ---- ports of the host ---------------------------------------------------------------------

    fn relay(&mut self, relay: Relay, fds: Vec<OwnedFd>) -> io::Result<()> {
        let Some(socket) = fds.into_iter().next() else {
            if !self.relays.name(&relay) {
                self.missing.push(relay.id);
            }
            return Ok(());
        };
        self.stop_relaying(&relay.id);
        let token = self.token();
        let id = self.relays.hold(relay, socket, &self.epoll, token)?;
        self.sources.insert(token, Source::Relay(Arrival::Port(id)));
        self.idle_since = None;
        Ok(())
    }

    fn stop_relaying(&mut self, id: &str) {
        let tokens = self.relays.release(id);
        self.drop_sources(&tokens);
        self.note_idleness();
    }

    // ---- questions -----------------------------------------------------------------------------

    fn answer_all(&mut self, id: &Arc<str>) {
        let mut buffer = [0; QUESTION_MAX];
        let zones = read(&self.zones);
        for _ in 0..TURN {
            let Some(held) = self.sandboxes.get_mut(id) else {
                return;
            };
            let Ok((length, from)) = held.udp.recv_from(&mut buffer) else {
                return;
            };
            let query = &buffer[..length];
            let Some(question) = message::question(query) else {
                continue;
            };
            match local(&zones, id, query, &question, question.size_max) {
                Local::Answer(bytes) => tell(&held.udp, &bytes, from),
                Local::Elsewhere => {
                    if let Some(bytes) = held.cache.fresh(query, Instant::now()) {
                        tell(&held.udp, &bytes, from);
                    } else {
                        let token = self.next_token;
                        self.next_token += 1;
                        self.forwarder
                            .ask(token, id, query, from, &zones, held, &self.epoll);
                    }
                }
            }
        }
    }

    fn token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        token
    }
}

/// What is answered here, and what is not.
pub(crate) enum Local {
    Answer(Vec<u8>),
    Elsewhere,
}

/// Answers a question from the names of a sandbox's networks.
pub(crate) fn local(
    zones: &Zones,
    sandbox: &str,
    query: &[u8],
    question: &Question,
    size_max: usize,
) -> Local {
    let fail = || {
        message::answer(query, &Answer::Failed, size_max).map_or(Local::Elsewhere, Local::Answer)
    };
    let Some(sandbox) = zones.sandbox(sandbox) else {
        return fail();
    };
    let say = |answer: &Answer<'_>| match message::answer(query, answer, size_max) {
        Some(bytes) => Local::Answer(bytes),
        None => fail(),
    };
    if let Kind::NameOf(address) = question.kind {
        return match zones.name_of(sandbox, address) {
            Reverse::Name(name) => say(&Answer::Name(&name)),
            Reverse::Nobody => say(&Answer::NoSuchName),
            Reverse::Elsewhere => Local::Elsewhere,
        };
    }
    if let Some(addresses) = zones.addresses(sandbox, &question.name) {
        let wanted = match question.kind {
            Kind::V4 => zones.in_turn(&addresses, false),
            Kind::V6 => zones.in_turn(&addresses, true),
            Kind::NameOf(_) | Kind::Other => Vec::new(),
        };
        return say(&Answer::Addresses(&wanted));
    }
    if sandbox.servers.is_empty() {
        // Nothing leads out: whether there is such a name cannot be known here.
        return fail();
    }
    let is_single = !question.name.contains('.') && matches!(question.kind, Kind::V4 | Kind::V6);
    if sandbox.keeps_single_labels && is_single {
        return say(&Answer::NoSuchName);
    }
    Local::Elsewhere
}

/// Sends an answer. A client that is gone misses nothing.
pub(crate) fn tell(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    let _ = socket.send_to(bytes, to);
}

/// Waits for a descriptor to be readable.
pub(crate) fn add(epoll: &OwnedFd, fd: impl AsFd, token: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(token);
    Ok(epoll::add(epoll, fd, data, epoll::EventFlags::IN)?)
}

/// Reads the names. No thread panics while it writes them.
pub(crate) fn read(zones: &RwLock<Zones>) -> RwLockReadGuard<'_, Zones> {
    zones.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(zones: &RwLock<Zones>) -> RwLockWriteGuard<'_, Zones> {
    zones.write().unwrap_or_else(PoisonError::into_inner)
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
