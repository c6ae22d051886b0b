//! An instruction's line, cut into keyword, flags, words, JSON form, pairs and heredocs.

use super::Heredoc;
use crate::error::SyntaxError;

/// A command: as typed for a shell, or as words to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Text for the stage's shell.
    Shell(String),
    /// Words to execute as they are.
    Exec(Vec<String>),
}

/// Keyword, flags and the rest of a line.
pub(super) fn split_instruction(
    line: &str,
    escape: char,
) -> Result<(String, Vec<String>, String), SyntaxError> {
    let line = line.trim();
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let (flags, rest) = flags(rest.trim(), escape);
    Ok((keyword.to_owned(), flags, rest.trim().to_owned()))
}

/// The flags at the beginning of a line, quotes resolved, and what follows them.
fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text;
    while rest.starts_with("--") {
        let (word, after) = flag_word(rest, escape);
        if word == "--" {
            return (flags, after.trim_start());
        }
        flags.push(word);
        rest = after.trim_start();
    }
    (flags, rest)
}

fn flag_word(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match quote {
            None if letter.is_whitespace() => return (word, &text[at..]),
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ if letter == escape => {
                if let Some((_, next)) = letters.next() {
                    word.push(next);
                }
            }
            _ => word.push(letter),
        }
    }
    (word, "")
}

/// Words divided by blanks; nothing is resolved.
pub(super) fn plain(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The JSON form of a list, if the text is one.
pub(super) fn json(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// A command in either form.
pub(super) fn command(text: &str) -> Command {
    match json(text) {
        Some(words) => Command::Exec(words),
        None => Command::Shell(text.to_owned()),
    }
}

/// A list in JSON form, or words divided by blanks.
pub(super) fn list(text: &str) -> Vec<String> {
    json(text).unwrap_or_else(|| plain(text))
}

/// Words divided by blanks outside of quotes; quotes and escapes stay.
pub(crate) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match quote {
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ => {}
        }
        word.push(letter);
        if letter == escape
            && quote != Some('\'')
            && let Some(next) = letters.next()
        {
            word.push(next);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A name and its value, both as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Before the first `=`.
    pub name: String,
    /// Behind it, quotes included.
    pub value: String,
    /// Written `NAME value`, without `=`.
    pub legacy: bool,
}

/// The pairs of `ENV` and `LABEL`.
pub(super) fn pairs(text: &str, keyword: &str, escape: char) -> Result<Vec<Pair>, SyntaxError> {
    let words = quoted(text, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let rest = text.trim_start().strip_prefix(first.as_str());
        let value = rest.unwrap_or_default().trim();
        if value.is_empty() {
            return Err(SyntaxError::TwoArguments(keyword.to_owned()));
        }
        return Ok(vec![Pair {
            name: first.clone(),
            value: value.to_owned(),
            legacy: true,
        }]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => Ok(Pair {
                name: name.to_owned(),
                value: value.to_owned(),
                legacy: false,
            }),
            None => Err(SyntaxError::NoEqualsSign(word.clone())),
        })
        .collect()
}

/// The heredocs a line announces, still empty.
pub(super) fn heredocs(line: &str, escape: char) -> Vec<Heredoc> {
    quoted(line, escape)
        .iter()
        .filter_map(|word| heredoc(word))
        .collect()
}

/// Whether a word announces a heredoc: `[FD]<<[-]NAME`.
pub(crate) fn heredoc(word: &str) -> Option<Heredoc> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let rest = word[digits..].strip_prefix("<<")?;
    let (chomp, name) = match rest.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, rest),
    };
    // A command may follow on the line of `RUN`: the heredoc is then what the shell makes of it.
    if name.contains('<') || quoted(name, '\\').len() != 1 {
        return None;
    }
    let plain: String = name
        .chars()
        .filter(|letter| !matches!(letter, '\'' | '"'))
        .collect();
    Some(Heredoc {
        descriptor: word[..digits].parse().unwrap_or(0),
        expand: plain == name,
        name: plain,
        chomp,
        content: String::new(),
    })
}
