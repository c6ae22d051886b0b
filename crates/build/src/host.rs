//! What the builder asks of the engine: run a command on a snapshot, fetch an image.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use hull_oci::{Descriptor, Platform};

use crate::cache::CacheOrigin;
use crate::cancel::Cancel;
use crate::progress::LogStream;
use crate::request::{Login, RunDefaults};

/// The engine, as the builder sees it.
pub trait Host: Send + Sync {
    /// Runs a command in a container of its own, with the confinement of every container, and
    /// waits for its end. Blocks. When `cancel` is asked for, the command is killed.
    fn run(
        &self,
        request: &RunRequest,
        output: &mut RunOutput<'_>,
        cancel: &Cancel,
    ) -> Result<Finished, HostError>;

    /// Brings an image into the store that is not there, or is newer at its registry. Blocks.
    fn pull(
        &self,
        reference: &str,
        platform: &Platform,
        login: Option<&Login>,
    ) -> Result<(), HostError>;

    /// What a registry has under a name: a cache, or an image that tells of one.
    fn remote_cache(
        &self,
        reference: &str,
        login: Option<&Login>,
    ) -> Result<Arc<dyn CacheOrigin>, HostError>;

    /// Carries a document of the store, with all that it names, to a registry. Blocks.
    fn push_cache(
        &self,
        cache: &Descriptor,
        reference: &str,
        login: Option<&Login>,
    ) -> Result<(), HostError>;

    /// The CDI devices of the host that a wish stands for: one by its name, the first or all of a
    /// kind, those of a class. Blocks.
    fn devices(&self, wish: &str) -> Result<Vec<Device>, HostError>;

    /// The user namespace by which files are shown to commands, if their ids are others outside.
    fn owners(&self) -> Option<OwnedFd> {
        None
    }

    /// Whether this host can run programs of the platform.
    fn can_run(&self, platform: &Platform) -> bool;
}

/// A device of the host that a command may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// In full.
    pub name: String,
    /// The client must grant it.
    pub needs_leave: bool,
    /// What it mounts, where: a directory, or something else.
    pub places: Vec<(String, bool)>,
}

/// Takes a command's output as it comes.
pub type RunOutput<'a> = dyn FnMut(LogStream, &[u8]) + Send + 'a;

/// Why the host did not do it; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HostError(pub String);

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; 128 and the signal's number if one killed it.
    pub code: i32,
    /// The kernel killed something for want of memory.
    pub out_of_memory: bool,
}

/// A command to run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The layers below, uppermost first; may be empty.
    pub lower: Vec<PathBuf>,
    /// Where what it changes is written.
    pub upper: PathBuf,
    /// Overlayfs's own, on the same file system.
    pub work: PathBuf,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`, each.
    pub env: Vec<String>,
    /// `user[:group]`; empty: root.
    pub user: String,
    /// Absolute.
    pub working_dir: String,
    /// `default`, `none`, `host`, or a network's name.
    pub network: String,
    /// All privileges (`--security=insecure`).
    pub is_privileged: bool,
    /// CDI devices, each by its full name.
    pub devices: Vec<String>,
    /// What is mounted.
    pub mounts: Vec<RunMount>,
    /// Everything else.
    pub defaults: RunDefaults,
}

/// Something mounted into a command's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMount {
    /// A file or directory of the host.
    Bind {
        /// Absolute.
        source: PathBuf,
        /// Absolute, in the container.
        target: String,
        /// It cannot be written to.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Absolute, in the container.
        target: String,
        /// Bytes; 0: no limit.
        size: u64,
    },
}
