//! `completion`: the words that may come next, for shells.
//!
//! Two forms of the question are answered: `__words`, which our own scripts ask, and `__complete`, which the scripts ask
//! that Docker's command line prints: there, a last line says what the shell may add of its own. A daemon that does not
//! answer at once is not waited for.

pub(super) mod names;
pub(super) mod scripts;

use super::Entry;
use super::guide;
use super::table::{COMMANDS, GROUPS, Group, Section, group_called, known_as, listed};
use crate::context::{Globals, Program};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::plugins;
use crate::ui;

use names::Thing;

/// How a shell asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A word a line.
    Words,
    /// With a tab and what it is.
    Described,
    /// As Docker's scripts expect it: described, and a line of directives.
    Directed,
    /// The same, not described.
    DirectedWords,
}

/// What Docker's scripts are told: files are offered, or nothing but what was listed.
const FILES: (u8, &str) = (0, "ShellCompDirectiveDefault");
const NO_FILES: (u8, &str) = (4, "ShellCompDirectiveNoFileComp");

/// A word, and what it is; nothing for names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    text: String,
    about: String,
}

/// What may come next.
#[derive(Debug, PartialEq)]
struct Next {
    words: Vec<Word>,
    /// Names the daemon knows.
    things: Option<Thing>,
}

impl Next {
    fn words(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            words: words
                .into_iter()
                .map(|text| Word {
                    text: text.into(),
                    about: String::new(),
                })
                .collect(),
            things: None,
        }
    }

    fn described<'w>(words: impl IntoIterator<Item = (&'w str, &'w str)>) -> Self {
        let word = |(text, about): (&str, &str)| Word {
            text: text.to_owned(),
            about: about.to_owned(),
        };
        Self {
            words: words.into_iter().map(word).collect(),
            things: None,
        }
    }

    fn things(thing: Thing) -> Self {
        Self {
            words: Vec::new(),
            things: Some(thing),
        }
    }
}

/// Candidates for the word after `words`, which are the command's and follow the global flags.
fn next(program: Program, words: &[String]) -> Next {
    let Some((first, rest)) = words.split_first() else {
        return Next::described(commands(program));
    };
    if first == "help" {
        return helped(program, rest);
    }
    let mut name = first.clone();
    let mut rest = rest;
    while group_called(&name).is_some() {
        let Some((word, after)) = rest.split_first() else {
            return Next::described(verbs(program, &name));
        };
        name = format!("{name} {word}");
        rest = after;
    }
    let found = COMMANDS
        .iter()
        .find(|entry| known_as(entry.about.names, &name).is_some());
    found.map_or(Next::words([""; 0]), |entry| within(entry, rest))
}

/// The commands and groups there are. Docker's own program names here what its front page does not.
fn commands(program: Program) -> Vec<(&'static str, &'static str)> {
    let is_offered = |group: &&Group| match (program, group.section) {
        (_, Section::Management | Section::Swarm) | (Program::Hull, Section::Own) => true,
        (Program::Docker, Section::Hidden) => {
            !group.name.contains(' ') && group.name != "completion"
        }
        (Program::Hull, Section::Hidden) | (Program::Docker, Section::Own) => false,
    };
    let groups = GROUPS.iter().filter(is_offered);
    let mut commands = listed(program, "");
    commands.extend(groups.map(|group| (group.name, group.summary)));
    commands.push(("help", "Help about the command"));
    if program == Program::Docker {
        commands.push(("bake", "Build from a file"));
    }
    commands
}

/// Those of a group.
fn verbs(program: Program, group: &str) -> Vec<(&'static str, &'static str)> {
    let mut verbs = listed(program, group);
    verbs.extend(super::table::subgroups(group));
    verbs
}

/// What there is help on.
fn helped(program: Program, words: &[String]) -> Next {
    if words.is_empty() {
        let topics = match program {
            Program::Hull => &guide::TOPICS[..],
            Program::Docker => &[],
        };
        return Next::described(commands(program).into_iter().chain(topics.iter().copied()));
    }
    match words.join(" ") {
        group if group_called(&group).is_some() => Next::described(verbs(program, &group)),
        _ => Next::words([""; 0]),
    }
}

