//! What the daemon and the resolver say to each other: one JSON document a packet, over a unix
//! socket that keeps packets apart, with open files beside it where a sandbox is new.
//!
//! ```text
//! daemon                             resolver
//! Hello                            → Hello
//! Network …, Endpoint …, Sandbox …,
//! Relay …                          →            what is not named again goes …
//! Complete                         → Missing …, Done                   … now
//! any changes, then Ping           → Done
//! ```
//! Fields are only added; a resolver of another version is told to leave.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    net::{IpAddr, SocketAddr},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use hull_sys::fdpass;
use ipnet::IpNet;
use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The protocol's version.
pub const VERSION: u32 = 2;

/// The resolver's address, in every sandbox.
pub const ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 11);

/// The largest packet.
const PACKET_MAX: usize = 64 * 1024;

/// Ids in one [`Reply::Missing`]: far below the largest packet.
pub const MISSING_MAX: usize = 256;

/// The longest path that `sockaddr_un` holds.
const PATH_BYTES_MAX: usize = 107;

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A daemon begins: everything will be named again.
    Hello {
        /// Its version of the protocol.
        version: u32,
    },
    /// A network is there.
    Network {
        /// Its id.
        id: String,
        /// Its name: endpoints answer to `name.network`, too.
        name: String,
        /// Addresses whose names nobody else knows.
        subnets: Vec<IpNet>,
    },
    /// A network has gone.
    NetworkGone {
        /// Its id.
        id: String,
    },
    /// A container has a place in a network.
    Endpoint {
        /// Its id.
        id: String,
        /// The network's id.
        network: String,
        /// The names it answers to; the first is the one that its addresses have.
        names: Vec<String>,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
    /// An endpoint has gone.
    EndpointGone {
        /// Its id.
        id: String,
    },
    /// A sandbox asks questions. With a new one come its namespace, its UDP socket and its
    /// listening TCP socket.
    Sandbox(Sandbox),
    /// A sandbox has gone.
    SandboxGone {
        /// Its id.
        id: String,
    },
    /// What reaches a port of the host is carried to a container. With a new one comes its socket.
    Relay(Relay),
    /// A relay ends, and its connections with it.
    RelayGone {
        /// Its id.
        id: String,
    },
    /// Everything was named: what was not has gone.
    Complete,
    /// Say when all of the above is done.
    Ping,
    /// Another resolver takes over.
    Leave,
}

/// Who asks questions, and where they may go on to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The container's id.
    pub id: String,
    /// The networks it is in, by id; the first that knows a name answers.
    pub networks: Vec<String>,
    /// Names that this sandbox alone knows, for endpoints' names.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Whom to ask next.
    #[serde(default)]
    pub servers: Vec<Upstream>,
    /// Names without a dot are asked for with a search domain, and are nobody else's alone.
    #[serde(default)]
    pub keeps_single_labels: bool,
}

/// A port of the host that rules of the kernel cannot lead to its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Tells it from others.
    pub id: String,
    /// TCP, and its socket listens; or UDP.
    pub is_stream: bool,
    /// The container's side.
    pub target: SocketAddr,
    /// The host's end of the container's link: it goes with the container.
    pub link: String,
}

/// A server to ask for what is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its address.
    pub address: IpAddr,
    /// It is reached from the host, not from the sandbox: it listens on the host's loopback.
    pub from_host: bool,
}

/// What the resolver says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To a hello.
    Hello {
        /// Its version of the protocol.
        version: u32,
    },
    /// Sandboxes and relays that were named without sockets, and are new.
    Missing(Vec<String>),
    /// All is done.
    Done,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// A connected pair.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(ours), theirs))
    }

    /// Connects to the resolver that listens at `path`.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let (path, _directory) = short(path)?;
        let socket = socket()?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// A connection that is open already.
    pub fn from_fd(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// How long a peer may take to answer or to read; `None`: for ever.
    pub fn set_patience(&self, time: Option<Duration>) -> io::Result<()> {
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, time)?;
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Send, time)?;
        Ok(())
    }

    /// Sends one packet.
    pub fn send(&self, words: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(words).map_err(io::Error::other)?;
        if bytes.len() > PACKET_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "too long for one packet",
            ));
        }
        fdpass::send(&self.0, &bytes, fds).map(drop)
    }

    /// Receives one packet; `None`: the peer has gone.
    pub fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; PACKET_MAX];
        let mut fds = Vec::new();
        let length = fdpass::receive(&self.0, &mut bytes, &mut fds)?;
        if length == 0 {
            return Ok(None);
        }
        let words = serde_json::from_slice(&bytes[..length]).map_err(io::Error::other)?;
        Ok(Some((words, fds)))
    }

    /// Nobody on either side sends any more.
    pub fn close(&self) {
        // A connection that is gone already is as closed.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Listens at `path`, which only the owner may connect to. What lies there already is replaced.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let (short, _directory) = short(path)?;
    match std::fs::remove_file(&short) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = socket()?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &SocketAddrUnix::new(short)?);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&socket, 4)?;
    Ok(socket)
}

fn socket() -> io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        kind,
        flags,
        None,
    )?)
}

/// A path that fits, and what must stay open while it is used.
fn short(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a socket");
    let directory = path.parent().ok_or_else(invalid)?;
    let name: &OsStr = path.file_name().ok_or_else(invalid)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    Ok((short, Some(directory)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_arrive_whole_with_their_files() {
        let (ours, theirs) = Connection::pair().unwrap();
        let theirs = Connection::from_fd(theirs);
        let order = Order::Sandbox(Sandbox {
            id: "a".to_owned(),
            ..Sandbox::default()
        });
        ours.send(&order, &[ours.as_fd()]).unwrap();
        ours.send(&Order::Ping, &[]).unwrap();
        let (first, fds) = theirs.receive::<Order>().unwrap().unwrap();
        assert_eq!((first, fds.len()), (order, 1));
        drop(fds);
        let (second, fds) = theirs.receive::<Order>().unwrap().unwrap();
        assert_eq!((second, fds.len()), (Order::Ping, 0));
        drop(ours);
        assert!(theirs.receive::<Order>().unwrap().is_none());
    }

    #[test]
    fn paths_of_any_length_can_be_listened_at() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let listener = listen(&deep.join("resolver.sock")).unwrap();
        let client = Connection::connect(&deep.join("resolver.sock")).unwrap();
        let accepted = Connection::from_fd(rustix::net::accept(&listener).unwrap());
        client.send(&Order::Leave, &[]).unwrap();
        assert_eq!(
            accepted.receive::<Order>().unwrap().unwrap().0,
            Order::Leave
        );
    }
}
