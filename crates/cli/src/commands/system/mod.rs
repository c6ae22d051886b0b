//! The daemon itself.

pub(super) mod df;
pub(super) mod dial_stdio;
pub(super) mod events;
pub(super) mod fsck;
pub(super) mod info;
pub(super) mod prune;
mod why;
