//! What `compose --dry-run VERB` means. It changes nothing: the client of a dry run sends no request
//! that would (`connection`), and verbs that cannot be told without being done are refused here.

use crate::error::{Error, Result};

/// Verbs that only look.
const LOOKING: [&str; 15] = [
    "config", "convert", "diff", "events", "from", "images", "logs", "ls", "port", "ps", "stats",
    "top", "version", "volumes", "wait",
];
/// Verbs whose steps can be told.
const TOLD: [&str; 14] = [
    "build", "create", "down", "kill", "pause", "pull", "push", "restart", "rm", "scale", "start",
    "stop", "unpause", "up",
];

/// Refuses a verb that is in neither list: a new one is not taken for harmless.
///
/// # Errors
/// The verb cannot be told without being done.
pub(super) fn check(verb: &str) -> Result<()> {
    if verb.starts_with('-') || LOOKING.contains(&verb) || TOLD.contains(&verb) {
        return Ok(());
    }
    Err(Error::new(format!(
        "`compose {verb}` cannot be told without being done, so `--dry-run` does nothing here"
    ))
    .with_hint("leave `--dry-run` out to do it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::COMMANDS;

    #[test]
    fn a_verb_is_told_or_looks_or_is_refused() {
        for verb in ["up", "down", "rm", "ps", "--help"] {
            assert!(check(verb).is_ok(), "{verb}");
        }
        for verb in [
            "exec", "run", "attach", "commit", "cp", "export", "watch", "new",
        ] {
            assert!(check(verb).is_err(), "{verb}");
        }
    }

    #[test]
    fn every_verb_is_known_here() {
        let refused = [
            "attach", "commit", "cp", "exec", "export", "publish", "run", "watch",
        ];
        for entry in COMMANDS.iter() {
            for name in entry.about.names {
                if let Some(verb) = name.strip_prefix("compose ") {
                    assert!(check(verb).is_ok() || refused.contains(&verb), "{verb}");
                }
            }
        }
    }
}
