//! Images: stored, unpacked, and given a writable layer.
//!
//! A [`Store`] keeps blobs, names and unpacked layers; a [`Snapshotter`] lays a container's
//! writable layer over an image's; [`archive`] copies files into and out of a root. Everything
//! here blocks, and may be called from many threads at once.
//!
//! Words: a *blob* is bytes under their digest; a *layer* is a blob unpacked into a directory; an
//! image's *id* is the digest of the index or manifest its name points at.
//!
//! HTTP, progress on the wire and what a container is are left to others.

pub mod archive;
pub mod copy;
pub mod diff;
pub mod parts;
pub mod snapshot;
pub mod store;

mod account;
mod compression;
mod dir;
mod error;
mod glob;
mod tar;
mod trash;
mod verify;

pub use account::allocated;
pub use diff::{Change, ChangeKind};
pub use error::{Error, Kind, Result};
pub use snapshot::{Overlay, Snapshot, Snapshotter};
pub use store::{Image, Store};
pub use trash::Trash;
