//! The sockets clients come in by.

use std::{
    fs, io,
    os::{
        fd::{OwnedFd, RawFd},
        unix::fs::{FileTypeExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hull_api::client::Duplex;
use hull_sys::host_process::is_drained;
use rustix::{event::epoll, net::sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::tls;
use crate::config::{Config, Endpoint, Tls};

/// A socket that accepts clients.
#[derive(Debug)]
pub(crate) struct Listener(Kind);

enum Kind {
    Unix {
        socket: UnixListener,
        made: Option<PathBuf>,
    },
    Tcp {
        socket: TcpListener,
        tls: Option<TlsAcceptor>,
    },
}

/// A client that has come in but not said anything yet.
pub(crate) enum Pending {
    Unix(UnixStream),
    Tcp(TcpStream, Option<TlsAcceptor>),
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// The operating system refused.
    #[error("can't create {what} socket {address}")]
    Bind {
        what: &'static str,
        address: String,
        source: io::Error,
    },
    /// A daemon is there already.
    #[error("can't create unix socket {0}: a daemon listens on it")]
    InUse(String),
    /// Whoever can reach a plain port owns the host.
    #[error(
        "refusing to listen on {0} without TLS: everybody who reaches it would be root on this \
         host; use --tlsverify with certificates, or an address of the loopback"
    )]
    Unprotected(String),
    /// systemd gave none.
    #[error("no sockets found via socket activation: make sure the service was started by systemd")]
    NoActivation,
    /// The group of `--group`.
    #[error("group {0} not found")]
    NoGroup(String),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// Groups that own the socket if no other is asked for, the first that exists.
const GROUPS: [&str; 2] = ["docker", "hull"];

/// Only the owner and the group may connect.
const SOCKET_MODE: u32 = 0o660;

/// How often to look, at once, whether a client has read what was written.
const DRAIN_LOOKS: u32 = 50;

/// How long to wait for one that has not: it reads slowly, and then nothing hurries.
const DRAIN_MS_MAX: u32 = 50;

/// How long a TCP client is silent until it is asked whether it is there, and between questions.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The first descriptor systemd hands over.
const ACTIVATION_FIRST: RawFd = 3;

/// Opens every socket the configuration names.
pub(crate) fn open(config: &Config) -> Result<Vec<Listener>, SocketError> {
    let mut listeners = Vec::new();
    for endpoint in &config.hosts {
        match endpoint {
            Endpoint::Unix(path) => listeners.push(unix(path, config.group.as_deref())?),
            Endpoint::Tcp(address) => listeners.extend(tcp(address, config.tls.as_ref())?),
            Endpoint::Activation => listeners.extend(activated(config)?),
        }
    }
    Ok(listeners)
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<Pending> {
        match &self.0 {
            Kind::Unix { socket, .. } => Ok(Pending::Unix(socket.accept().await?.0)),
            Kind::Tcp { socket, tls } => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                // One whose machine has gone is found out.
                let _ = sockopt::set_socket_keepalive(&stream, true);
                let _ = sockopt::set_tcp_keepidle(&stream, KEEPALIVE);
                let _ = sockopt::set_tcp_keepintvl(&stream, KEEPALIVE);
                Ok(Pending::Tcp(stream, tls.clone()))
            }
        }
    }

    /// For the log.
    pub(crate) fn address(&self) -> String {
        match &self.0 {
            Kind::Unix { socket, .. } => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(
                    || "unix://".to_owned(),
                    |path| format!("unix://{}", path.display()),
                )
            }
            Kind::Tcp { socket, .. } => socket
                .local_addr()
                .map_or_else(|_| "tcp://".to_owned(), |a| format!("tcp://{a}")),
        }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unix { .. } => "unix",
            Self::Tcp { .. } => "tcp",
        })
    }
}

