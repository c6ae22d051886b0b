//! Speaking with a container's shim.

use std::{
    io,
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
    time::Duration,
};

use hull_shim::{
    client::{Client, ClientError},
    codec::{Decoder, encode},
    protocol::{Attach, ErrorKind, Event, Phase, Reply, Request},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::error::{Error, Result};

/// How long a shim may take to answer. It never waits for a workload, so this is only for a machine
/// in deep trouble, or a shim that somebody stopped.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a shim may take to take a daemon up again.
const RECONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The name of a shim's socket in its container's run directory.
const SOCKET: &str = "shim.sock";

/// Where a container's shim is reached.
#[derive(Debug, Clone)]
pub(crate) struct ShimLink {
    socket: PathBuf,
}

/// What a shim tells by itself.
#[derive(Debug)]
pub(crate) struct EventStream {
    stream: UnixStream,
    decoder: Decoder,
}

impl ShimLink {
    /// `run_dir`: the container's.
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self {
            socket: run_dir.join(SOCKET),
        }
    }

    /// A connection that answers in time or not at all. Blocks.
    pub(crate) fn connect(&self) -> Result<Client> {
        let client = Client::connect(&self.socket).map_err(unreachable)?;
        client
            .set_timeout(Some(ANSWER_TIMEOUT))
            .map_err(unreachable)?;
        Ok(client)
    }

    /// Whether there is no shim behind the socket any more. One that is merely stopped is there.
    pub(crate) fn is_gone(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        Client::connect(&self.socket).is_err_and(|error| match error {
            ClientError::Io(error) => matches!(error.kind(), ConnectionRefused | NotFound),
            _ => false,
        })
    }

    /// Whether the container's first process is still `pid`. The shim is its parent: the number is
    /// nobody else's before the shim has reaped it. Blocks.
    pub(crate) fn holds(&self, pid: i32, within: Duration) -> Result<bool> {
        let mut client = self.connect()?;
        client.set_timeout(Some(within)).map_err(unreachable)?;
        match client.request(&Request::State, &[]).map_err(refused)? {
            Reply::State(state) => Ok(match state.phase {
                Phase::Created { pid: its } | Phase::Running { pid: its, .. } => its == pid,
                Phase::Empty | Phase::Exited(_) => false,
            }),
            _ => Ok(false),
        }
    }

    /// Asks and waits for the answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply> {
        let link = self.clone();
        blocking(move || link.connect()?.request(&request, &[]).map_err(refused)).await
    }

    /// The streams of a process.
    pub(crate) async fn attach(&self, attach: Attach) -> Result<StdStream> {
        let link = self.clone();
        blocking(move || link.attach_blocking(attach)).await
    }

    /// The streams of a process. Blocks.
    pub(crate) fn attach_blocking(&self, attach: Attach) -> Result<StdStream> {
        let stream = self.connect()?.attach(attach).map_err(refused)?;
        stream
            .set_read_timeout(None)
            .map_err(|error| unreachable(error.into()))?;
        Ok(stream)
    }

    /// What happens from now on, and what happened and still matters.
    pub(crate) async fn events(&self) -> Result<EventStream> {
        let link = self.clone();
        let stream = blocking(move || {
            let client = link.connect()?;
            client
                .set_timeout(Some(RECONNECT_WITHIN))
                .map_err(unreachable)?;
            Ok(client.events().map_err(refused)?.into_stream())
        })
        .await?;
        EventStream::new(stream).map_err(|error| unreachable(error.into()))
    }

    /// Lets the shim go, its exit being recorded. One that does not answer goes by itself.
    pub(crate) async fn dismiss(&self) {
        if let Err(error) = self.ask(Request::Shutdown).await {
            tracing::debug!(%error, socket = %self.socket.display(), "the shim is gone already");
        }
    }
}

impl EventStream {
    /// Takes a connection on which events were asked for.
    pub(crate) fn new(stream: StdStream) -> io::Result<Self> {
        stream.set_read_timeout(None)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            decoder: Decoder::default(),
        })
    }

    /// Lets the shim go, its exit being recorded. Needs no further connection.
    pub(crate) async fn dismiss(mut self) -> io::Result<()> {
        let frame = encode(&Request::Shutdown).map_err(io::Error::other)?;
        self.stream.write_all(&frame).await
    }

    /// The next event; `None`: the shim is gone. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            match self.decoder.next() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "a shim speaks nonsense");
                    return None;
                }
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.decoder.push(&bytes[..count]),
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(job)
        .await
        .map_err(|panic| Error::Internal(format!("a job broke off: {panic}")))?
}

fn unreachable(error: ClientError) -> Error {
    Error::Unavailable(format!(
        "the container's shim cannot be reached: {}",
        chain(&error)
    ))
}

/// A shim's refusal in the engine's words.
pub(crate) fn refused(error: ClientError) -> Error {
    match error {
        ClientError::Refused {
            kind: ErrorKind::State,
            message,
        } => Error::State(message),
        ClientError::Refused {
            kind: ErrorKind::NoSuchExec,
            message,
        } => Error::NoSuchExec(message),
        ClientError::Refused {
            kind: ErrorKind::NotFound,
            message,
        } => Error::Start { code: 127, message },
        ClientError::Refused {
            kind: ErrorKind::NotExecutable,
            message,
        } => Error::Start { code: 126, message },
        ClientError::Refused {
            kind: ErrorKind::Other,
            message,
        } => Error::Internal(message),
        other => unreachable(other),
    }
}

/// An error with the causes that its own text does not tell already, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}
