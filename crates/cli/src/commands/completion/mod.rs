//! `completion`: the words that may come next, for shells.
//!
//! Two forms of the question are answered: `__words`, which our own scripts ask, and `__complete`, which the scripts ask
//! that Docker's command line prints: there, a last line says what the shell may add of its own. A daemon that does not
//! answer at once is not waited for.

pub(super) mod names;
pub(super) mod scripts;
mod values;

use super::Entry;
use super::guide;
use super::reference::Facts;
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

/// What Docker's scripts are told of what was listed: bits that are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Directive(u8);

impl Directive {
    /// Files are offered, should nothing listed fit.
    const FILES: Self = Self(0);
    /// The word goes on: no space follows.
    const OPEN: u8 = 2;
    /// Nothing but what was listed.
    const NO_FILES: Self = Self(4);
    /// Both: what was listed is all there is, and goes on.
    const KEYS: Self = Self(6);
    /// Directories are offered.
    const DIRECTORIES: Self = Self(16);

    /// As the last line, which is for whoever reads the output, tells it.
    fn names(self) -> String {
        let known = [
            (Self::OPEN, "ShellCompDirectiveNoSpace"),
            (Self::NO_FILES.0, "ShellCompDirectiveNoFileComp"),
            (Self::DIRECTORIES.0, "ShellCompDirectiveFilterDirs"),
        ];
        let set: Vec<&str> = known
            .iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .map(|(_, name)| *name)
            .collect();
        match set.is_empty() {
            true => "ShellCompDirectiveDefault".to_owned(),
            false => set.join(", "),
        }
    }
}

/// Commands whose operands are files here; of `build`, a directory.
const OF_FILES: [&str; 10] = [
    "container cp",
    "context import",
    "image import",
    "manifest annotate",
    "manifest create",
    "manifest inspect",
    "manifest push",
    "manifest rm",
    "volume cp",
    "volume import",
];

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
    /// What stands before each, as it was typed, and what follows a name.
    before: String,
    after: &'static str,
    /// The network whose containers are meant.
    network: Option<String>,
    directive: Directive,
}

impl Next {
    fn words(words: impl IntoIterator<Item = impl ToString>) -> Self {
        let word = |text: String| Word {
            text,
            about: String::new(),
        };
        Self {
            words: words
                .into_iter()
                .map(|text| word(text.to_string()))
                .collect(),
            things: None,
            before: String::new(),
            after: "",
            network: None,
            directive: Directive::NO_FILES,
        }
    }

    fn nothing() -> Self {
        Self::words([""; 0])
    }

    fn described<'w>(words: impl IntoIterator<Item = (&'w str, &'w str)>) -> Self {
        let word = |(text, about): (&str, &str)| Word {
            text: text.to_owned(),
            about: about.to_owned(),
        };
        Self {
            words: words.into_iter().map(word).collect(),
            ..Self::nothing()
        }
    }

    fn things(thing: Thing) -> Self {
        Self {
            things: Some(thing),
            ..Self::nothing()
        }
    }

    /// The same after something that was typed.
    fn after(mut self, before: &str) -> Self {
        before.clone_into(&mut self.before);
        self
    }

    /// The same, each followed by something, after which the word goes on.
    fn followed(mut self, after: &'static str) -> Self {
        self.after = after;
        self.open()
    }

    /// The same where the word goes on: as there are no files that fit it, they may be offered.
    fn open(self) -> Self {
        self.with(Directive(Directive::OPEN))
    }

    fn with(mut self, directive: Directive) -> Self {
        self.directive = directive;
        self
    }
}

/// Candidates for the word after `words`, which are the command's and follow the global flags.
fn next(program: Program, words: &[String], part: &str) -> Next {
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
    found.map_or(Next::nothing(), |entry| within(program, entry, rest, part))
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
        _ => Next::nothing(),
    }
}

/// What may follow a command and some of its flags and operands.
fn within(program: Program, entry: &Entry, words: &[String], part: &str) -> Next {
    let name = entry.about.names.first().copied().unwrap_or_default();
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
    let wanting = |word: &str| {
        let open = word.starts_with('-') && !word.contains('=');
        flag(word).filter(|flag| open && !flag.kind.is_empty())
    };
    let driver = given(words, "--log-driver");
    if let Some(flag) = words.last().and_then(|word| wanting(word)) {
        return values::of(name, flag.long, part, driver);
    }
    // A value may be joined to its flag.
    if let Some((joined, value)) = part.split_once('=')
        && let Some(flag) = flag(joined).filter(|_| joined.starts_with("--"))
    {
        return values::of(name, flag.long, value, driver);
    }
    let mut operands: Vec<&str> = Vec::new();
    let mut skips = false;
    for word in words {
        if skips {
            skips = false;
        } else if word.starts_with('-') && (entry.about.interspersed || operands.is_empty()) {
            skips = wanting(word).is_some();
        } else {
            operands.push(word);
        }
    }
    if part.starts_with('-') && (entry.about.interspersed || operands.is_empty()) {
        return flag_words(program, &flags, words, part);
    }
    operand(name, entry.about.usage, &operands, words)
}

