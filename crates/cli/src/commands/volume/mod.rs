//! Volumes.

pub(super) mod clone;
pub(super) mod cp;
pub(super) mod create;
pub(super) mod export;
pub(super) mod import;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod rename;
pub(super) mod rm;
pub(super) mod snapshot;
