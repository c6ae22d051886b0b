//! Sessions: what a client offers to the daemon while it waits for a build.
//!
//! A client opens a connection, says which methods it serves, and the daemon becomes the *client*
//! of that connection. A build names the session it draws on by its id; the two connections may
//! come in either order. A session ends with its connection, or when it stops answering.

mod auth;
pub mod content;
mod filesend;
pub mod filesync;
mod mode;
mod registry;
mod secrets;
mod ssh;
mod upload;

#[cfg(test)]
mod tests;

pub use auth::Credentials;
pub use filesend::{Part, send_directory, send_stream};
pub(crate) use filesend::{names, stat_of};
pub use registry::{Offer, Session, Sessions};
