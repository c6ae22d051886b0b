//! `--json`, on each command that has a `--format`: what programs should read. `help json` describes it.

use super::Command;
use crate::flags::FlagSet;
use crate::format::output::JSON_ARRAY;

/// Commands that print one array of rows; others print documents, or lines as they come.
const LISTS: [&str; 6] = ["ls", "history", "search", "df", "images", "ps"];

/// Adds the flag, where there is a format.
pub(super) fn offer<'a>(set: &mut FlagSet<'a>, wanted: &'a mut bool) {
    if set.has("format") && !set.has("json") {
        set.own(
            "json",
            "",
            "Print as JSON, for programs (see 'hull help json')",
            wanted,
        );
    }
}

/// The command line with what the flag stands for.
pub(super) fn spelled_out<C: Command>(arguments: &[String]) -> Vec<String> {
    let mut command = C::default();
    let mut set = FlagSet::default();
    command.flags(&mut set);
    let name = C::ABOUT.names.first().copied().unwrap_or_default();
    let is_list = LISTS.contains(&name.rsplit(' ').next().unwrap_or_default());
    let mut words = vec![format!(
        "--format={}",
        if is_list { JSON_ARRAY } else { "json" }
    )];
    if set.has("no-trunc") {
        words.push("--no-trunc".to_owned());
    }
    let given = |word: &&String| *word != "--json" && *word != "--json=true";
    words.extend(arguments.iter().filter(given).cloned());
    words
}