impl Drop for Listener {
    /// A socket the daemon made goes with it.
    fn drop(&mut self) {
        if let Kind::Unix {
            made: Some(path), ..
        } = &self.0
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// The answer to a client for which there is no descriptor.
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Connection: close\r\nContent-Length: 84\r\n\r\n\
    {\"message\":\"the daemon has too many open files: try again when fewer clients wait\"}\n";

impl Pending {
    /// Says that there is no room now. Nothing of the client's is read, and nothing waited for.
    pub(super) fn turn_away(self) {
        if let Self::Unix(stream) = self {
            let _ = stream.try_write(TURNED_AWAY);
        }
    }

    /// The connection, after TLS had its say.
    pub(super) async fn established(self) -> io::Result<Connection> {
        Ok(match self {
            Self::Unix(stream) => Connection::Unix(stream),
            Self::Tcp(stream, None) => Connection::Tcp(stream),
            Self::Tcp(stream, Some(tls)) => Connection::Tls(Box::new(tls.accept(stream).await?)),
        })
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Waits, though not for long, until the client has read what was written.
    pub(super) async fn drained(&self) {
        let drained = || match self {
            Self::Unix(stream) => is_drained(stream),
            Self::Tcp(stream) => is_drained(stream),
            Self::Tls(stream) => is_drained(stream.get_ref().0),
        };
        // A client that waits for the answer has read it in no time: a timer would be too coarse.
        for _ in 0..DRAIN_LOOKS {
            if drained().unwrap_or(true) {
                return;
            }
            tokio::task::yield_now().await;
        }
        for _ in 0..DRAIN_MS_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if drained().unwrap_or(true) {
                return;
            }
        }
    }

    /// The name in the certificate that the client has shown: the last common name of its subject, as
    /// for Docker.
    pub(super) fn user(&self) -> Option<String> {
        use x509_parser::prelude::FromDer;
        let Self::Tls(stream) = self else { return None };
        let shown = stream.get_ref().1.peer_certificates()?;
        let (_, certificate) =
            x509_parser::certificate::X509Certificate::from_der(shown.first()?).ok()?;
        let name = certificate.subject().iter_common_name().last()?;
        Some(name.as_str().ok()?.to_owned())
    }

    /// Readable once the other end is closed in both directions: one that only stops sending is
    /// not.
    #[expect(
        deprecated,
        reason = "an OwnedFd cannot be closed by others; `register` is unsafe"
    )]
    pub(super) fn hangup(&self) -> io::Result<AsyncFd<OwnedFd>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // A hang-up is told whatever is asked for.
        let (data, nothing) = (epoll::EventData::new_u64(0), epoll::EventFlags::empty());
        match self {
            Self::Unix(stream) => epoll::add(&epoll, stream, data, nothing),
            Self::Tcp(stream) => epoll::add(&epoll, stream, data, nothing),
            Self::Tls(stream) => epoll::add(&epoll, stream.get_ref().0, data, nothing),
        }?;
        AsyncFd::new(epoll)
    }

    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        match self {
            Self::Unix(stream) => Pin::new(stream),
            Self::Tcp(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

fn unix(path: &Path, group: Option<&str>) -> Result<Listener, SocketError> {
    let refused = |source| bind_error("unix", path.display().to_string(), source);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(refused)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(SocketError::InUse(path.display().to_string()));
    }
    // A socket nobody listens on is left over from a daemon that was killed.
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path).map_err(refused)?;
    }
    // Nobody may connect before the owner and the mode are set.
    let old = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = std::os::unix::net::UnixListener::bind(path);
    rustix::process::umask(old);
    let socket = bound.map_err(refused)?;
    if let Some(group) = group_id(group)? {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(refused)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
    socket.set_nonblocking(true).map_err(refused)?;
    let socket = UnixListener::from_std(socket).map_err(refused)?;
    Ok(Listener(Kind::Unix {
        socket,
        made: Some(path.to_owned()),
    }))
}

/// The number of the socket's group; `None`: it stays with the daemon's own.
fn group_id(wanted: Option<&str>) -> Result<Option<u32>, SocketError> {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let number = |name: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        })
    };
    match wanted {
        None => Ok(GROUPS.iter().find_map(|name| number(name))),
        Some(name) => match number(name).or_else(|| name.parse().ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(SocketError::NoGroup(name.to_owned())),
        },
    }
}

fn tcp(address: &str, tls: Option<&Tls>) -> Result<Vec<Listener>, SocketError> {
    use std::net::ToSocketAddrs;
    let refused = |source| bind_error("tcp", address.to_owned(), source);
    let addresses: Vec<_> = address.to_socket_addrs().map_err(refused)?.collect();
    let protected = tls.is_some_and(|tls| tls.authority.is_some());
    if !protected && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(SocketError::Unprotected(address.to_owned()));
    }
    if !protected {
        tracing::warn!(
            address,
            "every user of this host can control the daemon over this port"
        );
    }
    let acceptor = tls.map(tls::acceptor).transpose()?;
    addresses
        .into_iter()
        .map(|address| {
            let socket = std::net::TcpListener::bind(address).map_err(refused)?;
            socket.set_nonblocking(true).map_err(refused)?;
            let socket = TcpListener::from_std(socket).map_err(refused)?;
            Ok(Listener(Kind::Tcp {
                socket,
                tls: acceptor.clone(),
            }))
        })
        .collect()
}

/// The sockets systemd opened for us.
fn activated(config: &Config) -> Result<Vec<Listener>, SocketError> {
    let variable = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
    };
    let ours = variable("LISTEN_PID").is_none_or(|pid| pid == std::process::id());
    let count = variable("LISTEN_FDS").filter(|count| ours && *count > 0);
    let count = count.ok_or(SocketError::NoActivation)?;
    let last = ACTIVATION_FIRST + RawFd::try_from(count).unwrap_or(0);
    (ACTIVATION_FIRST..last)
        .map(|number| adopt(number, config))
        .collect()
}

fn adopt(number: RawFd, config: &Config) -> Result<Listener, SocketError> {
    let refused = |source| bind_error("activated", format!("fd {number}"), source);
    let descriptor = hull_sys::host_process::take_inherited(number).map_err(refused)?;
    let address = rustix::net::getsockname(&descriptor).map_err(|error| refused(error.into()))?;
    if address.address_family() == rustix::net::AddressFamily::UNIX {
        let socket = std::os::unix::net::UnixListener::from(descriptor);
        socket.set_nonblocking(true).map_err(refused)?;
        let socket = UnixListener::from_std(socket).map_err(refused)?;
        return Ok(Listener(Kind::Unix { socket, made: None }));
    }
    let socket = std::net::TcpListener::from(descriptor);
    socket.set_nonblocking(true).map_err(refused)?;
    let local = socket.local_addr().map_err(refused)?;
    let protected = config
        .tls
        .as_ref()
        .is_some_and(|tls| tls.authority.is_some());
    if !protected && !local.ip().is_loopback() {
        return Err(SocketError::Unprotected(local.to_string()));
    }
    let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
    let socket = TcpListener::from_std(socket).map_err(refused)?;
    Ok(Listener(Kind::Tcp { socket, tls }))
}

fn bind_error(what: &'static str, address: String, source: io::Error) -> SocketError {
    SocketError::Bind {
        what,
        address,
        source,
    }
}
