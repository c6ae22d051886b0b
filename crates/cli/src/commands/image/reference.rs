//! Names of images as people type them.

use hull_oci::Reference;

use crate::error::{Error, Result};

/// Reads a name.
///
/// # Errors
/// When it is none, in Docker's words.
pub(crate) fn parse(text: &str) -> Result<Reference> {
    text.parse().map_err(|error| Error::new(format!("{error}")))
}

/// The key credentials for the image's registry are stored under.
pub(crate) fn server(name: &Reference) -> String {
    match name.domain() {
        "docker.io" => crate::settings::DOCKER_HUB.to_owned(),
        domain => domain.to_owned(),
    }
}
