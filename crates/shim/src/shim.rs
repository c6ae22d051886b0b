//! The loop, and all that it holds.
//!
//! One thread, one `epoll`. Every object has a number that is never used again; an event for a
//! number that is gone is ignored. What belongs together stands together:
//! [`requests`](crate::requests) (what the daemon asks), [`streams`](crate::streams) (what processes
//! and clients write), [`ends`](crate::ends) (what happens when a process is over) and
//! [`probes`](crate::probes) (health) are further parts of [`Shim`].

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use hull_shim::protocol::{Event, Exit, Health};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::{
    attach::Client,
    connection::Connection,
    container::Container,
    health::Monitor,
    log::{Log, Stream},
    poll::{Interest, Poll, Ready, Token},
    probes::Probe,
    process::{Process, Role, Stage},
};

/// What is read from a process at a time: as much as a pipe holds.
const READ_BYTES: usize = 64 << 10;

/// Orphans of a container without a pid namespace of its own are ours; signals may be merged, so
/// they are looked for now and then as well. So is whether a daemon could still reach us.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// After the daemon's leave, slow clients get their rest; those that take nothing for this long
/// are given up.
const LINGER: Duration = Duration::from_secs(60);

/// After this much time without a process being made, what that took is given back to the kernel:
/// a container's spec is large, and most shims do nothing for days.
const TRIM_AFTER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) poll: Poll,
    pub(crate) signals: OwnedFd,
    pub(crate) listener: UnixListener,
    /// Where the socket lies. A later start puts another directory in its place, whose socket is not
    /// ours.
    directory: OwnedFd,
    socket_identity: Option<(u64, u64)>,
    pub(crate) connections: BTreeMap<u32, Connection>,
    pub(crate) clients: BTreeMap<u32, Client>,
    pub(crate) processes: BTreeMap<u32, Process>,
    pub(crate) numbers: u32,
    pub(crate) container: Option<Container>,
    pub(crate) settings: Settings,
    pub(crate) log: Option<Log>,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) probe: Option<Probe>,
    pub(crate) is_paused: bool,
    pub(crate) out_of_memory: Memory,
    /// How the container ended, once it did and all of its output is kept.
    pub(crate) exit: Option<Exit>,
    /// Exec sessions that ended while no daemon listened, oldest first.
    pub(crate) unseen: VecDeque<(String, Exit)>,
    /// Never filled with zeros: what is not needed is no memory.
    pub(crate) buffer: Vec<u8>,
    pub(crate) leaving: Option<Instant>,
    pub(crate) trim_at: Option<Instant>,
}

/// Which file our socket's name is: its device and number.
fn identity(directory: &OwnedFd) -> Option<(u64, u64)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let found = rustix::fs::statat(directory, hull_shim::socket::NAME, flags).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// What outlives the making of the container.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) health: Option<Health>,
}

/// The watch for processes that the kernel killed for want of memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) watch: Option<OwnedFd>,
    pub(crate) kills: u64,
}

