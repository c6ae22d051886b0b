//! JSON as Go's encoder writes it.

use super::Out;
use crate::node::float_text;

/// On several lines, two blanks a level. Letters that HTML knows are escaped here, too.
pub(super) fn pretty(out: &Out) -> String {
    let mut text = String::new();
    write(out, &mut text, Some(0));
    text
}

/// On one line, with the letters escaped that HTML knows.
pub(super) fn compact(out: &Out) -> String {
    let mut text = String::new();
    write(out, &mut text, None);
    text
}

fn write(out: &Out, text: &mut String, level: Option<usize>) {
    match out {
        Out::Null => text.push_str("null"),
        Out::Bool(yes) => text.push_str(&yes.to_string()),
        Out::Int(number) => text.push_str(&number.to_string()),
        Out::Float(number) => text.push_str(&float_text(*number)),
        Out::Text(value) => string(value, text),
        Out::List(items) if items.is_empty() => text.push_str("[]"),
        Out::Map(entries) if entries.is_empty() => text.push_str("{}"),
        Out::List(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                separate(text, level, number > 0);
                write(item, text, level.map(|level| level + 1));
            }
            close(text, level, ']');
        }
        Out::Map(entries) => {
            text.push('{');
            for (number, (key, value)) in entries.iter().enumerate() {
                separate(text, level, number > 0);
                string(key, text);
                text.push_str(if level.is_some() { ": " } else { ":" });
                write(value, text, level.map(|level| level + 1));
            }
            close(text, level, '}');
        }
    }
}

fn separate(text: &mut String, level: Option<usize>, after_another: bool) {
    if after_another {
        text.push(',');
    }
    if let Some(level) = level {
        text.push('\n');
        text.push_str(&"  ".repeat(level + 1));
    }
}

fn close(text: &mut String, level: Option<usize>, bracket: char) {
    if let Some(level) = level {
        text.push('\n');
        text.push_str(&"  ".repeat(level));
    }
    text.push(bracket);
}

fn string(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter if letter < ' ' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => text.push(letter),
        }
    }
    text.push('"');
}

/// As a value of serde's.
pub(super) fn value(out: &Out) -> serde_json::Value {
    match out {
        Out::Null => serde_json::Value::Null,
        Out::Bool(yes) => (*yes).into(),
        Out::Int(number) => (*number).into(),
        Out::Float(number) => (*number).into(),
        Out::Text(text) => text.as_str().into(),
        Out::List(items) => items.iter().map(value).collect(),
        Out::Map(entries) => entries
            .iter()
            .map(|(key, out)| (key.clone(), value(out)))
            .collect(),
    }
}
