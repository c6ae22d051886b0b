//! Brings what a file says into one form: keys checked against the schema, short forms written out,
//! texts taken for the numbers and switches they stand for.
//!
//! Everything after this step knows the long form only.

use super::schema::{Kind, OWN, Object};
use crate::error::{LoadError, Result, nearest};
use crate::node::{Entry, Map, Node, Tag, Value};
use crate::words;

/// Where in the file the shaping is, for messages.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    above: Option<&'p Path<'p>>,
    name: &'p str,
    /// Variables stand for themselves, so a text with one in it may become anything.
    keeps_variables: bool,
}

impl<'p> Path<'p> {
    /// The top of a file.
    pub(super) const fn top(keeps_variables: bool) -> Self {
        Self {
            above: None,
            name: "",
            keeps_variables,
        }
    }

    /// Whether a value is to be left as it is written.
    fn keeps(&self, node: &Node) -> bool {
        let is_variable = |node: &Node| node.as_text().is_some_and(|text| text.contains('$'));
        let items = node.as_list().unwrap_or_default();
        self.keeps_variables && (is_variable(node) || items.iter().any(is_variable))
    }

    /// One level down.
    pub(super) fn down(&'p self, name: &'p str) -> Self {
        Self {
            above: Some(self),
            name,
            keeps_variables: self.keeps_variables,
        }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.above {
            Some(above) if !above.name.is_empty() => write!(out, "{above}.{}", self.name),
            _ => out.write_str(self.name),
        }
    }
}

/// A value in its long form.
///
/// # Errors
/// A key that is not known, or a value of the wrong kind.
pub(super) fn shape(node: Node, kind: &Kind, path: Path<'_>) -> Result<Node> {
    let tag = node.tag;
    if tag == Some(Tag::Reset) {
        return Ok(node);
    }
    let mut node = shaped(node, kind, path)?;
    node.tag = tag;
    Ok(node)
}

fn shaped(node: Node, kind: &Kind, path: Path<'_>) -> Result<Node> {
    match kind {
        Kind::Anything => Ok(node),
        Kind::Optional(inner) if node.is_null() => match inner {
            Kind::Object(_) | Kind::Short(..) | Kind::Text => Ok(node),
            _ => shape(node, inner, path),
        },
        Kind::Optional(inner) => shape(node, inner, path),
        Kind::Short(write_out, inner) => {
            // The colon of `${FROM:-./x}` parts nothing.
            let parts = |node: &Node| {
                node.as_text()
                    .is_some_and(|text| text.contains("${") && text.contains(':'))
            };
            if path.keeps_variables && parts(&node) {
                return Ok(node);
            }
            let written = path.keeps(&node).then(|| node.clone());
            match (write_out(node), written) {
                (Err(_), Some(written)) => Ok(written),
                (result, _) => shape(result.map_err(|error| about(error, path))?, inner, path),
            }
        }
        Kind::Object(object) => shape_object(node, object, path),
        Kind::Named(inner) => shape_named(node, inner, path),
        Kind::List(inner) => shape_list(node, inner, path),
        Kind::OneOrMany(inner) => match node.value {
            Value::List(_) => shape_list(node, inner, path),
            Value::Null => Err(wrong(&node, path, "a text or a list")),
            _ => {
                let place = node.place.clone();
                shape_list(Node::at(&place, Value::List(vec![node])), inner, path)
            }
        },
        Kind::Command => shape_command(node, path),
        Kind::Pairs => shape_pairs(node, path, false),
        Kind::Variables => shape_pairs(node, path, true),
        _ => shape_scalar(node, kind, path),
    }
}

/// Says which key an error of a short form is about.
fn about(error: LoadError, path: Path<'_>) -> LoadError {
    match error {
        LoadError::Written {
            place,
            message,
            hint,
        } => LoadError::Written {
            place,
            message: format!("{path}: {message}"),
            hint,
        },
        other => other,
    }
}

fn wrong(node: &Node, path: Path<'_>, wanted: &str) -> LoadError {
    LoadError::at(
        node,
        format!("{path} must be {wanted}, not {}", node.kind()),
    )
}

