//! `--json`: what programs should read. Each command that takes it says once what it prints, its [`Shape`]; the rows are
//! made with the same table of fields, and `help json` and docs/json.md are printed from it.
//!
//! Figures are numbers, points in time are RFC 3339 in UTC, what is not known is null. Texts for people stay out, unless
//! they have a name of their own that says so.

use serde_json::Value as Json;

use super::table::COMMANDS;
use super::{About, Command, usage_line};
use crate::error::{Error, Result, Usage};
use crate::flags::{FlagSet, Parsed};
use crate::ui;

/// What a command prints with `--json`.
pub(crate) enum Shape {
    /// One array of objects.
    Array(&'static [Field]),
    /// One object.
    Object(&'static [Field]),
    /// An object a line, as they come.
    Lines(&'static [Field]),
    /// What this sentence says; the command itself does it.
    Told(&'static str),
    /// What this sentence says: the same as with `--format json`.
    Formatted(&'static str),
}

/// A field of an object: its name, what its value is, and what that tells.
pub(crate) struct Field(
    pub(crate) &'static str,
    pub(crate) Kind,
    pub(crate) &'static str,
);

/// What the value of a field is, if it is not null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// A number of bytes.
    Bytes,
    /// RFC 3339, in UTC.
    Time,
    Truth,
    /// An array of texts.
    Texts,
    /// An object whose values are texts.
    Map,
    /// An array of objects.
    Objects,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Bytes => "bytes",
            Self::Time => "time",
            Self::Truth => "true or false",
            Self::Texts => "texts",
            Self::Map => "map of texts",
            Self::Objects => "objects",
        }
    }

    fn fits(self, value: &Json) -> bool {
        value.is_null()
            || match self {
                Self::Text => value.is_string(),
                Self::Number => value.is_number(),
                Self::Bytes => value.is_u64(),
                Self::Time => value
                    .as_str()
                    .is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
                Self::Truth => value.is_boolean(),
                Self::Texts => value
                    .as_array()
                    .is_some_and(|values| values.iter().all(Json::is_string)),
                Self::Map => value
                    .as_object()
                    .is_some_and(|object| object.values().all(Json::is_string)),
                Self::Objects => value
                    .as_array()
                    .is_some_and(|values| values.iter().all(Json::is_object)),
            }
    }
}

/// The object with these fields, its values in the same order.
pub(crate) fn row<const N: usize>(fields: &[Field; N], values: [Json; N]) -> Json {
    let named = fields
        .iter()
        .zip(values)
        .map(|(Field(name, kind, _), value)| {
            debug_assert!(kind.fits(&value), "{name} is no {}: {value}", kind.name());
            ((*name).to_owned(), value)
        });
    Json::Object(named.collect())
}

/// Prints one array.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn array(rows: impl IntoIterator<Item = Json>) -> Result<u8> {
    let rows: Vec<Json> = rows.into_iter().collect();
    ui::line(&Json::from(rows).to_string())?;
    Ok(0)
}

/// Prints one object on a line.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn object(object: &Json) -> Result<u8> {
    ui::line(&object.to_string())?;
    Ok(0)
}

/// A number of bytes; less than none is not known.
pub(crate) fn bytes(count: impl TryInto<u64>) -> Json {
    count.try_into().ok().map_or(Json::Null, Json::from)
}

/// A text; an empty one is not known.
pub(crate) fn known(text: &str) -> Json {
    match text {
        "" => Json::Null,
        text => text.into(),
    }
}

/// A point in time from the API's text; the year 1 is never.
pub(crate) fn time(text: &str) -> Json {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) if time.as_second() > NEVER => time.to_string().into(),
        _ => Json::Null,
    }
}

/// A point in time from seconds since the epoch; the year 1 is never.
pub(crate) fn seconds(seconds: i64) -> Json {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) if seconds > NEVER => time.to_string().into(),
        _ => Json::Null,
    }
}

/// The last second of the year 1, in which Go's times that were never set lie.
const NEVER: i64 = -62_104_060_801;

/// A map of texts; without one, an empty one.
pub(crate) fn map(labels: Option<&std::collections::BTreeMap<String, String>>) -> Json {
    let pairs = labels.into_iter().flatten();
    Json::Object(
        pairs
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect(),
    )
}

/// Adds the flag.
pub(super) fn offer<'a>(set: &mut FlagSet<'a>, wanted: &'a mut bool) {
    if !set.has("json") {
        set.own(
            "json",
            "",
            "Print as JSON, for programs (see 'hull help json')",
            wanted,
        );
    }
}

/// Flags that say what is printed: beside any of them `--json` would have to win or lose in silence.
const RIVALS: [&str; 14] = [
    "format",
    "quiet",
    "tree",
    "services",
    "short",
    "details",
    "environment",
    "hash",
    "images",
    "models",
    "networks",
    "profiles",
    "variables",
    "volumes",
];

