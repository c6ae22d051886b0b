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

use crate::context::store::{Keys, Metadata, Place};
use crate::context::{DEFAULT, Globals};
use crate::error::{Error, Result};

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
        skip_tls_verify: globals.tls_files().is_some_and(|files| !files.verify),
    });
    Ok(metadata)
}

/// The keys of a context, stored or named by flags and environment.
///
/// # Errors
/// A key that cannot be read.
fn keys(globals: &Globals, name: &str) -> Result<Keys> {
    if name != DEFAULT {
        return globals.contexts().keys(name);
    }
    let Some(files) = globals.tls_files() else {
        return Ok(Keys::new());
    };
    let files = [
        ("ca.pem", files.ca),
        ("cert.pem", files.cert),
        ("key.pem", files.key),
    ];
    let mut keys = Keys::new();
    for (name, path) in files
        .into_iter()
        .filter_map(|(name, path)| Some((name, path?)))
    {
        let bytes = std::fs::read(&path)
            .map_err(|error| Error::io("open", &path.to_string_lossy(), &error))?;
        keys.insert(name.to_owned(), bytes);
    }
    Ok(keys)
}

/// Whether the environment says which daemon is meant, whatever context is chosen.
fn is_overridden() -> bool {
    std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty())
}
