//! The processes a container is made of.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use hull_oci::runtime::LinuxResources;

use crate::{CreateOptions, Error, ExecOptions, StartError, Target};

/// A container that waits for its start.
#[derive(Debug)]
pub struct Created {
    /// Process 1, in the caller's pid namespace. The caller is its parent and reaps it.
    pub pid: i32,
    /// The same process; readable once it ended.
    pub pidfd: OwnedFd,
    /// The terminal's master, if the process has a terminal.
    pub console: Option<OwnedFd>,
    /// The container's cgroup. Dropping it removes nothing.
    pub cgroup: Cgroup,
}

impl Created {
    /// Lets the program start, and waits until it was executed or could not be. In the latter case
    /// the process has ended.
    pub fn start(&mut self) -> Result<(), StartError> {
        Err(StartError::Other(
            "cannot start a container: not in this build".into(),
        ))
    }
}

/// Starts a container made with [`StartSignal::Listener`](crate::StartSignal), through a connection
/// to its socket.
pub fn start_through(_connection: BorrowedFd<'_>) -> Result<(), StartError> {
    Err(StartError::Other(
        "cannot start a container: not in this build".into(),
    ))
}

/// One more process, running.
#[derive(Debug)]
pub struct Executed {
    /// Its pid, in the caller's pid namespace. The caller is its parent and reaps it.
    pub pid: i32,
    /// The same process; readable once it ended.
    pub pidfd: OwnedFd,
    /// The terminal's master, if the process has a terminal.
    pub console: Option<OwnedFd>,
}

/// Makes a container. On failure nothing of it is left.
pub fn create(_options: CreateOptions<'_>) -> Result<Created, Error> {
    Err(Error::Unsupported(
        "cannot make a container: not in this build".into(),
    ))
}

/// Runs one more process in a container.
pub fn exec(_target: &Target<'_>, _options: ExecOptions<'_>) -> Result<Executed, StartError> {
    Err(StartError::Other(
        "cannot run a process: not in this build".into(),
    ))
}

/// A container's cgroup, v1 or v2.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: String,
}

/// What a container uses.
#[derive(Debug, Clone, Default)]
pub struct Stats {}

impl Cgroup {
    /// Its path below the cgroup mount.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Sends a signal to every process in it and below. `SIGKILL` leaves none, not even new ones.
    pub fn signal_all(&self, _signal: i32) -> Result<(), Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }

    /// Stops every process, and returns once they stand still.
    pub fn freeze(&self) -> Result<(), Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }

    /// Changes limits; what `resources` does not mention stays.
    pub fn update(&self, _resources: &LinuxResources) -> Result<(), Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }

    /// What its processes use.
    pub fn stats(&self) -> Result<Stats, Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }

    /// A descriptor to poll: for reading with cgroup v1 (an eventfd), for `POLLPRI` with v2
    /// (`memory.events`). After it fired, [`out_of_memory_kills`](Self::out_of_memory_kills) tells.
    pub fn watch_out_of_memory(&self) -> Result<OwnedFd, Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }

    /// How many processes the kernel killed for want of memory.
    pub fn out_of_memory_kills(&self) -> Result<u64, Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }

    /// Removes it and all below; waits up to `patience` for processes that are just ending.
    pub fn remove(&self, _patience: Duration) -> Result<(), Error> {
        Err(Error::Unsupported("cgroups: not in this build".into()))
    }
}
