//! Go's template functions and those Docker adds.

use std::cmp::Ordering;

use super::print;
use super::value::{Kind, Value};

/// Nobody pads a text by more blanks; Go ends for want of memory then.
const PAD_MAX: usize = 1 << 20;

/// A value, or why there is none.
type Outcome = Result<Value, String>;

const NAMES: [&str; 27] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js",
    "urlquery", "call", "eq", "ne", "lt", "le", "gt", "ge", "json", "split", "join", "title",
    "lower", "upper", "pad", "truncate",
];

/// What templates of plugins' hints may ask besides, of the command they follow.
const HOOKS: [&str; 2] = ["flag", "arg"];

/// Docker's functions that give headings back as they are.
const OF_HEADINGS: [&str; 7] = [
    "json", "split", "join", "title", "lower", "upper", "truncate",
];

/// What a function takes in a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    Any,
    Text,
    Int,
    Texts,
}

impl Parameter {
    /// Go's name of the type.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Any => "reflect.Value",
            Self::Text => "string",
            Self::Int => "int",
            Self::Texts => "[]string",
        }
    }
}

/// What a function takes: so many, and as many more as one likes if it has a rest.
pub(super) struct Signature {
    fixed: &'static [Parameter],
    pub(super) rest: Option<Parameter>,
}

impl Signature {
    /// What it takes in a place.
    pub(super) fn at(&self, place: usize) -> Parameter {
        let fixed = self.fixed.get(place).copied();
        fixed.or(self.rest).unwrap_or(Parameter::Any)
    }

    /// How many it wants, if it cannot be called with so many.
    pub(super) fn misses(&self, count: usize) -> Option<String> {
        let want = self.fixed.len();
        match self.rest {
            Some(_) => (count < want).then(|| format!("at least {want}")),
            None => (count != want).then(|| want.to_string()),
        }
    }
}

/// What a function takes; over headings Docker's take other things.
pub(super) fn signature(name: &str, is_heading: bool) -> Signature {
    use Parameter::{Any, Int, Text, Texts};
    let (fixed, has_rest): (&'static [Parameter], bool) = match name {
        "json" if is_heading => (&[Text], false),
        "join" if is_heading => (&[Text, Text], false),
        "print" | "println" | "html" | "js" | "urlquery" => (&[], true),
        "and" | "or" | "call" | "index" | "slice" | "eq" => (&[Any], true),
        "printf" => (&[Text], true),
        "not" | "len" | "json" => (&[Any], false),
        "ne" | "lt" | "le" | "gt" | "ge" => (&[Any, Any], false),
        "split" => (&[Text, Text], false),
        "join" => (&[Texts, Text], false),
        "pad" => (&[Text, Int, Int], false),
        "truncate" => (&[Text, Int], false),
        "flag" => (&[Any, Text], false),
        "arg" => (&[Any, Int], false),
        _ => (&[Text], false),
    };
    Signature {
        fixed,
        rest: has_rest.then_some(Any),
    }
}

/// Whether a plugin's hint may call the function.
pub(super) fn is_hooks(name: &str) -> bool {
    HOOKS.contains(&name)
}

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether the function gives a heading back as it is.
pub(super) fn is_left_in_headings(name: &str) -> bool {
    OF_HEADINGS.contains(&name)
}

/// Calls a function with arguments that its [`signature`] allows; `texts` is how they are written.
pub(super) fn call(name: &str, arguments: &[Value], texts: &[&str]) -> Outcome {
    match (name, arguments) {
        ("and" | "or", [.., last]) => Ok(last.clone()),
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => Ok(Value::text(sprint(values))),
        ("println", values) => Ok(Value::text(sprintln(values))),
        ("printf", [Value::Text(format), rest @ ..]) => {
            Ok(Value::text(print::printf(format, rest)))
        }
        ("html", values) => Ok(Value::text(html(&plain(values)))),
        ("js", values) => Ok(Value::text(javascript(&plain(values)))),
        ("urlquery", values) => Ok(Value::text(url_query(&plain(values)))),
        ("call", [Value::Missing, ..]) => Err("call of nil".to_owned()),
        ("call", [value, ..]) => {
            let shown = texts.first().copied().unwrap_or_default();
            let kind = value.type_name();
            Err(format!("non-function {shown} of type {kind}"))
        }
        ("eq", [left, rest @ ..]) => any_equal(left, rest).map(Value::Bool),
        ("ne", [left, right]) => equal(left, right).map(|is_equal| Value::Bool(!is_equal)),
        ("lt" | "le" | "gt" | "ge", [left, right]) => ordered(name, left, right).map(Value::Bool),
        ("flag" | "arg", [command, key]) => of_command(name, command, key),
        _ => docker(name, arguments),
    }
}

