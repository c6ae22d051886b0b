//! The distribution protocol, both ends: how images travel.
//!
//! [`client`] speaks to any registry; [`pull`](mod@pull) and [`push`](mod@push) carry whole images
//! between a registry and the image store, [`artifact`] what is no image; [`document`] reads what is no
//! image. [`server`] is a registry of our own.
//!
//! Words: a *reference* names an image; a *repository* is a reference without tag and digest; an
//! *origin* is the registry a reference names, a *mirror* another one that has the same.
//!
//! What Docker's clients are told, and in which words, is left to others.

pub mod artifact;
pub mod client;
pub mod document;
pub mod progress;
pub mod pull;
pub mod push;
pub mod server;

mod error;
mod file_body;
mod pump;
mod wire;

pub use client::{Client, Credentials, Settings};
pub use error::{Error, Kind, Result};
pub use progress::Progress;

/// The kind of artifact that a volume is on its way.
pub const VOLUME: &str = "application/vnd.hull.volume.v1";
