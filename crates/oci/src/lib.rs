//! Words of the OCI specifications.

/// The runtime specification's types.
pub use oci_spec::runtime;
