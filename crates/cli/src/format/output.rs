//! `--format` of the listing commands: the table, a template, a template as a table, or JSON.

use super::fit::fit;
use super::tabwriter::align;
use super::template::{Kind, Object, Template, Value};
use crate::error::{Error, Result};
use crate::{terminal, ui};

/// What an error in a template begins with.
pub(crate) const BAD_TEMPLATE: &str = "template parsing error: ";
/// Docker's exit code for a bad template of `events`, `info` and `version`.
pub(crate) const EXIT_BAD_FORMAT: u8 = 64;

/// A list to print.
pub(crate) struct Listing<'l> {
    /// What `--format` says; empty is the table.
    pub(crate) format: &'l str,
    /// The template of the table, without the word `table`.
    pub(crate) table: &'l str,
    /// Field and heading.
    pub(crate) headings: &'l [(&'l str, &'l str)],
}

impl Listing<'_> {
    /// The text of all rows.
    ///
    /// # Errors
    /// A template that cannot be read, or that asks for what rows do not have.
    pub(crate) fn render(&self, rows: &[Value]) -> Result<String> {
        self.laid_out(rows, align)
    }

    /// The same for the standard output: on a terminal, a table fits its width unless it is to be `whole`.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub(crate) fn shown(&self, rows: &[Value], whole: bool) -> Result<String> {
        let columns = terminal::size().map(|(_, columns)| usize::from(columns));
        match columns.filter(|_| !whole) {
            Some(columns) => self.laid_out(rows, |text| fit(text, columns)),
            None => self.render(rows),
        }
    }

    fn laid_out(&self, rows: &[Value], lay_out: impl Fn(&str) -> String) -> Result<String> {
        // A blank before them makes other words of these two.
        if self.format == "json" {
            return Ok(rows.iter().map(|row| row.to_json() + "\n").collect());
        }
        let (template, is_table) = match self.format.strip_prefix("table") {
            Some("") => (self.table, true),
            Some(template) => (template.trim_matches(' '), true),
            None if self.format.is_empty() => (self.table, true),
            None => (self.format.trim_matches(' '), false),
        };
        // Docker counts from where the template begins.
        let typed_before = match self.format.find(template) {
            Some(at) if ui::explains() => at,
            _ => 0,
        };
        let template = parse_behind(typed_before, template)?;
        let mut text = String::new();
        if is_table {
            text.push_str(&template.render_heading(&self.heading()));
            text.push('\n');
        }
        for row in rows {
            text.push_str(&template.render(row).map_err(failed)?);
            text.push('\n');
        }
        Ok(if is_table { lay_out(&text) } else { text })
    }

    fn heading(&self) -> Value {
        let field = |(name, heading): &(&str, &str)| ((*name).to_owned(), Value::text(*heading));
        Value::object(Kind::Map, self.headings.iter().map(field).collect())
    }
}

/// Reads the template of a listing, where `\t` and `\n` stand for what they mean.
///
/// # Errors
/// A template that cannot be read.
pub(crate) fn parse(template: &str) -> Result<Template> {
    parse_behind(0, template)
}

fn parse_behind(typed_before: usize, template: &str) -> Result<Template> {
    let text = template.replace("\\t", "\t").replace("\\n", "\n");
    Template::parse_behind(typed_before, &text).map_err(failed)
}

/// Reads the template of a command that shows one thing: it has its own words for a bad one, and its own exit code, and
/// `\t` is no tab in it.
///
/// # Errors
/// A template that cannot be read.
pub(crate) fn parse_for(words: &str, template: &str) -> Result<Template> {
    Template::parse(template)
        .map_err(|error| Error::new(format!("{words}{error}")).with_code(EXIT_BAD_FORMAT))
}

fn failed(error: super::template::TemplateError) -> Error {
    Error::new(format!("{BAD_TEMPLATE}{error}"))
}

/// A row of a list.
pub(crate) fn row(
    kind: &'static str,
    fields: Vec<(&str, String)>,
    labels: Vec<(String, String)>,
) -> Value {
    let fields = fields
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Value::text(text)));
    Value::Object(std::rc::Rc::new(Object {
        kind: Kind::Row(kind),
        fields: fields.collect(),
        labels,
    }))
}

/// A row of a list whose fields are not all text.
pub(crate) fn typed_row(kind: &'static str, fields: Vec<(&str, Value)>) -> Value {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Value::object(Kind::Row(kind), fields.collect())
}

/// `a=b,c=d`
pub(crate) fn joined(labels: &[(String, String)]) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// A text cut to `length` characters, the last of which says so.
pub(crate) fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(format: &str) -> Result<String> {
        let listing = Listing {
            format,
            table: "{{.ID}}\t{{.Name}}",
            headings: &[("ID", "THING ID"), ("Name", "NAME")],
        };
        let labels = vec![("com.x.long-name".to_owned(), "v".to_owned())];
        listing.render(&[row(
            "*formatter.volumeContext",
            vec![("Name", "n".into()), ("ID", "1".into())],
            labels,
        )])
    }

    #[test]
    fn forms_of_format() {
        assert_eq!(listing("").unwrap(), "THING ID   NAME\n1          n\n");
        assert_eq!(listing("table").unwrap(), "THING ID   NAME\n1          n\n");
        assert_eq!(
            listing("table {{.Name}}\\t{{.ID}}").unwrap(),
            "NAME      THING ID\nn         1\n"
        );
        assert_eq!(listing("{{.ID}}\\t{{json .Name}}").unwrap(), "1\t\"n\"\n");
        assert_eq!(listing(" table {{.ID}}").unwrap(), "table 1\n");
        assert_eq!(listing("json ").unwrap(), "json\n");
        assert_eq!(listing("table ").unwrap(), "\n\n");
        assert_eq!(
            listing("table {{range split .Name \",\"}}{{.}}{{end}}").unwrap(),
            "\nn\n"
        );
        assert_eq!(listing("json").unwrap(), "{\"ID\":\"1\",\"Name\":\"n\"}\n");
        assert_eq!(
            listing("{{json .}}").unwrap(),
            "{\"ID\":\"1\",\"Name\":\"n\"}\n"
        );
        assert_eq!(
            listing("table {{json .ID}} {{.Label \"com.x.long-name\"}}").unwrap(),
            "THING ID long name\n\"1\" v\n"
        );
        assert_eq!(
            listing("table {{.Name}} {{json .}}").unwrap(),
            "NAME \nn {\"ID\":\"1\",\"Name\":\"n\"}\n"
        );
        assert_eq!(
            listing("table  {{.Nope}}").unwrap_err().message(),
            "template parsing error: template: :1:9: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.volumeContext"
        );
        assert_eq!(
            listing("{{.Foo").unwrap_err().message(),
            "template parsing error: template: :1:6: unclosed action"
        );
    }

    #[test]
    fn texts_are_cut() {
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
    }
}
