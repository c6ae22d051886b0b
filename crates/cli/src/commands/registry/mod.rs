//! `registry` and `search`: a registry of one's own, and what others have.

pub(crate) mod search;
pub(crate) mod serve;
