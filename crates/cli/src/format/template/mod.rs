//! Go's `text/template`, as far as `--format` uses it, over JSON values and table rows.
//!
//! [`parse`] turns the text into a tree, `evaluate` runs it, `functions` holds Go's and Docker's
//! functions, `print` Go's way of writing values.

mod evaluate;
mod functions;
mod lex;
mod parse;
mod print;
mod value;

use std::fmt;

pub(crate) use value::{Kind, Object, Value};

/// A template that could not be read or carried out, with line and column as Go gives them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "template: {}", self.0)
    }
}

impl std::error::Error for TemplateError {}

/// A template that has been read.
#[derive(Debug)]
pub(crate) struct Template {
    tree: parse::Tree,
    source: String,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The first thing that is no template, with its line.
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            tree: parse::parse(source, false)?,
            source: source.to_owned(),
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
        })
    }

    /// Applies the template to a value.
    ///
    /// # Errors
    /// The first field, function or comparison that cannot be carried out.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        evaluate::render(&self.tree, &self.source, data, false)
    }

    /// Applies the template to the headings of a table: Docker's functions leave them as they are.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub(crate) fn render_heading(&self, data: &Value) -> Result<String, TemplateError> {
        evaluate::render(&self.tree, &self.source, data, true)
    }
}

#[cfg(test)]
mod tests;
