//! Command line → command: global flags, then the one or two words that name it.

use super::table::{self, COMMANDS, GROUPS};
use super::{completion, pages, unavailable};
use crate::context::{Globals, Program};
use crate::error::{Error, Result, Usage};
use crate::flags::suggest;
use crate::ui;

/// Finds the command and runs it; the result is the exit code.
///
/// # Errors
/// Whatever the command or its flags have to say.
pub(crate) fn dispatch(program: Program, arguments: &[String]) -> Result<u8> {
    let (globals, rest) = Globals::read(program, arguments)?;
    if globals.wants_version {
        ui::line(&pages::version_line(program))?;
        return Ok(0);
    }
    let (word, rest) = match rest.split_first() {
        Some((word, rest)) if word == "help" => match rest.split_first() {
            Some((word, more)) => (word.as_str(), [more, &["--help".to_owned()]].concat()),
            None => ("", Vec::new()),
        },
        Some((word, rest)) if !globals.wants_help => (word.as_str(), rest.to_vec()),
        _ => ("", Vec::new()),
    };
    if word.is_empty() {
        ui::out(&pages::root(program))?;
        return Ok(0);
    }
    if word == "__complete" {
        return completion::answer(&globals, &rest);
    }
    if GROUPS.iter().any(|group| group.name == word) {
        return group(globals, word, &rest);
    }
    run(globals, word, &rest)
}

fn group(globals: Globals, group: &str, rest: &[String]) -> Result<u8> {
    match rest.split_first() {
        Some((word, rest)) if !word.starts_with('-') => {
            run(globals, &format!("{group} {word}"), rest)
        }
        Some((flag, _)) if flag != "--help" && flag != "-h" => {
            Err(unknown_flag(globals.program, group, flag))
        }
        _ => {
            ui::out(&pages::group(globals.program, group))?;
            Ok(0)
        }
    }
}

fn run(globals: Globals, name: &str, rest: &[String]) -> Result<u8> {
    let found = COMMANDS
        .iter()
        .find_map(|entry| table::known_as(entry.about.names, name).map(|known| (entry, known)));
    if let Some((entry, known)) = found {
        return (entry.start)(globals, known, rest);
    }
    if let Some(command) = unavailable::find(name) {
        return unavailable::run(&globals, command, name, rest);
    }
    Err(unknown_command(globals.program, name))
}

fn unknown_flag(program: Program, group: &str, flag: &str) -> Error {
    let full = format!("{} {group}", program.name());
    Error::Usage(Usage {
        message: format!("unknown flag: {flag}"),
        suggestion: None,
        usage: format!("{full} COMMAND"),
        pointer: format!("Run '{full} --help' for more information"),
        code: 125,
    })
}

fn unknown_command(program: Program, name: &str) -> Error {
    let full = format!("{} {name}", program.name());
    let parent = match name.split_once(' ') {
        Some((group, _)) => format!("{} {group}", program.name()),
        None => program.name().to_owned(),
    };
    let known = table::all_names().filter(|known| known.contains(' ') == name.contains(' '));
    let suggestion = suggest::nearest(name, known).map(|near| format!("{} {near}", program.name()));
    Error::Usage(Usage {
        message: format!("{}: unknown command: {full}", program.name()),
        suggestion,
        usage: if name.contains(' ') {
            parent.clone()
        } else {
            String::new()
        },
        pointer: format!("Run '{parent} --help' for more information"),
        code: 1,
    })
}