/// What was given to a flag.
fn given<'w>(words: &'w [String], flag: &str) -> Option<&'w str> {
    words.iter().enumerate().find_map(|(at, word)| {
        let rest = word.strip_prefix(flag)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None => rest
                .is_empty()
                .then(|| words.get(at + 1).map(String::as_str))
                .flatten(),
        }
    })
}

/// The flags that may be given still, the short ones for who has typed no second dash.
fn flag_words(program: Program, flags: &[Facts], words: &[String], part: &str) -> Next {
    let repeats = |flag: &Facts| {
        matches!(
            flag.kind,
            "list" | "map" | "strings" | "stringArray" | "filter"
        )
    };
    let was_given = |flag: &Facts| {
        let long = format!("--{}", flag.long);
        words.iter().any(|word| {
            let word = word.split('=').next().unwrap_or(word);
            let letters = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            word == long
                || letters
                    .zip(flag.short)
                    .is_some_and(|(letters, short)| letters.contains(short))
        })
    };
    let shown = flags.iter().filter(|flag| {
        !flag.hidden
            && (!flag.is_own || program == Program::Hull)
            && (repeats(flag) || !was_given(flag))
    });
    let mut next = Next::nothing();
    for flag in shown {
        let about = plainly(flag.usage.lines().next().unwrap_or_default());
        next.words.push(Word {
            text: format!("--{}", flag.long),
            about: about.to_owned(),
        });
        if let Some(short) = flag.short.filter(|_| part == "-") {
            next.words.push(Word {
                text: format!("-{short}"),
                about: about.to_owned(),
            });
        }
    }
    next
}

/// What a flag is for, without the default that the help adds.
fn plainly(usage: &str) -> &str {
    match usage.rsplit_once(" (default ") {
        Some((text, default)) if !default.starts_with('0') && default.ends_with(')') => text,
        _ => usage,
    }
}

/// What an operand may be.
fn operand(name: &str, usage: &str, operands: &[&str], words: &[String]) -> Next {
    if OF_FILES.contains(&name) {
        let next = match name {
            "container cp" | "volume cp" => Next::things(thing_copied(name)).followed(":"),
            _ => Next::nothing(),
        };
        return next.with(Directive::FILES);
    }
    if name == "image build" {
        return Next::nothing().with(Directive::DIRECTORIES);
    }
    // What is made has no name yet.
    if name.ends_with(" create") && name != "container create" {
        return Next::nothing();
    }
    let found = named(usage, operands.len()).map(|thing| of_state(name, words, thing));
    let mut next = found.map_or(Next::nothing(), Next::things);
    if name == "network disconnect" && operands.len() == 1 {
        next.network = operands.first().map(|&network| network.to_owned());
    }
    next
}

/// Whose files are copied.
fn thing_copied(name: &str) -> Thing {
    match name {
        "volume cp" => Thing::Volume,
        _ => Thing::Container,
    }
}

