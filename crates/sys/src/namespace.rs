//! Namespaces: which there are, and how a thread moves into them.

#![expect(
    unsafe_code,
    reason = "unshare and setns have no safe wrapper that takes any set"
)]

use std::{
    io,
    ops::{BitOr, BitOrAssign},
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
    thread,
};

/// A set of kinds of namespaces: the kernel's `CLONE_NEW*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Namespaces(u32);

impl Namespaces {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Clocks.
    pub const TIME: Self = Self(0x80);
    /// Mounts.
    pub const MOUNT: Self = Self(0x0002_0000);
    /// The cgroup that is seen as the root.
    pub const CGROUP: Self = Self(0x0200_0000);
    /// Host name and domain name.
    pub const UTS: Self = Self(0x0400_0000);
    /// System V IPC and POSIX message queues.
    pub const IPC: Self = Self(0x0800_0000);
    /// Users, groups and capabilities.
    pub const USER: Self = Self(0x1000_0000);
    /// Process ids.
    pub const PID: Self = Self(0x2000_0000);
    /// Network devices, addresses, routes, ports.
    pub const NETWORK: Self = Self(0x4000_0000);

    /// Every kind, with its name below `/proc/PID/ns`.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::USER, "user"),
        (Self::MOUNT, "mnt"),
        (Self::PID, "pid"),
        (Self::NETWORK, "net"),
        (Self::IPC, "ipc"),
        (Self::UTS, "uts"),
        (Self::CGROUP, "cgroup"),
        (Self::TIME, "time"),
    ];

    /// The kernel's bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether it holds all of `other`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it holds no kind.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in `self` but not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Namespaces {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Moves the calling thread into new namespaces. For [`PID`](Namespaces::PID) and
/// [`TIME`](Namespaces::TIME) it is its later children that move.
pub fn unshare(kinds: Namespaces) -> io::Result<()> {
    let flags = i32::try_from(kinds.0).map_err(io::Error::other)?;
    // SAFETY: no memory is shared or handed over; open files are not among the kinds.
    check(unsafe { libc::unshare(flags) })
}

/// Moves the calling thread into the namespaces that `target` stands for: an open file of
/// `/proc/PID/ns` (then `kinds` is its kind, or none for any), or a pidfd with any set of kinds.
pub fn join(target: BorrowedFd<'_>, kinds: Namespaces) -> io::Result<()> {
    let flags = i32::try_from(kinds.0).map_err(io::Error::other)?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::setns(target.as_raw_fd(), flags) })
}

/// Runs `job` on a thread of its own in a mount namespace: an open file of `/proc/PID/ns`.
pub fn in_mounts<T: Send>(
    target: BorrowedFd<'_>,
    job: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    // Who shares its root with other threads enters none.
    alone(|| {
        join(target, Namespaces::MOUNT)?;
        job()
    })
}

/// Runs `job` on a thread of its own whose working directory is `path`.
pub fn in_directory<T: Send>(
    path: &Path,
    job: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    alone(|| {
        rustix::process::chdir(path)?;
        job()
    })
}

/// Runs `job` on a thread that has its root and working directory for itself.
fn alone<T: Send>(job: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let work = || {
        // SAFETY: no memory is shared or handed over, and descriptors stay as they are.
        check(unsafe { libc::unshare(libc::CLONE_FS) })?;
        job()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("namespace".into());
        let done = thread.spawn_scoped(scope, work)?.join();
        done.unwrap_or_else(|_| Err(io::Error::other("the namespace's thread panicked")))
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
