//! Template text → tokens, with the offset of each.

use super::TemplateError;
use super::{number, print};

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
    /// The real and the imaginary part.
    Complex(f64, f64),
    /// An integer that is larger than Go's: only an error if it is used.
    TooLarge,
    Text1(String),
    /// A character that means nothing, wherever it stands.
    Stray,
    /// Where reading ended, and why.
    Bad(String),
}

#[derive(Debug, Clone)]
pub(super) struct Lexeme {
    pub(super) token: Token,
    pub(super) at: usize,
    pub(super) end: usize,
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

/// The tokens of a template. What cannot be read is the last of them: what is wrong before that is told first, as in Go.
pub(super) fn lex(source: &str) -> Vec<Lexeme> {
    let mut lexer = Lexer {
        source,
        at: 0,
        out: Vec::new(),
    };
    if let Err(Bad { at, message }) = lexer.run() {
        let token = Token::Bad(message);
        lexer.out.push(Lexeme { token, at, end: at });
    }
    lexer.out
}

/// What cannot be read, and where.
struct Bad {
    at: usize,
    message: String,
}

/// Blanks as Go's templates know them.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

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
        let (at, end) = (self.at, self.at + length);
        self.out.push(Lexeme { token, at, end });
        self.at = end;
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Bad> {
        Err(Bad {
            at: self.at,
            message: message.into(),
        })
    }

    fn run(&mut self) -> Result<(), Bad> {
        let mut trim_next = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let mut text = &rest[..open.unwrap_or(rest.len())];
            let length = text.len();
            if trim_next {
                text = text.trim_start_matches(SPACES);
            }
            let Some(open) = open else {
                self.text(text, length);
                return Ok(());
            };
            let inside = &rest[open + 2..];
            let trims = inside.starts_with('-') && inside[1..].starts_with(SPACES);
            if trims {
                text = text.trim_end_matches(SPACES);
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
    fn action(&mut self, open: usize) -> Result<bool, Bad> {
        let inside = &self.source[self.at + open..];
        let comment = match open {
            3 => inside.trim_start_matches(SPACES),
            _ => inside,
        };
        if comment.starts_with("/*") {
            return self.comment(comment);
        }
        self.push(Token::Open, open);
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with(SPACES) {
                let trimmed = rest.trim_start_matches(SPACES);
                let length = rest.len() - trimmed.len();
                if trimmed.starts_with("-}}") {
                    self.at += length;
                    self.close(depth, 3)?;
                    return Ok(true);
                }
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
                    self.out.pop();
                    return self.fail("unexpected right paren");
                }
                Token::Right => depth -= 1,
                _ => {}
            }
        }
    }

    fn close(&mut self, depth: usize, length: usize) -> Result<(), Bad> {
        if depth > 0 {
            return self.fail("unclosed left paren");
        }
        self.push(Token::Close, length);
        Ok(())
    }

    fn comment(&mut self, comment: &'s str) -> Result<bool, Bad> {
        let begin = self.source.len() - comment.len();
        let Some(end) = comment.find("*/") else {
            return self.fail("unclosed comment");
        };
        let after = &comment[end + 2..];
        let trimmed = after.trim_start_matches(SPACES);
        if trimmed.len() < after.len() && trimmed.starts_with("-}}") {
            self.at = begin + end + 2 + (after.len() - trimmed.len()) + 3;
            return Ok(true);
        }
        if after.starts_with("}}") {
            self.at = begin + end + 4;
            return Ok(false);
        }
        self.fail("comment ends before closing delimiter")
    }

