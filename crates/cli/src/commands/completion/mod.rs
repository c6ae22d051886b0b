//! `completion`: scripts for shells, and the words they ask for.
//!
//! The scripts are short: they hand the words typed so far to the hidden `__complete`, which knows every command and flag,
//! and asks the daemon for names. A daemon that does not answer at once is not waited for.

pub(super) mod names;

use super::table::{COMMANDS, GROUPS, Section, group_called, known_as, listed};
use super::{About, Call, Command, Entry, Operands};
use crate::context::{Globals, Program};
use crate::error::{Error, Result};
use crate::ui;

use names::Thing;

#[derive(Default)]
pub(crate) struct Completion;

impl Command for Completion {
    const ABOUT: About = About::new(
        &["completion"],
        "[bash|zsh|fish]",
        "Generate the autocompletion script for the specified shell",
        Operands::Exactly(1),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let name = call.globals.program.name();
        let script = match call.operand(0) {
            "bash" => BASH,
            "zsh" => ZSH,
            "fish" => FISH,
            other => {
                return Err(Error::new(format!(
                    "no completion for {other:?}: there is bash, zsh and fish"
                )));
            }
        };
        ui::out(&script.replace(PLACE, name))?;
        Ok(0)
    }
}

/// Where the program's name stands in the scripts.
const PLACE: &str = "PROGRAM";

