//! The Engine API as Docker defines it: its types, its versions, its streams, and a typed client.
//!
//! Both ends use this crate: the daemon to read requests and write answers, the command line to do
//! the reverse. It has no opinion about containers: a type here is a shape on the wire, no more.
//!
//! - [`types`]: request and answer bodies, with the member names and the `null`, `[]` and absent
//!   of the original;
//! - [`decode`]: reads JSON by the rules of Go's decoder, which Docker's clients rely on;
//! - [`version`]: which versions are spoken and what differs between them;
//! - [`filters`], [`query`]: what stands behind the `?`;
//! - [`stream`], [`progress`]: what flows in bodies that do not end at once;
//! - [`client`]: operations as functions.

pub mod decode;
pub mod filters;
pub mod progress;
pub mod query;
pub mod stream;
pub mod types;
pub mod version;

pub mod client;

pub use client::{Client, ClientError};
pub use filters::Filters;
pub use version::ApiVersion;
