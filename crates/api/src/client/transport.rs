//! Connections: how to reach a daemon, one exchange on a connection, and its hand-over.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    net::{TcpStream, UnixStream},
};

use super::{Call, Client, ClientError, RequestBody};
use crate::stream;

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// A connection being made.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send + 'a>>;

/// How to reach a daemon. Implement it for transports this crate does not bring (TLS, SSH).
pub trait Connect: fmt::Debug + Send + Sync {
    /// Makes a new connection.
    fn connect(&self) -> Connecting<'_>;

    /// The address for people: `unix:///var/run/docker.sock`.
    fn host(&self) -> String;

    /// What requests are addressed to: proxies in front of a daemon tell hosts apart by it. A socket has no
    /// name of its own, and servers insist on one.
    fn authority(&self) -> String {
        "api.moby.localhost".to_owned()
    }

    /// What stands before every path.
    fn prefix(&self) -> &str {
        ""
    }

    /// Whether connections are dear: then one that is busy is waited for, a little, rather than another made.
    fn is_kept(&self) -> bool {
        false
    }
}

/// A daemon's unix socket.
#[derive(Debug, Clone)]
pub struct UnixEndpoint(PathBuf);

/// A daemon's TCP port, without encryption.
#[derive(Debug, Clone)]
pub struct TcpEndpoint(String);

impl UnixEndpoint {
    /// The socket at `path`.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_owned())
    }
}

impl TcpEndpoint {
    /// `host:port`; without a port, 2375.
    pub fn new(address: &str) -> Self {
        let address = address.trim_end_matches('/');
        let bare = address
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.ends_with(']'));
        Self(if bare {
            format!("{address}:2375")
        } else {
            address.to_owned()
        })
    }
}

impl Connect for UnixEndpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async { Ok(Box::new(UnixStream::connect(&self.0).await?) as Box<dyn Duplex>) })
    }

    fn host(&self) -> String {
        format!("unix://{}", self.0.display())
    }
}

impl Connect for TcpEndpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.0).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Duplex>)
        })
    }

    fn host(&self) -> String {
        format!("tcp://{}", self.0)
    }

    fn authority(&self) -> String {
        self.0.clone()
    }
}

/// An answer that has been read frees its connection within this time, which is waited for where connections are dear.
const FREED_MAX: Duration = Duration::from_millis(50);
/// Where they are not, one is used again at once or not at all: who answers may have been started anew meanwhile.
const FRESH_MAX: Duration = Duration::from_secs(1);

/// Connections that may be used again, and since when.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<(http1::SendRequest<RequestBody>, Instant)>>);

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl Pool {
    fn take(&self) -> Option<(http1::SendRequest<RequestBody>, Instant)> {
        self.0.lock().expect("nobody panics here").pop()
    }

    fn put(&self, sender: http1::SendRequest<RequestBody>) {
        let entry = (sender, Instant::now());
        self.0.lock().expect("nobody panics here").push(entry);
    }

    /// A connection whose answer has been read; one that is still busy is left to its reader.
    async fn idle(&self, are_dear: bool) -> Option<http1::SendRequest<RequestBody>> {
        let (mut sender, since) = self.take()?;
        if are_dear {
            let ready = tokio::time::timeout(FREED_MAX, sender.ready()).await;
            return matches!(ready, Ok(Ok(()))).then_some(sender);
        }
        // Its task sees the end of the answer when it is its turn.
        tokio::task::yield_now().await;
        (sender.is_ready() && since.elapsed() < FRESH_MAX).then_some(sender)
    }
}

/// One request and its answer, on a new connection unless one is free. A task carries the connection until the answer's body
/// ends.
pub(super) async fn exchange(
    endpoint: &dyn Connect,
    pool: &Pool,
    request: Request<RequestBody>,
) -> Result<Response<Incoming>, ClientError> {
    let path = request.uri().path().to_owned();
    let exchange = |source| ClientError::Exchange {
        path: path.clone(),
        source,
    };
    let used = match pool.idle(endpoint.is_kept()).await {
        None => Err(request),
        Some(mut sender) => match sender.try_send_request(request).await {
            Ok(answer) => Ok((sender, answer)),
            Err(mut error) => match error.take_message() {
                // It was closed just now, and nothing of the request went out on it.
                Some(unsent) if !endpoint.is_kept() => Err(unsent),
                _ => return Err(exchange(error.into_error())),
            },
        },
    };
    let (sender, answer) = match used {
        Ok(answered) => answered,
        Err(request) => {
            let mut sender = connected(endpoint, &path).await?;
            let answer = sender.send_request(request).await.map_err(exchange)?;
            (sender, answer)
        }
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        pool.put(sender);
    }
    Ok(answer)
}

async fn connected(
    endpoint: &dyn Connect,
    path: &str,
) -> Result<http1::SendRequest<RequestBody>, ClientError> {
    let connect = |source| ClientError::Connect {
        host: endpoint.host(),
        source,
    };
    let exchange = |source| ClientError::Exchange {
        path: path.to_owned(),
        source,
    };
    let stream = endpoint.connect().await.map_err(connect)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(exchange)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// A connection the daemon handed over: what is written is input, what is read is output, framed
/// or not. Shutting the writing side down ends the input and nothing else.
pub struct Hijacked {
    io: TokioIo<Upgraded>,
    framed: Option<bool>,
}

impl fmt::Debug for Hijacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hijacked")
            .field("framed", &self.framed)
            .finish_non_exhaustive()
    }
}

impl Hijacked {
    /// Whether output comes in frames; `None`: the daemon does not say (API below 1.42), and it
    /// does unless there is a terminal.
    pub fn framed(&self) -> Option<bool> {
        self.framed
    }

    /// Both directions, to be used apart.
    pub fn split(self) -> (ReadHalf<Self>, WriteHalf<Self>) {
        tokio::io::split(self)
    }
}

impl AsyncRead for Hijacked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Hijacked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl Client {
    /// Posts and takes the connection over.
    pub(crate) async fn hijack(&self, path: &str, call: Call) -> Result<Hijacked, ClientError> {
        let call = call
            .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(header::UPGRADE, HeaderValue::from_static("tcp"));
        let answer = self.send(http::Method::POST, path, call).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::NotUpgraded {
                status: answer.status(),
            });
        }
        let media = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let speaks = self
            .version()
            .has(crate::version::Feature::MultiplexedMediaType);
        let framed = media
            .filter(|_| speaks)
            .map(|media| media == stream::MULTIPLEXED);
        let upgraded = hyper::upgrade::on(answer).await;
        let upgraded = upgraded.map_err(|source| ClientError::Exchange {
            path: path.to_owned(),
            source,
        })?;
        Ok(Hijacked {
            io: TokioIo::new(upgraded),
            framed,
        })
    }

    /// A connection handed over at once, without HTTP on it: what `system dial-stdio` joins to
    /// its own streams.
    pub async fn dial(&self) -> Result<Box<dyn Duplex>, ClientError> {
        let endpoint = self.shared.endpoint.as_ref();
        let connect = |source| ClientError::Connect {
            host: endpoint.host(),
            source,
        };
        endpoint.connect().await.map_err(connect)
    }
}
