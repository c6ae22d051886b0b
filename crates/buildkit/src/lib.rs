//! BuildKit's gRPC, so that `docker buildx`, `docker build` and `docker compose build` work unchanged.
//!
//! Two connections make a build. Over the first (`POST /grpc`) the client calls the daemon:
//! [`control`] lists workers, starts a solve and tells its progress, and the gateway is where buildx
//! names the Dockerfile front end and its attributes. Over the second (`POST /session`) the daemon
//! calls the client, which offers its files, secrets, keys and the place for the result:
//! [`session`]. Both are gRPC on HTTP/2 over a connection that the caller has taken from HTTP/1:
//! [`grpc`].
//!
//! What a build *is* stands elsewhere. This crate reads the client's wishes, brings its files here
//! and tells it what happens.

pub mod control;
pub mod grpc;
pub mod proto;
pub mod session;

mod service;

mod attributes;
mod building;
mod cache;
mod chew;
mod contexts;
mod events;
mod export;
mod gateway;
mod guests;
mod history;
mod job;
mod layout;
mod output;
mod problem;
mod progress;
mod questions;
mod solved;

pub use chew::chew;
pub use control::Worker;
pub use questions::{check_document, usage_document};
pub use service::{Device, Front, Lender, Push, Pushing, Tell};
