//! `compose`: whole applications. The work itself is in the crate of that name; here are the verbs.

pub(super) mod attach;
mod attached;
mod bake;
pub(super) mod build;
pub(super) mod config;
pub(super) mod cp;
pub(super) mod create;
pub(super) mod diff;
pub(super) mod down;
mod dry_run;
pub(super) mod events;
pub(super) mod exec;
pub(super) mod from;
mod history;
mod hold;
mod ignore;
pub(super) mod images;
pub(super) mod lifecycle;
pub(super) mod logs;
pub(super) mod ls;
mod output;
pub(super) mod port;
mod progress;
mod project;
mod provider;
pub(super) mod ps;
pub(super) mod publish;
pub(super) mod pull;
mod remote;
mod repository;
pub(super) mod run;
pub(super) mod scale;
pub(super) mod stats;
pub(super) mod top;
pub(super) mod up;
mod upping;
pub(super) mod version;
pub(super) mod volumes;
pub(super) mod wait;
pub(super) mod watch;

pub(crate) use project::ProjectFlags;

use crate::context::Globals;
use crate::error::{Error, Result, Usage};
use crate::flags::FlagSet;

/// Reads the flags between `compose` and its verb; the rest is the verb's.
///
/// # Errors
/// A flag that is not known here.
pub(super) fn read(globals: &mut Globals, arguments: &[String]) -> Result<Vec<String>> {
    let mut flags = ProjectFlags::default();
    let mut set = FlagSet::default();
    flags.flags(&mut set);
    let name = globals.program.name();
    let parsed = set.parse(arguments, false).map_err(|error| {
        Error::Usage(Usage {
            message: error.to_string(),
            suggestion: error.suggestion,
            usage: format!("{name} compose [OPTIONS] COMMAND"),
            pointer: format!("Run '{name} compose --help' for more information"),
            code: 125,
        })
    })?;
    let mut rest = flags.settled(parsed.operands)?;
    if parsed.help {
        rest.insert(0, "--help".to_owned());
    }
    if flags.is_dry_run()
        && let Some(verb) = rest.first()
    {
        dry_run::check(verb)?;
    }
    globals.compose = flags;
    Ok(rest)
}

/// Takes `--dry-run` where it follows the verb: the one flag of `compose` that may.
///
/// # Errors
/// The verb cannot be told without being done.
pub(super) fn rehearse(globals: &mut Globals, verb: &str) -> Result<()> {
    dry_run::check(verb)?;
    globals.compose.rehearse();
    Ok(())
}

/// How a flag is written that stands between `compose` and its verb, if it is one: `full` is what was called.
pub(super) fn before_verb(full: &str, flag: &str) -> Option<String> {
    let (program, verb) = full.split_once(" compose ")?;
    let mut flags = ProjectFlags::default();
    let mut set = FlagSet::default();
    flags.flags(&mut set);
    let known = set.sorted();
    let known = known.into_iter().find(|known| {
        let letter = known.short.map(|letter| letter.to_string());
        known.long == flag || letter.as_deref() == Some(flag)
    })?;
    let value = match known.kind {
        "" => "",
        _ => " …",
    };
    Some(format!("{program} compose --{}{value} {verb}", known.long))
}

/// The page of the flags, for `compose --help`.
pub(super) fn option_lines() -> String {
    let mut flags = ProjectFlags::default();
    let mut set = FlagSet::default();
    flags.flags(&mut set);
    crate::flags::option_lines(&set.sorted(), crate::flags::columns())
}
