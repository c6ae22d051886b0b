//! Values of options before anybody knows what they mean: JSON under their key.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::table::{Kind, Row};

/// Options by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// Sets a value, or takes it away.
    pub(super) fn replace(&mut self, key: &'static str, value: Option<Value>) {
        match value {
            Some(value) => self.0.insert(key, value),
            None => self.0.remove(key),
        };
    }

    /// Sets a value; lists and maps grow.
    pub(super) fn add(&mut self, key: &'static str, value: Value) {
        match (self.0.get_mut(key), value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            (_, value) => {
                self.0.insert(key, value);
            }
        }
    }
}

/// A value for people: text without quotes, lists in brackets.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!(
                "[{}]",
                items.iter().map(shown).collect::<Vec<_>>().join(" ")
            )
        }
        other => other.to_string(),
    }
}

/// The text behind a flag as a value of the option's kind.
pub(super) fn from_text(row: &Row, text: &str) -> Result<Value, String> {
    let refused = |reason: &str| {
        Err(format!(
            "invalid argument {text:?} for \"--{}\" flag: {reason}",
            row.flag
        ))
    };
    Ok(match row.kind {
        Kind::Switch => match text {
            "true" | "1" | "t" | "T" | "TRUE" | "True" => json!(true),
            "false" | "0" | "f" | "F" | "FALSE" | "False" => json!(false),
            _ => return refused("invalid syntax"),
        },
        Kind::Number => match text.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => return refused("invalid syntax"),
        },
        Kind::Text | Kind::Size => json!(text),
        Kind::List => json!([text]),
        Kind::Map => match text.split_once('=') {
            Some((name, value)) => json!({ name: value }),
            None => json!({ text: "" }),
        },
        Kind::Switches => match text.split_once('=') {
            Some((name, value)) => json!({ name: value == "true" || value == "1" }),
            None => json!({ text: true }),
        },
        Kind::Runtimes => match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                json!({ name: { "path": path } })
            }
            _ => return refused("runtime should have the form name=path"),
        },
        Kind::NetworkOptions => match text.split('=').collect::<Vec<_>>()[..] {
            [driver, name, value] => json!({ driver: { name: value } }),
            _ => return refused("must be of the form driver=option=value"),
        },
        Kind::Pools => {
            return pool(text)
                .map(|pool| json!([pool]))
                .or_else(|r| refused(&r));
        }
        Kind::Limits => return limit(text).or_else(|reason| refused(&reason)),
        Kind::Object => match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(object) => Value::Object(object),
            Err(_) => pairs(text),
        },
    })
}

/// `enable=true,socket-path=/x`.
fn pairs(text: &str) -> Value {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let typed = |value: &str| match value {
        "true" => json!(true),
        "false" => json!(false),
        other => json!(other),
    };
    Value::Object(
        pairs
            .map(|(name, value)| (name.to_owned(), typed(value)))
            .collect(),
    )
}

/// `base=10.0.0.0/8,size=24`.
fn pool(text: &str) -> Result<Value, String> {
    let (mut base, mut size) = (None, None);
    for pair in text.split(',') {
        match pair.split_once('=') {
            Some(("base", value)) => base = Some(value),
            Some(("size", value)) => {
                size = Some(
                    value
                        .parse::<u8>()
                        .map_err(|_| format!("invalid size value: {value}"))?,
                );
            }
            _ => return Err(format!("invalid field '{pair}' must be base or size")),
        }
    }
    match (base, size) {
        (Some(base), Some(size)) => Ok(json!({ "base": base, "size": size })),
        _ => Err("base and size are both needed".to_owned()),
    }
}

/// `nofile=1024:2048`, `nofile=1024`.
fn limit(text: &str) -> Result<Value, String> {
    let invalid = || format!("invalid ulimit argument: {text}");
    let (name, numbers) = text.split_once('=').ok_or_else(invalid)?;
    let (soft, hard) = numbers.split_once(':').unwrap_or((numbers, numbers));
    let number = |text: &str| text.parse::<i64>().map_err(|_| invalid());
    Ok(json!({ name: { "Name": name, "Soft": number(soft)?, "Hard": number(hard)? } }))
}

/// Whether a value of the file is of the option's kind.
pub(super) fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Switch => value.is_boolean(),
        Kind::Number => value.is_i64(),
        Kind::Text => value.is_string(),
        Kind::Size => value.is_string() || value.is_i64(),
        Kind::List => value
            .as_array()
            .is_some_and(|items| items.iter().all(Value::is_string)),
        Kind::Pools => value.is_array(),
        Kind::Map => value
            .as_object()
            .is_some_and(|map| map.values().all(Value::is_string)),
        Kind::Switches => value
            .as_object()
            .is_some_and(|map| map.values().all(Value::is_boolean)),
        Kind::Runtimes | Kind::NetworkOptions | Kind::Limits | Kind::Object => value.is_object(),
    }
}