/// What may follow a command and some of its flags and operands.
fn within(entry: &Entry, words: &[String]) -> Next {
    let flags = (entry.flags)();
    let flag = |word: &str| {
        let long = word.strip_prefix("--");
        let short = word
            .strip_prefix('-')
            .and_then(|letters| letters.chars().last());
        flags.iter().find(|flag| match long {
            Some(long) => flag.long == long,
            None => short.is_some() && flag.short == short,
        })
    };
    let takes_value = |word: &String| {
        word.starts_with('-')
            && !word.contains('=')
            && flag(word).is_some_and(|flag| !flag.kind.is_empty())
    };
    if let Some(flag) = words
        .last()
        .filter(|word| takes_value(word))
        .and_then(|word| flag(word))
    {
        return value_of(flag.long);
    }
    let mut operands = 0;
    let mut skips = false;
    for word in words {
        if skips {
            skips = false;
        } else if word.starts_with('-') && (entry.about.interspersed || operands == 0) {
            skips = takes_value(word);
        } else {
            operands += 1;
        }
    }
    let thing = operand(entry.about.usage, operands).map(|thing| of_state(entry, thing));
    let mut next = thing.map_or(Next::words([""; 0]), Next::things);
    if entry.about.interspersed || operands == 0 {
        let shown = flags.iter().filter(|flag| !flag.hidden);
        next.words.extend(shown.map(|flag| Word {
            text: format!("--{}", flag.long),
            about: flag.usage.lines().next().unwrap_or_default().to_owned(),
        }));
    }
    next
}

/// What a usage line asks for at a place.
fn operand(usage: &str, at: usize) -> Option<Thing> {
    let words: Vec<&str> = usage
        .split_whitespace()
        .filter(|word| *word != "[OPTIONS]")
        .collect();
    let word = words
        .get(at)
        .or_else(|| words.last().filter(|word| word.contains("...")))?;
    let word = word.trim_matches(['[', ']', '.']);
    [
        ("CONTAINER", Thing::Container),
        ("IMAGE", Thing::Image),
        ("SOURCE_IMAGE", Thing::Image),
        ("NETWORK", Thing::Network),
        ("VOLUME", Thing::Volume),
        ("CONTEXT", Thing::Context),
        ("NAME|ID", Thing::Container),
        ("NAME", Thing::Image),
    ]
    .into_iter()
    .find(|(start, _)| word.starts_with(start))
    .map(|(_, thing)| thing)
}

/// Of containers and networks, those the command can do something to.
fn of_state(entry: &Entry, thing: Thing) -> Thing {
    let name = entry.about.names.first().copied().unwrap_or_default();
    if name == "network rm" {
        return Thing::OwnNetwork;
    }
    if thing != Thing::Container {
        return thing;
    }
    match name.strip_prefix("container ").unwrap_or(name) {
        "stop" | "kill" | "exec" | "attach" | "pause" | "top" | "stats" => Thing::Running,
        "start" => Thing::Stopped,
        "unpause" => Thing::Paused,
        _ => thing,
    }
}

/// What a flag may be given.
fn value_of(flag: &str) -> Next {
    match flag {
        "network" | "net" => Next::things(Thing::NetworkMode),
        "log-level" => Next::words(["debug", "info", "warn", "error", "fatal"]),
        "volumes-from" | "like" | "link" => Next::things(Thing::Container),
        "volume" => Next::things(Thing::Volume),
        "log-driver" => Next::things(Thing::LogDriver),
        "runtime" => Next::things(Thing::Runtime),
        "image" => Next::things(Thing::Image),
        "context" | "from" => Next::things(Thing::Context),
        "restart" => Next::words(["no", "always", "on-failure", "unless-stopped"]),
        "pull" => Next::words(["always", "missing", "never"]),
        "format" => Next::words(["json", "table"]),
        "type" => Next::words(["container", "image", "network", "volume"]),
        "signal" => Next::words(["TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2"]),
        "filter" => Next::words([
            "name=",
            "label=",
            "status=",
            "ancestor=",
            "network=",
            "volume=",
            "since=",
            "before=",
            "dangling=",
            "driver=",
            "until=",
        ]),
        "cap-add" | "cap-drop" => Next::words([
            "ALL",
            "NET_ADMIN",
            "NET_RAW",
            "SYS_ADMIN",
            "SYS_PTRACE",
            "SYS_TIME",
            "CHOWN",
            "KILL",
        ]),
        _ => Next::words([""; 0]),
    }
}