/// A flag or an operand of the command a hint follows.
fn of_command(name: &str, command: &Value, key: &Value) -> Outcome {
    match (name, key) {
        ("flag", Value::Text(flag)) => {
            let flags = command.field("flags");
            let found = flags.and_then(|flags| flags.field(flag)).cloned();
            found.ok_or_else(|| "failed to parse hook template".to_owned())
        }
        (_, Value::Int(at)) => {
            let Some(Value::List(Some(operands))) = command.field("args") else {
                return Ok(Value::text(""));
            };
            let at = usize::try_from(*at).ok();
            let found = at.and_then(|at| operands.get(at)).cloned();
            Ok(found.unwrap_or_else(|| Value::text("")))
        }
        _ => Ok(Value::text("")),
    }
}

fn docker(name: &str, arguments: &[Value]) -> Outcome {
    Ok(match (name, arguments) {
        ("json", [Value::Complex(..)]) => {
            return Err("json: unsupported type: complex128".to_owned());
        }
        ("json", [value]) => Value::text(value.to_json()),
        ("split", [Value::Text(text), Value::Text(separator)]) => split(text, separator),
        ("join", [list, Value::Text(separator)]) => join(list, separator),
        ("title", [Value::Text(text)]) => Value::text(title(text)),
        ("lower", [Value::Text(text)]) => Value::text(text.to_lowercase()),
        ("upper", [Value::Text(text)]) => Value::text(text.to_uppercase()),
        ("pad", [Value::Text(text), Value::Int(before), Value::Int(after)]) => {
            pad(text, *before, *after)?
        }
        ("truncate", [Value::Text(text), Value::Int(length)]) => truncate(text, *length)?,
        _ => Value::Missing,
    })
}

fn pad(text: &str, before: i64, after: i64) -> Outcome {
    let blanks = |count: i64| match usize::try_from(count) {
        Ok(count) if count <= PAD_MAX => Ok(" ".repeat(count)),
        Ok(_) => Err("strings: Repeat output length overflow".to_owned()),
        Err(_) => Err("strings: negative Repeat count".to_owned()),
    };
    match text {
        "" => Ok(Value::text("")),
        text => Ok(Value::text(format!(
            "{}{text}{}",
            blanks(before)?,
            blanks(after)?
        ))),
    }
}

/// Cuts to so many bytes: what is left of a character that was cut through is not shown.
fn truncate(text: &str, length: i64) -> Outcome {
    let size = usize::try_from(length)
        .map_err(|_| format!("runtime error: slice bounds out of range [:{length}]"))?;
    let bytes = text.as_bytes();
    let cut = bytes.get(..size).unwrap_or(bytes);
    Ok(Value::text(String::from_utf8_lossy(cut)))
}

