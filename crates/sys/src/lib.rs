//! Linux, one module per facility, with safe signatures. No policy, nothing asynchronous.

pub mod beneath;
pub mod spawn;
