//! What a caller says about a container or a process that is to be made.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use hull_oci::runtime::{Process, Spec};

/// Where the root file system comes from.
#[derive(Debug, Clone, Default)]
pub enum Root {
    /// The directory the spec names.
    #[default]
    Directory,
    /// Layers, mounted in the container's own mount namespace only.
    Overlay {
        /// Read-only layers, uppermost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// Overlay's work directory.
        work: PathBuf,
        /// Skip syncs of the upper layer (the kernel's `volatile`).
        volatile: bool,
        /// Files belong to the ids of the container's user namespace that they have on the disk.
        mapped: bool,
    },
}

/// Descriptors 0, 1 and 2 of the process. With a terminal they are the terminal instead.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// These, in order.
    Fds(OwnedFd, OwnedFd, OwnedFd),
}

/// How the made container learns that it shall start.
#[derive(Debug, Default)]
pub enum StartSignal {
    /// From [`Created::start`](crate::Created::start), in this process.
    #[default]
    Here,
    /// From whoever connects to this listening unix stream socket and speaks
    /// [`start_through`](crate::start_through)'s words.
    Listener(OwnedFd),
}

/// All that [`create`](crate::create) needs.
#[derive(Debug)]
pub struct CreateOptions<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The bundle's directory, absolute; a relative `root.path` starts there.
    pub bundle: &'a Path,
    /// What to make.
    pub spec: &'a Spec,
    /// Where the root file system comes from.
    pub root: Root,
    /// The streams of the process.
    pub stdio: Stdio,
    /// Joined in place of the network namespace the spec asks for.
    pub network_namespace: Option<OwnedFd>,
    /// The compiled filter ([`seccomp`](crate::seccomp)) for the spec's seccomp section.
    pub seccomp_program: Option<Vec<u8>>,
    /// Process 1 is an init of our own that reaps zombies and passes signals on.
    pub with_init: bool,
    /// Process 1 is killed when the caller ends, however that comes about.
    pub ends_with_caller: bool,
    /// Descriptors 3 … 2+n stay open for the process.
    pub preserve_fds: u32,
    /// Enter the root without `pivot_root` (a root on ramfs).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// The caller may not be able to make cgroups, and does not mind.
    pub rootless: bool,
    /// How the container learns that it shall start.
    pub start: StartSignal,
}

impl<'a> CreateOptions<'a> {
    /// The spec and nothing special.
    pub fn new(id: &'a str, bundle: &'a Path, spec: &'a Spec) -> Self {
        Self {
            id,
            bundle,
            spec,
            root: Root::Directory,
            stdio: Stdio::Inherit,
            network_namespace: None,
            seccomp_program: None,
            with_init: false,
            ends_with_caller: false,
            preserve_fds: 0,
            no_pivot: false,
            no_new_keyring: false,
            rootless: false,
            start: StartSignal::Here,
        }
    }
}

/// A running container, as [`exec`](crate::exec) needs it.
#[derive(Debug)]
pub struct Target<'a> {
    /// The container's name.
    pub id: &'a str,
    /// Where its bundle is.
    pub bundle: &'a Path,
    /// The pid of process 1, in the caller's pid namespace.
    pub pid: i32,
    /// The same process. A pid may be reused, this cannot.
    pub pidfd: &'a OwnedFd,
    /// The spec the container was made from.
    pub spec: &'a Spec,
    /// Its cgroup.
    pub cgroup: &'a crate::Cgroup,
}

/// All that [`exec`](crate::exec) needs beside its target.
#[derive(Debug)]
pub struct ExecOptions<'a> {
    /// What to run.
    pub process: &'a Process,
    /// The streams of the process.
    pub stdio: Stdio,
    /// No seccomp filter.
    pub unconfined: bool,
    /// The compiled filter for the container's seccomp section.
    pub seccomp_program: Option<Vec<u8>>,
    /// Descriptors 3 … 2+n stay open for the process.
    pub preserve_fds: u32,
    /// A cgroup below the container's.
    pub sub_cgroup: Option<&'a str>,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
}

impl<'a> ExecOptions<'a> {
    /// The process and nothing special.
    pub fn new(process: &'a Process) -> Self {
        Self {
            process,
            stdio: Stdio::Inherit,
            unconfined: false,
            seccomp_program: None,
            preserve_fds: 0,
            sub_cgroup: None,
            no_new_keyring: false,
        }
    }
}
