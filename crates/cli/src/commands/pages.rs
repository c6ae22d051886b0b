//! The front page, the page of a group, and the version line.

use super::table::{COMMON, GROUPS, Section, group_called, listed, subgroups};
use crate::context::{Globals, Program};
use crate::flags::{FlagSet, columns, option_lines};
use crate::plugins::{self, Described};

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
pub(super) fn root(globals: &Globals) -> String {
    let program = globals.program;
    let name = program.name();
    let commands = listed(program, "");
    let of = |name: &str| commands.iter().find(|(known, _)| *known == name).copied();
    let common: Vec<_> = COMMON.iter().filter_map(|name| of(name)).collect();
    let others: Vec<_> = commands
        .iter()
        .copied()
        .filter(|(name, _)| !COMMON.contains(name))
        .collect();
    let plugins = plugins::all(globals);
    let mut shown = Globals::new(program);
    let mut set = FlagSet::default();
    shown.flags(&mut set);
    let mut page = format!(
        "Usage:  {name} [OPTIONS] COMMAND\n\nA self-sufficient runtime for containers\n\n\
         Common Commands:\n{}\nManagement Commands:\n{}\nSwarm Commands:\n{}\nCommands:\n{}\n{}\
         Global Options:\n{}\nRun '{name} COMMAND --help' for more information on a command.\n",
        list(&common, 12),
        management(program, &plugins),
        list(&section(Section::Swarm), 12),
        list(&others, 12),
        invalid(&plugins),
        option_lines(&set.sorted(), columns()),
    );
    page.push_str(match program {
        Program::Docker => {
            "\nFor more help on how to use Docker, head to https://docs.docker.com/go/guides/\n"
        }
        Program::Hull => {
            "\n'hull help' is a guide by task; 'hull explain CONTAINER' says why one ended.\n"
        }
    });
    page
}

fn section(wanted: Section) -> Vec<(&'static str, &'static str)> {
    let groups = GROUPS.iter().filter(|group| group.section == wanted);
    groups.map(|group| (group.name, group.summary)).collect()
}

/// Groups and plugins, the latter with a star.
fn management(program: Program, plugins: &[Described]) -> String {
    let mut groups = section(Section::Management);
    if program == Program::Hull {
        groups.extend(section(Section::Own));
    }
    let mut lines: Vec<(String, String)> = groups
        .into_iter()
        .map(|(name, summary)| (name.to_owned(), summary.to_owned()))
        .collect();
    for described in plugins {
        // Our own group is what its name means, unless we are called Docker's.
        let is_ours = program == Program::Hull && group_called(&described.plugin.name).is_some();
        if let Ok(metadata) = described.metadata.clone()
            && !metadata.hidden
            && !is_ours
        {
            lines.retain(|(name, _)| *name != described.plugin.name);
            lines.push((
                format!("{}*", described.plugin.name),
                metadata.short_description,
            ));
        }
    }
    lines.sort();
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|(name, text)| (&**name, &**text))
        .collect();
    list(&lines, 12)
}

/// Files that look like plugins and are none.
fn invalid(plugins: &[Described]) -> String {
    let broken: Vec<(&str, &str)> = plugins
        .iter()
        .filter_map(|described| {
            Some((
                &*described.plugin.name,
                &**described.metadata.as_ref().err()?,
            ))
        })
        .collect();
    match broken.is_empty() {
        true => String::new(),
        false => format!("Invalid Plugins:\n{}\n", list(&broken, 12)),
    }
}

/// The page of a group.
pub(super) fn group(program: Program, group: &str) -> String {
    let full = format!("{} {group}", program.name());
    let summary = group_called(group).map_or("", |group| group.summary);
    let summary = summary.replace(" docker ", &format!(" {} ", program.name()));
    let (commands, groups) = (listed(program, group), subgroups(group));
    let width = commands
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0)
        .max(11)
        + 1;
    let groups = match groups.is_empty() {
        true => String::new(),
        false => format!("Management Commands:\n{}\n", list(&groups, width)),
    };
    let options = match group {
        "compose" => format!("Options:\n{}\n", super::compose::option_lines()),
        _ => String::new(),
    };
    let flags = if options.is_empty() { "" } else { "[OPTIONS] " };
    format!(
        "Usage:  {full} {flags}COMMAND\n\n{summary}\n\n{options}{groups}Commands:\n{}\n\
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
