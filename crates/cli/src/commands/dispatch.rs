//! Command line → command: global flags, then the words that name it: a command, a group and its command, or a plugin.

use super::table::{self, COMMANDS, group_called};
use super::{SHORT_HELP, completion, compose, guide, pages, unavailable};
use crate::context::{Globals, Program};
use crate::error::{Error, Result, Usage};
use crate::flags::suggest;
use crate::plugins;
use crate::ui;

/// Finds the command and runs it; the result is the exit code.
///
/// # Errors
/// Whatever the command or its flags have to say.
pub(crate) fn dispatch(program: Program, arguments: &[String]) -> Result<u8> {
    let (globals, rest) = Globals::read(program, arguments)?;
    // Docker's own client tells next to nothing, and scripts read its standard error.
    if globals.wants_all_told() && !globals.is_docker() {
        ui::tell_all();
    }
    if globals.wants_version {
        ui::line(&pages::version_line(program))?;
        return Ok(0);
    }
    if globals.wants_help {
        if globals.wants_help_by_letter {
            ui::note(SHORT_HELP);
        }
        ui::out(&pages::root(&globals))?;
        return Ok(0);
    }
    let Some((word, rest)) = rest.split_first() else {
        ui::err_bytes(pages::root(&globals).as_bytes());
        return Ok(0);
    };
    match word.as_str() {
        "help" => help(globals, arguments, rest),
        word => match form(word, rest) {
            Some((form, rest)) => completion::answer(globals, form, rest),
            None => command(globals, arguments, word, rest),
        },
    }
}

/// How a shell asks what may come next, if that is what this is, and of which words.
fn form<'w>(word: &str, rest: &'w [String]) -> Option<(completion::Form, &'w [String])> {
    use completion::Form;
    Some(match (word, rest) {
        ("__words", [flag, rest @ ..]) if flag == "--described" => (Form::Described, rest),
        ("__words", rest) => (Form::Words, rest),
        ("__complete", rest) => (Form::Directed, rest),
        ("__completeNoDesc", rest) => (Form::DirectedWords, rest),
        _ => return None,
    })
}

/// Runs what the words name. `arguments` are all of them, global flags included: a plugin reads those itself.
fn command(globals: Globals, arguments: &[String], word: &str, rest: &[String]) -> Result<u8> {
    if let Some(aliased) = plugins::aliased(&globals, arguments, word)? {
        let words = [std::slice::from_ref(&aliased.plugin.name), rest].concat();
        return plugins::run(&globals, &aliased.plugin, &aliased.arguments, &words);
    }
    // Under Docker's name, what somebody installed for Docker is what is meant.
    let words = || [&[word.to_owned()], rest].concat();
    if let Some(plugin) = plugins::overriding(&globals, word) {
        return plugins::run(&globals, &plugin, arguments, &words());
    }
    if group_called(word)
        .is_some_and(|group| !table::listed(globals.program, group.name).is_empty())
    {
        return group(globals, word, rest);
    }
    if find(word).is_none()
        && let Some(plugin) = plugins::find(&globals, word)
    {
        return plugins::run(&globals, &plugin, arguments, &words());
    }
    // Hull's own commands of two words. Under Docker's name the second is an operand.
    if globals.program == Program::Hull
        && let Some((second, more)) = rest.split_first()
        && let name = format!("{word} {second}")
        && COMMANDS
            .iter()
            .any(|entry| entry.about.names == [name.as_str()])
    {
        return run(globals, &name, more);
    }
    run(globals, word, rest)
}

fn group(mut globals: Globals, group: &str, rest: &[String]) -> Result<u8> {
    let own;
    let rest = match group {
        "compose" => {
            own = compose::read(&mut globals, rest)?;
            own.as_slice()
        }
        "stack" => {
            own = unavailable::without_orchestrator(rest)?;
            own.as_slice()
        }
        _ => rest,
    };
    let Some((word, rest)) = rest.split_first() else {
        let page = pages::group(globals.program, group);
        match group {
            "completion" => ui::out(&page)?,
            _ => ui::err_bytes(page.as_bytes()),
        }
        return Ok(0);
    };
    match word.as_str() {
        "-h" | "--help" => {
            if word == "-h" {
                ui::note(SHORT_HELP);
            }
            ui::out(&pages::group(globals.program, group))?;
            Ok(0)
        }
        flag if flag.starts_with('-') && flag.len() > 1 => {
            Err(unknown_flag(globals.program, group, flag))
        }
        word => {
            let name = format!("{group} {word}");
            match group_called(&name) {
                Some(_) => self::group(globals, &name, rest),
                // Docker shows the page, and calls that a success.
                None if group == "completion" && globals.is_docker() && !is_known(&name) => {
                    ui::out(&pages::group(globals.program, group))?;
                    Ok(0)
                }
                None => run(globals, &name, rest),
            }
        }
    }
}

