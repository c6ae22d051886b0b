//! A file as it is written, for `config --no-interpolate`: variables stand for themselves, so no value is
//! taken for what it may become. Only those short forms are written out that Docker's Compose writes out
//! here; the others stay as they are.

use super::{port, short};
use crate::error::Result;
use crate::node::{Entry, Map, Node, Tag, Value};

/// What brings a short form into its long one.
type WriteOut = fn(Node) -> Result<Node>;

const SERVICE: [(&str, WriteOut); 9] = [
    ("build", short::build),
    ("depends_on", short::depends_on),
    ("dns", listed),
    ("env_file", short::env_file),
    ("extends", short::extends),
    ("gpus", gpus),
    ("label_file", listed),
    ("models", short::names),
    ("networks", short::names),
];

/// Sequences, each item of which may be short.
const ITEMS: [(&str, WriteOut); 5] = [
    ("configs", short::file_reference),
    ("devices", short::device),
    ("gpus", device_request),
    ("secrets", short::file_reference),
    ("volumes", short::volume),
];

const BUILD: [(&str, WriteOut); 4] = [
    ("additional_contexts", pairs),
    ("provenance", text),
    ("sbom", text),
    ("ssh", pairs),
];

/// Writes out the short forms of a file.
pub(super) fn long_form(file: &mut Map) {
    for section in ["networks", "volumes", "secrets", "configs"] {
        each_named(file, section, |node| write_out(node, short::external));
    }
    if let Some(Value::List(items)) = file.get_mut("include").map(|node| &mut node.value) {
        for item in items {
            write_out(item, short::include);
            for key in ["path", "env_file"] {
                if let Some(paths) = item.as_map_mut().and_then(|map| map.get_mut(key)) {
                    write_out(paths, listed);
                }
            }
        }
    }
    each_named(file, "services", |node| {
        if node.is_null() && node.tag.is_none() {
            node.value = Value::Map(Map::default());
        }
        if let Some(map) = node.as_map_mut() {
            service(map);
        }
    });
}

fn each_named(file: &mut Map, section: &str, mut act: impl FnMut(&mut Node)) {
    let objects = file.get_mut(section).and_then(Node::as_map_mut);
    for entry in objects.into_iter().flat_map(|objects| &mut objects.0) {
        if !entry.key.starts_with("x-") {
            act(&mut entry.node);
        }
    }
}

fn service(service: &mut Map) {
    for (key, form) in SERVICE {
        if let Some(node) = service.get_mut(key) {
            write_out(node, form);
        }
    }
    for (key, form) in ITEMS {
        items(service, key, form);
    }
    if let Some(Value::List(ports)) = service.get_mut("ports").map(|node| &mut node.value) {
        *ports = self::ports(std::mem::take(ports));
    }
    if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
        items(build, "secrets", short::file_reference);
        for (key, form) in BUILD {
            if let Some(node) = build.get_mut(key) {
                write_out(node, form);
            }
        }
    }
    let develop = service.get_mut("develop").and_then(Node::as_map_mut);
    let watch = develop.and_then(|develop| develop.get_mut("watch"));
    if let Some(Value::List(triggers)) = watch.map(|node| &mut node.value) {
        for trigger in triggers.iter_mut().filter_map(Node::as_map_mut) {
            for key in ["ignore", "include"] {
                if let Some(node) = trigger.get_mut(key) {
                    write_out(node, listed);
                }
            }
        }
    }
    let mut deploy = service.get_mut("deploy").and_then(Node::as_map_mut);
    for key in ["resources", "reservations"] {
        deploy = deploy
            .and_then(|map| map.get_mut(key))
            .and_then(Node::as_map_mut);
    }
    if let Some(reserved) = deploy {
        items(reserved, "devices", device_request);
    }
}

fn items(map: &mut Map, key: &str, form: WriteOut) {
    if let Some(Value::List(items)) = map.get_mut(key).map(|node| &mut node.value) {
        items.iter_mut().for_each(|item| write_out(item, form));
    }
}

