//! Takes questions to upstream servers, and their replies back.
//!
//! Each question goes out from a socket of its own: the port cannot be guessed, and replies of
//! others do not reach it. The same question asked twice at a time goes out once. A server that is
//! slow is not given up when the next is asked: whoever answers first has answered.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use hull_resolver::{
    message::{self, Answer, Verdict},
    protocol::Upstream,
    zone::Zones,
};
use hull_sys::netlink::namespace;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::server::{Held, add, tell};

/// The port of name servers.
pub(crate) const PORT: u16 = 53;

/// After this the next server is asked as well; those that were asked before may still answer.
const NEXT_AFTER: Duration = Duration::from_secs(1);

/// How long a question may take in all: clients ask again after 5 seconds.
const PATIENCE: Duration = Duration::from_millis(4500);

/// How often servers are asked in all.
const ATTEMPTS_MAX: usize = 3;

/// How long another server than the first is the one that is asked first, since it answered where
/// the first did not. The order has its reasons: the first may know names that others do not.
pub(crate) const PREFERRED_FOR: Duration = Duration::from_secs(30);

/// Questions under way at a time, of one sandbox and of all.
const WAITING_MAX: usize = 1024;
const WAITING_OF_ALL_MAX: usize = 8192;

/// Who waits for one question.
const CLIENTS_MAX: usize = 1024;

/// The largest reply there is.
const REPLY_MAX: usize = 65535;

/// Questions under way.
pub(crate) struct Forwarder {
    waiting: HashMap<u64, Waiting>,
    /// The same, by whose they are and what they ask.
    by_question: HashMap<(Arc<str>, Vec<u8>), u64>,
    /// How many each sandbox has.
    counts: HashMap<Arc<str>, usize>,
    buffer: Vec<u8>,
    /// Where this process lives.
    home: OwnedFd,
}

struct Waiting {
    sandbox: Arc<str>,
    query: Vec<u8>,
    /// Who asked, and under which id.
    clients: Vec<(SocketAddr, u16)>,
    /// Those that may still answer.
    asked: Vec<Asked>,
    /// The server that was asked first, by its place in the list.
    first: usize,
    attempt: usize,
    /// Servers at whose address nobody listens: this question is not put to them again.
    refused: Vec<usize>,
    /// When to ask the next.
    until: Instant,
    /// When to give up.
    end: Instant,
}

/// A server that was asked.
struct Asked {
    socket: UdpSocket,
    id: u16,
    server: usize,
}

impl Waiting {
    /// What tells it from other questions: all but the id.
    fn key(&self) -> (Arc<str>, Vec<u8>) {
        (Arc::clone(&self.sandbox), self.query[2..].to_vec())
    }
}