/// Answers a shell: `words` are those before the cursor, the last of them the one that is being typed.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn answer(globals: Globals, form: Form, words: &[String]) -> Result<u8> {
    let (current, before) = match words.split_last() {
        Some((current, before)) => (current.as_str(), before),
        None => ("", words),
    };
    // The global flags that were typed come with the words.
    let (globals, before, flag) = match Globals::read(globals.program, before) {
        Ok((globals, before)) => (globals, before, None),
        // The last of them may lack the value that is being typed.
        Err(_) => (
            globals,
            Vec::new(),
            before.last().and_then(|word| global(word)),
        ),
    };
    if let Some(told) = of_plugin(&globals, form, &before, current) {
        ui::out(&told)?;
        return Ok(0);
    }
    // A value may be joined to its flag.
    let (joined, part) = match current.split_once('=') {
        Some((flag, part)) if flag.starts_with("--") => (flag, part),
        _ => ("", current),
    };
    let (next, joint) = match (joined.strip_prefix("--"), flag) {
        (Some(flag), _) => (value_of(flag), format!("{joined}=")),
        (None, Some(flag)) => (value_of(flag), String::new()),
        (None, None) if before.is_empty() => (first(&globals, form, part), String::new()),
        (None, None) => (next(globals.program, &before), String::new()),
    };
    let is_open =
        next.things.is_none() && !next.words.iter().any(|word| !word.text.starts_with('-'));
    let found = candidates(&globals, next, part);
    let directive = match is_open && found.is_empty() {
        true => FILES,
        false => NO_FILES,
    };
    ui::out(&lines(&found, form, &joint))?;
    if matches!(form, Form::Directed | Form::DirectedWords) {
        let (number, name) = directive;
        ui::line(&format!(":{number}"))?;
        ui::note(&format!("Completion ended with directive: {name}"));
    }
    Ok(0)
}

fn lines(found: &[Word], form: Form, joint: &str) -> String {
    let is_described = matches!(form, Form::Described | Form::Directed);
    let line = |Word { text, about }: &Word| match is_described && !about.is_empty() {
        true => format!("{joint}{text}\t{about}\n"),
        false => format!("{joint}{text}\n"),
    };
    found.iter().map(line).collect()
}

/// What may be the first word: commands, those of plugins, and the flags before any command.
fn first(globals: &Globals, form: Form, part: &str) -> Next {
    let mut next = next(globals.program, &[]);
    if part.starts_with('-') {
        let mut shown = Globals::new(globals.program);
        let mut set = FlagSet::default();
        shown.flags(&mut set);
        next.words = set
            .sorted()
            .into_iter()
            .map(|flag| Word {
                text: format!("--{}", flag.long),
                about: flag.usage.clone().into_owned(),
            })
            .collect();
        return next;
    }
    // To describe them is to ask each of them.
    let known: Vec<Word> = match form {
        Form::Words | Form::DirectedWords => Next::words(plugins::names(globals)).words,
        Form::Described | Form::Directed => plugins::all(globals)
            .into_iter()
            .filter_map(|described| {
                let metadata = described
                    .metadata
                    .ok()
                    .filter(|metadata| !metadata.hidden)?;
                Some(Word {
                    text: described.plugin.name,
                    about: metadata.short_description,
                })
            })
            .collect(),
    };
    for word in known {
        if !next.words.iter().any(|other| other.text == word.text) {
            next.words.push(word);
        }
    }
    next.words.sort_by(|a, b| a.text.cmp(&b.text));
    next
}

/// The long name of a global flag that wants a value.
fn global(word: &str) -> Option<&'static str> {
    let mut shown = Globals::new(Program::Hull);
    let mut set = FlagSet::default();
    shown.flags(&mut set);
    let flags = set.sorted();
    let short = || word.strip_prefix('-')?.chars().last();
    let found = flags.iter().find(|flag| match word.strip_prefix("--") {
        Some(long) => flag.long == long,
        None => flag.short.is_some() && flag.short == short(),
    })?;
    (!found.kind.is_empty()).then_some(found.long)
}

/// What a plugin says, if its command is what is typed: it answers in Docker's form.
fn of_plugin(globals: &Globals, form: Form, before: &[String], current: &str) -> Option<String> {
    let (name, rest) = before.split_first()?;
    let plugin = match plugins::overriding(globals, name) {
        Some(plugin) => plugin,
        None if super::dispatch::is_known(name) => return None,
        None => plugins::find(globals, name)?,
    };
    let verb = match form {
        Form::Described | Form::Directed => "__complete",
        Form::Words | Form::DirectedWords => "__completeNoDesc",
    };
    let told = plugins::completed(globals, &plugin, verb, rest, current)?;
    match form {
        Form::Directed | Form::DirectedWords => Some(told),
        Form::Words | Form::Described => {
            let words = told.lines().filter(|line| !line.starts_with(':'));
            Some(words.map(|line| format!("{line}\n")).collect())
        }
    }
}