fn shape_object(node: Node, object: &Object, path: Path<'_>) -> Result<Node> {
    let Value::Map(map) = node.value else {
        return Err(wrong(&node, path, "a mapping"));
    };
    let mut entries = Vec::with_capacity(map.0.len());
    for entry in map.0 {
        let here = path.down(&entry.key);
        let node = match object.field(&entry.key) {
            Some(field) => shape(entry.node, &field.kind, here)?,
            None if entry.key == OWN
                && let Some(own) = object.own =>
            {
                shape_object(entry.node, own, here)?
            }
            None if entry.key.starts_with("x-") => entry.node,
            None => return Err(unknown(&entry, object, path)),
        };
        entries.push(Entry { node, ..entry });
    }
    let map = Map(entries);
    for field in object.fields.iter().filter(|field| field.required) {
        if map.get(field.key).is_none() {
            let place = &node.place;
            return Err(LoadError::written(
                place,
                format!("{path} needs the key `{}`", field.key),
            ));
        }
    }
    Ok(Node {
        value: Value::Map(map),
        ..node
    })
}

fn unknown(entry: &Entry, object: &Object, path: Path<'_>) -> LoadError {
    let here = path.down(&entry.key);
    let error = LoadError::written(
        &entry.place,
        format!("{here} is not a key that Compose knows"),
    );
    match nearest(&entry.key, object.fields.iter().map(|field| field.key)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

fn shape_named(node: Node, inner: &Kind, path: Path<'_>) -> Result<Node> {
    match node.value {
        Value::Null => Ok(Node {
            value: Value::Map(Map::default()),
            ..node
        }),
        Value::Map(map) => {
            let mut entries = Vec::with_capacity(map.0.len());
            for entry in map.0 {
                let shaped = match entry.key.starts_with("x-") {
                    true => entry.node,
                    false => shape(entry.node, inner, path.down(&entry.key))?,
                };
                entries.push(Entry {
                    node: shaped,
                    ..entry
                });
            }
            Ok(Node {
                value: Value::Map(Map(entries)),
                ..node
            })
        }
        _ => Err(wrong(&node, path, "a mapping")),
    }
}

fn shape_list(node: Node, inner: &Kind, path: Path<'_>) -> Result<Node> {
    let Value::List(items) = node.value else {
        return Err(wrong(&node, path, "a list"));
    };
    let mut shaped = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        shaped.push(shape(item, inner, path.down(&number.to_string()))?);
    }
    Ok(Node {
        value: Value::List(shaped),
        ..node
    })
}

fn shape_command(node: Node, path: Path<'_>) -> Result<Node> {
    let place = node.place.clone();
    let words = match &node.value {
        Value::Null => return Ok(node),
        Value::List(_) => return shape_list(node, &Kind::Scalar, path),
        Value::Text(line) => words::split(line)
            .ok_or_else(|| LoadError::at(&node, format!("{path}: a quote is never closed")))?,
        _ => return Err(wrong(&node, path, "a text or a list")),
    };
    let words = words.into_iter().map(|word| Node::text_at(&place, word));
    Ok(Node::at(&place, Value::List(words.collect())))
}

/// `[A=1, B]` or `{A: 1, B: null}` → a mapping of texts.
fn shape_pairs(node: Node, path: Path<'_>, keeps_nothing: bool) -> Result<Node> {
    let nothing = |place: &_| match keeps_nothing {
        true => Node::at(place, Value::Null),
        false => Node::text_at(place, ""),
    };
    let mut pairs = Map::default();
    match node.value {
        Value::Null => {}
        Value::Map(map) => {
            for entry in map.0 {
                let value = match entry.node.scalar_text() {
                    _ if entry.node.tag == Some(Tag::Reset) => entry.node,
                    Some(text) => Node {
                        value: Value::Text(text),
                        ..entry.node
                    },
                    None if entry.node.is_null() => nothing(&entry.node.place),
                    None => {
                        return Err(wrong(
                            &entry.node,
                            path.down(&entry.key),
                            "a text, a number or a boolean",
                        ));
                    }
                };
                pairs.0.push(Entry {
                    node: value,
                    ..entry
                });
            }
        }
        Value::List(items) => {
            for item in items {
                let Some(text) = item.scalar_text() else {
                    return Err(wrong(&item, path, "a list of texts"));
                };
                match text.split_once('=') {
                    Some((key, value)) => pairs.set(key, Node::text_at(&item.place, value)),
                    None => pairs.set(&text, nothing(&item.place)),
                };
            }
        }
        _ => return Err(wrong(&node, path, "a mapping or a list")),
    }
    Ok(Node {
        value: Value::Map(pairs),
        place: node.place,
        tag: node.tag,
    })
}

fn shape_scalar(node: Node, kind: &Kind, path: Path<'_>) -> Result<Node> {
    if path.keeps(&node) {
        return Ok(node);
    }
    let text = match (kind, &node.value) {
        (Kind::Bool, Value::Bool(_))
        | (Kind::Int, Value::Int(_))
        | (Kind::Text, Value::Text(_)) => {
            return Ok(node);
        }
        (Kind::Enum(_) | Kind::Duration, Value::Text(text)) => text.clone(),
        (Kind::Text | Kind::Duration | Kind::Enum(_), _) => {
            let error = wrong(&node, path, "a text");
            return Err(match node.scalar_text() {
                Some(number) if matches!(kind, Kind::Duration) => {
                    error.with_hint(format!("a duration has a unit: `{number}s`"))
                }
                Some(text) => error.with_hint(format!("write it in quotes: \"{text}\"")),
                None => error,
            });
        }
        (Kind::Mode, Value::Int(mode)) => format!("{mode:o}"),
        _ => node
            .scalar_text()
            .ok_or_else(|| wrong(&node, path, wanted(kind)))?,
    };
    let value = scalar(&text, kind).ok_or_else(|| refused(&node, kind, &text, path))?;
    Ok(Node { value, ..node })
}

fn scalar(text: &str, kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Bool => boolean(text).map(Value::Bool),
        Kind::Int => text.parse().ok().map(Value::Int),
        // Docker's model has 32 bits for these.
        Kind::Float => {
            let number: f32 = text.parse().ok()?;
            number.to_string().parse().ok().map(Value::Float)
        }
        Kind::Bytes => words::bytes(text).map(|bytes| Value::Text(bytes.to_string())),
        Kind::Duration => {
            words::nanoseconds(text).map(|time| Value::Text(words::duration_text(time)))
        }
        Kind::Mode => {
            let mode = i64::from_str_radix(text, 8).ok()?;
            Some(Value::Text(format!("0{mode:o}")))
        }
        Kind::Enum(known) => known.contains(&text).then(|| Value::Text(text.to_owned())),
        _ => Some(Value::Text(text.to_owned())),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "on" | "1" | "t" => Some(true),
        "false" | "n" | "no" | "off" | "0" | "f" => Some(false),
        _ => None,
    }
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "true or false",
        Kind::Int => "a whole number",
        Kind::Float => "a number",
        Kind::Bytes => "a size such as `64m`",
        Kind::Duration => "a duration such as `1m30s`",
        Kind::Mode => "an octal mode such as `0440`",
        _ => "a text or a number",
    }
}

fn refused(node: &Node, kind: &Kind, text: &str, path: Path<'_>) -> LoadError {
    let Kind::Enum(known) = kind else {
        return LoadError::at(
            node,
            format!("{path} must be {}, not `{text}`", wanted(kind)),
        );
    };
    not_one_of(node, &path.to_string(), text, known)
}

/// Says which words there are, and which of them was probably meant.
pub(super) fn not_one_of(node: &Node, path: &str, text: &str, known: &[&str]) -> LoadError {
    let error = LoadError::at(
        node,
        format!("{path} must be one of {}, not `{text}`", known.join(", ")),
    );
    // `healthy` is much of `service_healthy`, though not nearly the same.
    let longer = || {
        let part = format!("_{text}");
        known.iter().copied().find(|known| known.ends_with(&part))
    };
    match nearest(text, known.iter().copied()).or_else(longer) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error,
    }
}