/// Refuses the flag beside another that says what is printed.
///
/// # Errors
/// That it stands beside one.
pub(super) fn stands_alone(parsed: &Parsed, full: &str, about: &About) -> Result<()> {
    let mut given = parsed.given.iter().filter(|flag| flag.is_changed);
    let is_off = |text: &str| crate::flags::parse_bool(text) == Ok(false);
    let rival =
        given.find(|flag| RIVALS.contains(&flag.long) && !(flag.is_switch && is_off(&flag.text)));
    let Some(rival) = rival else {
        return Ok(());
    };
    Err(Error::Usage(Usage {
        message: format!(
            "conflicting options: cannot specify both --json and --{}",
            rival.long
        ),
        suggestion: None,
        usage: usage_line(full, about),
        pointer: format!("Run '{full} --help' for more information"),
        code: 125,
    }))
}

/// The command line with what the flag stands for, where it stands for a format.
pub(super) fn spelled_out<C: Command>(arguments: &[String]) -> Option<Vec<String>> {
    matches!(C::JSON, Some(Shape::Formatted(_)))
        .then(|| [&["--format=json".to_owned()], arguments].concat())
}

const OPENING: &str = "\
# What --json prints

`--json`, on each command below, is what programs should read. It prints one array, one object, or one
object a line where there may be no end. Ids are whole and nothing is cut. Figures are numbers; sizes are bytes; a time is
RFC 3339 in UTC; what is not known is null. Fields are only ever added, and never change what they mean.

It stands for itself: beside `--format` or `--quiet` it is refused. This page is printed by `hull help json`.
";

/// The whole description.
pub(super) fn document() -> String {
    let mut text = OPENING.to_owned();
    for (about, shape) in described() {
        let name = about.names.first().copied().unwrap_or_default();
        text.push_str(&format!("\n## hull {name}\n"));
        let fields = match shape {
            Shape::Array(fields) => {
                text.push_str("One array of objects:\n");
                fields
            }
            Shape::Object(fields) => {
                text.push_str("One object:\n");
                fields
            }
            Shape::Lines(fields) => {
                text.push_str("One object a line, as they come:\n");
                fields
            }
            Shape::Told(sentence) | Shape::Formatted(sentence) => {
                text.push_str(&format!("{sentence}\n"));
                continue;
            }
        };
        text.push_str(&rows(fields));
    }
    text
}

/// Commands that take the flag, with what they print, by their names.
fn described() -> Vec<(&'static About, &'static Shape)> {
    let entries = COMMANDS.iter();
    let mut list: Vec<_> = entries
        .filter_map(|entry| Some((entry.about, entry.json?)))
        .collect();
    list.sort_by_key(|(about, _)| about.names.first());
    list
}

fn rows(fields: &[Field]) -> String {
    let width =
        |of: fn(&Field) -> usize| fields.iter().map(of).max().unwrap_or(0).max("field".len());
    // No narrower than the heading.
    let (names, kinds) = (
        width(|field| field.0.len()),
        width(|field| field.1.name().len()),
    );
    let mut text = format!("\n| {:names$} | {:kinds$} | |\n", "field", "");
    let line = |width: usize| "-".repeat(width + 2);
    text.push_str(&format!("|{}|{}|-|\n", line(names), line(kinds)));
    for Field(name, kind, what) in fields {
        text.push_str(&format!(
            "| {name:names$} | {:kinds$} | {what} |\n",
            kind.name()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_has_a_format_or_lists_takes_the_flag() {
        for entry in COMMANDS {
            let name = entry.about.names.first().copied().unwrap();
            let last = name.rsplit(' ').next().unwrap();
            let lists = [
                "ls", "inspect", "port", "diff", "top", "logs", "events", "fsck", "audit",
            ];
            let has_format = (entry.flags)().iter().any(|flag| flag.long == "format");
            let is_ours = !name.starts_with("compose ") || has_format;
            if is_ours && (lists.contains(&last) || has_format) {
                assert!(entry.json.is_some(), "{name}");
            }
        }
    }

    #[test]
    fn the_page_in_docs_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/json.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        let is_true = written == document();
        assert!(is_true, "docs/json.md differs; UPDATE_GOLDEN=1 rewrites it");
    }

    #[test]
    fn what_is_not_known_is_null() {
        assert_eq!(bytes(-1_i64), Json::Null);
        assert_eq!(bytes(0_i64), Json::from(0));
        assert_eq!(time("0001-01-01T00:00:00Z"), Json::Null);
        assert_eq!(time("2024-05-30T14:07:14+02:00"), "2024-05-30T12:07:14Z");
        assert_eq!(seconds(-62_135_596_800), Json::Null);
        assert_eq!(seconds(0), "1970-01-01T00:00:00Z");
    }
}
