//! Carries a port's connections both ways, all in one thread: one more costs two descriptors and a few
//! hundred bytes, and a slow reader costs nobody else anything.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt},
    time::Timespec,
};

/// How long a container may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read at a time, into one buffer for all.
const BUFFER: usize = 32 * 1024;

/// How often a connection is read from until others have their turn.
const TURN: usize = 16;

/// What the thread needs: everything large is on the heap.
const STACK: usize = 64 * 1024;

/// Says that something has been handed over.
const HANDED_OVER: u64 = u64::MAX;

const EVENTS_MAX: usize = 64;

/// Gives connections to the thread that carries them, and has it end when it is done with them.
#[derive(Debug)]
pub(crate) struct Carrier {
    new: Arc<Mutex<Vec<Fresh>>>,
    /// Rings once more when there can be no new ones: after those.
    bell: Bell,
}

#[derive(Debug)]
struct Bell(Arc<OwnedFd>);

impl Bell {
    fn ring(&self) {
        // A full counter rings as well.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// A connection that somebody has made to a port.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) client: Arc<Client>,
    pub(crate) target: SocketAddr,
}

/// Its client's end.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    is_cut: AtomicBool,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            is_cut: AtomicBool::new(false),
        }
    }

    /// Ends the connection, whatever is under way.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        // The one who carries it is told so by the kernel.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Has its client see an error when it closes, not an end.
    pub(crate) fn refuse(&self) {
        let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}

impl Carrier {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(HANDED_OVER);
        epoll::add(&epoll, &bell, data, epoll::EventFlags::IN)?;
        let new = Arc::new(Mutex::new(Vec::new()));
        let mut work = Work {
            epoll,
            bell: Arc::clone(&bell),
            new: Arc::downgrade(&new),
            carried: HashMap::new(),
            next_key: 0,
            connecting: VecDeque::new(),
            unfinished: VecDeque::new(),
            buffer: vec![0; BUFFER],
        };
        let builder = thread::Builder::new().name("relay".to_owned());
        builder.stack_size(STACK).spawn(move || work.run())?;
        let bell = Bell(bell);
        Ok(Self { new, bell })
    }

    /// Has a connection carried.
    pub(crate) fn carry(&self, fresh: Fresh) {
        let new = self.new.lock();
        new.unwrap_or_else(PoisonError::into_inner).push(fresh);
        self.bell.ring();
    }
}

struct Work {
    epoll: OwnedFd,
    bell: Arc<OwnedFd>,
    new: Weak<Mutex<Vec<Fresh>>>,
    carried: HashMap<u64, Carried>,
    next_key: u64,
    /// Those whose container has not accepted yet, the oldest first.
    connecting: VecDeque<(Instant, u64)>,
    /// Those that had more to say than their turn allowed.
    unfinished: VecDeque<u64>,
    buffer: Vec<u8>,
}

struct Carried {
    client: Arc<Client>,
    server: TcpStream,
    is_connected: bool,
    there: Direction,
    back: Direction,
}

/// What is under way in one direction.
#[derive(Default)]
struct Direction {
    /// Read, and not yet taken.
    waiting: VecDeque<u8>,
    has_ended: bool,
    is_done: bool,
}

/// What came of a turn.
#[derive(PartialEq, Eq)]
enum Turn {
    /// There is nothing to do until the kernel says so.
    Waits,
    /// There may be more.
    GoesOn,
}