/// What a variable hides stays as it is.
fn write_out(node: &mut Node, form: WriteOut) {
    let tag = node.tag;
    if tag == Some(Tag::Reset) || node.is_null() {
        return;
    }
    if let Ok(long) = form(node.clone()) {
        *node = Node { tag, ..long };
    }
}

/// One alone is a sequence of one.
fn listed(node: Node) -> Result<Node> {
    Ok(match node.value {
        Value::List(_) | Value::Map(_) => node,
        _ => Node::at(&node.place.clone(), Value::List(vec![node])),
    })
}

/// `[key=value, alone]` → `{key: value, alone: null}`
fn pairs(node: Node) -> Result<Node> {
    let Value::List(items) = node.value else {
        return Ok(node);
    };
    let mut map = Map::default();
    for item in items {
        let text = item.scalar_text().unwrap_or_default();
        match text.split_once('=') {
            Some((key, value)) => map.set(key, Node::text_at(&item.place, value)),
            None => map.set(&text, Node::at(&item.place, Value::Null)),
        };
    }
    Ok(Node {
        value: Value::Map(map),
        ..node
    })
}

/// Yes and no are words.
fn text(node: Node) -> Result<Node> {
    let text = node.scalar_text();
    Ok(match text {
        Some(text) => Node::text_at(&node.place, text),
        None => node,
    })
}

/// If a variable hides one of them, all short ones stay.
fn ports(items: Vec<Node>) -> Vec<Node> {
    let whole = Node::at(&crate::node::Place::nowhere(), Value::List(items.clone()));
    match short::ports(whole).map(|node| node.value) {
        Ok(Value::List(ports)) => ports,
        _ => items.into_iter().map(port::completed).collect(),
    }
}

/// `gpus: all`
fn gpus(node: Node) -> Result<Node> {
    if node.as_text() != Some("all") {
        return Ok(node);
    }
    let place = node.place.clone();
    let request = Node::map_at(&place, vec![("count", node)]);
    Ok(Node::at(&place, Value::List(vec![request])))
}

/// All of them, where nothing is said.
fn device_request(mut node: Node) -> Result<Node> {
    let place = node.place.clone();
    if let Some(map) = node.as_map_mut()
        && map.get("count").is_none()
        && map.get("device_ids").is_none()
    {
        map.set("count", Node::text_at(&place, "all"));
    }
    Ok(node)
}

/// Two that are merged become one sequence; what the later one resets is in neither.
pub(super) fn sequences(base: Node, mut over: Node) -> (Vec<Node>, Vec<Node>) {
    let mut reset: Vec<String> = Vec::new();
    if let Some(map) = over.as_map_mut() {
        map.0.retain(|entry| {
            let is_reset = entry.node.tag == Some(Tag::Reset);
            if is_reset {
                reset.push(entry.key.clone());
            }
            !is_reset
        });
    }
    let mut base = sequence(base);
    base.retain(|item| {
        let key = item.as_text().and_then(|text| text.split('=').next());
        !key.is_some_and(|key| reset.iter().any(|reset| reset == key))
    });
    (base, sequence(over))
}

/// `{A: 1, B: null}` as `[A=1, B]`
fn sequence(node: Node) -> Vec<Node> {
    let map = match node.value {
        Value::List(items) => return items,
        Value::Map(map) => map,
        _ => return vec![node],
    };
    let text = |key: &str, value: &Node| {
        let text = value.scalar_text();
        text.map_or_else(|| key.to_owned(), |text| format!("{key}={text}"))
    };
    let mut items: Vec<Node> = Vec::new();
    for Entry { key, node, .. } in map.0 {
        match &node.value {
            Value::List(values) => {
                let values = values.iter();
                items.extend(values.map(|value| Node::text_at(&value.place, text(&key, value))));
            }
            _ => items.push(Node::text_at(&node.place, text(&key, &node))),
        }
    }
    items.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
    items
}
