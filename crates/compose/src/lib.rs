//! Compose: the whole application in one file, up with one command.
//!
//! `load` makes a model of files; `render` prints it as Docker's Compose does; `plan` compares it
//! with what the daemon has; `apply` carries the difference out through the API.

pub mod apply;
pub mod error;
mod labels;
mod load;
pub mod model;
pub mod node;
pub mod plan;
pub mod reach;
pub mod render;
mod words;

pub use labels::COMPOSE_VERSION;
pub use load::{
    BY_HAND, FILE_BYTES_MAX, Fetch, Fetched, Loaded, NotFetched, Options, Variable, drop_unused,
    is_of_ssh, is_remote, load,
};
