//! An OCI bundle becomes a running process.
//!
//! [`create`] makes everything but the program: namespaces, cgroup, mounts, devices, identity. The
//! container's process then waits; [`Created::start`] lets it execute the program and tells whether
//! that worked. [`exec`] runs one more process in a container. Both are for single-threaded callers:
//! the new process begins as a copy of the caller.
//!
//! Spawns no helper program and links no async runtime.

pub mod cgroup;
pub mod device_filter;
pub mod hooks;
pub mod seccomp;

mod channel;
mod create;
mod error;
mod exec;
mod init;
mod net_devices;
mod notice;
mod options;
mod plan;
mod prepare;
mod undo;

pub use cgroup::{Cgroup, Stats};
pub use create::{Created, create, start_through};
pub use error::{Error, StartError};
pub use exec::{Executed, exec};
pub use options::{CreateOptions, ExecOptions, Root, StartSignal, Stdio, Target};
