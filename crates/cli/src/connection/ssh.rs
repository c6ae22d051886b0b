//! A daemon on another host, reached through the system's `ssh` and `system dial-stdio` there. One connection serves all
//! requests of a command that come one after another.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use hull_api::client::{Connect, Connecting, Duplex};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::context::Program;

/// Runs on the other host: whichever of the two is there.
const DIAL: &str = "sh -c 'if command -v hull >/dev/null; then exec hull SOCKET system dial-stdio; else exec docker SOCKET system dial-stdio; fi'";

/// Another host.
#[derive(Debug)]
pub(super) struct SshEndpoint {
    arguments: Vec<String>,
    shown: String,
}

impl SshEndpoint {
    pub(super) fn new(
        target: &str,
        port: Option<u16>,
        socket: &str,
        shown: &str,
        program: Program,
    ) -> Self {
        let mut arguments: Vec<String> =
            ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
        if let Some(port) = port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--".to_owned(), target.to_owned()]);
        let host = match socket {
            "" => String::new(),
            path => format!("--host unix://{path}"),
        };
        match program {
            Program::Hull => arguments.push(DIAL.replace("SOCKET", &host)),
            Program::Docker => {
                arguments.push("docker".to_owned());
                arguments.extend(host.split_whitespace().map(str::to_owned));
                arguments.extend(["system", "dial-stdio"].map(str::to_owned));
            }
        }
        Self {
            arguments,
            shown: shown.to_owned(),
        }
    }
}

impl Connect for SshEndpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let mut command = tokio::process::Command::new("ssh");
            let mut child = command
                .args(&self.arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                // Ctrl-C is for the container; ssh goes when its input ends.
                .process_group(0)
                .spawn()
                .map_err(|error| io::Error::new(error.kind(), format!("ssh: {error}")))?;
            let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(io::Error::other("ssh has no streams"));
            };
            Ok(Box::new(Pipes {
                input: Some(input),
                output,
                _child: child,
            }) as Box<dyn Duplex>)
        })
    }

    fn host(&self) -> String {
        self.shown.clone()
    }

    fn is_kept(&self) -> bool {
        true
    }
}

/// The two pipes of a helper program as one stream.
struct Pipes {
    /// Closed when our side has said all: a pipe has no other way to tell.
    input: Option<ChildStdin>,
    output: ChildStdout,
    _child: Child,
}

impl fmt::Debug for Pipes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Pipes")
    }
}

impl Pipes {
    fn input(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Pin::new(input))
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
        self.input()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.input() {
            Ok(input) => input.poll_flush(context),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Ok(input) = self.input() {
            std::task::ready!(input.poll_shutdown(context))?;
        }
        self.input = None;
        Poll::Ready(Ok(()))
    }
}
