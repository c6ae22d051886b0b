//! Files of variables: `.env`, `env_file`, `label_file`.
//!
//! `KEY=value`, `export KEY=value`, `KEY: value`, quotes of both kinds over several lines, comments.
//! A key alone stands for the variable of that name outside.

use std::collections::{BTreeMap, BTreeSet};

use super::interpolate::Interpolation;
use crate::error::{LoadError, Result};
use crate::node::Place;

/// A file's variables in its order; nothing for a key that stands alone.
pub(crate) type Variables = Vec<(String, Option<String>)>;

/// Reads a file's text. `lookup` gives the variables from outside the file.
///
/// # Errors
/// A line that is none of the forms, with its number.
pub(crate) fn parse(
    file: &str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Variables> {
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n");
    let mut reader = Reader {
        file,
        rest: &text,
        line: 1,
        known: BTreeMap::new(),
        lookup,
    };
    let mut variables = Variables::new();
    while let Some((key, value)) = reader.variable()? {
        if let Some(value) = &value {
            reader.known.insert(key.clone(), value.clone());
        }
        match variables.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => variables.push((key, value)),
        }
    }
    Ok(variables)
}

/// Reads a file in which nothing but the first `=` of a line has a meaning.
pub(crate) fn parse_raw(text: &str) -> Variables {
    let lines = text.lines().map(|line| line.trim_end_matches('\r'));
    lines
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|line| match line.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), Some(value.to_owned())),
            None => (line.trim().to_owned(), None),
        })
        .collect()
}

struct Reader<'t> {
    file: &'t str,
    rest: &'t str,
    line: usize,
    known: BTreeMap<String, String>,
    lookup: &'t dyn Fn(&str) -> Option<String>,
}

impl<'t> Reader<'t> {
    fn variable(&mut self) -> Result<Option<(String, Option<String>)>> {
        loop {
            self.skip_blank();
            match self.rest.chars().next() {
                None => return Ok(None),
                Some('#') => {
                    self.take_line();
                }
                Some(_) => break,
            }
        }
        if let Some(rest) = self.rest.strip_prefix("export ") {
            self.rest = rest.trim_start_matches([' ', '\t']);
        }
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let key = self.rest[..end].trim();
        if key.is_empty() || key.contains([' ', '\t', '"', '\'']) {
            let key = key.to_owned();
            return Err(self.wrong(&format!("`{key}` is no name of a variable")));
        }
        let key = key.to_owned();
        let alone = !self.rest[end..].starts_with(['=', ':']);
        self.rest = &self.rest[end..];
        if alone {
            return Ok(Some((key.clone(), (self.lookup)(&key))));
        }
        self.rest = self.rest[1..].trim_start_matches([' ', '\t']);
        let value = self.value()?;
        Ok(Some((key, Some(value))))
    }

    fn value(&mut self) -> Result<String> {
        match self.rest.chars().next() {
            Some('\'') => {
                let raw = self.quoted('\'')?;
                Ok(raw.replace("\\'", "'"))
            }
            Some('"') => {
                let raw = self.quoted('"')?;
                let unescaped = unescape(raw);
                self.expand(&unescaped)
            }
            _ => {
                let line = self.take_line();
                let value = without_comment(line).trim_end();
                self.expand(value)
            }
        }
    }

    /// What stands between quotes, which may be on several lines.
    fn quoted(&mut self, quote: char) -> Result<&'t str> {
        let inner = &self.rest[1..];
        let mut escaped = false;
        let end = inner.char_indices().find_map(|(at, letter)| {
            let ends = letter == quote && !escaped;
            escaped = letter == '\\' && !escaped;
            ends.then_some(at)
        });
        let Some(end) = end else {
            return Err(self.wrong("a quote is never closed"));
        };
        let raw = &inner[..end];
        self.line += raw.matches('\n').count();
        self.rest = &inner[end + 1..];
        self.take_line();
        Ok(raw)
    }

    fn expand(&self, text: &str) -> Result<String> {
        let lookup = |name: &str| (self.lookup)(name).or_else(|| self.known.get(name).cloned());
        let mut interpolation = Interpolation {
            lookup: &lookup,
            missing: BTreeSet::new(),
        };
        interpolation
            .text(text)
            .map_err(|problem| self.wrong(&problem.text()))
    }

    fn skip_blank(&mut self) {
        let trimmed = self.rest.trim_start();
        let skipped = &self.rest[..self.rest.len() - trimmed.len()];
        self.line += skipped.matches('\n').count();
        self.rest = trimmed;
    }

    /// The rest of the line; the next one begins afterwards.
    fn take_line(&mut self) -> &'t str {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = &self.rest[end..];
        line
    }

    fn wrong(&self, message: &str) -> LoadError {
        let place = Place {
            file: self.file.into(),
            line: self.line,
            column: 1,
        };
        LoadError::written(&place, message)
    }
}

/// A `#` after a blank begins a comment.
fn without_comment(line: &str) -> &str {
    if line.starts_with('#') {
        return "";
    }
    [" #", "\t#"]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min()
        .map_or(line, |at| &line[..at])
}

fn unescape(raw: &str) -> String {
    let mut out = String::new();
    let mut letters = raw.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(other @ ('"' | '\\' | '\'')) => out.push(other),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_line() {
        let text = "A=1\n# c\nexport B=two # c\nC='raw $A # x'\nD=\"$A\\n\\$A\"\nE=\"a\nb\" # c\nF: y\nHOME\nG=\nH=a#b\nI=${NO:-d}\n";
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let variables = parse("x.env", text, &lookup).unwrap();
        let shown: Vec<String> = variables
            .iter()
            .map(|(key, value)| format!("{key}={}", value.clone().unwrap_or_else(|| "none".into())))
            .collect();
        assert_eq!(
            shown,
            [
                "A=1",
                "B=two",
                "C=raw $A # x",
                "D=1\n$A",
                "E=a\nb",
                "F=y",
                "HOME=/root",
                "G=",
                "H=a#b",
                "I=d"
            ]
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        let none = |_: &str| None;
        let error = parse("x.env", "A=1\n\nB=\"open\n", &none).unwrap_err();
        assert_eq!(error.to_string(), "x.env:3:1: a quote is never closed");
        let error = parse("x.env", "A B=1", &none).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.env:1:1: `A B` is no name of a variable"
        );
    }
}
