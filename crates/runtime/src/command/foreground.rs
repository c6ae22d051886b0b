//! A process in the foreground: signals, terminal and end are passed on.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use hull_sys::process::{self, Ended};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};

/// Signals of this process, kept for [`wait`].
pub(super) struct Signals(OwnedFd);

impl Signals {
    pub(super) fn block() -> io::Result<Self> {
        process::block_signals()?;
        process::signal_descriptor().map(Self)
    }
}

/// Our own terminal, in raw mode until this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn new() -> Self {
        let stdin = rustix::stdio::stdin();
        let Some(before) = isatty(stdin).then(|| tcgetattr(stdin).ok()).flatten() else {
            return Self(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        let _ = tcsetattr(stdin, OptionalActions::Now, &raw);
        Self(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Waits for the process's end and reaps it.
pub(super) fn wait(
    signals: &Signals,
    pidfd: &OwnedFd,
    console: Option<&OwnedFd>,
) -> io::Result<Ended> {
    let _raw = console.map(|_| Raw::new());
    if let Some(console) = console {
        copy_size(console);
    }
    let mut relay = Relay {
        console,
        stdin_is_open: console.is_some(),
        console_is_open: true,
    };
    loop {
        let ready = relay.poll(signals, pidfd)?;
        if ready.signal {
            while let Some(signal) = process::read_signal(&signals.0)? {
                match (signal, console) {
                    (libc::SIGCHLD, _) => {}
                    (libc::SIGWINCH, Some(console)) => copy_size(console),
                    _ => drop(process::signal(pidfd, signal)),
                }
            }
        }
        if ready.stdin {
            relay.input()?;
        }
        if ready.console {
            relay.output()?;
        }
        if ready.ended {
            while relay.console.is_some() && relay.console_is_open && relay.has_output()? {
                relay.output()?;
            }
            return process::wait(pidfd);
        }
    }
}

fn copy_size(console: &OwnedFd) {
    // A terminal that does not know its size leaves the spec's.
    if let Ok(size) = tcgetwinsize(rustix::stdio::stdin())
        && size.ws_row != 0
    {
        let _ = tcsetwinsize(console, size);
    }
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "one bit for each descriptor polled"
)]
struct Ready {
    signal: bool,
    ended: bool,
    stdin: bool,
    console: bool,
}

struct Relay<'a> {
    console: Option<&'a OwnedFd>,
    stdin_is_open: bool,
    console_is_open: bool,
}

impl Relay<'_> {
    fn poll(&self, signals: &Signals, pidfd: &OwnedFd) -> io::Result<Ready> {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![
            PollFd::from_borrowed_fd(signals.0.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
        ];
        let console = self.console.filter(|_| self.console_is_open);
        let stdin_at = (self.stdin_is_open && console.is_some()).then_some(fds.len());
        if stdin_at.is_some() {
            fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        let console_at = console.map(|_| fds.len());
        if let Some(console) = console {
            fds.push(PollFd::from_borrowed_fd(console.as_fd(), PollFlags::IN));
        }
        loop {
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        let is_ready = |at: usize| !fds[at].revents().is_empty();
        Ok(Ready {
            signal: is_ready(0),
            ended: is_ready(1),
            stdin: stdin_at.is_some_and(is_ready),
            console: console_at.is_some_and(is_ready),
        })
    }

    fn has_output(&self) -> io::Result<bool> {
        let Some(console) = self.console else {
            return Ok(false);
        };
        let mut fds = [PollFd::from_borrowed_fd(console.as_fd(), PollFlags::IN)];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        Ok(poll(&mut fds, Some(&now))? > 0 && fds[0].revents().contains(PollFlags::IN))
    }

    fn input(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let length = rustix::io::read(rustix::stdio::stdin(), &mut bytes).unwrap_or(0);
        self.stdin_is_open = length > 0;
        if let Some(console) = self.console {
            if length == 0 {
                bytes[0] = 4; // end of transmission, as typed with Ctrl-D
            }
            write_all(console, &bytes[..length.max(1)])?;
        }
        Ok(())
    }

    fn output(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let Some(console) = self.console else {
            return Ok(());
        };
        match rustix::io::read(console, &mut bytes) {
            // Nobody has the other end open any more.
            Ok(0) | Err(_) => self.console_is_open = false,
            Ok(length) => write_all(rustix::stdio::stdout(), &bytes[..length])?,
        }
        Ok(())
    }
}

fn write_all(file: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&file, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
