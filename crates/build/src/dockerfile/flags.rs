//! Flags of an instruction: which it knows, and what they say.

use crate::error::SyntaxError;

/// The flags of one instruction.
pub(super) struct Flags<'a> {
    given: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Flags<'a> {
    /// Takes the flags apart; one that `known` does not list is an error. `repeatable` ones may be
    /// given more than once.
    pub(super) fn read(
        flags: &'a [String],
        known: &[&str],
        repeatable: &[&str],
    ) -> Result<Self, SyntaxError> {
        let mut given: Vec<(&str, Option<&str>)> = Vec::new();
        for flag in flags {
            let text = &flag[2..];
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
            let is_repeatable = repeatable.contains(&name);
            if !known.contains(&name) && !is_repeatable {
                let all = known.iter().chain(repeatable).copied();
                return Err(SyntaxError::UnknownFlag {
                    flag: flag.split('=').next().unwrap_or_default().to_owned(),
                    suggestion: closest(name, all).map(|near| format!("--{near}")),
                });
            }
            if !is_repeatable && given.iter().any(|(other, _)| *other == name) {
                return Err(SyntaxError::FlagTwice(name.to_owned()));
            }
            given.push((name, value));
        }
        Ok(Self { given })
    }

    /// The value of a flag that must have one.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, SyntaxError> {
        match self.given.iter().find(|(known, _)| *known == name) {
            None => Ok(None),
            Some((_, Some(value))) => Ok(Some((*value).to_owned())),
            Some((_, None)) => Err(SyntaxError::FlagValue(name.to_owned())),
        }
    }

    /// All values of a flag that may be repeated.
    pub(super) fn all(&self, name: &str) -> Result<Vec<String>, SyntaxError> {
        let given = self.given.iter().filter(|(known, _)| *known == name);
        given
            .map(|(_, value)| match value {
                Some(value) => Ok((*value).to_owned()),
                None => Err(SyntaxError::FlagValue(name.to_owned())),
            })
            .collect()
    }

    /// A switch: alone, or with a boolean.
    pub(super) fn switch(&self, name: &str) -> Result<Option<bool>, SyntaxError> {
        match self.given.iter().find(|(known, _)| *known == name) {
            None => Ok(None),
            Some((_, None)) => Ok(Some(true)),
            Some((_, Some(value))) => {
                boolean(value)
                    .map(Some)
                    .ok_or_else(|| SyntaxError::FlagBoolean {
                        flag: name.to_owned(),
                        value: (*value).to_owned(),
                    })
            }
        }
    }
}

/// A boolean of the language: `true` and `false` alone.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Some(true),
        "false" | "0" | "f" => Some(false),
        _ => None,
    }
}

/// The known word that is nearest to a mistyped one.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match word.chars().count() {
        0..=2 => 1,
        3..=6 => 2,
        _ => 3,
    };
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The known name that is nearest to one that nobody declared: two letters of difference at most.
pub(crate) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| (1..=2).contains(distance))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to change, add, leave out or swap.
fn distance(one: &str, two: &str) -> usize {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=two.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=two.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != two[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == two[j - 2] && one[i - 2] == two[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][two.len()]
}
