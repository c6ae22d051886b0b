//! Substitutes variables, as a shell would. Pure.
//!
//! `$name`, `${name}`, `${name:-word}` and its relatives, quotes and escapes. What has no value
//! becomes empty and is remembered, so that the linter can tell.

use std::collections::BTreeSet;

/// A text whose variables cannot be substituted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {problem}")]
pub struct ExpandError {
    /// The text.
    pub word: String,
    /// What is wrong.
    pub problem: String,
}

/// Gives names their values.
pub trait Variables {
    /// The value of a name.
    fn value(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Variables for F {
    fn value(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Substitutes.
pub struct Expander<'a> {
    /// `\` or `` ` ``.
    pub escape: char,
    /// Where values come from.
    pub variables: &'a dyn Variables,
}

/// A text with its variables substituted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Names without a value.
    pub unset: BTreeSet<String>,
}

/// Substitution makes a text longer by so many bytes at most: a few lines that double a variable
/// would make it as long as memory is large.
const GROWTH_BYTES_MAX: usize = 1 << 20;

/// The longest value that is compared with a pattern that has `*`: it takes the square of it.
const PATTERN_LETTERS_MAX: usize = 4096;

/// What escapes a letter of a pattern, whatever the file's own escape is.
const ESCAPE: char = '\\';

/// Nested `${a:-${b}}` deeper than this is nobody's intent.
const DEPTH_MAX: usize = 64;

impl Expander<'_> {
    /// Substitutes, and resolves quotes.
    pub fn word(&self, text: &str) -> Result<Expanded, ExpandError> {
        self.run(text, true)
    }

    /// Substitutes in the body of a heredoc: quotes are text.
    pub fn body(&self, text: &str) -> Result<Expanded, ExpandError> {
        self.run(text, false)
    }

    /// Substitutes and divides the outcome into words at blanks outside of quotes.
    pub fn words(&self, text: &str) -> Result<Vec<String>, ExpandError> {
        let mut words = Vec::new();
        for word in crate::dockerfile::quoted_words(text, self.escape) {
            let is_quoted = word.contains(['"', '\'']);
            let text = self.word(&word)?.text;
            if is_quoted {
                words.push(text);
            } else {
                words.extend(text.split_whitespace().map(str::to_owned));
            }
        }
        Ok(words)
    }

    fn run(&self, text: &str, quotes: bool) -> Result<Expanded, ExpandError> {
        let mut cursor = Cursor {
            letters: text.chars().collect(),
            at: 0,
            depth: 0,
            expander: self,
            unset: BTreeSet::new(),
            quotes,
            raw: false,
        };
        match cursor.until(None) {
            Ok(text) => Ok(Expanded {
                text,
                unset: cursor.unset,
            }),
            Err(problem) => Err(ExpandError {
                word: text.to_owned(),
                problem,
            }),
        }
    }
}

struct Cursor<'a> {
    letters: Vec<char>,
    at: usize,
    depth: usize,
    expander: &'a Expander<'a>,
    unset: BTreeSet<String>,
    quotes: bool,
    /// In a pattern: what is escaped there is not what it would mean otherwise.
    raw: bool,
}

