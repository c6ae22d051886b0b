//! Tells when a log may have changed (inotify on its directory; where the kernel has no more of
//! these to give, a clock).

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

/// Without news, a log is looked at so often.
const EVERY_NS: i64 = 500_000_000;

#[derive(Debug)]
pub(super) struct Watch {
    fd: OwnedFd,
    is_clock: bool,
}

impl Watch {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let inotify = match init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            // A user gets few of these (128 as a rule), whatever the limit of descriptors is.
            Err(rustix::io::Errno::MFILE) => return Self::by_clock(),
            inotify => inotify?,
        };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // Writes to the file, and another file in its place: the directory tells both.
        let flags =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        match add_watch(&inotify, directory, flags) {
            Err(rustix::io::Errno::NOSPC) => Self::by_clock(),
            watched => watched
                .map(|_| Self {
                    fd: inotify,
                    is_clock: false,
                })
                .map_err(io::Error::from),
        }
    }

    fn by_clock() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let clock = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let every = Timespec {
            tv_sec: 0,
            tv_nsec: EVERY_NS,
        };
        let times = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&clock, TimerfdTimerFlags::empty(), &times)?;
        Ok(Self {
            fd: clock,
            is_clock: true,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Forgets what was told. An overflow is told as well, and means the same.
    pub(super) fn clear(&self) {
        if self.is_clock {
            let _ = rustix::io::read(&self.fd, &mut [0_u8; 8]);
            return;
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        while reader.next().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_tells_again_and_again() {
        let watch = Watch::by_clock().unwrap();
        for _ in 0..2 {
            let mut fds = [rustix::event::PollFd::new(
                &watch.fd,
                rustix::event::PollFlags::IN,
            )];
            let patience = Timespec {
                tv_sec: 10,
                tv_nsec: 0,
            };
            assert_eq!(rustix::event::poll(&mut fds, Some(&patience)).unwrap(), 1);
            watch.clear();
        }
    }
}
