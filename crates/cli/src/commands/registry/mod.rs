//! `registry`: a registry of one's own.

pub(crate) mod serve;
