//! The build cache.

pub(super) mod prune;
