//! Images.

pub(super) mod build;
pub(super) mod history;
pub(super) mod import;
pub(super) mod inspect;
pub(super) mod load;
pub(super) mod ls;
pub(super) mod near;
pub(super) mod prune;
pub(super) mod pull;
pub(super) mod push;
pub(in crate::commands) mod reference;
pub(super) mod rm;
pub(super) mod save;
pub(super) mod tag;
mod tree;

/// The platform that is meant where none is named.
pub(in crate::commands) fn default_platform() -> String {
    std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default()
}
