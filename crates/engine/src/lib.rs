//! What Hull means: verbs on nouns. Knows no HTTP and no terminals.
//!
//! [`Engine`] is the door. A container has one owner ([`actor`]), whose decisions are pure
//! ([`state`]); what was acknowledged is in the [`store`]; what happened is in the [`events`].

mod engine;

pub mod account;
pub mod actor;
mod binfmt;
pub mod budget;
pub mod build;
pub mod cdi;
mod claims;
pub mod config;
pub mod container;
pub mod error;
pub mod events;
mod frozen;
pub mod fsck;
pub mod image;
pub mod log;
pub mod logs;
pub mod manifests;
pub mod model;
pub mod network;
pub mod record;
pub mod sealed;
pub mod ship;
pub mod spec;
pub mod state;
pub mod system;
pub mod top;
pub mod user;
pub mod volume;

mod apparmor;
mod collector;
mod filter;
mod held;
mod making;
mod names;
mod order;
mod parents;
mod paths;
mod quota;
mod registry;
mod remap;
mod restore;
mod root;
mod services;
mod shim;
pub mod signal;
mod store;
mod time;
mod undo;

pub use engine::Engine;
pub use error::{Error, Kind};
pub use paths::Paths;
