//! Takes questions to upstream servers, and their replies back.
//!
//! Each question goes out from a socket of its own: the port cannot be guessed, and replies of
//! others do not reach it. The same question asked twice at a time goes out once.

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

/// How long one server may take. Clients ask again after 5 seconds: a second server has answered
/// by then.
const PATIENCE: Duration = Duration::from_millis(1200);

/// How often servers are asked in all.
const ATTEMPTS_MAX: usize = 3;

/// Questions under way at a time, of one sandbox and of all.
const WAITING_MAX: usize = 256;
const WAITING_OF_ALL_MAX: usize = 8192;

/// The largest reply that is read.
const REPLY_MAX: usize = 4096;

/// Questions under way.
pub(crate) struct Forwarder {
    waiting: HashMap<u64, Waiting>,
    /// Where this process lives.
    home: OwnedFd,
}

struct Waiting {
    sandbox: Arc<str>,
    query: Vec<u8>,
    /// Who asked, and under which id.
    clients: Vec<(SocketAddr, u16)>,
    /// Asked last; `None`: nobody could be asked.
    socket: Option<UdpSocket>,
    id: u16,
    attempt: usize,
    /// Asked last, by its place in the list.
    server: usize,
    /// Servers at whose address nobody listens: this question is not put to them again.
    refused: Vec<usize>,
    until: Instant,
}

impl Forwarder {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            waiting: HashMap::new(),
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
        let mut of_this = self.waiting.values_mut().filter(|w| w.sandbox == *sandbox);
        if let Some(same) = of_this.find(|w| w.query[2..] == query[2..]) {
            same.clients.push(client);
            return;
        }
        let count = self
            .waiting
            .values()
            .filter(|w| w.sandbox == *sandbox)
            .count();
        if count >= WAITING_MAX || self.waiting.len() >= WAITING_OF_ALL_MAX {
            fail(query, &[client], held);
            return;
        }
        let mut waiting = Waiting {
            sandbox: Arc::clone(sandbox),
            query: query.to_vec(),
            clients: vec![client],
            socket: None,
            id: 0,
            attempt: 0,
            server: 0,
            refused: Vec::new(),
            until: Instant::now(),
        };
        if self.ask_next(&mut waiting, token, zones, held, epoll) {
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
            return;
        };
        let mut reply = [0; REPLY_MAX];
        let received = waiting
            .socket
            .as_ref()
            .map(|socket| socket.recv(&mut reply));
        let useful = match received {
            Some(Ok(length)) => {
                let reply = &mut reply[..length];
                if !message::is_reply_to(reply, &waiting.query, waiting.id) {
                    // Somebody guesses, or an answer to something else: the wait goes on.
                    self.waiting.insert(token, waiting);
                    return;
                }
                let useful = message::verdict(reply) != Verdict::Useless;
                if useful {
                    held.preferred = waiting.server;
                    held.cache.keep(&waiting.query, reply, Instant::now());
                    for (client, id) in &waiting.clients {
                        message::set_id(reply, *id);
                        tell(&held.udp, reply, *client);
                    }
                }
                useful
            }
            Some(Err(_)) => {
                waiting.refused.push(waiting.server);
                false
            }
            None => false,
        };
        if useful {
            hang_up(&mut waiting, epoll);
        } else if self.ask_next(&mut waiting, token, zones, held, epoll) {
            self.waiting.insert(token, waiting);
        } else {
            give_up(&waiting, held);
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
                continue;
            };
            if self.ask_next(&mut waiting, token, zones, held, epoll) {
                self.waiting.insert(token, waiting);
            } else {
                give_up(&waiting, held);
            }
        }
    }

    /// A sandbox has gone, and its questions with it.
    pub(crate) fn forget(&mut self, sandbox: &str, epoll: &OwnedFd) {
        let gone = self
            .waiting
            .extract_if(|_, waiting| &*waiting.sandbox == sandbox);
        for (_, mut waiting) in gone {
            hang_up(&mut waiting, epoll);
        }
    }

    /// Asks the next server; `false`: there is none left.
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
            hang_up(waiting, epoll);
            let server = (held.preferred + waiting.attempt) % servers.len();
            waiting.attempt += 1;
            if waiting.refused.contains(&server) {
                continue;
            }
            waiting.server = server;
            let server = servers[server];
            waiting.id = random_id();
            message::set_id(&mut waiting.query, waiting.id);
            let asked = self.send(server, &waiting.query, held).and_then(|socket| {
                add(epoll, &socket, token)?;
                Ok(socket)
            });
            if let Ok(socket) = asked {
                waiting.socket = Some(socket);
                waiting.until = Instant::now() + PATIENCE;
                return true;
            }
        }
        hang_up(waiting, epoll);
        false
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

fn hang_up(waiting: &mut Waiting, epoll: &OwnedFd) {
    if let Some(socket) = waiting.socket.take() {
        let _ = rustix::event::epoll::delete(epoll, &socket);
    }
}

/// An id that nobody can foresee.
fn random_id() -> u16 {
    let mut bytes = [0; 2];
    // It cannot fail once the system has started; a foreseeable id would be no failure of ours.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u16::from_ne_bytes(bytes)
}
