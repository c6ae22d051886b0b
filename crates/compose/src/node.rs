//! The tree a Compose file is read into: values that remember where they were written.
//!
//! Mappings keep the order of the file; they are small, so a key is found by looking at each.

use std::fmt;
use std::sync::Arc;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl Place {
    /// A place in no file.
    pub fn nowhere() -> Self {
        Self {
            file: Arc::from(""),
            line: 0,
            column: 0,
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::nowhere()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}", self.file),
            line => write!(out, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// What a tag asks of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `!reset`: as if it had never been set.
    Reset,
    /// `!override`: this alone counts.
    Override,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub place: Place,
    /// What a merge does with it.
    pub tag: Option<Tag>,
}

/// A YAML value.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A mapping in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Map(pub Vec<Entry>);

/// A key and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

impl Map {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.node)
    }

    /// The value of a key, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.node)
    }

    /// Sets a key; what it had before is given back.
    pub fn set(&mut self, key: &str, node: Node) -> Option<Node> {
        if let Some(old) = self.get_mut(key) {
            return Some(std::mem::replace(old, node));
        }
        self.0.push(Entry {
            key: key.to_owned(),
            place: node.place.clone(),
            node,
        });
        None
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let at = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(at).node)
    }

    /// The text at a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::as_text)
    }

    /// The mapping at a key.
    pub fn map(&self, key: &str) -> Option<&Map> {
        self.get(key).and_then(Node::as_map)
    }

    /// The items of the sequence at a key; none if there is no such key.
    pub fn list(&self, key: &str) -> &[Node] {
        self.get(key).and_then(Node::as_list).unwrap_or_default()
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}

impl Node {
    /// A value that stands where another does.
    pub fn at(place: &Place, value: Value) -> Self {
        Self {
            value,
            place: place.clone(),
            tag: None,
        }
    }

    /// A text that stands where another value does.
    pub fn text_at(place: &Place, text: impl Into<String>) -> Self {
        Self::at(place, Value::Text(text.into()))
    }

    /// A mapping that stands where another value does.
    pub fn map_at(place: &Place, entries: Vec<(&str, Node)>) -> Self {
        let entries = entries.into_iter().map(|(key, node)| Entry {
            key: key.to_owned(),
            place: node.place.clone(),
            node,
        });
        Self::at(place, Value::Map(Map(entries.collect())))
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The mapping, to change it.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The sequence, if it is one.
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether nothing stands there.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What people call a value of this kind.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// A scalar as text, as Docker's programs print it.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Bool(yes) => Some(yes.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(float_text(*number)),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

/// A number with the fewest digits that tell it from all others.
pub(crate) fn float_text(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    number.to_string()
}