impl Shim {
    pub(crate) fn new(
        signals: OwnedFd,
        (listener, socket_path): (UnixListener, PathBuf),
    ) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = socket_path.parent().unwrap_or(&socket_path);
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        let poll = Poll::new()?;
        listener.set_nonblocking(true)?;
        poll.add(&listener, Token::Listener, Interest::READ)?;
        poll.add(&signals, Token::Signals, Interest::READ)?;
        Ok(Self {
            poll,
            signals,
            listener,
            socket_identity: identity(&directory),
            directory,
            connections: BTreeMap::new(),
            clients: BTreeMap::new(),
            processes: BTreeMap::new(),
            numbers: 0,
            container: None,
            settings: Settings::default(),
            log: None,
            monitor: None,
            probe: None,
            unseen: VecDeque::new(),
            is_paused: false,
            out_of_memory: Memory::default(),
            exit: None,
            buffer: Vec::with_capacity(READ_BYTES),
            leaving: None,
            trim_at: None,
        })
    }

    /// Takes a connection of the daemon's in.
    pub(crate) fn adopt(&mut self, socket: UnixStream) {
        let number = self.next_number();
        if let Ok(connection) = Connection::new(socket, number, &self.poll) {
            self.connections.insert(number, connection);
        }
    }

    /// Until the daemon says that it is over.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.is_over() {
            for ready in self.poll.wait(self.wake_at())? {
                self.dispatch(ready);
            }
            let now = Instant::now();
            self.probe_if_due(now);
            self.give_up_draining(now);
            self.trim_if_due(now);
            self.leave_if_forgotten();
            if let Some(log) = &mut self.log {
                log.flush();
            }
        }
        Ok(())
    }

    fn dispatch(&mut self, ready: Ready) {
        match ready.token {
            Token::Listener => self.accept(),
            Token::Signals => self.reap(),
            Token::Connection(number) => self.on_connection(number, ready),
            Token::Client(number) => self.on_client(number, ready),
            Token::Stdin(number) => self.on_stdin_room(number),
            Token::Stdout(number) => self.on_output(number, Stream::Stdout),
            Token::Stderr(number) => self.on_output(number, Stream::Stderr),
            Token::OutOfMemory => self.look_for_memory_kills(),
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            self.adopt(socket);
        }
    }

    /// The earliest time at which something is to be done unasked.
    fn wake_at(&self) -> Option<Instant> {
        let draining = self
            .processes
            .values()
            .filter_map(|process| process.drain_until)
            .min();
        let probe = self.monitor.as_ref().and_then(Monitor::wake_at);
        let orphans = self
            .container
            .as_ref()
            .filter(|container| container.shares_processes())
            .map(|_| Instant::now() + LOOK_INTERVAL);
        let linger = self.leaving.map(|since| since + LINGER);
        let forgotten = self.may_be_forgotten();
        let forgotten = forgotten.then(|| Instant::now() + LOOK_INTERVAL);
        [draining, probe, orphans, linger, forgotten, self.trim_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// A process was made: memory that took may be given back soon.
    pub(crate) fn trim_later(&mut self) {
        self.trim_at = Some(Instant::now() + TRIM_AFTER);
    }

    fn trim_if_due(&mut self, now: Instant) {
        if self.trim_at.take_if(|at| *at <= now).is_some() {
            hull_sys::host_process::trim_heaps();
        }
    }

    /// Whether all that is left is to tell a daemon how it ended, and none is here.
    fn may_be_forgotten(&self) -> bool {
        let is_idle = self.exit.is_some() || self.is_only_made();
        is_idle && self.connections.is_empty() && self.leaving.is_none()
    }

    /// Its container was made and not started: whoever asked for it may have died meanwhile.
    fn is_only_made(&self) -> bool {
        self.processes.values().any(|process| {
            process.role == Role::Init && matches!(process.stage, Stage::Created { .. })
        })
    }

    /// Somebody took our socket away, so no daemon will ever come: there is nobody to wait for.
    fn leave_if_forgotten(&mut self) {
        if self.may_be_forgotten() && identity(&self.directory) != self.socket_identity {
            if self.exit.is_none() {
                self.abandon();
            }
            self.leaving = Some(Instant::now());
        }
    }

    fn is_over(&self) -> bool {
        self.leaving
            .is_some_and(|since| self.clients.is_empty() || since.elapsed() >= LINGER)
    }

    pub(crate) fn next_number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// Tells every connection that listens.
    pub(crate) fn tell(&mut self, event: &Event) {
        let mut gone = Vec::new();
        for (&number, connection) in &mut self.connections {
            if connection.is_events
                && (connection.tell(event).is_err()
                    || connection.update_interest(number, &self.poll).is_err())
            {
                gone.push(number);
            }
        }
        for number in gone {
            self.drop_connection(number);
        }
    }

    pub(crate) fn drop_connection(&mut self, number: u32) {
        if let Some(connection) = self.connections.remove(&number) {
            self.poll.remove(&connection.socket);
            // A daemon that hears elsewhere has heard it there.
            if !self.is_heard() {
                self.keep_unseen(connection.into_untold());
            }
        }
        let is_abandoned = |process: &Process| {
            process.made_by == Some(number) && matches!(process.stage, Stage::Prepared(_))
        };
        let processes = self.processes.iter();
        let abandoned: Vec<u32> = processes
            .filter(|(_, process)| is_abandoned(process))
            .map(|(&number, _)| number)
            .collect();
        for number in abandoned {
            self.end_process(number);
        }
        let is_empty = self.container.is_none() && self.exit.is_none() && self.processes.is_empty();
        if is_empty && self.connections.is_empty() && self.leaving.is_none() {
            // The daemon died before it asked for anything, and no other knows of this shim.
            self.hide();
            self.leaving = Some(Instant::now());
        }
    }

    /// Takes the socket away, unless another shim has taken the place of this one.
    pub(crate) fn hide(&mut self) {
        self.poll.remove(&self.listener);
        if identity(&self.directory).is_some_and(|found| Some(found) == self.socket_identity) {
            let name = hull_shim::socket::NAME;
            let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
        }
    }

    /// The number of the process that `is` it.
    pub(crate) fn find(&self, is: impl Fn(&Role) -> bool) -> Option<u32> {
        let mut processes = self.processes.iter();
        processes
            .find(|(_, process)| is(&process.role))
            .map(|(&number, _)| number)
    }

    /// Whether somebody hears events now.
    pub(crate) fn is_heard(&self) -> bool {
        self.connections
            .values()
            .any(|connection| connection.is_events)
    }
}
