//! Carries what reaches a port of the host to a container, where the kernel's rules cannot: clients
//! of a family of addresses that the container has none of, and those of `::1`, whose packets never
//! leave the host.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use hull_resolver::protocol::Relay;
use hull_sys::netlink::route::Route;

use crate::{
    carry::{Carrier, Client, Fresh},
    server::add,
};

/// Connections at a time, and UDP clients, of one port: who floods one leaves the others descriptors
/// enough.
const CLIENTS_MAX: usize = 8192;

/// How long a UDP client may be silent until its answers have nowhere to go, and how often that
/// is looked at.
const SILENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_secs(30);

/// The largest datagram.
const DATAGRAM_MAX: usize = 64 * 1024;

/// Connections and datagrams that one port gets taken before others have their turn.
const TURN: usize = 64;

/// What has arrived where.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    /// Something at the port of a relay.
    Port(Arc<str>),
    /// An answer of the container's to a UDP client.
    Answer(Arc<str>, SocketAddr),
}

/// All relays.
#[derive(Default)]
pub(crate) struct Relays {
    held: HashMap<Arc<str>, Held>,
    /// Not yet named again since the last hello.
    stale: Vec<Arc<str>>,
    next_look: Option<Instant>,
}

struct Held {
    order: Relay,
    port: Port,
    token: u64,
}

enum Port {
    Stream(Stream),
    Datagrams(UdpSocket, HashMap<SocketAddr, Talk>),
}

/// A port of TCP's. Each has a thread of its own, from its first client on: whoever floods one of them,
/// or has the kernel search for free ports towards one container, holds the others up with nothing.
struct Stream {
    listener: TcpListener,
    clients: Vec<Weak<Client>>,
    carrier: Option<Carrier>,
}

/// A UDP client, as the container sees it.
struct Talk {
    socket: UdpSocket,
    token: u64,
    last: Instant,
}

impl Relays {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A daemon begins to name everything again.
    pub(crate) fn begin(&mut self) {
        self.stale = self.held.keys().cloned().collect();
    }

    /// Everything was named. Gives the tokens that nothing comes from any more.
    pub(crate) fn complete(&mut self) -> Vec<u64> {
        let gone = std::mem::take(&mut self.stale);
        gone.iter().flat_map(|id| self.release(id)).collect()
    }

    /// One is named. `false`: it is new, and its socket is missing.
    pub(crate) fn name(&mut self, order: &Relay) -> bool {
        self.stale.retain(|id| **id != *order.id);
        match self.held.get_mut(order.id.as_str()) {
            Some(held) => {
                held.order = order.clone();
                true
            }
            None => false,
        }
    }

    /// One begins, at its socket.
    pub(crate) fn hold(
        &mut self,
        order: Relay,
        socket: OwnedFd,
        epoll: &OwnedFd,
        token: u64,
    ) -> io::Result<Arc<str>> {
        let id: Arc<str> = order.id.as_str().into();
        let port = match order.is_stream {
            true => {
                let listener = TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                add(epoll, &listener, token)?;
                Port::Stream(Stream {
                    listener,
                    clients: Vec::new(),
                    carrier: None,
                })
            }
            false => {
                let socket = UdpSocket::from(socket);
                socket.set_nonblocking(true)?;
                add(epoll, &socket, token)?;
                Port::Datagrams(socket, HashMap::new())
            }
        };
        let held = Held { order, port, token };
        self.held.insert(Arc::clone(&id), held);
        Ok(id)
    }

    /// One ends, and its connections with it. Gives the tokens that nothing comes from any more.
    pub(crate) fn release(&mut self, id: &str) -> Vec<u64> {
        let Some(held) = self.held.remove(id) else {
            return Vec::new();
        };
        let mut tokens = vec![held.token];
        match held.port {
            Port::Stream(stream) => {
                for client in stream.clients.iter().filter_map(Weak::upgrade) {
                    client.cut();
                }
            }
            Port::Datagrams(_, talks) => tokens.extend(talks.values().map(|talk| talk.token)),
        }
        tokens
    }

    /// Those whose container's link has gone: while no daemon says so.
    pub(crate) fn orphans(&self) -> Vec<Arc<str>> {
        let Ok(mut route) = Route::open() else {
            return Vec::new();
        };
        let mut is_orphan = |held: &Held| matches!(route.link(&held.order.link), Ok(None));
        let orphans = self.held.iter().filter(|(_, held)| is_orphan(held));
        orphans.map(|(id, _)| Arc::clone(id)).collect()
    }

