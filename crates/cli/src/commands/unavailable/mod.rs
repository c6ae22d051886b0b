//! The commands of Docker's that Hull does not have yet. They are known with their flags, so that the help lists them, a
//! typing error is told from a missing feature, and nothing succeeds silently.

mod cluster;
mod others;
mod plugins;

use hull_api::query::Query;

use super::container::ls::FORMAT as LIST_FORMAT;
use super::inspection::FORMAT;
use super::{About, Operands, check_operands, json, page, parse, since};
use crate::connection::{connect, failure};
use crate::context::Globals;
use crate::error::{Error, Result};
use crate::flags::{FlagSet, Value};
use crate::ui;

/// A command that is not available yet.
pub(super) struct Missing {
    names: &'static [&'static str],
    usage: &'static str,
    summary: &'static str,
    flags: &'static [Flag],
}

/// A flag: `s,long`, what its value is called (nothing for a switch), and what it is for (nothing if no page lists it).
struct Flag(&'static str, &'static str, &'static str);

const fn known(
    names: &'static [&'static str],
    usage: &'static str,
    summary: &'static str,
    flags: &'static [Flag],
) -> Missing {
    Missing {
        names,
        usage,
        summary,
        flags,
    }
}

fn all() -> impl Iterator<Item = &'static Missing> {
    cluster::COMMANDS.iter().chain(others::COMMANDS)
}

/// The command called `name`.
pub(super) fn find(name: &str) -> Option<&'static Missing> {
    all().find(|command| command.names.contains(&name))
}

/// Every name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().flat_map(|command| command.names.iter().copied())
}

/// Names and summaries, for the lists of the help.
pub(super) fn listed() -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    all().map(|command| (command.names, command.summary))
}

impl Missing {
    fn about(&self) -> About {
        About::new(self.names, self.usage, self.summary, operands(self.usage))
    }
}

/// What stands in for the fields of a command: its flags are read and nothing is done with them.
enum Sink {
    Switch(bool),
    Texts(Vec<String>),
}

fn sinks(flags: &[Flag]) -> Vec<Sink> {
    let sink = |flag: &Flag| match flag.1 {
        "" => Sink::Switch(false),
        _ => Sink::Texts(Vec::new()),
    };
    flags.iter().map(sink).collect()
}

fn bind<'s>(
    flags: &'static [Flag],
    sinks: &'s mut [Sink],
    wants_json: &'s mut bool,
) -> FlagSet<'s> {
    let mut set = FlagSet::default();
    for (Flag(name, kind, usage), sink) in flags.iter().zip(sinks) {
        let value: &mut dyn Value = match sink {
            Sink::Switch(value) => value,
            Sink::Texts(value) => value,
        };
        match usage.is_empty() {
            true => set.hidden(name, kind, value),
            false => set.add(name, kind, *usage, value),
        }
    }
    if set.has("format") {
        json::offer(&mut set, wants_json);
    }
    set
}

/// What a flag was given last.
fn text_of<'s>(name: &str, flags: &[Flag], sinks: &'s [Sink]) -> &'s str {
    let found = flags.iter().zip(sinks).find(|(flag, _)| flag.0 == name);
    match found {
        Some((_, Sink::Texts(texts))) => texts.last().map_or("", String::as_str),
        _ => "",
    }
}

/// How many operands a usage line asks for: words in brackets may be left out.
fn operands(usage: &str) -> Operands {
    let words = || {
        usage
            .split_whitespace()
            .filter(|word| *word != "[OPTIONS]" && *word != "OPTIONS")
    };
    let needed = words().filter(|word| !word.starts_with('[')).count();
    if words().any(|word| word.contains("...")) {
        return Operands::AtLeast(needed);
    }
    match (needed, words().count()) {
        (0, 0) => Operands::None,
        (0, most) => Operands::AtMost(most),
        (least, most) if least == most => Operands::Exactly(least),
        (least, most) => Operands::Between(least, most),
    }
}

/// The words of `stack` without a flag that chose between orchestrators once; that it is ignored is told as Docker does.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn without_orchestrator(words: &[String]) -> Result<Vec<String>> {
    const FLAG: &str = "--orchestrator";
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let has_value = word
            .strip_prefix(FLAG)
            .is_some_and(|rest| rest.starts_with('='));
        if has_value || (word == FLAG && words.next().is_some()) {
            ui::line("Flag --orchestrator has been deprecated, option will be ignored")?;
        } else {
            kept.push(word.clone());
        }
    }
    Ok(kept)
}

