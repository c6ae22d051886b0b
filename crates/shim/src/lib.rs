//! The shim's protocol and a blocking client for it.
//!
//! The program of the same name (`main.rs`) is the parent of one container. It outlives the daemon.

pub mod client;
pub mod codec;
pub mod protocol;
pub mod socket;
