//! The YAML that vendors' generators write: plain trees, without anchors and tags.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// How deep values may lie in one another: a file needs six.
const DEPTH_MAX: usize = 32;

enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// Reads the one document of a text.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let (mut stack, mut document) = (Vec::new(), None);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("this is not YAML: {error}"))?;
        let wrong = |what: &str| Err(format!("line {}: {what}", span.start.line()));
        let value = match event {
            Event::Scalar(text, style, ..) => match style {
                ScalarStyle::Plain => plain(&text),
                _ => Value::String(text.into_owned()),
            },
            Event::SequenceStart(..) | Event::MappingStart(..) if stack.len() >= DEPTH_MAX => {
                return wrong("values lie too deep in one another");
            }
            Event::SequenceStart(..) => {
                stack.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                stack.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(Open::List(items)) => Value::Array(items),
                Some(Open::Map(entries, _)) => Value::Object(entries),
                None => continue,
            },
            Event::Alias(_) => return wrong("aliases are not read here: write it out"),
            Event::DocumentStart(_) if document.is_some() => {
                return wrong("a second document: a file describes one kind of devices");
            }
            _ => continue,
        };
        match stack.last_mut() {
            None => document = Some(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(entries, key)) => match key.take() {
                None => *key = Some(name(value)),
                Some(known) if entries.contains_key(&known) => {
                    return wrong(&format!("the key {known:?} stands here twice"));
                }
                Some(name) => {
                    entries.insert(name, value);
                }
            },
        }
    }
    document.ok_or_else(|| "the file is empty".to_owned())
}

/// A key's text.
fn name(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What a plain scalar means.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    integer(text).map_or_else(|| Value::String(text.to_owned()), Value::from)
}

/// `12`, `-1`, `0x1f`, `0o660`, `0660`: modes are written in any of these.
fn integer(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (radix, digits) = match unsigned.get(..2) {
        Some("0x") => (16, &unsigned[2..]),
        Some("0o") => (8, &unsigned[2..]),
        Some(two) if two.starts_with('0') => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if unsigned.len() == text.len() {
        number
    } else {
        -number
    })
}
