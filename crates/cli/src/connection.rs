//! From the endpoint that is meant to a client of it, and from its errors to words for people.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use hull_api::client::{Connect, Connecting, Duplex, TcpEndpoint, UnixEndpoint};
use hull_api::{ApiVersion, Client, ClientError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::context::{Address, Endpoint, Globals, Program};
use crate::error::{Error, Result};

/// The newest version of the API that is spoken: the last in which the addresses of the default
/// network stand where scripts look for them (`.NetworkSettings.IPAddress`). Nothing newer is needed.
pub(crate) const API_MAX: ApiVersion = ApiVersion::new(50);

/// How to start the daemon, for who has none.
const HINT: &str = "start it with `hulld` (as root), or with `./dev install` as a service";

/// A client of the daemon that is meant, speaking a version both know.
///
/// # Errors
/// No such endpoint, or no daemon there.
pub(crate) async fn connect(globals: &Globals) -> Result<Client> {
    let client = unnegotiated(globals)?;
    match std::env::var("DOCKER_API_VERSION")
        .ok()
        .filter(|version| !version.is_empty())
    {
        Some(version) => {
            let version: ApiVersion = version
                .parse()
                .map_err(|_| Error::new(format!("invalid API version ({version})")))?;
            client.set_version(version);
        }
        None => {
            client.negotiate().await.map_err(failure)?;
            client.set_version(client.version().min(API_MAX));
        }
    }
    Ok(client)
}

/// A client that has not yet spoken.
///
/// # Errors
/// No such endpoint.
pub(crate) fn unnegotiated(globals: &Globals) -> Result<Client> {
    let endpoint = globals.endpoint()?;
    if endpoint.tls.is_some() {
        return Err(Error::new(format!(
            "TLS to {} is not available in Hull yet",
            endpoint.shown
        ))
        .with_hint("reach the daemon over ssh: `-H ssh://user@host`"));
    }
    Ok(client_of(&endpoint, globals.program))
}

fn client_of(endpoint: &Endpoint, program: Program) -> Client {
    match &endpoint.address {
        Address::Unix(path) => Client::new(UnixEndpoint::new(path)),
        Address::Tcp { host, port } if host.contains(':') => {
            Client::new(TcpEndpoint::new(&format!("[{host}]:{port}")))
        }
        Address::Tcp { host, port } => Client::new(TcpEndpoint::new(&format!("{host}:{port}"))),
        Address::Ssh { target, port } => Client::new(SshEndpoint {
            target: target.clone(),
            port: *port,
            shown: endpoint.shown.clone(),
            remote: program.name(),
        }),
    }
}

/// What went wrong with a request, in Docker's words.
pub(crate) fn failure(error: ClientError) -> Error {
    match error {
        ClientError::Refused { message, .. } => {
            Error::new(format!("Error response from daemon: {message}"))
        }
        ClientError::Connect { host, source } if source.kind() == io::ErrorKind::PermissionDenied => {
            Error::new(format!(
                "permission denied while trying to connect to the Docker daemon socket at {host}: connect: permission denied"
            ))
            .with_hint("run the command as root, or as a member of the socket's group")
        }
        ClientError::Connect { host, source } => {
            let text =
                format!("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?");
            let is_absent = matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            );
            if is_absent && host.starts_with("unix:") {
                Error::new(text).with_hint(HINT)
            } else if is_absent {
                Error::new(text)
            } else {
                Error::new(format!("error during connect: {host}: {source}"))
            }
        }
        other => Error::new(chain(&other)),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A daemon on another host, reached through `ssh` and `system dial-stdio` there.
#[derive(Debug)]
struct SshEndpoint {
    target: String,
    port: Option<u16>,
    shown: String,
    remote: &'static str,
}

impl Connect for SshEndpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let mut command = tokio::process::Command::new("ssh");
            command.args(["-o", "ConnectTimeout=30", "-T"]);
            if let Some(port) = self.port {
                command.args(["-p", &port.to_string()]);
            }
            command.args(["--", &self.target, self.remote, "system", "dial-stdio"]);
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(io::Error::other("ssh has no streams"));
            };
            Ok(Box::new(Pipes {
                input,
                output,
                _child: child,
            }) as Box<dyn Duplex>)
        })
    }

    fn host(&self) -> String {
        self.shown.clone()
    }
}

/// The two pipes of a helper program as one stream.
struct Pipes {
    input: ChildStdin,
    output: ChildStdout,
    _child: Child,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Pipes")
    }
}

impl AsyncRead for Pipes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}
