//! An OCI bundle becomes a running process.
//!
//! [`create`] makes everything but the program: namespaces, cgroup, mounts, devices, identity. The
//! container's process then waits; [`Created::start`] lets it execute the program and tells whether
//! that worked. [`exec`] runs one more process in a container. Both are for single-threaded callers:
//! the new process begins as a copy of the caller.
//!
//! Spawns no helper program and links no async runtime.

pub mod device_filter;
pub mod seccomp;

mod error;
mod options;
mod process;

pub use error::{Error, StartError};
pub use options::{CreateOptions, ExecOptions, Root, StartSignal, Stdio, Target};
pub use process::{Cgroup, Created, Executed, Stats, create, exec, start_through};
