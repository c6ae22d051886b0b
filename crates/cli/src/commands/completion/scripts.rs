//! The scripts for shells.
//!
//! They are short: they hand the words typed so far to the hidden `__words`, which gives a word a line.

use crate::commands::{About, Call, Command, Operands};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui;

/// Where the program's name stands in the scripts.
const PLACE: &str = "PROGRAM";

/// Of each shell: the names of the command, what it does in a line, its page, and the script.
const SHELLS: [(&[&str], &str, &str, &str); 4] = [
    (
        &["completion bash"],
        "Generate the autocompletion script for bash",
        "Generate the autocompletion script for the bash shell.\n\nFor this shell alone:  source <(hull completion bash)\nFor all that follow:  hull completion bash > ~/.local/share/bash-completion/completions/hull",
        BASH,
    ),
    (
        &["completion fish"],
        "Generate the autocompletion script for fish",
        "Generate the autocompletion script for the fish shell.\n\nFor this shell alone:  hull completion fish | source\nFor all that follow:  hull completion fish > ~/.config/fish/completions/hull.fish",
        FISH,
    ),
    (
        &["completion powershell"],
        "Generate the autocompletion script for powershell",
        "Generate the autocompletion script for PowerShell.\n\nFor this shell alone:  hull completion powershell | Out-String | Invoke-Expression\nFor all that follow, add that line to the file that $PROFILE names.",
        POWERSHELL,
    ),
    (
        &["completion zsh"],
        "Generate the autocompletion script for zsh",
        "Generate the autocompletion script for the zsh shell.\n\nFor this shell alone:  source <(hull completion zsh)\nFor all that follow:  hull completion zsh > \"${fpath[1]}/_hull\"",
        ZSH,
    ),
];

/// The script for the shell at a place of the list.
#[derive(Default)]
pub(crate) struct Script<const SHELL: usize> {
    no_descriptions: bool,
}

impl<const SHELL: usize> Command for Script<SHELL> {
    const ABOUT: About = About::new(SHELLS[SHELL].0, "[flags]", SHELLS[SHELL].1, Operands::None)
        .described(SHELLS[SHELL].2);

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "no-descriptions",
            "",
            "disable completion descriptions",
            &mut self.no_descriptions,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let words = match self.no_descriptions {
            true => "__words",
            false => "__words --described",
        };
        let script = SHELLS[SHELL].3.replace("WORDS", words);
        ui::out(&script.replace(PLACE, call.globals.program.name()))?;
        Ok(0)
    }
}

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
    done < <(PROGRAM __words "${typed[@]:1}" "$current" 2>/dev/null)
}
complete -o default -F _PROGRAM_complete PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
_PROGRAM() {
    local -a found open
    found=(${(f)"$(PROGRAM __words "${(@)words[2,CURRENT-1]}" "${words[CURRENT]}" 2>/dev/null)"})
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
    set -l found (PROGRAM WORDS (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"#;

const POWERSHELL: &str = r#"# completion of PROGRAM for PowerShell
Register-ArgumentCompleter -Native -CommandName PROGRAM -ScriptBlock {
    param($current, $line, $place)
    $typed = @($line.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $place -or ($_.Extent.EndOffset -eq $place -and "$_" -ne $current) } |
        ForEach-Object { "$_" })
    # What is empty would not reach the program.
    $last = if ("$current" -eq '') { '""' } else { $current }
    PROGRAM WORDS @typed $last 2>$null | ForEach-Object {
        $word, $about = $_ -split "`t", 2
        if (-not $about) { $about = $word }
        [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $about)
    }
}
"#;
