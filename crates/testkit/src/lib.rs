//! What the tests that need a running Hull share.
//!
//! A [`Scene`] is a [`Daemon`] of its own (private data, socket and network namespace) with the image `busybox` loaded and
//! one [`Client`], the `docker` command or `hull`. When the scene ends, nothing may be left on the host: that is asserted,
//! and after a failed test it is cleaned up without asking the daemon.
//!
//! For tests only: nothing here is linked into a program that users run.

pub mod agent;
pub mod client;
pub mod daemon;
pub mod host;
pub mod http;
pub mod namespace;
pub mod places;
pub mod process;
pub mod registry;
pub mod scene;
pub mod terminal;
pub mod wait;
pub mod words;

pub use agent::{ASK_AGENT, SshAgent};
pub use client::{Client, Output};
pub use daemon::Daemon;
pub use host::Snapshot;
pub use namespace::NetworkNamespace;
pub use process::Running;
pub use registry::Registry;
pub use scene::Scene;
pub use terminal::Terminal;
pub use wait::{eventually, until};
