//! Questions over TCP: long answers, and clients that trust nothing else. They are rare, so each
//! connection has a thread of its own for the moment it lives.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hull_resolver::{
    message::{self, Answer, Verdict},
    protocol::Upstream,
    zone::Zones,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    forward::PORT,
    server::{Held, Local, local, read},
};

/// Connections at a time, in all and of one sandbox; more are refused.
const CONNECTIONS_MAX: usize = 512;
const CONNECTIONS_OF_ONE_MAX: usize = 32;

/// Connections that one sandbox gets accepted before others have their turn.
const TURN: usize = 16;

/// How long a client may be silent, and a server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a server may take to accept: the client does not wait for all of them longer than
/// [`PATIENCE`].
const SERVER_PATIENCE: Duration = Duration::from_millis(1500);

/// How long a connection may last, however little it says at a time.
const LIFE_MAX: Duration = Duration::from_secs(60);

/// What a thread needs: a few buffers, all on the heap.
const STACK: usize = 128 * 1024;

/// The connections there are.
pub(crate) struct Streams {
    zones: Arc<RwLock<Zones>>,
    count: Arc<AtomicUsize>,
}

impl Streams {
    pub(crate) fn new(zones: Arc<RwLock<Zones>>) -> Self {
        Self {
            zones,
            count: Arc::default(),
        }
    }

    /// Serves all clients that wait.
    pub(crate) fn accept(&self, held: &Held, sandbox: &Arc<str>) {
        for _ in 0..TURN {
            let Ok((stream, _)) = held.tcp.accept() else {
                return;
            };
            if self.count.load(Ordering::Relaxed) >= CONNECTIONS_MAX
                || held.streams.load(Ordering::Relaxed) >= CONNECTIONS_OF_ONE_MAX
            {
                continue;
            }
            let zones = Arc::clone(&self.zones);
            let (sandbox, namespace) = (Arc::clone(sandbox), Arc::clone(&held.namespace));
            let place = Place::take([&self.count, &held.streams]);
            let started = thread::Builder::new()
                .name("stream".to_owned())
                .stack_size(STACK)
                .spawn(move || {
                    // A client that goes away, or is silent, ends it.
                    let _ = serve(stream, &zones, &sandbox, &namespace);
                    drop(place);
                });
            // Without a thread, the connection closes.
            drop(started);
        }
    }
}

/// A connection's place among those there are, in all and of its sandbox.
struct Place([Arc<AtomicUsize>; 2]);

impl Place {
    fn take(counts: [&Arc<AtomicUsize>; 2]) -> Self {
        Self(counts.map(|count| {
            count.fetch_add(1, Ordering::Relaxed);
            Arc::clone(count)
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for count in &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve(
    mut client: TcpStream,
    zones: &RwLock<Zones>,
    sandbox: &str,
    namespace: &OwnedFd,
) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let end = Instant::now() + LIFE_MAX;
    while Instant::now() < end {
        let query = receive(&mut client)?;
        let question = message::question(&query).ok_or(io::ErrorKind::InvalidData)?;
        let answered = local(
            &read(zones),
            sandbox,
            &query,
            &question,
            usize::from(u16::MAX),
        );
        let reply = match answered {
            Local::Answer(bytes) => bytes,
            Local::Elsewhere => {
                let servers = read(zones)
                    .sandbox(sandbox)
                    .map(|known| known.servers.clone());
                elsewhere(&servers.unwrap_or_default(), &query, namespace)
            }
        };
        send(&mut client, &reply)?;
    }
    Ok(())
}

/// The answer of the first upstream server that has one.
fn elsewhere(servers: &[Upstream], query: &[u8], namespace: &OwnedFd) -> Vec<u8> {
    let useful = |reply: &Vec<u8>| message::verdict(reply) != Verdict::Useless;
    let found = servers.iter().find_map(|server| {
        let reply = if server.from_host {
            ask(*server, query)
        } else {
            inside(namespace, || ask(*server, query))
        };
        reply.ok().filter(useful)
    });
    found
        .or_else(|| message::answer(query, &Answer::Failed, usize::MAX))
        .unwrap_or_default()
}

fn ask(server: Upstream, query: &[u8]) -> io::Result<Vec<u8>> {
    let address = SocketAddr::new(server.address, PORT);
    let mut stream = TcpStream::connect_timeout(&address, SERVER_PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    send(&mut stream, query)?;
    let reply = receive(&mut stream)?;
    if message::is_reply_to(&reply, query, message::id(query)) {
        Ok(reply)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Does something in a namespace, on this thread, and comes back.
fn inside<T>(namespace: &OwnedFd, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let kind = Some(LinkNameSpaceType::Network);
    let home = hull_sys::netlink::namespace::current()?;
    move_into_link_name_space(namespace.as_fd(), kind)?;
    let result = work();
    move_into_link_name_space(home.as_fd(), kind)?;
    result
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend_from_slice(bytes);
    stream.write_all(&packet)
}