type Text = Result<String, String>;

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(letter)
    }

    /// Up to `stop`, which is taken, or to the end.
    fn until(&mut self, stop: Option<char>) -> Text {
        let mut text = String::new();
        while let Some(letter) = self.next() {
            match letter {
                _ if Some(letter) == stop => return Ok(text),
                '\'' if self.quotes => text.push_str(&self.single()?),
                '"' if self.quotes => {
                    let value = self.double()?;
                    self.add(&mut text, &value)?;
                }
                '$' => {
                    let value = self.dollar()?;
                    self.add(&mut text, &value)?;
                }
                _ if letter == self.expander.escape && self.raw => {
                    text.push(ESCAPE);
                    text.extend(self.next());
                }
                _ if letter == self.expander.escape => match self.next() {
                    None => text.push(letter),
                    // In a heredoc only what would mean something is escaped.
                    Some(next) if !self.quotes && next != '$' && next != letter => {
                        text.push(letter);
                        text.push(next);
                    }
                    Some(next) => text.push(next),
                },
                _ => text.push(letter),
            }
        }
        match stop {
            Some(stop) => Err(format!("syntax error: missing '{stop}'")),
            None => Ok(text),
        }
    }

    /// A pattern, up to `stop`.
    fn pattern(&mut self, stop: char) -> Result<Vec<Token>, String> {
        let before = std::mem::replace(&mut self.raw, true);
        let text = self.until(Some(stop));
        self.raw = before;
        Ok(tokens(&text?))
    }

    /// A text that is no pattern, up to `stop`.
    fn plain(&mut self, stop: char) -> Text {
        let before = std::mem::replace(&mut self.raw, false);
        let text = self.until(Some(stop));
        self.raw = before;
        text
    }

    /// Adds what was substituted.
    fn add(&self, text: &mut String, value: &str) -> Result<(), String> {
        let most = self.letters.len().saturating_mul(4) + GROWTH_BYTES_MAX;
        if text.len() + value.len() > most {
            return Err("the text becomes too long".to_owned());
        }
        text.push_str(value);
        Ok(())
    }

    fn single(&mut self) -> Text {
        let mut text = String::new();
        while let Some(letter) = self.next() {
            if letter == '\'' {
                return Ok(text);
            }
            text.push(letter);
        }
        Err("unexpected end of statement while looking for matching single-quote".to_owned())
    }

    fn double(&mut self) -> Text {
        let mut text = String::new();
        while let Some(letter) = self.next() {
            match letter {
                '"' => return Ok(text),
                '$' => {
                    let value = self.dollar()?;
                    self.add(&mut text, &value)?;
                }
                _ if letter == self.expander.escape && self.raw => {
                    // Between quotes an escape escapes these alone, and is a letter otherwise.
                    text.push(ESCAPE);
                    match self.peek() {
                        Some(next) if matches!(next, '"' | '$') || next == letter => {
                            text.extend(self.next());
                        }
                        _ => text.push(ESCAPE),
                    }
                }
                _ if letter == self.expander.escape => match self.next() {
                    Some(next) if matches!(next, '"' | '$') || next == letter => text.push(next),
                    Some(next) => {
                        text.push(letter);
                        text.push(next);
                    }
                    None => break,
                },
                _ => text.push(letter),
            }
        }
        Err("unexpected end of statement while looking for matching double-quote".to_owned())
    }

    fn dollar(&mut self) -> Text {
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.value_or_empty(&name));
        }
        self.at += 1;
        if self.depth >= DEPTH_MAX {
            return Err("syntax error: substitutions are nested too deeply".to_owned());
        }
        self.depth += 1;
        let value = self.braces();
        self.depth -= 1;
        value
    }

    fn name(&mut self) -> String {
        let is_first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
        let mut name = String::new();
        match self.peek() {
            Some(letter) if is_first(letter) => {
                while let Some(letter) = self
                    .peek()
                    .filter(|letter| is_first(*letter) || letter.is_ascii_digit())
                {
                    name.push(letter);
                    self.at += 1;
                }
            }
            Some(letter) if letter.is_ascii_digit() => {
                while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
                    name.push(digit);
                    self.at += 1;
                }
            }
            Some(letter) if "@*#!?-$".contains(letter) => {
                name.push(letter);
                self.at += 1;
            }
            _ => {}
        }
        name
    }

    fn value(&self, name: &str) -> Option<String> {
        self.expander.variables.value(name)
    }

    fn value_or_empty(&mut self, name: &str) -> String {
        match self.value(name) {
            Some(value) => value,
            None => {
                self.unset.insert(name.to_owned());
                String::new()
            }
        }
    }

    fn braces(&mut self) -> Text {
        let name = self.name();
        let Some(modifier) = self.next() else {
            return Err("syntax error: missing '}'".to_owned());
        };
        if name.is_empty() {
            return Err("syntax error: bad substitution".to_owned());
        }
        match modifier {
            '}' => Ok(self.value_or_empty(&name)),
            ':' => match self.next() {
                Some(kind @ ('+' | '-' | '?')) => self.conditional(&name, kind, true),
                Some(other) => Err(format!("unsupported modifier (:{other}) in substitution")),
                None => Err("syntax error: missing modifier in substitution".to_owned()),
            },
            '+' | '-' | '?' => self.conditional(&name, modifier, false),
            '#' | '%' => self.trim(&name, modifier),
            '/' => self.replace(&name),
            other => Err(format!("unsupported modifier ({other}) in substitution")),
        }
    }

    fn conditional(&mut self, name: &str, kind: char, empty_counts: bool) -> Text {
        // Names without a value in a word that is not used are nobody's mistake.
        let before = self.unset.clone();
        let word = self.plain('}')?;
        let value = self.value(name);
        let is_set = value
            .as_ref()
            .is_some_and(|value| !(empty_counts && value.is_empty()));
        match (kind, is_set) {
            ('-', true) => {
                self.unset = before;
                Ok(value.unwrap_or_default())
            }
            ('-', false) | ('+', true) => Ok(word),
            ('+', false) => {
                self.unset = before;
                Ok(String::new())
            }
            (_, true) => Ok(value.unwrap_or_default()),
            (_, false) => {
                let missing = if value.is_some() {
                    "is not allowed to be empty"
                } else {
                    "is not allowed to be unset"
                };
                let message = if word.is_empty() {
                    missing.to_owned()
                } else {
                    word
                };
                Err(format!("{name}: {message}"))
            }
        }
    }

    fn trim(&mut self, name: &str, side: char) -> Text {
        let longest = self.peek() == Some(side);
        self.at += usize::from(longest);
        let pattern = self.pattern('}')?;
        let value: Vec<char> = self.value_or_empty(name).chars().collect();
        check_pattern(&pattern, &value)?;
        let cuts: Vec<usize> = match (side, longest) {
            ('#', false) | ('%', true) => (0..=value.len()).collect(),
            _ => (0..=value.len()).rev().collect(),
        };
        for cut in cuts {
            let (head, tail) = value.split_at(cut);
            if side == '#' && fits(&pattern, head) {
                return Ok(tail.iter().collect());
            }
            if side == '%' && fits(&pattern, tail) {
                return Ok(head.iter().collect());
            }
        }
        Ok(value.into_iter().collect())
    }

    fn replace(&mut self, name: &str) -> Text {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let pattern = self.pattern('/')?;
        let replacement = self.plain('}')?;
        let value: Vec<char> = self.value_or_empty(name).chars().collect();
        check_pattern(&pattern, &value)?;
        // Without `*`, only as many letters fit as the pattern has.
        let has_star = pattern.contains(&Token::Any);
        let mut text = String::new();
        let mut at = 0;
        while at < value.len() {
            let (least, most) = match has_star {
                true => (at + 1, value.len()),
                false => (at + pattern.len(), value.len().min(at + pattern.len())),
            };
            let found = (least..=most)
                .rev()
                .find(|end| !pattern.is_empty() && fits(&pattern, &value[at..*end]));
            let Some(end) = found else {
                text.push(value[at]);
                at += 1;
                continue;
            };
            self.add(&mut text, &replacement)?;
            at = end;
            if !all {
                break;
            }
        }
        text.extend(&value[at..]);
        Ok(text)
    }
}