    /// When to look for silent clients.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Forgets silent clients. Gives the tokens that nothing comes from any more.
    pub(crate) fn look_after(&mut self) -> Vec<u64> {
        let now = Instant::now();
        if self.next_look.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        let mut is_any_left = false;
        for held in self.held.values_mut() {
            if let Port::Datagrams(_, talks) = &mut held.port {
                let silent = talks.extract_if(|_, talk| now >= talk.last + SILENCE);
                gone.extend(silent.map(|(_, talk)| talk.token));
                is_any_left |= !talks.is_empty();
            }
        }
        self.next_look = is_any_left.then(|| now + LOOK);
        gone
    }

    /// Carries what has arrived. Gives the sockets of new UDP clients.
    pub(crate) fn serve(
        &mut self,
        arrival: &Arrival,
        epoll: &OwnedFd,
        next_token: &mut u64,
    ) -> Vec<(u64, Arrival)> {
        let (Arrival::Port(id) | Arrival::Answer(id, _)) = arrival;
        let Some(held) = self.held.get_mut(id) else {
            return Vec::new();
        };
        let target = held.order.target;
        match (&mut held.port, arrival) {
            (Port::Stream(stream), _) => {
                stream.accept(target);
                Vec::new()
            }
            (Port::Datagrams(socket, talks), Arrival::Port(_)) => {
                let new = carry_there(socket, talks, target, epoll, next_token);
                self.next_look.get_or_insert_with(|| Instant::now() + LOOK);
                let arrival = |client| Arrival::Answer(Arc::clone(id), client);
                let new = new.into_iter();
                new.map(|(token, client)| (token, arrival(client)))
                    .collect()
            }
            (Port::Datagrams(socket, talks), Arrival::Answer(_, client)) => {
                if let Some(talk) = talks.get_mut(client) {
                    carry_back(socket, talk, *client);
                }
                Vec::new()
            }
        }
    }
}

impl Stream {
    /// Takes connections, and has them carried.
    fn accept(&mut self, target: SocketAddr) {
        for _ in 0..TURN {
            let Ok((client, _)) = self.listener.accept() else {
                return;
            };
            let client = Client::new(client);
            if self.clients.len() >= CLIENTS_MAX {
                self.clients.retain(|client| client.strong_count() > 0);
            }
            if self.carrier.is_none() {
                self.carrier = Carrier::start().ok();
            }
            let is_full = self.clients.len() >= CLIENTS_MAX;
            let Some(carrier) = self.carrier.as_ref().filter(|_| !is_full) else {
                client.refuse();
                continue;
            };
            let client = Arc::new(client);
            self.clients.push(Arc::downgrade(&client));
            carrier.carry(Fresh { client, target });
        }
    }
}

/// Carries datagrams to the container, each client's from a socket of its own. Gives new ones.
fn carry_there(
    port: &UdpSocket,
    talks: &mut HashMap<SocketAddr, Talk>,
    target: SocketAddr,
    epoll: &OwnedFd,
    next_token: &mut u64,
) -> Vec<(u64, SocketAddr)> {
    let mut buffer = vec![0; DATAGRAM_MAX];
    let mut new = Vec::new();
    for _ in 0..TURN {
        let Ok((length, client)) = port.recv_from(&mut buffer) else {
            break;
        };
        if !talks.contains_key(&client) {
            if talks.len() >= CLIENTS_MAX {
                continue;
            }
            let token = *next_token;
            *next_token += 1;
            // What cannot be carried is lost, as datagrams are.
            let Ok(socket) = talk(target, epoll, token) else {
                continue;
            };
            let last = Instant::now();
            let talk = Talk {
                socket,
                token,
                last,
            };
            talks.insert(client, talk);
            new.push((token, client));
        }
        if let Some(talk) = talks.get_mut(&client) {
            talk.last = Instant::now();
            let _ = talk.socket.send(&buffer[..length]);
        }
    }
    new
}

fn talk(target: SocketAddr, epoll: &OwnedFd, token: u64) -> io::Result<UdpSocket> {
    let any: IpAddr = match target.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(target)?;
    add(epoll, &socket, token)?;
    Ok(socket)
}

