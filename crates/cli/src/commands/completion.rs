//! `completion`: scripts for shells, and the words they ask for.
//!
//! The scripts are short: they hand the words typed so far to the hidden `__complete`, which knows
//! every command and flag.

use super::table::{COMMANDS, GROUPS, Section, known_as, listed};
use super::{About, Call, Command, Operands};
use crate::context::Globals;
use crate::error::{Error, Result};
use crate::ui;

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
        ui::out(&script.replace("@", name))?;
        Ok(0)
    }
}

const BASH: &str = r#"# completion of @ for bash
_@_complete() {
    local cur="${COMP_WORDS[COMP_CWORD]}" words
    words="$(@ __complete "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)"
    if [ -n "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    fi
}
complete -o default -F _@_complete @
"#;

const ZSH: &str = r#"#compdef @
_@() {
    local -a candidates
    candidates=(${(f)"$(@ __complete "${words[@]:1:$((CURRENT-2))}" 2>/dev/null)"})
    if (( ${#candidates} )); then compadd -a candidates; else _files; fi
}
_@ "$@"
"#;

const FISH: &str = r#"# completion of @ for fish
complete -c @ -f -a '(@ __complete (commandline -opc)[2..] 2>/dev/null)'
"#;

/// Candidates for the word after `words`: commands, or flags and containers are the shell's guess.
pub(super) fn candidates(words: &[String]) -> Vec<String> {
    let plain: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|w| !w.starts_with('-'))
        .collect();
    let names = |group: &str| listed(group).into_iter().map(|(name, _)| name.to_owned());
    match plain[..] {
        [] => {
            let groups = GROUPS
                .iter()
                .filter(|group| group.section != Section::Hidden);
            names("")
                .chain(groups.map(|group| group.name.to_owned()))
                .collect()
        }
        [group] if GROUPS.iter().any(|known| known.name == group) => names(group).collect(),
        [first, ..] if !GROUPS.iter().any(|known| known.name == first) => flags(first),
        [group, verb, ..] => flags(&format!("{group} {verb}")),
        [_] => Vec::new(),
    }
}

fn flags(name: &str) -> Vec<String> {
    let found = COMMANDS
        .iter()
        .find(|entry| known_as(entry.about.names, name).is_some());
    let facts = found.map(|entry| (entry.flags)()).unwrap_or_default();
    facts
        .iter()
        .filter(|flag| !flag.hidden)
        .map(|flag| format!("--{}", flag.long))
        .collect()
}

/// Answers the scripts.
///
/// # Errors
/// When the output cannot be written.
pub(super) fn answer(_globals: &Globals, words: &[String]) -> Result<u8> {
    ui::out(
        &candidates(words)
            .iter()
            .map(|word| format!("{word}\n"))
            .collect::<String>(),
    )?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(words: &[&str]) -> Vec<String> {
        candidates(
            &words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn commands_then_verbs_then_flags() {
        assert!(complete(&[]).contains(&"run".to_owned()));
        assert!(complete(&["container"]).contains(&"ls".to_owned()));
        assert!(complete(&["ps", "-a"]).contains(&"--filter".to_owned()));
        assert!(complete(&["container", "run"]).contains(&"--publish".to_owned()));
    }
}
