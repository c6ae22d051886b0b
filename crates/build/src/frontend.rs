//! Frontends: programs that read a file, named by the image that holds them. Ours reads what Docker's
//! reads; others are refused, so that nothing is built by other rules than its author meant.

use std::collections::BTreeMap;

use crate::dockerfile::Directives;
use crate::error::{Error, Result};

/// The build argument that names one, whatever the file says.
const ARGUMENT: &str = "BUILDKIT_SYNTAX";

/// Docker's frontends for Dockerfiles, by all names that they go by.
const KNOWN: [&str; 6] = [
    "docker/dockerfile",
    "docker/dockerfile-upstream",
    "docker/dockerfile-labs",
    "moby/dockerfile",
    "dockerfile",
    // BuildKit's own, which is no image.
    "dockerfile.v0",
];

/// Whether files for this frontend are read here. Words may follow its name: they are its own.
pub fn is_built_in(reference: &str) -> bool {
    let name = reference.split_whitespace().next().unwrap_or_default();
    let name = name.split('@').next().unwrap_or_default();
    // A registry's port is no tag.
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    KNOWN.contains(&name.strip_prefix("docker.io/").unwrap_or(name))
}

/// Refuses a file that wants to be read by somebody else.
pub(crate) fn check(directives: &Directives, args: &BTreeMap<String, String>) -> Result<()> {
    let (whose, wanted) = match (args.get(ARGUMENT), &directives.syntax) {
        (Some(wanted), _) => (format!("the build argument {ARGUMENT}"), wanted),
        (None, Some(wanted)) => ("the syntax line".to_owned(), wanted),
        (None, None) => return Ok(()),
    };
    if is_built_in(wanted) {
        return Ok(());
    }
    let message = format!(
        "the frontend {wanted:?} of {whose} is not available: only docker/dockerfile is built in"
    );
    Err(Error::invalid(message, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_own_are_built_in() {
        for name in [
            "docker/dockerfile:1",
            "docker.io/docker/dockerfile-upstream:master@sha256:aa",
            "docker/dockerfile:1.7-labs",
            "docker/dockerfile-labs:latest",
            "moby/dockerfile",
            "dockerfile.v0",
            "docker/dockerfile:1 --some words",
        ] {
            assert!(is_built_in(name), "{name}");
        }
        for name in [
            "example.com/docker/dockerfile:1",
            "docker/dockerfile-evil",
            "",
            "tonistiigi/x",
        ] {
            assert!(!is_built_in(name), "{name}");
        }
    }

    #[test]
    fn the_argument_counts_before_the_file() {
        let directives = |syntax: Option<&str>| Directives {
            syntax: syntax.map(str::to_owned),
            escape: '\\',
            check: None,
        };
        let args = |value: &str| BTreeMap::from([(ARGUMENT.to_owned(), value.to_owned())]);
        let none = BTreeMap::new();
        assert!(check(&directives(None), &none).is_ok());
        assert!(check(&directives(Some("evil/x")), &none).is_err());
        assert!(check(&directives(Some("evil/x")), &args("dockerfile.v0")).is_ok());
        let refused = check(&directives(None), &args("evil/x")).unwrap_err();
        assert!(refused.to_string().contains(ARGUMENT));
    }
}