impl Forwarder {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            waiting: HashMap::new(),
            by_question: HashMap::new(),
            counts: HashMap::new(),
            buffer: vec![0; REPLY_MAX],
            home: namespace::current()?,
        })
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a question on.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of the server are lent one by one"
    )]
    pub(crate) fn ask(
        &mut self,
        token: u64,
        sandbox: &Arc<str>,
        query: &[u8],
        client: SocketAddr,
        zones: &Zones,
        held: &mut Held,
        epoll: &OwnedFd,
    ) {
        let client = (client, message::id(query));
        let key = (Arc::clone(sandbox), query[2..].to_vec());
        let same = self.by_question.get(&key);
        if let Some(same) = same.and_then(|token| self.waiting.get_mut(token)) {
            // Who asks again and again is answered once.
            if same.clients.contains(&client) {
                return;
            }
            if same.clients.len() < CLIENTS_MAX {
                same.clients.push(client);
            } else {
                fail(query, &[client], held);
            }
            return;
        }
        let now = Instant::now();
        let preferred = held.preferred.filter(|(_, until)| now < *until);
        let mut waiting = Waiting {
            sandbox: Arc::clone(sandbox),
            query: query.to_vec(),
            clients: vec![client],
            asked: Vec::new(),
            first: preferred.map_or(0, |(server, _)| server),
            attempt: 0,
            refused: Vec::new(),
            until: now,
            end: now + PATIENCE,
        };
        let count = self.counts.get(sandbox).copied().unwrap_or_default();
        let is_full = count >= WAITING_MAX || self.waiting.len() >= WAITING_OF_ALL_MAX;
        if !is_full && self.ask_next(&mut waiting, token, zones, held, epoll) {
            self.by_question.insert(key, token);
            *self.counts.entry(Arc::clone(sandbox)).or_default() += 1;
            self.waiting.insert(token, waiting);
        } else {
            give_up(&waiting, held);
        }
    }

    /// A socket has a reply.
    pub(crate) fn reply(
        &mut self,
        token: u64,
        zones: &Zones,
        sandboxes: &mut HashMap<Arc<str>, Held>,
        epoll: &OwnedFd,
    ) {
        let Some(mut waiting) = self.waiting.remove(&token) else {
            return;
        };
        let Some(held) = sandboxes.get_mut(&waiting.sandbox) else {
            return self.end(waiting, epoll);
        };
        let mut at = 0;
        while let Some(asked) = waiting.asked.get(at) {
            let (id, server) = (asked.id, asked.server);
            match asked.socket.recv(&mut self.buffer) {
                Ok(length) => {
                    let reply = &mut self.buffer[..length];
                    if !message::is_reply_to(reply, &waiting.query, id) {
                        // Somebody guesses, or an answer to something else: the wait goes on.
                        at += 1;
                        continue;
                    }
                    if message::verdict(reply) != Verdict::Useless {
                        let now = Instant::now();
                        if server != waiting.first {
                            held.preferred = Some((server, now + PREFERRED_FOR));
                        }
                        held.cache.keep(&waiting.query, reply, now);
                        for (client, id) in &waiting.clients {
                            message::set_id(reply, *id);
                            tell(&held.udp, reply, *client);
                        }
                        return self.end(waiting, epoll);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    at += 1;
                    continue;
                }
                Err(_) => waiting.refused.push(server),
            }
            let useless = waiting.asked.remove(at);
            let _ = rustix::event::epoll::delete(epoll, &useless.socket);
        }
        // While others may still answer, the next has time.
        let goes_on =
            !waiting.asked.is_empty() || self.ask_next(&mut waiting, token, zones, held, epoll);
        if goes_on {
            self.waiting.insert(token, waiting);
        } else {
            give_up(&waiting, held);
            self.end(waiting, epoll);
        }
    }

    /// Asks the next server where one took too long.
    pub(crate) fn look_after(
        &mut self,
        epoll: &OwnedFd,
        zones: &Zones,
        sandboxes: &mut HashMap<Arc<str>, Held>,
    ) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        let late = self.waiting.extract_if(|_, waiting| now >= waiting.until);
        for (token, mut waiting) in late.collect::<Vec<_>>() {
            let Some(held) = sandboxes.get_mut(&waiting.sandbox) else {
                self.end(waiting, epoll);
                continue;
            };
            if now < waiting.end && self.ask_next(&mut waiting, token, zones, held, epoll) {
                self.waiting.insert(token, waiting);
            } else {
                give_up(&waiting, held);
                self.end(waiting, epoll);
            }
        }
    }

    /// A sandbox has gone, and its questions with it.
    pub(crate) fn forget(&mut self, sandbox: &str, epoll: &OwnedFd) {
        let gone = self
            .waiting
            .extract_if(|_, waiting| &*waiting.sandbox == sandbox);
        for (_, waiting) in gone.collect::<Vec<_>>() {
            self.end(waiting, epoll);
        }
    }

    /// A question that is no longer under way.
    fn end(&mut self, waiting: Waiting, epoll: &OwnedFd) {
        self.by_question.remove(&waiting.key());
        if let Some(count) = self.counts.get_mut(&waiting.sandbox) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&waiting.sandbox);
            }
        }
        for asked in waiting.asked {
            let _ = rustix::event::epoll::delete(epoll, &asked.socket);
        }
    }

    /// Asks the next server too, if there is one; `false`: nobody is left who may answer.
    fn ask_next(
        &self,
        waiting: &mut Waiting,
        token: u64,
        zones: &Zones,
        held: &Held,
        epoll: &OwnedFd,
    ) -> bool {
        let servers = zones
            .sandbox(&waiting.sandbox)
            .map_or(&[][..], |known| &known.servers[..]);
        let attempts = if servers.is_empty() {
            0
        } else {
            ATTEMPTS_MAX.max(servers.len())
        };
        while waiting.attempt < attempts {
            let server = (waiting.first + waiting.attempt) % servers.len();
            waiting.attempt += 1;
            if waiting.refused.contains(&server) {
                continue;
            }
            let id = random_id();
            message::set_id(&mut waiting.query, id);
            let sent = self.send(servers[server], &waiting.query, held);
            let asked = sent.and_then(|socket| {
                add(epoll, &socket, token)?;
                Ok(Asked { socket, id, server })
            });
            if let Ok(asked) = asked {
                waiting.asked.push(asked);
                break;
            }
        }
        let next = Instant::now() + NEXT_AFTER;
        waiting.until = match waiting.attempt < attempts {
            true => next.min(waiting.end),
            false => waiting.end,
        };
        !waiting.asked.is_empty()
    }

    fn send(&self, server: Upstream, query: &[u8], held: &Held) -> io::Result<UdpSocket> {
        let open = || {
            let any = match server.address.is_ipv4() {
                true => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
                false => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            let socket = UdpSocket::bind(any)?;
            socket.set_nonblocking(true)?;
            socket.connect(SocketAddr::new(server.address, PORT))?;
            socket.send(query)?;
            Ok(socket)
        };
        if server.from_host {
            return open();
        }
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(held.namespace.as_fd(), kind)?;
        let socket = open();
        // One that cannot come home would serve everybody from a container's network.
        move_into_link_name_space(self.home.as_fd(), kind)
            .expect("a process may return to where it began");
        socket
    }
}

/// Nobody upstream answered: an old answer is better than none.
fn give_up(waiting: &Waiting, held: &Held) {
    let Some(mut old) = held.cache.stale(&waiting.query, Instant::now()) else {
        fail(&waiting.query, &waiting.clients, held);
        return;
    };
    for (client, id) in &waiting.clients {
        message::set_id(&mut old, *id);
        tell(&held.udp, &old, *client);
    }
}

fn fail(query: &[u8], clients: &[(SocketAddr, u16)], held: &Held) {
    let Some(mut failure) = message::answer(query, &Answer::Failed, usize::MAX) else {
        return;
    };
    for (client, id) in clients {
        message::set_id(&mut failure, *id);
        tell(&held.udp, &failure, *client);
    }
}

/// An id that nobody can foresee.
fn random_id() -> u16 {
    let mut bytes = [0; 2];
    // It cannot fail once the system has started; a foreseeable id would be no failure of ours.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u16::from_ne_bytes(bytes)
}