impl Work {
    /// Until nobody can give anything more, and all has been carried.
    fn run(&mut self) {
        loop {
            let mut events = Vec::with_capacity(EVENTS_MAX);
            let timeout = self.timeout();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &events {
                match event.data.u64() {
                    HANDED_OVER => self.take_new(),
                    key => self.serve(key),
                }
            }
            for _ in 0..self.unfinished.len() {
                if let Some(key) = self.unfinished.pop_front() {
                    self.serve(key);
                }
            }
            self.give_up();
            if self.new.strong_count() == 0 && self.carried.is_empty() {
                return;
            }
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let wait = match self.connecting.front() {
            _ if !self.unfinished.is_empty() => Duration::ZERO,
            Some((until, _)) => until.saturating_duration_since(Instant::now()),
            None => return None,
        };
        Timespec::try_from(wait).ok()
    }

    fn take_new(&mut self) {
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        let Some(new) = self.new.upgrade() else {
            return;
        };
        let new = std::mem::take(&mut *new.lock().unwrap_or_else(PoisonError::into_inner));
        for fresh in new {
            let client = Arc::clone(&fresh.client);
            if self.begin(fresh).is_err() {
                client.refuse();
            }
        }
    }

    fn begin(&mut self, fresh: Fresh) -> io::Result<()> {
        let Fresh { client, target } = fresh;
        client.stream.set_nonblocking(true)?;
        let server = connect_to(target)?;
        for end in [&client.stream, &server] {
            let _ = end.set_nodelay(true);
            // Who vanished without a word is found out.
            let _ = sockopt::set_socket_keepalive(end, true);
        }
        let key = self.next_key;
        self.next_key += 1;
        watch(&self.epoll, &server, key)?;
        watch(&self.epoll, &client.stream, key)?;
        self.connecting.push_back((Instant::now() + PATIENCE, key));
        let carried = Carried {
            client,
            server,
            is_connected: false,
            there: Direction::default(),
            back: Direction::default(),
        };
        self.carried.insert(key, carried);
        Ok(())
    }

    /// One end or the other can be read or written.
    fn serve(&mut self, key: u64) {
        let Some(carried) = self.carried.get_mut(&key) else {
            return;
        };
        match carried.serve(&mut self.buffer) {
            Ok(Turn::GoesOn) => {
                if !self.unfinished.contains(&key) {
                    self.unfinished.push_back(key);
                }
            }
            Ok(Turn::Waits) if !(carried.there.is_done && carried.back.is_done) => {}
            Ok(Turn::Waits) => drop(self.carried.remove(&key)),
            Err(_) => self.cut(key),
        }
    }

    /// Lets go of those whose container does not accept.
    fn give_up(&mut self) {
        let now = Instant::now();
        while let Some((until, key)) = self.connecting.front().copied() {
            let is_connected = self.carried.get(&key).is_none_or(|one| one.is_connected);
            if !is_connected && now < until {
                return;
            }
            self.connecting.pop_front();
            if !is_connected {
                self.cut(key);
            }
        }
    }

    fn cut(&mut self, key: u64) {
        if let Some(carried) = self.carried.remove(&key) {
            carried.client.refuse();
        }
    }
}

impl Carried {
    fn serve(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        if self.client.is_cut.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if !self.is_connected {
            if let Err(error) = sockopt::socket_error(&self.server)? {
                return Err(error.into());
            }
            if self.server.peer_addr().is_err() {
                return Ok(Turn::Waits);
            }
            self.is_connected = true;
        }
        let there = self.there.carry(&self.client.stream, &self.server, buffer);
        // Who takes no more may have answered before: that goes back first.
        let mut back = self.back.carry(&self.server, &self.client.stream, buffer)?;
        while there.is_err() && back == Turn::GoesOn {
            back = self.back.carry(&self.server, &self.client.stream, buffer)?;
        }
        let goes_on = there? == Turn::GoesOn || back == Turn::GoesOn;
        Ok(if goes_on { Turn::GoesOn } else { Turn::Waits })
    }
}

impl Direction {
    fn carry(
        &mut self,
        mut from: &TcpStream,
        mut to: &TcpStream,
        buffer: &mut [u8],
    ) -> io::Result<Turn> {
        for _ in 0..TURN {
            while !self.waiting.is_empty() {
                let (first, _) = self.waiting.as_slices();
                match to.write(first) {
                    Ok(length) => drop(self.waiting.drain(..length)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Turn::Waits);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.waiting = VecDeque::new();
            if self.has_ended {
                if !self.is_done {
                    let _ = to.shutdown(Shutdown::Write);
                    self.is_done = true;
                }
                return Ok(Turn::Waits);
            }
            match from.read(buffer) {
                Ok(0) => self.has_ended = true,
                Ok(length) => self.pass_on(to, &buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Turn::Waits);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::GoesOn)
    }

    /// Writes what it can, and keeps the rest.
    fn pass_on(&mut self, mut to: &TcpStream, read: &[u8]) -> io::Result<()> {
        let written = match to.write(read) {
            Ok(written) => written,
            Err(error)
                if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted]
                    .contains(&error.kind()) =>
            {
                0
            }
            Err(error) => return Err(error),
        };
        self.waiting.extend(&read[written..]);
        Ok(())
    }
}

/// Begins to connect.
fn connect_to(target: SocketAddr) -> io::Result<TcpStream> {
    let family = match target.is_ipv4() {
        true => AddressFamily::INET,
        false => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &target) {
        Err(error) if error != Errno::INPROGRESS => Err(error.into()),
        _ => Ok(socket.into()),
    }
}

/// Only changes are told: whoever is told carries until the kernel says to wait.
fn watch(epoll: &OwnedFd, socket: impl AsFd, key: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(key);
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP;
    Ok(epoll::add(
        epoll,
        socket,
        data,
        flags | epoll::EventFlags::ET,
    )?)
}