    /// Reads one token and returns it too.
    fn token(&mut self) -> Result<Token, Bad> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return self.fail("unclosed action");
        };
        let second = rest[first.len_utf8()..].chars().next();
        let (token, length) = match first {
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            '(' => (Token::Left, 1),
            ')' => (Token::Right, 1),
            '=' => (Token::Assign, 1),
            ':' if second == Some('=') => (Token::Declare, 2),
            ':' => return self.fail("expected :="),
            '"' => self.quoted(rest)?,
            '`' => match rest[1..].find('`') {
                Some(end) => (Token::Text1(rest[1..=end].to_owned()), end + 2),
                None => return self.fail("unterminated raw quoted string"),
            },
            '\'' => self.character(rest)?,
            '$' => {
                let name = self.named(&rest[1..])?;
                (Token::Variable(name.to_owned()), 1 + name.len())
            }
            // A dot at the very end might have begun a number.
            '.' if second.is_none() => return self.fail("illegal number syntax: \".\""),
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
                let name = self.named(&rest[1..])?;
                let token = match name {
                    "" => Token::Dot,
                    name => Token::Field(name.to_owned()),
                };
                (token, 1 + name.len())
            }
            '+' | '-' | '.' | '0'..='9' => self.number(rest)?,
            _ if first.is_alphanumeric() || first == '_' => {
                let name = self.named(rest)?;
                (Token::Word(name.to_owned()), name.len())
            }
            '!'..='~' => (Token::Stray, 1),
            _ => {
                let shown = code_point(first);
                return self.fail(format!("unrecognized character in action: {shown}"));
            }
        };
        self.push(token.clone(), length);
        Ok(token)
    }

    /// The name at the beginning of a text, which must end where a name may.
    fn named(&self, text: &'s str) -> Result<&'s str, Bad> {
        let name = word(text);
        let after = &text[name.len()..];
        match after.chars().next() {
            Some(next) if !SPACES.contains(&next) && !".,|:()".contains(next) => {
                match after.starts_with("}}") {
                    true => Ok(name),
                    false => self.fail(format!("bad character {}", code_point(next))),
                }
            }
            _ => Ok(name),
        }
    }

    fn quoted(&self, rest: &str) -> Result<(Token, usize), Bad> {
        let Some(length) = literal(rest, '"') else {
            return self.fail("unterminated quoted string");
        };
        match unescape(&rest[1..length - 1], '"') {
            Some(text) => Ok((Token::Text1(text), length)),
            None => self.fail("invalid syntax"),
        }
    }

    fn character(&self, rest: &str) -> Result<(Token, usize), Bad> {
        let Some(length) = literal(rest, '\'') else {
            return self.fail("unterminated character constant");
        };
        let mut inside = rest[1..length - 1].chars();
        let Some(code) = escaped(&mut inside, '\'') else {
            return self.fail("invalid syntax");
        };
        if inside.next().is_some() {
            let shown = &rest[..length];
            return self.fail(format!("malformed character constant: {shown}"));
        }
        let code = match code {
            Unit::Byte(byte) => u32::from(byte),
            Unit::Character(character) => u32::from(character),
        };
        Ok((Token::Int(i64::from(code)), length))
    }

    fn number(&self, rest: &str) -> Result<(Token, usize), Bad> {
        let bad = |end: usize| format!("bad number syntax: {:?}", &rest[..end]);
        let end = match number::length(rest) {
            Ok(end) => end,
            Err(end) => return self.fail(bad(end)),
        };
        if !rest[end..].starts_with(['+', '-']) {
            return match number::read(&rest[..end]) {
                Ok(token) => Ok((token, end)),
                Err(message) => self.fail(message),
            };
        }
        // With a sign right behind it, it is the first part of a complex number.
        let whole = match number::length(&rest[end..]) {
            Ok(second) if rest[..end + second].ends_with('i') => end + second,
            Ok(second) | Err(second) => return self.fail(bad(end + second)),
        };
        match number::complex(&rest[..end], &rest[end..whole]) {
            Some(token) => Ok((token, whole)),
            None => self.fail(bad(whole)),
        }
    }
}

/// How long a literal is that begins a text, with its quotes.
fn literal(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return None,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `U+0040 '@'`
fn code_point(character: char) -> String {
    let code = format!("U+{:04X}", u32::from(character));
    match print::is_printable(character) {
        true => format!("{code} '{character}'"),
        false => code,
    }
}

fn word(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    &text[..end]
}

/// What an escape stands for.
enum Unit {
    Byte(u8),
    Character(char),
}

/// Resolves the escapes of a Go literal in these quotes.
fn unescape(text: &str, quote: char) -> Option<String> {
    let mut out = Vec::new();
    let mut characters = text.chars();
    while !characters.as_str().is_empty() {
        match escaped(&mut characters, quote)? {
            Unit::Byte(byte) => out.push(byte),
            Unit::Character(character) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// The next character of a literal, or the byte that an escape of two or three digits is.
fn escaped(characters: &mut std::str::Chars<'_>, quote: char) -> Option<Unit> {
    let first = characters.next()?;
    if first != '\\' {
        return Some(Unit::Character(first)).filter(|_| first != quote);
    }
    let digits = |base: u32, count: usize, characters: &mut std::str::Chars<'_>| {
        let digits = characters.as_str().get(..count)?;
        let is_digit = |digit: char| digit.is_digit(base);
        digits.chars().all(is_digit).then_some(())?;
        characters.nth(count - 1);
        u32::from_str_radix(digits, base).ok()
    };
    Some(match characters.clone().next()? {
        'x' => {
            characters.next();
            Unit::Byte(u8::try_from(digits(16, 2, characters)?).ok()?)
        }
        '0'..='7' => Unit::Byte(u8::try_from(digits(8, 3, characters)?).ok()?),
        letter => {
            characters.next();
            Unit::Character(match letter {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'v' => '\x0b',
                '\\' => '\\',
                'u' => char::from_u32(digits(16, 4, characters)?)?,
                'U' => char::from_u32(digits(16, 8, characters)?)?,
                same if same == quote => same,
                _ => return None,
            })
        }
    })
}
