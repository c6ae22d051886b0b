//! `context`: which daemons there are, and which is meant. They lie in Docker's own store.

pub(super) mod archive;
pub(super) mod create;
pub(super) mod export;
pub(super) mod import;
pub(super) mod inspect;
pub(super) mod ls;
mod place;
pub(super) mod rm;
pub(super) mod show;
pub(super) mod update;
pub(super) mod r#use;

use crate::context::store::{Metadata, Place};
use crate::context::{DEFAULT, Globals};
use crate::error::Result;

/// What lists say of the context that is made of flags and environment.
const DEFAULT_DESCRIPTION: &str = "Current DOCKER_HOST based configuration";

/// A context, stored or made of flags and environment.
///
/// # Errors
/// There is none of this name.
fn metadata(globals: &Globals, name: &str) -> Result<Metadata> {
    if name != DEFAULT {
        return globals.contexts().get(name);
    }
    let mut metadata = Metadata {
        name: DEFAULT.to_owned(),
        ..Metadata::default()
    };
    metadata.set_place(&Place {
        host: globals.default_host(),
        skip_tls_verify: false,
    });
    Ok(metadata)
}

/// Whether the environment says which daemon is meant, whatever context is chosen.
fn is_overridden() -> bool {
    std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty())
}
