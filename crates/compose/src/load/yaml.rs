//! YAML text → tree. Anchors, aliases and merge keys are resolved here, within bounds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag as YamlTag};

use crate::error::{LoadError, Result};
use crate::node::{Entry, Map, Node, Place, Tag, Value};

/// Values a file may have with its aliases written out: what a bomb of anchors runs into.
const NODES_MAX: usize = 200_000;
/// How deep values may lie in one another.
const DEPTH_MAX: usize = 64;

/// Reads the documents of a file; empty ones are left out.
///
/// # Errors
/// Text that is not YAML, or more of it than is sensible.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Node>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        file: Arc::from(file),
        stack: Vec::new(),
        anchors: HashMap::new(),
        count: 0,
        has_aliases: false,
        documents: Vec::new(),
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            let place = Place {
                file: Arc::from(file),
                line: marker.line(),
                column: marker.col() + 1,
            };
            LoadError::written(&place, format!("this is not YAML: {}", error.info()))
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

/// A collection that is still open.
struct Open {
    place: Place,
    anchor: usize,
    tag: Option<Tag>,
    /// Nodes made before it, to know its size.
    before: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Map,
        /// The keys of the entries, each with its line.
        lines: HashMap<String, usize>,
        merged: Vec<Node>,
        key: Option<Key>,
    },
}

struct Key {
    text: String,
    place: Place,
}

struct Builder {
    file: Arc<str>,
    stack: Vec<Open>,
    anchors: HashMap<usize, (Node, usize)>,
    count: usize,
    has_aliases: bool,
    documents: Vec<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<()> {
        let place = self.place(&span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), place)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), place, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Map {
                    entries: Map::default(),
                    lines: HashMap::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.open(anchor, tag.as_deref(), place, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, &place),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::DocumentEnd | Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
        }
    }

    fn place(&self, span: &Span) -> Place {
        Place {
            file: Arc::clone(&self.file),
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }

    fn grow(&mut self, by: usize, place: &Place) -> Result<()> {
        self.count += by;
        if self.count <= NODES_MAX {
            return Ok(());
        }
        let many = format!("the file has more than {NODES_MAX} values");
        Err(match self.has_aliases {
            true => LoadError::written(place, many + " once its aliases are written out")
                .with_hint("aliases of aliases multiply; write out what is needed"),
            false => LoadError::written(place, many)
                .with_hint("a project may be made of several files: `include` takes them together"),
        })
    }

    fn open(
        &mut self,
        anchor: usize,
        tag: Option<&YamlTag>,
        place: Place,
        content: Content,
    ) -> Result<()> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(LoadError::written(
                &place,
                format!("values lie more than {DEPTH_MAX} levels deep"),
            ));
        }
        let before = self.count;
        self.grow(1, &place)?;
        let tag = merge_tag(tag, &place)?;
        self.stack.push(Open {
            place,
            anchor,
            tag,
            before,
            content,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(open) = self.stack.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map {
                entries, merged, ..
            } => Value::Map(with_merged(entries, merged)?),
        };
        let node = Node {
            value,
            place: open.place,
            tag: open.tag,
        };
        if open.anchor > 0 {
            let size = self.count - open.before;
            self.anchors.insert(open.anchor, (node.clone(), size));
        }
        self.put(node)
    }

    fn alias(&mut self, anchor: usize, place: &Place) -> Result<()> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(LoadError::written(
                place,
                "an alias stands inside the value it means",
            ));
        };
        let (node, size) = (node.clone(), *size);
        self.has_aliases = true;
        self.grow(size, place)?;
        self.put(node)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&YamlTag>,
        place: Place,
    ) -> Result<()> {
        self.grow(1, &place)?;
        let value = if style == ScalarStyle::Plain && !says_text(tag) {
            plain(text)
        } else {
            Value::Text(text.to_owned())
        };
        // A key is its text: `8080:` and `yes:` are fine.
        if let Some(Open {
            content: Content::Map {
                key: key @ None, ..
            },
            ..
        }) = self.stack.last_mut()
        {
            *key = Some(Key {
                text: text.to_owned(),
                place: place.clone(),
            });
            if anchor > 0 {
                self.anchors.insert(anchor, (Node::at(&place, value), 1));
            }
            return Ok(());
        }
        let node = Node {
            value,
            tag: merge_tag(tag, &place)?,
            place,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), 1));
        }
        self.put(node)
    }

    /// Puts a finished value where it belongs.
    fn put(&mut self, node: Node) -> Result<()> {
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => {
                if !node.is_null() {
                    self.documents.push(node);
                }
                Ok(())
            }
            Some(Content::List(items)) => {
                items.push(node);
                Ok(())
            }
            Some(Content::Map {
                entries,
                lines,
                merged,
                key,
            }) => match key.take() {
                None => match node.scalar_text() {
                    Some(text) => {
                        *key = Some(Key {
                            text,
                            place: node.place,
                        });
                        Ok(())
                    }
                    None => Err(LoadError::at(&node, "a key must be a text")),
                },
                Some(key) if key.text == "<<" => {
                    merged.push(node);
                    Ok(())
                }
                Some(key) => {
                    if let Some(first) = lines.insert(key.text.clone(), key.place.line) {
                        return Err(LoadError::written(
                            &key.place,
                            format!(
                                "the key `{}` stands here twice, first in line {first}",
                                key.text
                            ),
                        ));
                    }
                    entries.0.push(Entry {
                        key: key.text,
                        place: key.place,
                        node,
                    });
                    Ok(())
                }
            },
        }
    }
}

