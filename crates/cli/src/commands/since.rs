//! Which version of the API commands and flags need: a daemon of before would not heed what it does not know.
//!
//! Held against the version that `$DOCKER_API_VERSION` names; without it, the daemon's own is as new as this program.

use hull_api::ApiVersion;

use super::About;
use crate::context::Program;
use crate::error::{Error, Result};

/// Commands of later than the first version.
const COMMANDS: [(&str, u16); 7] = [
    ("builder prune", 39),
    ("container prune", 25),
    ("image prune", 25),
    ("network prune", 25),
    ("system df", 25),
    ("system prune", 25),
    ("volume prune", 25),
];

/// Flags of later, by the full names of the commands.
const FLAGS: [(&str, u16, &[&str]); 27] = [
    ("annotation", 43, MAKES),
    ("attachable", 25, &["network create"]),
    ("cgroupns", 41, MAKES),
    ("cluster", 42, &["volume ls"]),
    ("config-from", 30, &["network create"]),
    ("config-only", 30, &["network create"]),
    ("cpu-rt-period", 25, MAKES),
    ("cpu-rt-runtime", 25, MAKES),
    ("cpus", 25, &["container run", "container create"]),
    ("cpus", 29, &["container update"]),
    ("env", 25, &["container exec"]),
    ("env-file", 25, &["container exec"]),
    ("force", 25, &["volume rm"]),
    ("gpus", 40, MAKES),
    ("health-start-interval", 44, MAKES),
    ("health-start-period", 29, MAKES),
    ("ingress", 29, &["network create"]),
    ("init", 25, MAKES),
    ("network", 25, &["image build"]),
    ("pids-limit", 40, &["container update"]),
    (
        "platform",
        32,
        &[
            "container run",
            "container create",
            "image pull",
            "image import",
        ],
    ),
    ("platform", 38, &["image build"]),
    ("platform", 46, &["image push"]),
    (
        "platform",
        48,
        &["image history", "image load", "image save"],
    ),
    ("tree", 47, &["image ls"]),
    ("until", 35, &["container logs"]),
    ("workdir", 35, &["container exec"]),
];
const MAKES: &[&str] = &["container run", "container create", "container update"];

/// Refuses a command or a flag that the version of the environment does not have.
///
/// # Errors
/// The first that is too new.
pub(super) fn check(program: Program, name: &str, about: &About, changed: &[&str]) -> Result<()> {
    let told = std::env::var("DOCKER_API_VERSION").ok();
    let Some(version) = told.and_then(|text| text.parse().ok()) else {
        return Ok(());
    };
    let full = about.names.first().copied().unwrap_or_default();
    match too_new(full, changed, version) {
        None => Ok(()),
        Some((None, needed)) => Err(refusal(
            &format!("{} {name}", program.name()),
            needed,
            version,
        )),
        Some((Some(flag), needed)) => Err(refusal(&format!("\"--{flag}\""), needed, version)),
    }
}

fn refusal(what: &str, needed: u16, version: ApiVersion) -> Error {
    Error::new(format!(
        "{what} requires API version 1.{needed}, but the Docker daemon API version is {version}"
    ))
    .with_hint("$DOCKER_API_VERSION says so; unset it to speak what the daemon speaks")
}

/// The flag that is too new, or `None` for the command itself, and what it needs.
fn too_new<'f>(
    full: &str,
    changed: &[&'f str],
    version: ApiVersion,
) -> Option<(Option<&'f str>, u16)> {
    let is_older = |needed: u16| version < ApiVersion::new(needed);
    let command = COMMANDS
        .iter()
        .find(|(name, needed)| *name == full && is_older(*needed));
    if let Some((_, needed)) = command {
        return Some((None, *needed));
    }
    changed.iter().find_map(|&flag| {
        let (_, needed, _) = FLAGS.iter().find(|(known, needed, commands)| {
            *known == flag && commands.contains(&full) && is_older(*needed)
        })?;
        Some((Some(flag), *needed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_as_old_as_their_commands_have_them() {
        let old = ApiVersion::new(30);
        assert_eq!(
            too_new("image ls", &["all", "tree"], old),
            Some((Some("tree"), 47))
        );
        assert_eq!(
            too_new("container run", &["init", "platform"], old),
            Some((Some("platform"), 32))
        );
        assert_eq!(too_new("image rm", &["platform"], old), None);
        assert_eq!(
            too_new("container run", &["cgroupns"], ApiVersion::new(41)),
            None
        );
        assert_eq!(too_new("builder prune", &[], old), Some((None, 39)));
    }
}