fn carry_back(port: &UdpSocket, talk: &mut Talk, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    for _ in 0..TURN {
        match talk.socket.recv(&mut buffer) {
            Ok(length) => {
                talk.last = Instant::now();
                let _ = port.send_to(&buffer[..length], client);
            }
            // Nobody listens: the client hears nothing, and may ask again.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpStream},
        thread,
    };

    use rustix::event::epoll;

    use super::*;

    /// A relay from the loopback's IPv6 to `target`, served for as long as the socket lives.
    fn relayed(socket: OwnedFd, is_stream: bool, target: SocketAddr) -> Relays {
        let mut relays = Relays::default();
        let order = Relay {
            id: "one".to_owned(),
            is_stream,
            target,
            link: "none".to_owned(),
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        assert!(!relays.name(&order));
        relays.hold(order, socket, &epoll, 0).unwrap();
        relays
    }

    fn local() -> SocketAddr {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
    }

    #[test]
    fn a_connection_is_carried_both_ways_to_its_end_and_is_cut_with_its_relay() {
        let server = TcpListener::bind(local()).unwrap();
        let target = server.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap();
        let mut relays = relayed(listener.into(), true, target);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut connect = || {
            let client = TcpStream::connect(port).unwrap();
            let mut token = 1;
            relays.serve(&Arrival::Port("one".into()), &epoll, &mut token);
            client
        };
        // More than the kernel keeps on the way.
        let sent = vec![7; 16 << 20];
        let mut client = connect();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, sent);
        let mut other = connect();
        relays.release("one");
        assert!(matches!(other.read(&mut [0]), Ok(0) | Err(_)));
        echo.join().unwrap();
    }

    #[test]
    fn hundreds_are_carried_at_a_time() {
        const MANY: usize = 600;
        let files = libc::RLIMIT_NOFILE;
        hull_sys::process::set_limit_of(0, files, 8192, 8192).unwrap();
        let server = TcpListener::bind(local()).unwrap();
        let target = server.local_addr().unwrap();
        // Answers the first only when the last is there.
        let echo = thread::spawn(move || {
            let streams = server.incoming().take(MANY).map(Result::unwrap);
            for mut stream in streams.collect::<Vec<_>>() {
                let mut word = [0; 2];
                stream.read_exact(&mut word).unwrap();
                stream.write_all(&word).unwrap();
            }
        });
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap();
        let mut relays = relayed(listener.into(), true, target);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let connect = |number: usize| {
            let word = u16::try_from(number).unwrap().to_ne_bytes();
            let mut client = TcpStream::connect(port).unwrap();
            relays.serve(&Arrival::Port("one".into()), &epoll, &mut 1);
            client.write_all(&word).unwrap();
            (client, word)
        };
        for (mut client, word) in (0..MANY).map(connect).collect::<Vec<_>>() {
            let mut answer = [0; 2];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, word);
        }
        echo.join().unwrap();
    }

    #[test]
    fn datagrams_come_back_to_whoever_sent_them() {
        let server = UdpSocket::bind(local()).unwrap();
        let target = server.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let mut buffer = [0; 16];
            for _ in 0..2 {
                let (length, from) = server.recv_from(&mut buffer).unwrap();
                server.send_to(&buffer[..length], from).unwrap();
            }
        });
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap();
        let mut relays = relayed(socket.into(), false, target);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut token = 1;
        let clients: Vec<_> = [1, 2]
            .into_iter()
            .map(|word| {
                let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
                client.send_to(&[word], port).unwrap();
                (word, client)
            })
            .collect();
        let new = relays.serve(&Arrival::Port("one".into()), &epoll, &mut token);
        assert_eq!(new.len(), 2);
        echo.join().unwrap();
        for (_, answer) in new {
            assert!(relays.serve(&answer, &epoll, &mut token).is_empty());
        }
        for (word, client) in clients {
            let mut buffer = [0; 16];
            let patience = Some(Duration::from_secs(10));
            client.set_read_timeout(patience).unwrap();
            assert_eq!(client.recv(&mut buffer).unwrap(), 1);
            assert_eq!(buffer[0], word);
        }
        assert_eq!(relays.release("one").len(), 3, "a port and two clients");
    }
}