const BASH: &str = r#"# completion of PROGRAM for bash
_PROGRAM_complete() {
    # The shell takes words apart at `:` and `=`; here they are whole, and only what the shell replaces is given back.
    local line="${COMP_LINE:0:COMP_POINT}" current="" word
    local -a typed=()
    read -r -a typed <<< "$line"
    case "$line" in *[[:space:]]) ;; *) current="${typed[${#typed[@]}-1]}"; unset "typed[${#typed[@]}-1]" ;; esac
    COMPREPLY=()
    while IFS= read -r word; do
        [[ "$word" == "$current"* ]] || continue
        [[ "$word" == *[=:] ]] && compopt -o nospace
        if [[ "$COMP_WORDBREAKS" == *:* && "$current" == *:* ]]; then
            word="${word#"${current%"${current##*:}"}"}"
        elif [[ "$COMP_WORDBREAKS" == *=* && "$current" == *=* ]]; then
            word="${word#"${current%"${current##*=}"}"}"
        fi
        COMPREPLY+=("$word")
    done < <(PROGRAM __complete "${typed[@]:1}" "$current" 2>/dev/null)
}
complete -o default -F _PROGRAM_complete PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
_PROGRAM() {
    local -a found open
    found=(${(f)"$(PROGRAM __complete "${(@)words[2,CURRENT-1]}" "${words[CURRENT]}" 2>/dev/null)"})
    open=(${(M)found:#*[=:]})
    found=(${found:#*[=:]})
    if (( ${#found} + ${#open} == 0 )); then _files; return; fi
    (( ${#found} )) && compadd -- "${found[@]}"
    (( ${#open} )) && compadd -S '' -- "${open[@]}"
}
if [ "$funcstack[1]" = "_PROGRAM" ]; then _PROGRAM "$@"; else compdef _PROGRAM PROGRAM; fi
"#;

const FISH: &str = r#"# completion of PROGRAM for fish
function __PROGRAM_complete
    set -l found (PROGRAM __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"#;

/// What may come next.
#[derive(Debug, PartialEq)]
struct Next {
    words: Vec<String>,
    /// Names the daemon knows.
    things: Option<Thing>,
}

impl Next {
    fn words(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
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
fn next(words: &[String]) -> Next {
    let Some((first, rest)) = words.split_first() else {
        let groups = GROUPS
            .iter()
            .filter(|group| group.section != Section::Hidden);
        let names = listed(Program::Hull, "").into_iter().map(|(name, _)| name);
        return Next::words(names.chain(groups.map(|group| group.name)));
    };
    let mut name = first.clone();
    let mut rest = rest;
    while group_called(&name).is_some() {
        let Some((word, after)) = rest.split_first() else {
            return Next::words(
                listed(Program::Hull, &name)
                    .into_iter()
                    .map(|(name, _)| name),
            );
        };
        name = format!("{name} {word}");
        rest = after;
    }
    let found = COMMANDS
        .iter()
        .find(|entry| known_as(entry.about.names, &name).is_some());
    found.map_or(Next::words([""; 0]), |entry| within(entry, rest))
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
        next.words
            .extend(shown.map(|flag| format!("--{}", flag.long)));
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

/// Of containers, those the command can do something to.
fn of_state(entry: &Entry, thing: Thing) -> Thing {
    if thing != Thing::Container {
        return thing;
    }
    let name = entry.about.names.first().copied().unwrap_or_default();
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
        "network" | "net" => Next::things(Thing::Network),
        "volumes-from" | "like" | "link" => Next::things(Thing::Container),
        "volume" => Next::things(Thing::Volume),
        "log-driver" => Next::things(Thing::LogDriver),
        "runtime" => Next::things(Thing::Runtime),
        "image" => Next::things(Thing::Image),
        "context" | "from" => Next::things(Thing::Context),
        "restart" => Next::words(["no", "always", "unless-stopped", "on-failure"]),
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

/// Answers the scripts: `words` are those before the cursor, the last of them the one that is being typed.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn answer(globals: Globals, words: &[String]) -> Result<u8> {
    let (current, before) = match words.split_last() {
        Some((current, before)) => (current.as_str(), before),
        None => ("", words),
    };
    // The global flags that were typed come with the words.
    let typed = Globals::read(globals.program, before);
    let (globals, before) = typed.unwrap_or((globals, Vec::new()));
    // A value may be joined to its flag.
    let (joined, part) = match current.split_once('=') {
        Some((flag, part)) if flag.starts_with("--") => (flag, part),
        _ => ("", current),
    };
    let (next, joint) = match joined.strip_prefix("--") {
        Some(flag) => (value_of(flag), format!("{joined}=")),
        None => (next(&before), String::new()),
    };
    let found = candidates(&globals, next, part);
    let lines: Vec<String> = found
        .iter()
        .map(|word| format!("{joint}{word}\n"))
        .collect();
    ui::out(&lines.concat())?;
    Ok(0)
}

/// Names first, then words; flags beside names only for who has begun one.
fn candidates(globals: &Globals, next: Next, part: &str) -> Vec<String> {
    let (things, mut words) = (next.things, next.words);
    let mut found = match (things, part.split_once(':')) {
        (Some(_), _) if part.starts_with('-') => Vec::new(),
        (Some(Thing::Network), Some(("container", _))) => {
            let names = names::of(globals, Thing::Running).into_iter();
            names.map(|name| format!("container:{name}")).collect()
        }
        (Some(Thing::Network), None) => {
            let names = names::of(globals, Thing::Network).into_iter();
            names.chain(["container:".to_owned()]).collect()
        }
        (Some(thing), _) => names::of(globals, thing),
        (None, _) => Vec::new(),
    };
    if !found.is_empty() {
        words.retain(|word| !word.starts_with("--"));
    }
    found.extend(words);
    found.retain(|word| word.starts_with(part));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(words: &[&str]) -> Next {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        next(&words)
    }

    #[test]
    fn commands_then_verbs_then_flags() {
        assert!(complete(&[]).words.contains(&"run".to_owned()));
        assert!(complete(&["container"]).words.contains(&"ls".to_owned()));
        assert!(
            complete(&["ps", "-a"])
                .words
                .contains(&"--filter".to_owned())
        );
        assert!(
            complete(&["container", "run"])
                .words
                .contains(&"--publish".to_owned())
        );
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
            (&["run", "--network"], Some(Thing::Network)),
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
        assert_eq!(complete(&["run", "--restart"]).words[1], "always");
        assert!(complete(&["run", "-it", "busybox"]).words.is_empty());
    }
}