fn length(value: &Value) -> Outcome {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.as_ref().map_or(0, |values| values.len()),
        // An answer's null stands for a slice or a map that is nil.
        Value::Nil => 0,
        Value::Object(object) if !matches!(object.kind, Kind::Row(_)) => object.fields.len(),
        Value::Missing => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        other => {
            // Of a pointer it is what that points to.
            let kind = other.type_name().trim_start_matches('*');
            return Err(format!("len of type {kind}"));
        }
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(value: &Value, keys: &[Value]) -> Outcome {
    if *value == Value::Missing {
        return Err("index of untyped nil".to_owned());
    }
    keys.iter()
        .try_fold(value.clone(), |value, key| element(&value, key))
}

/// A place in something of so many: from none to all of them.
fn place(key: &Value, whole: usize) -> Result<usize, String> {
    match key {
        Value::Int(at) => usize::try_from(*at)
            .ok()
            .filter(|at| *at <= whole)
            .ok_or_else(|| format!("index out of range: {at}")),
        Value::Missing => Err("cannot index slice/array with nil".to_owned()),
        other => {
            let kind = other.type_name();
            Err(format!("cannot index slice/array with type {kind}"))
        }
    }
}

fn element(value: &Value, key: &Value) -> Outcome {
    match (value, key) {
        (Value::List(values), key) => {
            let values = values.as_ref().map_or(&[][..], |values| values.as_slice());
            let found = values.get(place(key, values.len())?);
            let none = || "reflect: slice index out of range".to_owned();
            found.cloned().ok_or_else(none)
        }
        (Value::Text(text), key) => {
            let found = text.as_bytes().get(place(key, text.len())?);
            let none = || "reflect: string index out of range".to_owned();
            found
                .map(|byte| Value::Int(i64::from(*byte)))
                .ok_or_else(none)
        }
        (Value::Object(object), Value::Text(key)) if object.kind == Kind::Raw => {
            Ok(object.get(key).cloned().unwrap_or_default())
        }
        (Value::Object(object), Value::Text(key)) if is_map(object.kind) => {
            let neighbour = object.fields.first().map(|(_, value)| value);
            let found = object.get(key).cloned();
            Ok(found.unwrap_or_else(|| zero_like(neighbour)))
        }
        (Value::Missing | Value::Nil, _) => Err("index of untyped nil".to_owned()),
        (Value::Object(object), Value::Missing) if is_map(object.kind) => {
            Err("value is nil; should be of type string".to_owned())
        }
        (Value::Object(object), other) if is_map(object.kind) => {
            let kind = other.type_name();
            Err(format!("value has type {kind}; should be string"))
        }
        (other, _) => {
            let kind = other.type_name().trim_start_matches('*');
            Err(format!("can't index item of type {kind}"))
        }
    }
}

fn is_map(kind: Kind) -> bool {
    matches!(kind, Kind::Map | Kind::NilMap | Kind::Raw)
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

fn slice(value: &Value, bounds: &[Value]) -> Outcome {
    if *value == Value::Missing {
        return Err("slice of untyped nil".to_owned());
    }
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let whole = match value {
        Value::Text(_) if bounds.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::Text(text) => text.len(),
        Value::List(values) => values.as_ref().map_or(0, |values| values.len()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut ends = [0, whole, whole];
    for (end, bound) in ends.iter_mut().zip(bounds) {
        *end = place(bound, whole)?;
    }
    let [from, to, most] = ends;
    for (low, high) in [(from, to), (to, most)] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    Ok(match value {
        Value::Text(text) => Value::text(String::from_utf8_lossy(&text.as_bytes()[from..to])),
        Value::List(Some(values)) => Value::list(values[from..to].to_vec()),
        _ => Value::List(None),
    })
}

/// What Go's functions for other languages work on: nothing has words there.
fn plain(arguments: &[Value]) -> String {
    let told = |value: &Value| match value {
        Value::Missing => Value::text("<no value>"),
        other => other.clone(),
    };
    sprint(&arguments.iter().map(told).collect::<Vec<_>>())
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
            other if other.is_ascii() || print::is_printable(other) => out.push(other),
            other => out.push_str(&format!("\\u{:04X}", u32::from(other))),
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

const INCOMPATIBLE: &str = "incompatible types for comparison";

fn any_equal(left: &Value, rest: &[Value]) -> Result<bool, String> {
    if rest.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for right in rest {
        if equal(left, right)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    let is_missing = |value: &Value| *value == Value::Missing;
    #[expect(clippy::float_cmp, reason = "Go compares them exactly")]
    Ok(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Float(left), Value::Float(right)) => left == right,
        (Value::Complex(..), Value::Complex(..)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        (left, right) if is_basic(left) || is_basic(right) => {
            match is_missing(left) || is_missing(right) {
                true => false,
                false => return Err(INCOMPATIBLE.to_owned()),
            }
        }
        (left, right) if left.is_nil() || right.is_nil() => left.is_nil() == right.is_nil(),
        // Rows are pointers, which are compared as such.
        (Value::Object(left), Value::Object(right)) if matches!(right.kind, Kind::Row(_)) => {
            std::rc::Rc::ptr_eq(left, right)
        }
        (Value::Object(left), Value::Object(right))
            if (left.kind, right.kind) == (Kind::Struct, Kind::Struct) =>
        {
            left == right
        }
        (_, right) => {
            let (shown, kind) = (print::value(right), right.type_name());
            return Err(format!("non-comparable type {shown}: {kind}"));
        }
    })
}

/// Whether Go's functions of comparison know the kind.
fn is_basic(value: &Value) -> bool {
    matches!(
        value,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Complex(..) | Value::Text(_)
    )
}

fn ordered(name: &str, left: &Value, right: &Value) -> Result<bool, String> {
    if !is_basic(left) || !is_basic(right) {
        return Err("invalid type for comparison".to_owned());
    }
    let ordering = match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(_), Value::Bool(_)) | (Value::Complex(..), Value::Complex(..)) => {
            return Err("invalid type for comparison".to_owned());
        }
        _ => return Err(INCOMPATIBLE.to_owned()),
    };
    Ok(match name {
        "lt" => ordering == Some(Ordering::Less),
        "le" => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        "gt" => ordering == Some(Ordering::Greater),
        _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return Value::list(text.chars().map(|c| Value::text(c.to_string())).collect());
    }
    Value::list(text.split(separator).map(Value::text).collect())
}

fn join(list: &Value, separator: &str) -> Value {
    let Value::List(Some(values)) = list else {
        return Value::text("");
    };
    let parts: Vec<String> = values.iter().map(print::value).collect();
    Value::text(parts.join(separator))
}

/// Capitalises the first letter of every word.
fn title(text: &str) -> String {
    let parts_words = |character: char| match character {
        '_' => false,
        _ if character.is_ascii() => !character.is_ascii_alphanumeric(),
        _ => character.is_whitespace(),
    };
    let mut previous = ' ';
    let mut out = String::new();
    for character in text.chars() {
        match parts_words(previous) {
            true => out.extend(character.to_uppercase()),
            false => out.push(character),
        }
        previous = character;
    }
    out
}
