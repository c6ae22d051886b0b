//! A daemon on another host, reached through the system's `ssh` and `system dial-stdio` there.
//!
//! One connection serves all streams of a command, and for some seconds the next command: `ssh` shares it by a control
//! socket, unless its own settings already say how connections are shared. Of the streams in it, one serves all requests
//! that come one after another.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use hull_api::client::{Connect, Connecting, Duplex};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::OnceCell;

use crate::context::{Globals, Program};

/// Runs on the other host: whichever of the two is there.
const DIAL: &str = "sh -c 'if command -v hull >/dev/null; then exec hull SOCKET system dial-stdio; else exec docker SOCKET system dial-stdio; fi'";

/// A connection stays this many seconds for the next command.
const KEPT_SECONDS: u32 = 10;
/// A socket's path is no longer; `ssh` adds some letters of its own while it makes one.
const CONTROL_PATH_MAX: usize = 90;
/// How much longer is what `ssh` puts in place of `%C`.
const CONTROL_NAME: usize = 38;

/// Another host.
#[derive(Debug)]
pub(super) struct SshEndpoint {
    /// Options, then the host.
    place: Vec<String>,
    /// What is run there.
    dial: Vec<String>,
    /// Where the control socket may lie.
    directory: PathBuf,
    /// Options that share the connection, found out when it is first made.
    sharing: OnceCell<Vec<String>>,
    shown: String,
}

impl SshEndpoint {
    pub(super) fn new(
        target: &str,
        port: Option<u16>,
        socket: &str,
        shown: &str,
        globals: &Globals,
    ) -> Self {
        let mut place = Vec::new();
        if let Some(port) = port {
            place.extend(["-p".to_owned(), port.to_string()]);
        }
        place.extend(["--".to_owned(), target.to_owned()]);
        let host = match socket {
            "" => String::new(),
            path => format!("--host unix://{path}"),
        };
        let dial = match globals.program {
            Program::Hull => vec![DIAL.replace("SOCKET", &host)],
            Program::Docker => ["docker"]
                .into_iter()
                .chain(host.split_whitespace())
                .chain(["system", "dial-stdio"])
                .map(str::to_owned)
                .collect(),
        };
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let directory = runtime.filter(|directory| directory.is_dir());
        Self {
            place,
            dial,
            directory: directory.unwrap_or_else(|| PathBuf::from(&globals.config_directory)),
            sharing: OnceCell::new(),
            shown: shown.to_owned(),
        }
    }

    /// The options that share one connection; none where the user's settings for `ssh` do that, or nothing can be found out.
    async fn sharing(&self) -> Vec<String> {
        let path = self.directory.join("hull-ssh-%C");
        if path.as_os_str().len() + CONTROL_NAME > CONTROL_PATH_MAX || !self.directory.is_dir() {
            return Vec::new();
        }
        let mut command = tokio::process::Command::new("ssh");
        let told = command.arg("-G").args(&self.place).stdin(Stdio::null());
        let told = told.stderr(Stdio::null()).output().await;
        let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let told = told.unwrap_or_default();
        let is_own = |line: &str| match line.split_once(' ') {
            Some(("controlpath", path)) => path != "none",
            _ => false,
        };
        if told.is_empty() || told.lines().any(is_own) {
            return Vec::new();
        }
        let options = [
            "ControlMaster=auto".to_owned(),
            format!("ControlPersist={KEPT_SECONDS}"),
            format!("ControlPath={}", path.display()),
        ];
        options
            .into_iter()
            .flat_map(|option| ["-o".to_owned(), option])
            .collect()
    }
}

impl Connect for SshEndpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let sharing = self.sharing.get_or_init(|| self.sharing()).await;
            let mut command = tokio::process::Command::new("ssh");
            let mut child = command
                .args(["-o", "ConnectTimeout=30", "-T"])
                .args(sharing)
                .args(&self.place)
                .args(&self.dial)
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
                has_spoken: false,
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
    /// Something came from the other side.
    has_spoken: bool,
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
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.output).poll_read(context, buffer))?;
        if buffer.filled().len() == before && !self.has_spoken && buffer.remaining() > 0 {
            // What `ssh` had to say is on the terminal already.
            return Poll::Ready(Err(io::Error::other("ssh ended before a daemon answered")));
        }
        self.has_spoken = true;
        Poll::Ready(Ok(()))
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