/// Names first, then words; flags beside names only for who has begun one.
fn candidates(globals: &Globals, next: Next, part: &str) -> Vec<Word> {
    let (things, mut words) = (next.things, next.words);
    let found = match (things, part.split_once(':')) {
        (Some(_), _) if part.starts_with('-') => Vec::new(),
        (Some(Thing::NetworkMode), Some(("container", _))) => {
            let names = names::of(globals, Thing::Running).into_iter();
            names.map(|name| format!("container:{name}")).collect()
        }
        (Some(Thing::NetworkMode), None) => {
            let names = names::of(globals, Thing::Network).into_iter();
            names.chain(["container:".to_owned()]).collect()
        }
        (Some(thing), _) => names::of(globals, thing),
        (None, _) => Vec::new(),
    };
    if things.is_some() && !part.starts_with('-') {
        words.retain(|word| !word.text.starts_with("--"));
    }
    let mut found = Next::words(found).words;
    found.extend(words);
    found.retain(|word| word.text.starts_with(part));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(words: &[&str]) -> Next {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        next(Program::Hull, &words)
    }

    fn has(next: &Next, text: &str) -> bool {
        next.words.iter().any(|word| word.text == text)
    }

    #[test]
    fn commands_then_verbs_then_flags() {
        assert!(has(&complete(&[]), "run") && has(&complete(&[]), "compose"));
        assert!(has(&complete(&["container"]), "ls"));
        assert!(has(&complete(&["ps", "-a"]), "--filter"));
        assert!(has(&complete(&["container", "run"]), "--publish"));
        let docker = next(Program::Docker, &[]);
        assert!(!has(&docker, "explain") && !has(&docker, "compose"));
    }

    #[test]
    fn help_is_completed_with_what_there_is_help_on() {
        assert!(has(&complete(&["help"]), "ps") && has(&complete(&["help"]), "json"));
        assert!(has(&complete(&["help", "container"]), "ls"));
        assert!(complete(&["help", "ps"]).words.is_empty());
        assert!(
            guide::TOPICS
                .iter()
                .all(|(topic, _)| guide::topic(topic).is_some())
        );
    }

    #[test]
    fn global_flags_want_their_values() {
        assert_eq!(global("--context"), Some("context"));
        assert_eq!(global("-c"), Some("context"));
        assert_eq!(global("-Dc"), Some("context"));
        assert_eq!(global("--debug"), None);
    }

    #[test]
    fn each_form_has_its_lines() {
        let words = Next::described([("ls", "List"), ("x", "")]).words;
        assert_eq!(lines(&words, Form::Words, ""), "ls\nx\n");
        assert_eq!(
            lines(&words, Form::DirectedWords, "--a="),
            "--a=ls\n--a=x\n"
        );
        assert_eq!(lines(&words, Form::Directed, ""), "ls\tList\nx\n");
    }

    #[test]
    fn names_stand_where_the_usage_line_says() {
        let table = [
            (&["stop"][..], Some(Thing::Running)),
            (&["stop", "a"], Some(Thing::Running)),
            (&["stop", "-t"], None),
            (&["stop", "-t", "5"], Some(Thing::Running)),
            (&["start"], Some(Thing::Stopped)),
            (&["rm"], Some(Thing::Container)),
            (&["run", "--log-driver"], Some(Thing::LogDriver)),
            (&["run"], Some(Thing::Image)),
            (&["run", "--network"], Some(Thing::NetworkMode)),
            (&["network", "rm"], Some(Thing::OwnNetwork)),
            (&["run", "--name", "x"], Some(Thing::Image)),
            (&["run", "-it", "busybox"], None),
            (&["rmi"], Some(Thing::Image)),
            (&["volume", "rm"], Some(Thing::Volume)),
            (&["network", "connect"], Some(Thing::Network)),
            (&["network", "connect", "n"], Some(Thing::Container)),
            (&["context", "use"], Some(Thing::Context)),
            (&["exec", "c"], None),
        ];
        for (words, expected) in table {
            assert_eq!(complete(words).things, expected, "{words:?}");
        }
        assert_eq!(complete(&["run", "--restart"]).words[1].text, "always");
        assert!(complete(&["run", "-it", "busybox"]).words.is_empty());
    }
}
