//! Go's template functions and those Docker adds.

use std::cmp::Ordering;

use super::print;
use super::value::{Kind, Value};

/// Why a call did not work.
pub(super) enum Failure {
    Arguments { want: String },
    Call(String),
}

type Outcome = Result<Value, Failure>;

const NAMES: [&str; 27] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js",
    "urlquery", "call", "eq", "ne", "lt", "le", "gt", "ge", "json", "split", "join", "title",
    "lower", "upper", "pad", "truncate",
];

/// What templates of plugins' hints may ask besides, of the command they follow.
const HOOKS: [&str; 2] = ["flag", "arg"];

/// Whether a plugin's hint may call the function.
pub(super) fn is_hooks(name: &str) -> bool {
    HOOKS.contains(&name)
}

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether Docker added the function.
pub(super) fn is_dockers(name: &str) -> bool {
    NAMES[19..].contains(&name)
}

pub(super) fn call(name: &str, arguments: &[Value]) -> Outcome {
    match name {
        "and" | "or" => arguments.last().cloned().ok_or_else(|| want("at least 1")),
        "not" => one(arguments).map(|value| Value::Bool(!value.is_true())),
        "len" => length(one(arguments)?),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => Ok(Value::text(sprint(arguments))),
        "println" => Ok(Value::text(sprintln(arguments))),
        "printf" => match arguments {
            [Value::Text(format), rest @ ..] => Ok(Value::text(print::printf(format, rest))),
            [] => Err(want("at least 1")),
            [other, ..] => Err(wrong_type(other, "string")),
        },
        "html" => Ok(Value::text(html(&sprint(arguments)))),
        "js" => Ok(Value::text(javascript(&sprint(arguments)))),
        "urlquery" => Ok(Value::text(url_query(&sprint(arguments)))),
        "call" => Err(Failure::Call("call of non-function".into())),
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => compare(name, arguments),
        "flag" | "arg" => of_command(name, arguments),
        _ => docker(name, arguments),
    }
}

/// A flag or an operand of the command a hint follows.
fn of_command(name: &str, arguments: &[Value]) -> Outcome {
    let [command, key] = arguments else {
        return Err(want("2"));
    };
    match (name, key) {
        ("flag", Value::Text(flag)) => {
            let flags = command.field("flags");
            let found = flags.and_then(|flags| flags.field(flag)).cloned();
            found.ok_or_else(|| Failure::Call("failed to parse hook template".into()))
        }
        ("arg", Value::Int(at)) => {
            let Some(Value::List(Some(operands))) = command.field("args") else {
                return Ok(Value::text(""));
            };
            let at = usize::try_from(*at).ok();
            let found = at.and_then(|at| operands.get(at)).cloned();
            Ok(found.unwrap_or_else(|| Value::text("")))
        }
        ("flag", other) => Err(wrong_type(other, "string")),
        (_, other) => Err(wrong_type(other, "int")),
    }
}

fn docker(name: &str, arguments: &[Value]) -> Outcome {
    Ok(match (name, arguments) {
        ("json", [value]) => Value::text(value.to_json()),
        ("split", [Value::Text(text), Value::Text(separator)]) => split(text, separator),
        ("join", [list, Value::Text(separator)]) => join(list, separator)?,
        ("title", [Value::Text(text)]) => Value::text(title(text)),
        ("lower", [Value::Text(text)]) => Value::text(text.to_lowercase()),
        ("upper", [Value::Text(text)]) => Value::text(text.to_uppercase()),
        ("pad", [Value::Text(text), Value::Int(before), Value::Int(after)]) => {
            let blanks = |count: i64| {
                let count = usize::try_from(count);
                let bad = |_| Failure::Call("strings: negative Repeat count".into());
                count.map(|count| " ".repeat(count)).map_err(bad)
            };
            match &**text {
                "" => Value::text(""),
                text => Value::text(format!("{}{text}{}", blanks(*before)?, blanks(*after)?)),
            }
        }
        ("truncate", [Value::Text(text), Value::Int(length)]) => {
            let length = usize::try_from(*length).map_err(|_| {
                let why = format!("runtime error: slice bounds out of range [:{length}]");
                Failure::Call(why)
            })?;
            Value::text(text.chars().take(length).collect::<String>())
        }
        ("json" | "title" | "lower" | "upper", list) if list.len() != 1 => return Err(want("1")),
        ("split" | "join" | "truncate", list) if list.len() != 2 => return Err(want("2")),
        ("pad", list) if list.len() != 3 => return Err(want("3")),
        ("pad" | "truncate", [text @ Value::Text(_), other, ..]) => {
            let other = if text == other { text } else { other };
            return Err(wrong_type(other, "int"));
        }
        (_, list) => {
            let wrong = list.iter().find(|value| !matches!(value, Value::Text(_)));
            return Err(wrong_type(wrong.unwrap_or(&Value::Nil), "string"));
        }
    })
}