/// What a pattern is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`: any letters.
    Any,
    /// `?`: any letter.
    One,
    Letter(char),
}

/// Takes a pattern apart. What is escaped is a letter.
fn tokens(pattern: &str) -> Vec<Token> {
    let mut letters = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(letter) = letters.next() {
        tokens.push(match letter {
            '*' => Token::Any,
            '?' => Token::One,
            ESCAPE => Token::Letter(letters.next().unwrap_or(ESCAPE)),
            letter => Token::Letter(letter),
        });
    }
    tokens
}

fn check_pattern(pattern: &[Token], value: &[char]) -> Result<(), String> {
    if pattern.contains(&Token::Any) && value.len().max(pattern.len()) > PATTERN_LETTERS_MAX {
        return Err(format!(
            "a value of more than {PATTERN_LETTERS_MAX} letters is not compared with a pattern"
        ));
    }
    Ok(())
}

/// Whether the whole text fits a shell pattern of `*` and `?`.
fn fits(pattern: &[Token], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match pattern.get(at) {
            None if read == text.len() => return true,
            Some(Token::Any) => {
                retry = Some((at, read));
                at += 1;
                continue;
            }
            Some(token)
                if read < text.len()
                    && (*token == Token::One || *token == Token::Letter(text[read])) =>
            {
                at += 1;
                read += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((star, from)) if from < text.len() => {
                retry = Some((star, from + 1));
                (at, read) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "a" => Some("one".to_owned()),
            "empty" => Some(String::new()),
            "path" => Some("/usr/local/lib".to_owned()),
            "starred" => Some("*a?b*c".to_owned()),
            "1" => Some("first".to_owned()),
            _ => None,
        }
    }

    fn word(text: &str) -> Result<String, String> {
        let expander = Expander {
            escape: '\\',
            variables: &variables,
        };
        match expander.word(text) {
            Ok(expanded) => Ok(expanded.text),
            Err(error) => Err(error.problem),
        }
    }

    #[test]
    fn every_form_of_substitution() {
        for (text, expected) in [
            ("$a", "one"),
            ("${a}", "one"),
            ("x$a.y", "xone.y"),
            ("$nothing", ""),
            ("${nothing}", ""),
            ("${nothing:-d}", "d"),
            ("${empty:-d}", "d"),
            ("${empty-d}", ""),
            ("${a:-d}", "one"),
            ("${a:+d}", "d"),
            ("${empty:+d}", ""),
            ("${empty+d}", "d"),
            ("${nothing+d}", ""),
            ("${nothing:-${a}}", "one"),
            ("${a:?no}", "one"),
            ("${path#*/}", "usr/local/lib"),
            ("${path##*/}", "lib"),
            ("${path%/*}", "/usr/local"),
            ("${path%%/*}", ""),
            ("${path/l/L}", "/usr/Local/lib"),
            ("${path//l/L}", "/usr/LocaL/Lib"),
            (r"${starred#\*}", "a?b*c"),
            (r"${starred#\*?}", "?b*c"),
            (r"${starred%\*?}", "*a?b"),
            (r"${starred##*\?}", "b*c"),
            (r"${starred//\*/-}", "-a?b-c"),
            (r"${starred/a\?/-}", "*-b*c"),
            (r"${path/\//:}", ":usr/local/lib"),
            (r#"${starred#"*"}"#, "*a?b*c"),
            (r"${starred#${nothing:-\*}}", "*a?b*c"),
            (r"\$a", "$a"),
            ("'$a'", "$a"),
            ("\"$a\"", "one"),
            (r#""\$a\"\n""#, r#"$a"\n"#),
            ("$1st", "firstst"),
            ("$", "$"),
            ("a b", "a b"),
        ] {
            assert_eq!(word(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_substituted_says_why() {
        for (text, expected) in [
            ("${a", "syntax error: missing '}'"),
            ("${}", "syntax error: bad substitution"),
            ("${a:x}", "unsupported modifier (:x) in substitution"),
            ("${a^^}", "unsupported modifier (^) in substitution"),
            ("${nothing:?say so}", "nothing: say so"),
            ("${nothing?}", "nothing: is not allowed to be unset"),
            ("${empty:?}", "empty: is not allowed to be empty"),
            (
                "'a",
                "unexpected end of statement while looking for matching single-quote",
            ),
            (
                "\"a",
                "unexpected end of statement while looking for matching double-quote",
            ),
        ] {
            assert_eq!(word(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn names_without_a_value_are_remembered() {
        let expander = Expander {
            escape: '\\',
            variables: &variables,
        };
        let unset = expander.word("$x ${y:-z} ${a:-$w}").unwrap().unset;
        assert_eq!(unset.into_iter().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn substitutions_nested_without_end_are_refused() {
        let deep = "${x:-".repeat(10_000);
        assert!(word(&deep).is_err());
    }

    #[test]
    fn what_would_take_for_ever_is_refused() {
        let long = |name: &str| (name == "long").then(|| "a".repeat(100_000));
        let expander = Expander {
            escape: '\\',
            variables: &long,
        };
        let problem = |text: &str| expander.word(text).unwrap_err().problem;
        assert!(problem("${long//*a*a*b/}").contains("not compared"));
        assert!(problem("${long%%*a*b}").contains("not compared"));
        assert!(problem("${long//a/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}").contains("too long"));
        assert_eq!(expander.word("${long//aa/b}").unwrap().text.len(), 50_000);
    }
}
