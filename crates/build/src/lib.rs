//! Builds images from Dockerfiles: one core for the classic API, BuildKit's protocol and `hull build`.
//!
//! A front makes a [`BuildRequest`] and calls [`Builder::build`], which blocks until all is done:
//!
//! ```text
//! BuildRequest ─ parse ─ plan ─ solve ─► Built ─ image() archive() tar() local()
//!                (pure)  (pure)   │
//!                                 ├─ Contexts: local directories, brought by the front
//!                                 ├─ Secrets, SshAgents: the client's, by the front
//!                                 ├─ Host: runs a command on a snapshot, fetches an image
//!                                 └─ Progress: vertices started, done, cached; logs; warnings
//! ```
//!
//! - [`dockerfile`] parses, [`expand`] substitutes variables, [`lint`] checks: all pure.
//! - [`plan`] turns a Dockerfile and what base images say into a graph of [`plan::Vertex`], only
//!   what the target needs. Pure, too.
//! - [`solve`] carries a graph out: what does not depend on each other runs at the same time, and
//!   what the [`cache`] knows is not done again. A step is known by its content: the definition, the
//!   key of what lies below, and the digests of files that it reads; never by time.
//! - [`tree`] keeps directories of a client on the daemon's disk, with the digest of each file, so
//!   that only changed files travel and only changed files are read.
//! - [`export`] makes of the result an image in the store, an archive, or plain files.
//!
//! Words: a *context* is a directory the build reads; a *step* is an instruction that makes a layer;
//! a *vertex* is a node of the graph (a step, an image, a context); a *front* is what speaks to
//! clients. A [`Cancel`] stops a build: running commands are killed, and nothing is tagged.
//!
//! Nothing here knows HTTP, gRPC or terminals, and nothing runs a command: that is the [`Host`]'s.

pub mod cache;
pub mod dockerfile;
pub mod expand;
pub mod export;
pub mod frontend;
pub mod git;
pub mod lint;
pub mod plan;
pub mod progress;
pub mod request;
pub mod solve;
pub mod tree;

mod builder;
mod cancel;
mod error;
mod host;
mod http;
mod include;
mod remote;

pub use builder::{Builder, Built, BuiltPlatform};
pub use cancel::Cancel;
pub use error::{Error, Located, Place, Result, SyntaxError};
pub use host::{Device, Finished, Host, HostError, RunMount, RunOutput, RunRequest};
pub use hull_context as context;
pub use include::Texts;
pub use progress::{Event, LogStream, Progress, VertexId};
pub use remote::{Fetching, Remote};
pub use request::{
    BuildRequest, Contexts, Login, Logins, NamedContext, NoAgents, NoContexts, Secrets, SshAgents,
};
