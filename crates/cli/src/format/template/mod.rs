//! Go's `text/template`, as far as `--format` uses it, over JSON values and table rows.
//!
//! [`parse`] turns the text into a tree, `evaluate` runs it, `functions` holds Go's and Docker's
//! functions, `print` Go's way of writing values.

mod evaluate;
mod functions;
mod lex;
mod number;
mod omitted;
mod parse;
mod print;
mod value;

use std::fmt;

use crate::ui;

pub(crate) use print::quote;
pub(crate) use value::{Kind, Object, Value};

/// A template that could not be read or carried out, with its place. Of what is no template Go names the line alone: so do
/// we under Docker's name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TemplateError {
    /// It is no template.
    Unread {
        line: usize,
        column: usize,
        message: String,
    },
    /// It could not be carried out.
    Failed(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread {
                line,
                column,
                message,
            } if ui::explains() => write!(out, "template: :{line}:{column}: {message}"),
            Self::Unread { line, message, .. } => write!(out, "template: :{line}: {message}"),
            Self::Failed(message) => write!(out, "template: {message}"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl TemplateError {
    /// The same where the first line began as many bytes earlier.
    fn behind(mut self, shift: usize) -> Self {
        if let Self::Unread {
            line: 1, column, ..
        } = &mut self
        {
            *column += shift;
        }
        self
    }
}

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    tree: parse::Tree,
    source: String,
    /// How many bytes were typed before it: errors count them.
    shift: usize,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The first thing that is no template, with its place.
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        Self::parse_behind(0, source)
    }

    /// Reads a template before which as many bytes were typed.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn parse_behind(shift: usize, source: &str) -> Result<Self, TemplateError> {
        let tree = parse::parse(source, false).map_err(|error| error.behind(shift))?;
        Ok(Self {
            tree,
            source: source.to_owned(),
            shift,
        })
    }

    /// Reads a template of a plugin's hint, which may ask for flags and operands of the command it follows.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn parse_hook(source: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            tree: parse::parse(source, true)?,
            source: source.to_owned(),
            shift: 0,
        })
    }

    /// Applies the template to a value.
    ///
    /// # Errors
    /// The first field, function or comparison that cannot be carried out.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        let (text, ended) = evaluate::render(self, data, false);
        ended.map(|()| text)
    }

    /// Applies the template to the headings of a table: Docker's functions leave them as they are. What is of rows and not
    /// of headings ends the line.
    pub(crate) fn render_heading(&self, data: &Value) -> String {
        evaluate::render(self, data, true).0
    }
}

#[cfg(test)]
mod tests;
