//! A process of the container and its streams, as the shim holds them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use hull_shim::protocol::{Exec, Exit, Target};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    pty::{OpenptFlags, ioctl_tiocgptpeer},
    termios::Winsize,
};

use crate::{
    log::Stream,
    poll::{Interest, Poll, Token},
};

/// What a process is to the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    Init,
    Exec(String),
    /// A health probe.
    Probe,
}

impl Role {
    pub(crate) fn is(&self, target: &Target) -> bool {
        match (self, target) {
            (Self::Init, Target::Init) => true,
            (Self::Exec(ours), Target::Exec(theirs)) => ours == theirs,
            _ => false,
        }
    }
}

/// How far a process is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// To be started later; it may be attached already.
    Prepared(Box<Exec>),
    /// There, but its program does not run yet (init only).
    Created {
        pid: i32,
        pidfd: OwnedFd,
    },
    Running {
        pid: i32,
        pidfd: OwnedFd,
        started_at_ns: i64,
    },
    Ended(Exit),
}

impl Stage {
    pub(crate) fn pid(&self) -> Option<i32> {
        match self {
            Self::Created { pid, .. } | Self::Running { pid, .. } => Some(*pid),
            Self::Prepared(_) | Self::Ended(_) => None,
        }
    }

    pub(crate) fn pidfd(&self) -> Option<&OwnedFd> {
        match self {
            Self::Created { pidfd, .. } | Self::Running { pidfd, .. } => Some(pidfd),
            Self::Prepared(_) | Self::Ended(_) => None,
        }
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Ended(exit) => Some(exit),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) stage: Stage,
    pub(crate) has_terminal: bool,
    /// Stdin ends when the first client that is connected to it leaves.
    pub(crate) stdin_once: bool,
    pub(crate) stdin: Input,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    /// The connection that asked for it.
    pub(crate) made_by: Option<u32>,
    /// The other end of its terminal. While the process runs, the terminal has a user, also if the
    /// process lets go of it for a while: the kernel would hang it up otherwise.
    pub(crate) terminal_user: Option<OwnedFd>,
    /// Attached clients.
    pub(crate) clients: Vec<u32>,
    /// A slow client of an exec session makes its process wait, as a pipe would.
    pub(crate) is_held: bool,
    /// After the end: how long output is waited for that others may still write.
    pub(crate) drain_until: Option<Instant>,
    /// What a probe wrote, as much as is kept.
    pub(crate) captured: Vec<u8>,
}

impl Process {
    pub(crate) fn prepared(exec: Box<Exec>) -> Self {
        let role = Role::Exec(exec.id.clone());
        let has_terminal = exec.process.terminal().unwrap_or(false);
        Self::new(role, Stage::Prepared(exec), has_terminal)
    }

    pub(crate) fn new(role: Role, stage: Stage, has_terminal: bool) -> Self {
        Self {
            stdin_once: matches!(role, Role::Exec(_)),
            role,
            stage,
            has_terminal,
            stdin: Input::default(),
            stdout: None,
            stderr: None,
            made_by: None,
            terminal_user: None,
            clients: Vec::new(),
            is_held: false,
            drain_until: None,
            captured: Vec::new(),
        }
    }