/// `help`, `help ps`, `help container ls`, `help TOPIC`.
fn help(globals: Globals, arguments: &[String], words: &[String]) -> Result<u8> {
    if let [first, ..] = words
        && first.starts_with('-')
    {
        ui::out(&guide::own_page(globals.program))?;
        return Ok(0);
    }
    let named = |count: usize| words[..count].join(" ");
    let known = (1..=words.len())
        .rev()
        .find(|count| group_called(&named(*count)).is_some() || find(&named(*count)).is_some());
    match (words, known) {
        ([], _) if globals.is_docker() => ui::out(&pages::root(&globals)),
        ([], _) => ui::out(&guide::text(globals.program)),
        ([word], None) if word == "help" => ui::out(&guide::own_page(globals.program)),
        ([word], None) if !globals.is_docker() && guide::topic(word).is_some() => {
            ui::out(&guide::topic(word).unwrap_or_default())
        }
        (words, Some(count)) if count == words.len() => {
            let line = [words[1..].to_vec(), vec!["--help".to_owned()]].concat();
            return command(
                globals,
                &[words.to_vec(), line.clone()].concat(),
                &words[0],
                &line,
            );
        }
        ([word, ..], None) => {
            if let Some(plugin) = plugins::find(&globals, word) {
                let asked = arguments
                    .iter()
                    .filter(|argument| *argument != "help")
                    .cloned();
                let asked: Vec<String> = asked.chain(["--help".to_owned()]).collect();
                return plugins::run(&globals, &plugin, &asked, words);
            }
            return Err(Error::new(format!(
                "unknown help topic: {}",
                words.join(" ")
            )));
        }
        (words, Some(count)) => {
            let rest = words[count..].join(" ");
            return Err(Error::new(format!("unknown help topic: {rest}")));
        }
    }?;
    Ok(0)
}

/// Whether a word is a command or a group of our own.
pub(super) fn is_known(word: &str) -> bool {
    group_called(word).is_some() || find(word).is_some()
}

/// The name a command is known by, if there is one.
fn find(name: &str) -> Option<&'static str> {
    let available = COMMANDS
        .iter()
        .find_map(|entry| table::known_as(entry.about.names, name));
    available.or_else(|| unavailable::find(name).map(|_| ""))
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
    if name == "buildx" && globals.program == Program::Hull {
        let error = plugins::missing(&globals, name, name);
        return Err(error.with_hint("`hull build` builds without it, with the same flags"));
    }
    if globals.program == Program::Hull
        && let Some((path, why)) = plugins::broken(&globals, name)
    {
        let path = path.display();
        return Err(Error::new(format!(
            "'hull {name}' would be the plugin {path}, which is none: {why}"
        )));
    }
    // Docker shows the page of what is above it.
    let asks = |word: &String| word == "--help" || word == "-h";
    if globals.is_docker() && rest.iter().any(asks) {
        if !rest.iter().any(|word| word == "--help") {
            ui::line(SHORT_HELP)?;
        }
        ui::out(&match name.rsplit_once(' ') {
            Some((group, _)) => pages::group(globals.program, group),
            None => pages::root(&globals),
        })?;
        return Ok(0);
    }
    Err(unknown_command(globals.program, name))
}

fn unknown_flag(program: Program, group: &str, flag: &str) -> Error {
    let full = format!("{} {group}", program.name());
    let message = match flag.strip_prefix("--") {
        Some(long) => format!("unknown flag: --{}", long.split('=').next().unwrap_or(long)),
        None => format!(
            "unknown shorthand flag: '{}' in {flag}",
            flag[1..].chars().next().unwrap_or_default()
        ),
    };
    Error::Usage(Usage {
        message,
        suggestion: None,
        usage: group_usage(&full, group),
        pointer: format!("Run '{full} --help' for more information"),
        code: 125,
    })
}

fn group_usage(full: &str, group: &str) -> String {
    let usage = group_called(group).map_or("", |group| group.usage);
    format!("{full} {usage}").trim_end().to_owned()
}

fn unknown_command(program: Program, name: &str) -> Error {
    let full = format!("{} {name}", program.name());
    let group = name.rsplit_once(' ').map(|(group, _)| group);
    let parent = match group {
        Some(group) => format!("{} {group}", program.name()),
        None => program.name().to_owned(),
    };
    let known = table::all_names().filter(|known| known.contains(' ') == name.contains(' '));
    let suggestion = suggest::nearest(name, known).map(|near| format!("{} {near}", program.name()));
    Error::Usage(Usage {
        message: format!("{}: unknown command: {full}", program.name()),
        suggestion,
        usage: group.map_or_else(String::new, |group| group_usage(&parent, group)),
        pointer: format!("Run '{parent} --help' for more information"),
        code: 1,
    })
}
