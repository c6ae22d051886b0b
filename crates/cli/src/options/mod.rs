//! The little languages inside flag values: ports, volumes, mounts, limits, environments.
//!
//! Each file reads one of them; the texts of errors are Docker's.

pub(crate) mod csv;
pub(crate) mod device;
pub(crate) mod environment;
pub(crate) mod filter;
pub(crate) mod gpu;
pub(crate) mod host;
pub(crate) mod limit;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod port;
pub(crate) mod restart;
pub(crate) mod security;
pub(crate) mod volume;