    /// Takes our ends of its streams into the loop.
    pub(crate) fn connect(&mut self, number: u32, ours: Ours, poll: &Poll) -> io::Result<()> {
        self.stdin.fd = ours.stdin;
        self.stdout = ours.stdout;
        self.stderr = ours.stderr;
        for fd in [&self.stdin.fd, &self.stdout, &self.stderr]
            .into_iter()
            .flatten()
        {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        if let Some(terminal) = self.stdout.as_ref().filter(|_| self.has_terminal) {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            self.terminal_user = ioctl_tiocgptpeer(terminal, flags).ok();
        }
        self.watch_output(number, poll, Interest::READ)
    }

    fn watch_output(&self, number: u32, poll: &Poll, interest: Interest) -> io::Result<()> {
        let outputs = [
            (&self.stdout, Token::Stdout(number)),
            (&self.stderr, Token::Stderr(number)),
        ];
        for (fd, token) in outputs {
            if let Some(fd) = fd {
                poll.add(fd, token, interest)?;
            }
        }
        Ok(())
    }

    /// Stops or resumes reading what it writes.
    pub(crate) fn hold(&mut self, number: u32, hold: bool, poll: &Poll) {
        if self.is_held == hold {
            return;
        }
        self.is_held = hold;
        for fd in [&self.stdout, &self.stderr].into_iter().flatten() {
            poll.remove(fd);
        }
        if !hold && self.watch_output(number, poll, Interest::READ).is_err() {
            self.close_outputs(poll);
        }
    }

    pub(crate) fn output(&mut self, stream: Stream) -> &mut Option<OwnedFd> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    pub(crate) fn close_output(&mut self, stream: Stream, poll: &Poll) {
        if let Some(fd) = self.output(stream).take() {
            poll.remove(&fd);
        }
    }

    pub(crate) fn close_outputs(&mut self, poll: &Poll) {
        self.close_output(Stream::Stdout, poll);
        self.close_output(Stream::Stderr, poll);
    }

    pub(crate) fn has_output(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Whether what clients write is to be read now.
    pub(crate) fn takes_input(&self) -> bool {
        !matches!(self.stage, Stage::Prepared(_)) && self.stdin.pending.is_empty()
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<(), Errno> {
        let terminal = self
            .stdout
            .as_ref()
            .filter(|_| self.has_terminal)
            .ok_or(Errno::NOTTY)?;
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(terminal, size)
    }
}

/// The way to a process's stdin.
#[derive(Debug, Default)]
pub(crate) struct Input {
    fd: Option<OwnedFd>,
    /// What the pipe did not take. No more is read from clients before it has.
    pending: Vec<u8>,
    close_when_written: bool,
}

impl Input {
    /// Writes, and keeps what does not fit. What nobody reads is dropped.
    pub(crate) fn write(&mut self, number: u32, bytes: &[u8], poll: &Poll) {
        let Some(fd) = self.fd.as_ref().filter(|_| !self.close_when_written) else {
            return;
        };
        match write_some(fd.as_fd(), bytes) {
            Ok(written) if written == bytes.len() => {}
            Ok(written) => {
                self.pending.extend_from_slice(&bytes[written..]);
                if poll.add(fd, Token::Stdin(number), Interest::WRITE).is_err() {
                    self.close_now(poll);
                }
            }
            Err(_) => self.close_now(poll),
        }
    }

    /// The pipe takes more. True: nothing waits any more.
    pub(crate) fn resume(&mut self, poll: &Poll) -> bool {
        let Some(fd) = &self.fd else { return true };
        match write_some(fd.as_fd(), &self.pending) {
            Ok(written) => {
                self.pending.drain(..written);
            }
            Err(_) => self.close_now(poll),
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
            if let Some(fd) = &self.fd {
                poll.remove(fd);
            }
            if self.close_when_written {
                self.close_now(poll);
            }
        }
        self.pending.is_empty()
    }

    /// Ends it once all is written.
    pub(crate) fn close(&mut self, poll: &Poll) {
        if self.pending.is_empty() {
            self.close_now(poll)
        } else {
            self.close_when_written = true
        }
    }

    pub(crate) fn close_now(&mut self, poll: &Poll) {
        self.pending = Vec::new();
        if let Some(fd) = self.fd.take() {
            poll.remove(&fd);
        }
    }
}

/// As much as fits: possibly nothing.
fn write_some(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(fd, &bytes[written..]) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Our ends of a process's streams.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

impl Ours {
    /// Of a process with a terminal: the terminal's master.
    pub(crate) fn terminal(master: OwnedFd, stdin: bool) -> io::Result<Self> {
        // Waited for apart from the reading end, hence a descriptor of its own.
        let input = if stdin {
            Some(master.try_clone()?)
        } else {
            None
        };
        Ok(Self {
            stdin: input,
            stdout: Some(master),
            stderr: None,
        })
    }
}

/// A process's ends of its streams: 0, 1, 2.
pub(crate) type Theirs = [OwnedFd; 3];

/// Which streams to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) stdin: bool,
    /// Stdout and stderr are one.
    pub(crate) merged: bool,
    /// A terminal will take the place of all three.
    pub(crate) terminal: bool,
}

/// Makes pipes, and `/dev/null` where none is wanted.
pub(crate) fn streams(wanted: Wanted) -> io::Result<(Ours, Theirs)> {
    let null = || -> io::Result<OwnedFd> {
        Ok(std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?
            .into())
    };
    if wanted.terminal {
        return Ok((Ours::default(), [null()?, null()?, null()?]));
    }
    let (stdin_theirs, stdin) = match wanted.stdin {
        true => pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| (read, Some(write)))?,
        false => (null()?, None),
    };
    let (stdout, stdout_theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr, stderr_theirs) = match wanted.merged {
        true => (None, stdout_theirs.try_clone()?),
        false => pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| (Some(read), write))?,
    };
    let ours = Ours {
        stdin,
        stdout: Some(stdout),
        stderr,
    };
    Ok((ours, [stdin_theirs, stdout_theirs, stderr_theirs]))
}
