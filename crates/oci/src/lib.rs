//! Words of the OCI specifications: valid by construction, without I/O.
//!
//! Text becomes a [`Digest`], a [`Reference`] or a [`Platform`] once, at the edge. Documents
//! ([`Manifest`], [`Index`], [`ImageConfig`]) are read leniently, keep what they do not know, and
//! are only ever written when they are new: a stored document is its bytes.

mod config;
mod digest;
mod document;
mod platform;
mod reference;

pub mod media_type;

/// The runtime specification's types.
pub use oci_spec::runtime;

pub use config::{ContainerConfig, HealthcheckConfig, History, ImageConfig, RootFs};
pub use digest::{Algorithm, Digest, Hasher, InvalidDigest, chain_ids};
pub use document::{Descriptor, Index, Manifest};
pub use platform::{InvalidPlatform, Platform};
pub use reference::{InvalidReference, Reference};
