//! Template text → tokens, with the offset of each.

use super::TemplateError;
use super::number;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text between actions.
    Text(String),
    Open,
    Close,
    Space,
    Pipe,
    Comma,
    Left,
    Right,
    Declare,
    Assign,
    Dot,
    /// `.Name`
    Field(String),
    /// `$` or `$name`
    Variable(String),
    Word(String),
    Int(i64),
    Float(f64),
    Text1(String),
}

#[derive(Debug, Clone)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// Go names templates in errors; Docker's have the empty name. Go tells the line alone, we the column, too.
pub(super) fn fail<T>(source: &str, at: usize, message: &str) -> Result<T, TemplateError> {
    let (line, column) = place(source, at);
    Err(TemplateError::Unread {
        line,
        column,
        message: message.to_owned(),
    })
}

/// Line and column of an offset: lines are counted from one, columns are bytes from none, as Go has it.
pub(super) fn place(source: &str, at: usize) -> (usize, usize) {
    let before = &source.as_bytes()[..at.min(source.len())];
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    (1 + lines, before.len() - start.map_or(0, |at| at + 1))
}

pub(super) fn lex(source: &str) -> Result<Vec<Lexeme>, TemplateError> {
    let mut lexer = Lexer {
        source,
        at: 0,
        out: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.out)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    out: Vec<Lexeme>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, token: Token, length: usize) {
        self.out.push(Lexeme { token, at: self.at });
        self.at += length;
    }

    fn run(&mut self) -> Result<(), TemplateError> {
        let mut trim_next = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let mut text = &rest[..open.unwrap_or(rest.len())];
            let length = text.len();
            if trim_next {
                text = text.trim_start();
            }
            let Some(open) = open else {
                self.text(text, length);
                return Ok(());
            };
            let inside = &rest[open + 2..];
            let trims =
                inside.starts_with('-') && inside[1..].starts_with(|c: char| c.is_whitespace());
            if trims {
                text = text.trim_end();
            }
            self.text(text, length);
            trim_next = self.action(if trims { 3 } else { 2 })?;
        }
    }

    fn text(&mut self, text: &str, length: usize) {
        if text.is_empty() {
            self.at += length;
        } else {
            self.push(Token::Text(text.to_owned()), length);
        }
    }

    /// Reads one action; tells whether the text after it loses its leading space.
    fn action(&mut self, open: usize) -> Result<bool, TemplateError> {
        let start = self.at;
        let inside = &self.source[start + open..];
        let comment = if open == 3 {
            inside.trim_start()
        } else {
            inside
        };
        if comment.starts_with("/*") {
            return self.comment(start, comment);
        }
        self.push(Token::Open, open);
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with(|c: char| c.is_whitespace()) {
                let trimmed = rest.trim_start();
                if trimmed.starts_with("-}}") {
                    self.at += rest.len() - trimmed.len();
                    self.close(depth, 3)?;
                    return Ok(true);
                }
                let length = rest.len() - trimmed.len();
                self.push(Token::Space, length);
                continue;
            }
            if rest.starts_with("}}") {
                self.close(depth, 2)?;
                return Ok(false);
            }
            match self.token()? {
                Token::Left => depth += 1,
                Token::Right if depth == 0 => {
                    return fail(self.source, self.at, "unexpected right paren");
                }
                Token::Right => depth -= 1,
                _ => {}
            }
        }
    }

    fn close(&mut self, depth: usize, length: usize) -> Result<(), TemplateError> {
        if depth > 0 {
            return fail(self.source, self.at, "unclosed left paren");
        }
        self.push(Token::Close, length);
        Ok(())
    }

    fn comment(&mut self, start: usize, comment: &'s str) -> Result<bool, TemplateError> {
        let begin = self.source.len() - comment.len();
        let Some(end) = comment.find("*/") else {
            return fail(self.source, start, "unclosed comment");
        };
        let after = &comment[end + 2..];
        let trimmed = after.trim_start();
        if trimmed.len() < after.len() && trimmed.starts_with("-}}") {
            self.at = begin + end + 2 + (after.len() - trimmed.len()) + 3;
            return Ok(true);
        }
        if after.starts_with("}}") {
            self.at = begin + end + 4;
            return Ok(false);
        }
        fail(self.source, start, "comment ends before closing delimiter")
    }

    /// Reads one token and returns it too.
    fn token(&mut self) -> Result<Token, TemplateError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return fail(self.source, self.at, "unclosed action");
        };
        let second = rest[first.len_utf8()..].chars().next();
        let (token, length) = match first {
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '(' => (Token::Left, 1),
            ')' => (Token::Right, 1),
            '=' => (Token::Assign, 1),
            ':' if second == Some('=') => (Token::Declare, 2),
            ':' => return fail(self.source, self.at, "expected :="),
            '"' => self.quoted(rest)?,
            '`' => match rest[1..].find('`') {
                Some(end) => (Token::Text1(rest[1..=end].to_owned()), end + 2),
                None => return fail(self.source, self.at, "unterminated raw quoted string"),
            },
            '\'' => self.character(rest)?,
            '$' => {
                let name = word(&rest[1..]);
                (Token::Variable(name.to_owned()), 1 + name.len())
            }
            // A dot at the very end might have begun a number.
            '.' if second.is_none() => {
                return fail(self.source, self.at, "illegal number syntax: \".\"");
            }
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
                let name = word(&rest[1..]);
                let token = if name.is_empty() {
                    Token::Dot
                } else {
                    Token::Field(name.to_owned())
                };
                (token, 1 + name.len())
            }
            '+' | '-' | '.' | '0'..='9' => self.number(rest)?,
            _ if first.is_alphanumeric() || first == '_' => {
                let name = word(rest);
                (Token::Word(name.to_owned()), name.len())
            }
            _ => {
                let message = format!(
                    "unexpected bad character U+{:04X} '{first}' in command",
                    first as u32
                );
                return fail(self.source, self.at, &message);
            }
        };
        self.push(token.clone(), length);
        Ok(token)
    }

    fn quoted(&self, rest: &str) -> Result<(Token, usize), TemplateError> {
        let mut escaped = false;
        for (at, character) in rest.char_indices().skip(1) {
            match character {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let Some(text) = unescape(&rest[1..at]) else {
                        return fail(self.source, self.at, "invalid syntax");
                    };
                    return Ok((Token::Text1(text), at + 1));
                }
                _ => {}
            }
        }
        fail(self.source, self.at, "unterminated quoted string")
    }

    fn character(&self, rest: &str) -> Result<(Token, usize), TemplateError> {
        let end = (2..rest.len()).find(|&at| {
            rest.as_bytes()[at] == b'\'' && (rest.as_bytes()[at - 1] != b'\\' || at == 3)
        });
        let text = end.and_then(|end| unescape(&rest[1..end]).map(|text| (text, end)));
        match text.as_ref().map(|(text, end)| (text.chars().next(), end)) {
            Some((Some(character), end)) => Ok((Token::Int(i64::from(character as u32)), end + 1)),
            _ => fail(self.source, self.at, "unterminated character constant"),
        }
    }

    fn number(&self, rest: &str) -> Result<(Token, usize), TemplateError> {
        let end = match number::length(rest) {
            Ok(end) => end,
            Err(end) => {
                let message = format!("bad number syntax: {:?}", &rest[..end]);
                return fail(self.source, self.at, &message);
            }
        };
        match number::read(&rest[..end]) {
            Ok(token) => Ok((token, end)),
            Err(message) => fail(self.source, self.at, &message),
        }
    }
}

fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    &text[..end]
}

/// Resolves the escapes of a Go string.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        let digits = |count: usize, characters: &mut std::str::Chars<'_>| -> Option<char> {
            let digits: String = characters.take(count).collect();
            char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
        };
        out.push(match characters.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            same @ ('\\' | '"' | '\'') => same,
            'x' => digits(2, &mut characters)?,
            'u' => digits(4, &mut characters)?,
            'U' => digits(8, &mut characters)?,
            _ => return None,
        });
    }
    Some(out)
}
