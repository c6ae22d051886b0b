//! gRPC on HTTP/2, both ends, over a connection somebody else made.
//!
//! Only what BuildKit's protocol asks for: messages in frames, metadata as headers, a status with
//! details as trailers. No compression, no retries, no name resolution: a connection is a pair of
//! streams that is taken from an HTTP/1 request and serves one client.

mod client;
mod frame;
mod server;
mod status;

pub use client::{Channel, Connection, Outgoing};
pub use frame::Incoming;
pub use server::{Call, Replies, Running, Service, serve};
pub use status::{Code, Status};