/// Says that the command is not available.
///
/// # Errors
/// Always, unless only its page was asked for.
pub(super) fn run(
    globals: &Globals,
    command: &'static Missing,
    name: &str,
    arguments: &[String],
) -> Result<u8> {
    let program = globals.program.name();
    // The own name of it, whichever was typed.
    let name = command.names.first().copied().unwrap_or(name);
    let full = format!("{program} {name}");
    let about = command.about();
    let sentence = format!("'{full}' is not available in Hull yet");
    let mut sinks = sinks(command.flags);
    // What the flags of these commands are is known, but not yet of all.
    if command.flags.is_empty()
        && !arguments
            .iter()
            .any(|word| word == "--help" || word == "-h")
    {
        since::check(globals.program, name, command.names, &[])?;
        return Err(
            refusal(globals, name, arguments, "")?.unwrap_or_else(|| unavailable(&sentence, name))
        );
    }
    let mut wants_json = false;
    let set = bind(command.flags, &mut sinks, &mut wants_json);
    let parsed = parse(set, arguments, &full, &about)?;
    if wants_json {
        json::stands_alone(&parsed, &full, &about)?;
    }
    if parsed.help {
        let set = bind(command.flags, &mut sinks, &mut wants_json);
        ui::out(&page(globals, &full, &about, command.summary, &set))?;
        if !globals.is_docker() {
            ui::line(&format!("\n{sentence}."))?;
        }
        return Ok(0);
    }
    since::check(globals.program, name, command.names, &parsed.changed)?;
    check_operands(&full, &about, &parsed.operands, program)?;
    let format = text_of("f,format", command.flags, &sinks);
    let refused = refusal(globals, name, &parsed.operands, format)?;
    Err(refused.unwrap_or_else(|| unavailable(&sentence, name)))
}

/// What Hull's daemon says to who would make a cluster.
const NO_CLUSTER: &str = "Error response from daemon: swarm mode is not available in this version";

/// Under Docker's name, what a daemon outside a cluster says to whatever is about one.
fn refusal(
    globals: &Globals,
    name: &str,
    operands: &[String],
    format: &str,
) -> Result<Option<Error>> {
    let (group, verb) = name.split_once(' ').unwrap_or((name, ""));
    if group == "plugin" {
        return plugins::refusal(globals, verb, operands, format);
    }
    let is_about_one = ["service", "stack", "swarm", "node", "secret", "config"].contains(&group);
    if !globals.is_docker() || !is_about_one {
        return Ok(None);
    }
    if group == "swarm" && ["init", "join"].contains(&verb) {
        super::runtime()?.block_on(async { connect(globals).await.map(drop) })?;
        return Ok(Some(Error::new(NO_CLUSTER)));
    }
    let asked: Result<_> = super::runtime()?.block_on(async {
        let client = connect(globals).await?;
        Ok(client.get_raw("/swarm", Query::default()).await.err())
    });
    Ok(asked?.map(failure))
}

fn unavailable(sentence: &str, name: &str) -> Error {
    let error = Error::new(sentence);
    let group = name.split(' ').next().unwrap_or_default();
    match group {
        "service" | "stack" | "swarm" | "node" => error.with_hint(
            "one machine's services run with `hull compose`; a cluster of machines is not there yet",
        ),
        "secret" | "config" => error.with_hint(
            "mount a file into the container, for example `-v ./secret:/run/secrets/name:ro`",
        ),
        "trust" => error.with_hint("sign and verify images with `cosign`"),
        "compose" => error.with_hint(
            "`hull compose config` writes the whole application out, for programs that convert it",
        ),
        "plugin" => error.with_hint("run the driver as a service of the host, or as a container"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_line_tells_the_operands() {
        assert_eq!(operands("[OPTIONS]"), Operands::None);
        assert_eq!(
            operands("[OPTIONS] CONTAINER CHECKPOINT"),
            Operands::Exactly(2)
        );
        assert_eq!(operands("CONFIG [CONFIG...]"), Operands::AtLeast(1));
        assert_eq!(operands("[OPTIONS] [NODE...]"), Operands::AtLeast(0));
        assert_eq!(
            operands("[OPTIONS] SECRET [file|-]"),
            Operands::Between(1, 2)
        );
        assert_eq!(operands("[OPTIONS] [VOLUME]"), Operands::AtMost(1));
    }
}