/// Adds what `<<` brings; what is written itself wins.
fn with_merged(mut entries: Map, merged: Vec<Node>) -> Result<Map> {
    if merged.is_empty() {
        return Ok(entries);
    }
    let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    for node in merged {
        let sources = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for source in sources {
            let Value::Map(map) = source.value else {
                return Err(LoadError::at(
                    &source,
                    format!("`<<` takes a mapping, this is {}", source.kind()),
                ));
            };
            for entry in map.0 {
                if known.insert(entry.key.clone()) {
                    entries.0.push(entry);
                }
            }
        }
    }
    Ok(entries)
}

fn says_text(tag: Option<&YamlTag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str")
}

fn merge_tag(tag: Option<&YamlTag>, place: &Place) -> Result<Option<Tag>> {
    let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else {
        return Ok(None);
    };
    match tag.suffix.as_str() {
        "reset" => Ok(Some(Tag::Reset)),
        "override" => Ok(Some(Tag::Override)),
        other => Err(
            LoadError::written(place, format!("the tag `!{other}` is not known"))
                .with_hint("Compose knows `!reset` and `!override`"),
        ),
    }
}

/// What a plain scalar means.
pub(crate) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return Value::Text(text.to_owned());
    }
    if let Some(number) = integer(text) {
        return Value::Int(number);
    }
    match float(text) {
        Some(number) => Value::Float(number),
        None => Value::Text(text.to_owned()),
    }
}

/// `12`, `-1_000`, `0x1f`, `0o17`, `017`, `0b11`
fn integer(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

fn float(text: &str) -> Option<f64> {
    let digits = text.replace('_', "");
    let body = digits.trim_start_matches(['+', '-']);
    let is_float = body.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && body.contains(|c: char| c.is_ascii_digit())
        && body
            .chars()
            .all(|c| c.is_ascii_digit() || ".eE+-".contains(c));
    is_float.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_docker_takes_them_for() {
        let shown = |text: &str| format!("{:?}", plain(text));
        for (text, value) in [
            ("yes", "Text(\"yes\")"),
            ("True", "Bool(true)"),
            ("0440", "Int(288)"),
            ("0x10", "Int(16)"),
            ("1_000", "Int(1000)"),
            ("1.50", "Float(1.5)"),
            ("1.2.3", "Text(\"1.2.3\")"),
            ("80:80", "Text(\"80:80\")"),
            ("-1", "Int(-1)"),
            ("1e3", "Float(1000.0)"),
            ("~", "Null"),
            ("-", "Text(\"-\")"),
            ("08", "Float(8.0)"),
        ] {
            assert_eq!(shown(text), value, "{text}");
        }
    }

    #[test]
    fn a_bomb_of_anchors_is_refused_before_it_goes_off() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let below = format!("*a{}", level - 1);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                [below.as_str(); 9].join(", ")
            ));
        }
        let error = parse("bomb.yaml", &text).unwrap_err();
        assert!(
            error.to_string().contains("more than 200000 values"),
            "{error}"
        );
        let deep = format!("a: {}", "[".repeat(1000));
        assert!(parse("deep.yaml", &deep).is_err());
        assert!(parse("self.yaml", "a: &a [*a]\n").is_err());
    }

    #[test]
    fn a_long_file_is_not_called_a_bomb() {
        let text: String = (0..=NODES_MAX)
            .map(|number| format!("k{number}: x\n"))
            .collect();
        let error = parse("long.yaml", &text).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(": the file has more than 200000 values"),
            "{error}"
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_named_with_both_lines() {
        let error = parse("c.yaml", "a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "c.yaml:3:1: the key `a` stands here twice, first in line 1"
        );
    }
}
