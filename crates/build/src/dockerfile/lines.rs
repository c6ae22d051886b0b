//! From text to instructions as they stand: directives, comments, continued lines, heredocs.
//!
//! Nothing here knows what an instruction means; only which of them may carry heredocs.

use super::words;
use super::{Heredoc, Node, Span};
use crate::error::{Located, SyntaxError};

/// The directives at the top of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The frontend the file asks for.
    pub syntax: Option<String>,
    /// `\` or `` ` ``.
    pub escape: char,
    /// The linter's settings.
    pub check: Option<String>,
}

/// A file taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) directives: Directives,
    pub(crate) nodes: Vec<Node>,
    /// Continued lines that were followed by an empty one.
    pub(crate) empty_continuations: Vec<Span>,
}

/// Instructions that may carry heredocs.
const WITH_HEREDOCS: [&str; 3] = ["ADD", "COPY", "RUN"];

/// Takes a file apart.
pub(crate) fn split(text: &str) -> Result<Lines, Located<SyntaxError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = Reader::new(text, directives(text)?).all()?;
    if lines.nodes.is_empty() {
        return Err(SyntaxError::Empty.at(Span::line(1)));
    }
    Ok(lines)
}

/// Takes a file apart that stands in another one, of which nothing is an escape but `escape`. Its lines are
/// counted on from `before`.
pub(crate) fn split_included(
    text: &str,
    escape: char,
    before: usize,
) -> Result<Lines, Located<SyntaxError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let directives = Directives {
        syntax: None,
        escape,
        check: None,
    };
    let mut reader = Reader::new(text, directives);
    reader.before = before;
    reader.all()
}

/// Reads the directives: `# key=value` before anything else.
pub(crate) fn directives(text: &str) -> Result<Directives, Located<SyntaxError>> {
    let mut found = Directives {
        syntax: None,
        escape: '\\',
        check: None,
    };
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if index == 0 && line.starts_with("#!") {
            continue;
        }
        let Some((key, value)) = directive(line) else {
            break;
        };
        let span = Span::line(index + 1);
        if seen.contains(&key) {
            return Err(SyntaxError::DirectiveTwice(key).at(span));
        }
        match key.as_str() {
            "syntax" => found.syntax = Some(value.to_owned()),
            "check" => found.check = Some(value.to_owned()),
            "escape" => found.escape = escape(value).map_err(|error| error.at(span))?,
            // Any other comment ends the directives.
            _ => break,
        }
        seen.push(key);
    }
    if found.syntax.is_none() {
        found.syntax = foreign_syntax(text);
    }
    Ok(found)
}

fn directive(line: &str) -> Option<(String, &str)> {
    let rest = line.trim().strip_prefix('#')?;
    let (key, value) = rest.split_once('=')?;
    let key = key.trim();
    let is_word = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let value = value.trim();
    (is_word && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

fn escape(value: &str) -> Result<char, SyntaxError> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(SyntaxError::Escape(other.to_owned())),
    }
}

/// A file of another language may name its frontend in its own comments.
fn foreign_syntax(text: &str) -> Option<String> {
    let first = text.lines().find(|line| !line.starts_with("#!"))?;
    if let Some(rest) = first.trim().strip_prefix("//") {
        let (key, value) = rest.split_once('=')?;
        return (key.trim() == "syntax").then(|| value.trim().to_owned());
    }
    if text.trim_start().starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        return value.get("syntax")?.as_str().map(str::to_owned);
    }
    None
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    at: usize,
    /// Lines that count before the first.
    before: usize,
    escape: char,
    directives: Directives,
    empty_continuations: Vec<Span>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, directives: Directives) -> Self {
        Self {
            lines: text.lines().collect(),
            at: 0,
            before: 0,
            escape: directives.escape,
            directives,
            empty_continuations: Vec::new(),
        }
    }

    fn all(mut self) -> Result<Lines, Located<SyntaxError>> {
        let mut nodes = Vec::new();
        while let Some(node) = self.next_node()? {
            nodes.push(node);
        }
        Ok(Lines {
            directives: self.directives,
            nodes,
            empty_continuations: self.empty_continuations,
        })
    }

    fn next_node(&mut self) -> Result<Option<Node>, Located<SyntaxError>> {
        let mut comments = Vec::new();
        while let Some(line) = self.lines.get(self.at) {
            let trimmed = line.trim();
            if let Some(comment) = trimmed.strip_prefix('#') {
                comments.push(comment.trim().to_owned());
            } else if !trimmed.is_empty() {
                return self.instruction(comments).map(Some);
            } else {
                comments.clear();
            }
            self.at += 1;
        }
        Ok(None)
    }

    fn instruction(&mut self, comments: Vec<String>) -> Result<Node, Located<SyntaxError>> {
        let first = self.before + self.at + 1;
        let (text, is_continued_empty) = self.logical_line();
        let mut span = Span {
            first,
            last: self.before + self.at,
        };
        if is_continued_empty {
            self.empty_continuations.push(span);
        }
        let (keyword, flags, rest) =
            words::split_instruction(&text, self.escape).map_err(|error| error.at(span))?;
        let mut node = Node {
            keyword,
            flags,
            text: rest,
            original: text,
            heredocs: Vec::new(),
            span,
            comments,
        };
        if may_have_heredocs(&node) {
            for mut heredoc in words::heredocs(&node.original, self.escape) {
                self.heredoc(&mut heredoc, &mut span)?;
                node.heredocs.push(heredoc);
            }
        }
        node.span = span;
        Ok(node)
    }

    /// One instruction's line with its continuations joined. Comments and empty lines between
    /// them are dropped.
    fn logical_line(&mut self) -> (String, bool) {
        let mut text = String::new();
        let mut has_empty = false;
        let mut first = true;
        while let Some(line) = self.lines.get(self.at) {
            let trimmed = line.trim();
            if !first && trimmed.starts_with('#') {
                self.at += 1;
                continue;
            }
            if !first && trimmed.is_empty() {
                has_empty = true;
                self.at += 1;
                continue;
            }
            self.at += 1;
            let line = if first { line.trim_start() } else { line };
            first = false;
            match self.continued(line) {
                Some(part) => text.push_str(part),
                None => {
                    text.push_str(line.trim_end());
                    break;
                }
            }
        }
        (text, has_empty)
    }

    /// The line without the escape at its end; `None`: it does not go on.
    fn continued<'l>(&self, line: &'l str) -> Option<&'l str> {
        line.trim_end_matches([' ', '\t', '\r'])
            .strip_suffix(self.escape)
    }

    fn heredoc(
        &mut self,
        heredoc: &mut Heredoc,
        span: &mut Span,
    ) -> Result<(), Located<SyntaxError>> {
        while let Some(line) = self.lines.get(self.at) {
            self.at += 1;
            let plain = if heredoc.chomp {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if plain == heredoc.name {
                span.last = self.before + self.at;
                return Ok(());
            }
            heredoc.content.push_str(plain);
            heredoc.content.push('\n');
        }
        Err(SyntaxError::UnterminatedHeredoc.at(*span))
    }
}

fn may_have_heredocs(node: &Node) -> bool {
    let is = |word: &str| {
        WITH_HEREDOCS
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
    };
    if node.keyword.eq_ignore_ascii_case("ONBUILD") {
        return node.text.split_whitespace().next().is_some_and(is);
    }
    is(&node.keyword)
}