fn want(want: &str) -> Failure {
    Failure::Arguments {
        want: want.to_owned(),
    }
}

fn wrong_type(value: &Value, expected: &str) -> Failure {
    let got = value.type_name();
    Failure::Call(format!(
        "wrong type for value; expected {expected}; got {got}"
    ))
}

fn one(arguments: &[Value]) -> Result<&Value, Failure> {
    match arguments {
        [value] => Ok(value),
        _ => Err(want("1")),
    }
}

fn length(value: &Value) -> Outcome {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.as_ref().map_or(0, |values| values.len()),
        // An answer's null stands for a slice or a map that is nil.
        Value::Nil => 0,
        Value::Object(object) if !matches!(object.kind, Kind::Row(_)) => object.fields.len(),
        Value::Missing => return Err(Failure::Call("len of nil pointer".into())),
        other => return Err(Failure::Call(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(arguments: &[Value]) -> Outcome {
    let [value, keys @ ..] = arguments else {
        return Err(want("at least 1"));
    };
    keys.iter()
        .try_fold(value.clone(), |value, key| element(&value, key))
}

fn element(value: &Value, key: &Value) -> Outcome {
    match (value, key) {
        (Value::List(values), Value::Int(at)) => {
            let values = values.as_ref().map_or(&[][..], |values| values.as_slice());
            let found = usize::try_from(*at).ok().and_then(|at| values.get(at));
            found
                .cloned()
                .ok_or_else(|| Failure::Call(format!("index out of range: {at}")))
        }
        (Value::Text(text), Value::Int(at)) => {
            let found = usize::try_from(*at)
                .ok()
                .and_then(|at| text.as_bytes().get(at));
            let byte = found.ok_or_else(|| Failure::Call(format!("index out of range: {at}")))?;
            Ok(Value::Int(i64::from(*byte)))
        }
        (Value::Object(object), Value::Text(key)) if object.kind == Kind::Raw => {
            Ok(object.get(key).cloned().unwrap_or_default())
        }
        (Value::Object(object), Value::Text(key)) => Ok(object
            .get(key)
            .cloned()
            .unwrap_or_else(|| zero_like(object.fields.first().map(|(_, value)| value)))),
        (Value::Missing | Value::Nil, _) => Err(Failure::Call("index of untyped nil".into())),
        (Value::List(_) | Value::Text(_), other) => Err(Failure::Call(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        ))),
        (Value::Object(_), other) => Err(Failure::Call(format!(
            "value has type {}; should be string",
            other.type_name()
        ))),
        (other, _) => Err(Failure::Call(format!(
            "can't index item of type {}",
            other.type_name()
        ))),
    }
}

/// Whether a value is a map by ports.
pub(super) fn is_by_port(value: &Value) -> bool {
    let Value::Object(object) = value else {
        return false;
    };
    let is_port = |(key, _): &(String, Value)| port_and_protocol(key).is_some();
    object.kind == Kind::Map && !object.fields.is_empty() && object.fields.iter().all(is_port)
}

/// The parts of `80/tcp`.
pub(super) fn port_and_protocol(key: &str) -> Option<(&str, &str)> {
    let (port, protocol) = key.split_once('/')?;
    let is_known = ["tcp", "udp", "sctp"].contains(&protocol);
    (is_known && port.parse::<u16>().is_ok()).then_some((port, protocol))
}

/// Go gives the zero value of the map's type for a missing key; a neighbour tells the type.
fn zero_like(neighbour: Option<&Value>) -> Value {
    match neighbour {
        None | Some(Value::Text(_)) => Value::text(""),
        Some(Value::List(_)) => Value::List(None),
        Some(Value::Int(_)) => Value::Int(0),
        Some(Value::Bool(_)) => Value::Bool(false),
        Some(_) => Value::Nil,
    }
}

fn slice(arguments: &[Value]) -> Outcome {
    let [value, bounds @ ..] = arguments else {
        return Err(want("at least 1"));
    };
    if bounds.len() > 3 {
        return Err(Failure::Call(format!(
            "too many slice indexes: {}",
            bounds.len()
        )));
    }
    let whole = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.as_ref().map_or(0, |values| values.len()),
        other => {
            return Err(Failure::Call(format!(
                "can't slice item of type {}",
                other.type_name()
            )));
        }
    };
    let bound = |at: usize, otherwise: usize| match bounds.get(at) {
        None => Ok(otherwise),
        Some(Value::Int(number)) => usize::try_from(*number)
            .ok()
            .filter(|number| *number <= whole)
            .ok_or_else(|| Failure::Call(format!("index out of range: {number}"))),
        Some(other) => Err(Failure::Call(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        ))),
    };
    let (from, to) = (bound(0, 0)?, bound(1, whole)?);
    if from > to {
        return Err(Failure::Call(format!("invalid slice index: {from} > {to}")));
    }
    Ok(match value {
        Value::Text(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to])),
        Value::List(Some(values)) => Value::list(values[from..to].to_vec()),
        _ => Value::List(None),
    })
}

