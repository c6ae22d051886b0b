//! What of a directory belongs to a build: patterns of paths, `.dockerignore`, the walk, and addresses of
//! repositories that stand for one.
//!
//! Clients use it to send no more than a build sees, the builder to see no more than that. Small on
//! purpose: the command line starts with it.

mod ignore;
mod pattern;
mod repository;
mod walk;

pub use ignore::{Ignore, lines};
pub use pattern::{BadPattern, Glob};
pub use repository::{BadAddress, Repository, is_repository};
pub use walk::{Entry, EntryKind, walk};
