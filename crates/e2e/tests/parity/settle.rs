//! What may differ: ids and times, and the lines listed with a reason.

use std::collections::HashMap;

use regex::Regex;

/// A line whose answers differ on purpose.
pub(crate) struct Difference {
    pub(crate) line: &'static str,
    pub(crate) reason: &'static str,
}

/// All of them.
pub(crate) fn differences() -> Vec<Difference> {
    let rows = include_str!("differences.tsv").lines().skip(1);
    rows.map(|row| {
        let (line, reason) = row.split_once('\t').expect("a line and its reason");
        Difference { line, reason }
    })
    .collect()
}

/// Replaces what no two runs have in common.
pub(crate) struct Filter {
    patterns: Option<Patterns>,
    /// Ids in the order they were met; short ones are the beginning of long ones.
    ids: HashMap<String, usize>,
}

struct Patterns {
    id: Regex,
    time: Regex,
    ago: Regex,
    spaces_after: Regex,
}

impl Filter {
    /// For players that see different containers.
    pub(crate) fn new() -> Self {
        let regex = |text: &str| Regex::new(text).expect("the pattern is right");
        let span = r"(?:Less than a second|About an? (?:minute|hour)|\d+ (?:second|minute|hour)s?)";
        Self {
            patterns: Some(Patterns {
                id: regex(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b"),
                time: regex(
                    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| ?[+-]\d\d:?\d\d(?: UTC)?)?",
                ),
                ago: regex(&format!("(?:Up )?{span}(?: ago)?")),
                spaces_after: regex(r"(<ago>|<time>|CREATED|STATUS) {2,}"),
            }),
            ids: HashMap::new(),
        }
    }

    /// For players that see the same things.
    pub(crate) fn paths_only() -> Self {
        Self {
            patterns: None,
            ids: HashMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, text: &str) -> String {
        let Some(patterns) = &self.patterns else {
            return text.to_owned();
        };
        let ids = &mut self.ids;
        let text = patterns
            .id
            .replace_all(text, |found: &regex::Captures<'_>| {
                let short = found[0][..12].to_owned();
                let next = ids.len();
                format!(
                    "<id {}, {} digits>",
                    ids.entry(short).or_insert(next),
                    found[0].len()
                )
            });
        let text = patterns.time.replace_all(&text, "<time>");
        let text = patterns.ago.replace_all(&text, "<ago>");
        patterns
            .spaces_after
            .replace_all(&text, "$1  ")
            .into_owned()
    }
}