/// `fmt.Sprint`: a blank between neighbours of which neither is a string.
fn sprint(arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut previous_is_text = true;
    for (at, value) in arguments.iter().enumerate() {
        let is_text = matches!(value, Value::Text(_));
        if at > 0 && !is_text && !previous_is_text {
            out.push(' ');
        }
        out.push_str(&print::value(value));
        previous_is_text = is_text;
    }
    out
}

fn sprintln(arguments: &[Value]) -> String {
    let parts: Vec<String> = arguments.iter().map(print::value).collect();
    parts.join(" ") + "\n"
}

fn html(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        match character {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
        out
    })
}

fn javascript(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        match character {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => {
                out.push_str(&format!("\\u{:04X}", u32::from(character)));
            }
            other => out.push(other),
        }
        out
    })
}

fn url_query(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

fn compare(name: &str, arguments: &[Value]) -> Outcome {
    let (left, rest) = match arguments {
        [left, rest @ ..] if !rest.is_empty() && (name == "eq" || rest.len() == 1) => (left, rest),
        [_] if name == "eq" => return Err(Failure::Call("missing argument for comparison".into())),
        _ if name == "eq" => return Err(want("at least 1")),
        _ => return Err(want("2")),
    };
    let incompatible = || Failure::Call("incompatible types for comparison".into());
    if name == "eq" || name == "ne" {
        let mut is_equal = false;
        for right in rest {
            is_equal |= equal(left, right).ok_or_else(incompatible)?;
        }
        return Ok(Value::Bool(is_equal == (name == "eq")));
    }
    let ordering = match (left, &rest[0]) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Int(_) | Value::Float(_) | Value::Text(_), _) => return Err(incompatible()),
        _ => return Err(Failure::Call("invalid type for comparison".into())),
    };
    let holds = match name {
        "lt" => ordering == Some(Ordering::Less),
        "le" => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        "gt" => ordering == Some(Ordering::Greater),
        _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    };
    Ok(Value::Bool(holds))
}

fn equal(left: &Value, right: &Value) -> Option<bool> {
    Some(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        #[expect(clippy::float_cmp, reason = "Go compares them exactly")]
        (Value::Float(left), Value::Float(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil) => true,
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => false,
        _ => return None,
    })
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return Value::list(text.chars().map(|c| Value::text(c.to_string())).collect());
    }
    Value::list(text.split(separator).map(Value::text).collect())
}

fn join(list: &Value, separator: &str) -> Outcome {
    let values = match list {
        Value::List(values) => values.as_ref().map_or(&[][..], |values| values.as_slice()),
        other => return Err(wrong_type(other, "[]string")),
    };
    let mut parts = Vec::new();
    for value in values {
        match value {
            Value::Text(text) => parts.push(text.to_string()),
            _ => return Err(wrong_type(list, "[]string")),
        }
    }
    Ok(Value::text(parts.join(separator)))
}

/// Capitalises the first letter of every word.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut out = String::new();
    for character in text.chars() {
        if previous.is_alphanumeric() || previous == '_' || previous == '\'' {
            out.push(character);
        } else {
            out.extend(character.to_uppercase());
        }
        previous = character;
    }
    out
}