/// What a usage line asks for at a place.
fn named(usage: &str, at: usize) -> Option<Thing> {
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
        ("TARGET_IMAGE", Thing::Image),
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
fn of_state(name: &str, words: &[String], thing: Thing) -> Thing {
    if name == "network rm" {
        return Thing::OwnNetwork;
    }
    if thing != Thing::Container {
        return thing;
    }
    let is_forced = || words.iter().any(|word| word == "--force" || word == "-f");
    match name.strip_prefix("container ").unwrap_or(name) {
        "stop" | "kill" | "exec" | "attach" | "pause" | "top" | "stats" | "port" => Thing::Running,
        "start" => Thing::Stopped,
        "rm" if !is_forced() => Thing::Stopped,
        "unpause" => Thing::Paused,
        _ => thing,
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
    let (mut next, joint, part) = asked(&globals, form, &before, current, flag);
    let found = candidates(&globals, &mut next, part);
    ui::out(&lines(&found, form, &joint))?;
    if matches!(form, Form::Directed | Form::DirectedWords) {
        ui::line(&format!(":{}", next.directive.0))?;
        let names = next.directive.names();
        ui::note(&format!("Completion ended with directive: {names}"));
    }
    Ok(0)
}

/// What may come next, what of the word that is being typed stays before it, and the rest of that word.
fn asked<'w>(
    globals: &Globals,
    form: Form,
    before: &[String],
    current: &'w str,
    flag: Option<&str>,
) -> (Next, String, &'w str) {
    // Docker's scripts put the flag before the value again themselves.
    let joint = |flag: &str| match form {
        Form::Words | Form::Described => format!("{flag}="),
        Form::Directed | Form::DirectedWords => String::new(),
    };
    let joined = current
        .split_once('=')
        .filter(|(flag, _)| flag.starts_with("--"));
    match (joined, flag) {
        (_, Some(flag)) => (values::of("", flag, current, None), String::new(), current),
        (Some((flag, part)), None) if before.is_empty() => {
            let next = values::of("", flag.trim_start_matches('-'), part, None);
            (next, joint(flag), part)
        }
        (Some((flag, part)), None) => {
            let next = next(globals.program, before, current);
            (next, joint(flag), part)
        }
        (None, None) if before.is_empty() => {
            (first(globals, form, current), String::new(), current)
        }
        (None, None) => {
            let next = next(globals.program, before, current);
            (next, String::new(), current)
        }
    }
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
    let mut next = next(globals.program, &[], part);
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

/// Names first, then words.
fn candidates(globals: &Globals, next: &mut Next, part: &str) -> Vec<Word> {
    // Nothing is asked where files come first, until something is typed.
    let names = match (next.things, &next.network, part.split_once(':')) {
        (Some(_), ..) if next.directive == Directive::FILES && part.is_empty() => Vec::new(),
        (Some(_), Some(network), _) => names::on(globals, network),
        (Some(Thing::NetworkMode), _, Some(("container", _))) => {
            let names = names::of(globals, Thing::Running).into_iter();
            names.map(|name| format!("container:{name}")).collect()
        }
        (Some(Thing::NetworkMode), ..) => {
            let mut names = names::of(globals, Thing::Network);
            if !globals.is_docker() {
                names.push("container:".to_owned());
            }
            names
        }
        (Some(thing), ..) => names::of(globals, thing),
        (None, ..) => Vec::new(),
    };
    let (before, after) = (&next.before, next.after);
    let mut found = Next::words(names.iter().map(|name| format!("{name}{after}"))).words;
    found.append(&mut next.words);
    if !before.is_empty() {
        for word in &mut found {
            word.text = format!("{before}{}", word.text);
        }
    }
    found.retain(|word| word.text.starts_with(part));
    // A name is followed by a path in it, not by the next word.
    if next.directive == Directive::FILES && !after.is_empty() && !found.is_empty() {
        next.directive = Directive(Directive::OPEN);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(words: &[&str]) -> Next {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        next(Program::Hull, &words, "")
    }

    fn has(next: &Next, text: &str) -> bool {
        next.words.iter().any(|word| word.text == text)
    }

    #[test]
    fn commands_then_verbs_then_flags() {
        assert!(has(&complete(&[]), "run") && has(&complete(&[]), "compose"));
        assert!(has(&complete(&["container"]), "ls"));
        let flags = |words: &[&str], part: &str| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            next(Program::Hull, &words, part)
        };
        assert!(has(&flags(&["ps", "-a"], "--"), "--filter"));
        assert!(!has(&flags(&["ps", "-a"], "--"), "--all"));
        assert!(!has(&flags(&["ps", "-a"], ""), "--filter"));
        assert!(has(&flags(&["container", "run"], "-"), "-p"));
        let docker = next(Program::Docker, &[], "");
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
    fn a_value_that_is_joined_to_its_flag_stands_alone_for_dockers_scripts() {
        let globals = Globals::new(Program::Docker);
        let ask = |form| asked(&globals, form, &["run".to_owned()], "--uts=h", None);
        let (next, joint, part) = ask(Form::Directed);
        assert_eq!((has(&next, "host"), &*joint, part), (true, "", "h"));
        assert_eq!(ask(Form::Words).1, "--uts=");
        // Files are offered where an operand or a value is one.
        let directive = |words: &[&str]| complete(words).directive;
        assert_eq!(directive(&["cp"]), Directive::FILES);
        assert_eq!(directive(&["build"]), Directive::DIRECTORIES);
        assert_eq!(directive(&["build", "-f"]), Directive::FILES);
        assert_eq!(directive(&["ps"]), Directive::NO_FILES);
    }

    #[test]
    fn names_stand_where_the_usage_line_says() {
        let table = [
            (&["stop"][..], Some(Thing::Running)),
            (&["stop", "a"], Some(Thing::Running)),
            (&["stop", "-t"], None),
            (&["stop", "-t", "5"], Some(Thing::Running)),
            (&["start"], Some(Thing::Stopped)),
            (&["rm"], Some(Thing::Stopped)),
            (&["rm", "-f"], Some(Thing::Container)),
            (&["tag", "a"], Some(Thing::Image)),
            (&["network", "create"], None),
            (&["cp"], Some(Thing::Container)),
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
        let leaves = complete(&["network", "disconnect", "n"]);
        assert_eq!(leaves.network.as_deref(), Some("n"));
        assert!(complete(&["run", "-it", "busybox"]).words.is_empty());
    }
}
