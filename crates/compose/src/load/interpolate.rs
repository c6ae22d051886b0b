//! `$NAME` and `${NAME…}` in texts, replaced from the environment.
//!
//! `${N:-default}` `${N-default}` `${N:?error}` `${N?error}` `${N:+other}` `${N+other}`, nested as
//! deep as one likes (within reason), and `$$` for a dollar.

use std::collections::BTreeSet;

use crate::error::{LoadError, Result};
use crate::node::{Node, Value};

/// How deep replacements may lie in one another.
const DEPTH_MAX: usize = 32;
/// Bytes one text may grow to.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Where values come from, and which were asked for in vain.
pub(crate) struct Interpolation<'e> {
    pub(crate) lookup: &'e dyn Fn(&str) -> Option<String>,
    pub(crate) missing: BTreeSet<String>,
}

impl Interpolation<'_> {
    /// Replaces in all texts of a tree; keys stay as they are.
    pub(super) fn tree(&mut self, node: &mut Node) -> Result<()> {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => {
                let replaced = self.text(text).map_err(|problem| problem.at(node))?;
                node.value = Value::Text(replaced);
            }
            Value::List(items) => {
                for item in items {
                    self.tree(item)?;
                }
            }
            Value::Map(map) => {
                for entry in &mut map.0 {
                    self.tree(&mut entry.node)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Replaces in one text.
    pub(crate) fn text(&mut self, text: &str) -> std::result::Result<String, Problem> {
        self.expand(text, 0)
    }

    fn expand(&mut self, text: &str, depth: usize) -> std::result::Result<String, Problem> {
        if depth > DEPTH_MAX {
            return Err(Problem::Malformed(text.to_owned()));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let malformed = || Problem::Malformed(text.to_owned());
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = closing(inner).ok_or_else(malformed)?;
                let value = self.braced(&inner[..end], depth)?;
                out.push_str(&value);
                rest = &inner[end + 1..];
            } else {
                let end = name_end(after);
                if end == 0 {
                    return Err(malformed());
                }
                let value = self.value(&after[..end]);
                out.push_str(&value.unwrap_or_default());
                rest = &after[end..];
            }
            if out.len() > TEXT_BYTES_MAX {
                return Err(malformed());
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn braced(&mut self, inner: &str, depth: usize) -> std::result::Result<String, Problem> {
        let end = name_end(inner);
        let (name, rest) = inner.split_at(end);
        let malformed = || Problem::Malformed(format!("${{{inner}}}"));
        if name.is_empty() {
            return Err(malformed());
        }
        if rest.is_empty() {
            return Ok(self.value(name).unwrap_or_default());
        }
        let (ignores_empty, rest) = match rest.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let value = (self.lookup)(name).filter(|value| !(ignores_empty && value.is_empty()));
        let mut letters = rest.chars();
        let operator = letters.next().ok_or_else(malformed)?;
        let word = letters.as_str();
        match (operator, value) {
            ('-', Some(value)) | ('?', Some(value)) => Ok(value),
            ('-', None) => self.expand(word, depth + 1),
            ('?', None) => {
                let message = self.expand(word, depth + 1)?;
                Err(Problem::Required {
                    name: name.to_owned(),
                    message,
                })
            }
            ('+', Some(_)) => self.expand(word, depth + 1),
            ('+', None) => Ok(String::new()),
            _ => Err(malformed()),
        }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_none() {
            self.missing.insert(name.to_owned());
        }
        value
    }
}

/// What is wrong with a text.
#[derive(Debug, PartialEq)]
pub(crate) enum Problem {
    Malformed(String),
    Required { name: String, message: String },
}

impl Problem {
    fn at(self, node: &Node) -> LoadError {
        match self {
            Self::Malformed(text) => {
                LoadError::at(node, format!("`{text}` cannot be interpolated"))
                    .with_hint("write `$$` for a dollar that stays")
            }
            Self::Required { name, message } if message.is_empty() => LoadError::at(
                node,
                format!("the variable `{name}` is required, and not set"),
            ),
            Self::Required { name, message } => LoadError::at(
                node,
                format!("the variable `{name}` is required: {message}"),
            ),
        }
    }

    /// Without a place.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Malformed(text) => format!("`{text}` cannot be interpolated"),
            Self::Required { name, message } => {
                format!("the variable `{name}` is required: {message}")
            }
        }
    }
}

fn name_end(text: &str) -> usize {
    let is_part = |(at, c): (usize, char)| {
        c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
    };
    text.char_indices()
        .find(|pair| !is_part(*pair))
        .map_or(text.len(), |(at, _)| at)
}

/// Where the brace that is open closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        match letter {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        before = letter;
    }
    None
}

/// The variables a tree refers to, each with its default and whether it is required.
pub(crate) fn variables(node: &Node, found: &mut Vec<Variable>) {
    match &node.value {
        Value::Text(text) => variables_of(text, found, 0),
        Value::List(items) => items.iter().for_each(|item| variables(item, found)),
        Value::Map(map) => map.iter().for_each(|entry| variables(&entry.node, found)),
        _ => {}
    }
}

/// A variable that a file refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Whether the project cannot be loaded without it.
    pub required: bool,
    /// What it is if it is not set.
    pub default: String,
    /// What a text is if it is set.
    pub alternate: String,
}

fn variables_of(text: &str, found: &mut Vec<Variable>, depth: usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let inner = match after.strip_prefix('{') {
            Some(inner) => &inner[..closing(inner).unwrap_or(inner.len())],
            None => &after[..name_end(after)],
        };
        let (name, word) = inner.split_at(name_end(inner));
        if name.is_empty() || depth > DEPTH_MAX {
            continue;
        }
        let word = word.strip_prefix(':').unwrap_or(word);
        let (operator, word) = word.split_at(word.len().min(1));
        let mut variable = Variable {
            name: name.to_owned(),
            required: operator == "?",
            ..Variable::default()
        };
        match operator {
            "-" => variable.default = word.to_owned(),
            "+" => variable.alternate = word.to_owned(),
            _ => {}
        }
        found.push(variable);
        variables_of(word, found, depth + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> std::result::Result<String, Problem> {
        let lookup = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let mut interpolation = Interpolation {
            lookup: &lookup,
            missing: BTreeSet::new(),
        };
        interpolation.text(text)
    }

    #[test]
    fn every_form_of_a_variable() {
        for (text, value) in [
            ("$A-${A}", "one-one"),
            ("$$A $${A}", "$A ${A}"),
            ("${N:-x}${N-y}", "xy"),
            ("${EMPTY:-x}|${EMPTY-y}", "x|"),
            ("${A:+x}${N:+y}${EMPTY+z}${EMPTY:+w}", "xz"),
            ("${N:-${A}-${M:-deep}}", "one-deep"),
            ("${N:-a{b}c", "a{bc"),
            ("$N.", "."),
            ("${A:?no}", "one"),
        ] {
            assert_eq!(expand(text), Ok(value.to_owned()), "{text}");
        }
        assert_eq!(
            expand("${N:?set $A}"),
            Err(Problem::Required {
                name: "N".into(),
                message: "set one".into()
            })
        );
        for text in ["${", "$", "${A", "${}", "$ x", "${A!x}", "$1"] {
            assert!(matches!(expand(text), Err(Problem::Malformed(_))), "{text}");
        }
    }
}
