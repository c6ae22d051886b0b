//! The front page, the page of a group, and the version line.

use super::table::{COMMON, GROUPS, Section, listed};
use crate::context::{Globals, Program};
use crate::flags::{FlagSet, columns, option_lines};

/// Docker's client version whose command line this one follows.
pub(super) const DOCKER_CLIENT: &str = "28.2.2";
/// The highest version of the API this program speaks.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints.
pub(super) fn version_line(program: Program) -> String {
    match program {
        // Tools read the number of Docker's; what is told is whose command line this is.
        Program::Docker => format!("Docker version {DOCKER_CLIENT}, build hull-{VERSION}"),
        Program::Hull => format!("Hull version {VERSION}"),
    }
}

/// The front page.
pub(super) fn root(program: Program) -> String {
    let name = program.name();
    let commands = listed("");
    let of = |name: &str| commands.iter().find(|(known, _)| *known == name).copied();
    let common: Vec<_> = COMMON.iter().filter_map(|name| of(name)).collect();
    let others: Vec<_> = commands
        .iter()
        .copied()
        .filter(|(name, _)| !COMMON.contains(name))
        .collect();
    let section = |wanted: Section| -> Vec<_> {
        let groups = GROUPS.iter().filter(|group| group.section == wanted);
        groups.map(|group| (group.name, group.summary)).collect()
    };
    let mut globals = Globals::new(program);
    let mut set = FlagSet::default();
    globals.flags(&mut set);
    let mut page = format!(
        "Usage:  {name} [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\n\
         Common Commands:\n{}\nManagement Commands:\n{}\nSwarm Commands:\n{}\nCommands:\n{}\n\
         Global Options:\n{}\nRun '{name} COMMAND --help' for more information on a command.\n",
        list(&common, 12),
        list(&section(Section::Management), 12),
        list(&section(Section::Swarm), 12),
        list(&others, 12),
        option_lines(&set.sorted(), columns()),
    );
    if program == Program::Docker {
        page.push_str(
            "\nFor more help on how to use Docker, head to https://docs.docker.com/go/guides/\n",
        );
    }
    page
}

/// The page of a group.
pub(super) fn group(program: Program, group: &str) -> String {
    let full = format!("{} {group}", program.name());
    let summary = GROUPS
        .iter()
        .find(|known| known.name == group)
        .map_or("", |group| group.summary);
    let commands = listed(group);
    let width = commands
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0)
        .max(11)
        + 1;
    format!(
        "Usage:  {full} COMMAND\n\n{summary}\n\nCommands:\n{}\n\
         Run '{full} COMMAND --help' for more information on a command.\n",
        list(&commands, width)
    )
}

fn list(commands: &[(&str, &str)], width: usize) -> String {
    commands
        .iter()
        .map(|(name, summary)| format!("  {name:width$}{summary}\n"))
        .collect()
}
