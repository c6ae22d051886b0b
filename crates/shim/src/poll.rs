//! Waits for descriptors (epoll), each known by a [`Token`].

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};

/// How many events one wait takes.
const EVENTS_MAX: usize = 32;

/// Whose a descriptor is. The number is never used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Listener,
    Connection(u32),
    Client(u32),
    Stdin(u32),
    Stdout(u32),
    Stderr(u32),
    Signals,
    OutOfMemory,
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Connection(number) => (1, number),
            Self::Client(number) => (2, number),
            Self::Stdin(number) => (3, number),
            Self::Stdout(number) => (4, number),
            Self::Stderr(number) => (5, number),
            Self::Signals => (6, 0),
            Self::OutOfMemory => (7, 0),
        };
        kind << 32 | u64::from(number)
    }

    fn unpack(packed: u64) -> Self {
        // The lower half is the number.
        let number = (packed & u64::from(u32::MAX)) as u32;
        match packed >> 32 {
            0 => Self::Listener,
            1 => Self::Connection(number),
            2 => Self::Client(number),
            3 => Self::Stdin(number),
            4 => Self::Stdout(number),
            5 => Self::Stderr(number),
            6 => Self::Signals,
            _ => Self::OutOfMemory,
        }
    }
}

/// What is waited for. An end or an error is always told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Self = Self {
        read: true,
        write: false,
    };
    pub(crate) const WRITE: Self = Self {
        read: false,
        write: true,
    };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// What a descriptor is ready for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// The other side is gone for good, in both directions.
    pub(crate) hangup: bool,
}

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack());
        Ok(epoll::add(&self.epoll, fd, data, interest.flags())?)
    }

    /// Tells once for each time that something comes, whether or not it is read.
    pub(crate) fn add_notices(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack());
        let flags = epoll::EventFlags::IN | epoll::EventFlags::PRI | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, fd, data, flags)?)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack());
        Ok(epoll::modify(&self.epoll, fd, data, interest.flags())?)
    }

    /// Before a descriptor is closed. One that is not waited for is no error.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits for something to be ready, or for `until`.
    pub(crate) fn wait(&self, until: Option<Instant>) -> io::Result<Vec<Ready>> {
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            // Never a little too early: that would be a busy loop.
            timespec(left + Duration::from_micros(50))
        });
        let mut events = Vec::with_capacity(EVENTS_MAX);
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.into_iter().map(ready).collect())
    }
}

fn ready(event: epoll::Event) -> Ready {
    let (data, flags) = (event.data, event.flags);
    let hangup = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
    Ready {
        token: Token::unpack(data.u64()),
        read: flags.intersects(epoll::EventFlags::IN | hangup),
        write: flags.intersects(epoll::EventFlags::OUT | hangup),
        hangup: flags.intersects(hangup),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_kernel() {
        for token in [
            Token::Listener,
            Token::Connection(u32::MAX),
            Token::Stdin(7),
            Token::Signals,
            Token::OutOfMemory,
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }

    #[test]
    fn a_wait_ends_with_its_time() {
        let poll = Poll::new().unwrap();
        let until = Instant::now() + Duration::from_millis(5);
        assert!(poll.wait(Some(until)).unwrap().is_empty());
        assert!(Instant::now() >= until);
    }
}
