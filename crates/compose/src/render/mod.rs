//! A model as text: YAML and JSON with the keys, the order and the quoting that Docker's Compose
//! has, so that what one prints the other prints, too; and the hash that both write on containers.

mod json;
mod order;
mod yaml;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::load::schema::{self, Field, Kind, Merge, Object, SERVICE, Shown, bare};
use crate::load::{SINGLE, resolve_nothing};
use crate::node::{Map, Node, Place, Value};

/// A tree that is ready to be printed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Out {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

/// The sections of a file in the order of YAML; JSON sorts them.
const SECTIONS: [(&str, &Object); 4] = [
    ("networks", &schema::NETWORK),
    ("volumes", &schema::VOLUME),
    ("secrets", &schema::FILE_OBJECT),
    ("configs", &schema::FILE_OBJECT),
];

/// The project as YAML; dollars are doubled, so that it can be read back.
pub fn project_yaml(project: &Map) -> String {
    yaml::print(&arranged(project, Format::Yaml)).replace('$', "$$")
}

/// The project as JSON; dollars are doubled.
pub fn project_json(project: &Map) -> String {
    let mut out = arranged(project, Format::Json);
    if let Out::Map(entries) = &mut out {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
    }
    json::pretty(&out).replace('$', "$$")
}

/// The project as it is written, as YAML.
pub fn written_yaml(project: &Map) -> String {
    tree_yaml(&Node::at(&Place::nowhere(), Value::Map(project.clone())))
}

/// The same as JSON, where Docker's Compose has nothing in place of most sequences that are empty.
pub fn written_json(project: &Map) -> String {
    let mut node = Node::at(&Place::nowhere(), Value::Map(project.clone()));
    without_empty(&mut node, &Kind::Object(&schema::PROJECT), Merge::Deep);
    tree_json(&node)
}

/// Sequences that stay empty, but for these: those whose items are there once.
const NEVER_EMPTY: [&str; 2] = ["args", "platforms"];

fn without_empty(node: &mut Node, kind: &Kind, merge: Merge) {
    let kind = bare(kind);
    match &mut node.value {
        Value::List(items) if items.is_empty() => {
            let is_once =
                matches!(merge, Merge::Unique(_)) || matches!(kind, Kind::Pairs | Kind::Variables);
            if !is_once {
                node.value = Value::Null;
            }
        }
        Value::List(items) => {
            let inner = match kind {
                Kind::List(inner) | Kind::OneOrMany(inner) => *inner,
                _ => &Kind::Anything,
            };
            let each = |item| without_empty(item, inner, Merge::Deep);
            items.iter_mut().for_each(each);
        }
        Value::Map(map) => {
            for entry in &mut map.0 {
                let field = match kind {
                    Kind::Object(object) => object.field(&entry.key),
                    _ => None,
                };
                let (inner, merge) = match (kind, field) {
                    (Kind::Named(inner), _) => (*inner, Merge::Deep),
                    (_, Some(field)) if !NEVER_EMPTY.contains(&field.key) => {
                        (&field.kind, field.merge)
                    }
                    _ => (&Kind::Anything, Merge::Deep),
                };
                without_empty(&mut entry.node, inner, merge);
            }
        }
        _ => {}
    }
}

/// A tree as YAML, in the order of its keys.
pub fn tree_yaml(node: &Node) -> String {
    yaml::print(&plain(node, Format::Yaml))
}

/// A tree as JSON.
pub fn tree_json(node: &Node) -> String {
    json::pretty(&plain(node, Format::Json))
}

/// A tree as JSON on one line, for people: letters that HTML knows are themselves.
pub(crate) fn tree_shown(node: &Node) -> String {
    json::value(&plain(node, Format::Json)).to_string()
}

/// The hash of what a service says about its containers: what `com.docker.compose.config-hash`
/// holds.
pub fn service_hash(service: &Map) -> String {
    let mut service = service.clone();
    for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
        service.remove(key);
    }
    if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_map_mut) {
        deploy.remove("replicas");
    }
    hash(&object(&service, &SERVICE, Format::Json))
}

/// The hash of a service as it is written, its files of variables not read: what `config --hash`
/// prints. A service without such files has the same as its containers.
pub fn written_hash(service: &Map, environment: &BTreeMap<String, String>) -> String {
    let mut service = service.clone();
    if let Some(variables) = service.get_mut("environment").and_then(Node::as_map_mut) {
        resolve_nothing(variables, environment, true);
    }
    let files = service.get_mut("env_file").map(|node| &mut node.value);
    if let Some(Value::List(files)) = files {
        for file in files {
            // One that must be there is its path, whatever its form.
            if let Some(path) = required_path(file) {
                file.value = Value::Text(path);
            }
        }
    }
    service_hash(&service)
}

fn required_path(file: &Node) -> Option<String> {
    let map = file.as_map()?;
    match map.get("required").map(|node| &node.value) {
        Some(Value::Bool(false)) => None,
        _ => map.text("path").map(str::to_owned),
    }
}

/// The hash of a network.
pub fn network_hash(network: &Map) -> String {
    hash(&object(network, &schema::NETWORK, Format::Json))
}

/// The hash of a volume.
pub fn volume_hash(volume: &Map) -> String {
    let mut volume = volume.clone();
    if volume.get("driver").is_none() {
        volume.set("driver", Node::text_at(&Place::nowhere(), "local"));
    }
    hash(&object(&volume, &schema::VOLUME, Format::Json))
}

fn hash(out: &Out) -> String {
    let digest = Sha256::digest(json::compact(out).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn arranged(project: &Map, format: Format) -> Out {
    let mut entries = Vec::new();
    if let Some(name) = project.text("name") {
        entries.push(("name".to_owned(), Out::Text(name.to_owned())));
    }
    let empty = Map::default();
    let named = |section: &str, kind: &Object| -> Option<Out> {
        let map = project.map(section)?;
        let mut objects: Vec<(String, Out)> = map
            .iter()
            .filter_map(|entry| {
                // What says nothing is an object all the same.
                let map = match entry.node.is_null() {
                    true => &empty,
                    false => entry.node.as_map()?,
                };
                Some((entry.key.clone(), object(map, kind, format)))
            })
            .collect();
        sort(&mut objects, format);
        Some(Out::Map(objects))
    };
    entries.push((
        "services".to_owned(),
        named("services", &SERVICE).unwrap_or(Out::Map(Vec::new())),
    ));
    for (section, kind) in SECTIONS {
        match named(section, kind) {
            Some(Out::Map(objects)) if objects.is_empty() => {}
            Some(objects) => entries.push((section.to_owned(), objects)),
            None => {}
        }
    }
    if let Some(models) = project.get("models") {
        entries.push(("models".to_owned(), plain(models, format)));
    }
    entries.extend(extensions(project, format));
    Out::Map(entries)
}

fn extensions(map: &Map, format: Format) -> Vec<(String, Out)> {
    let mut own: Vec<(String, Out)> = map
        .iter()
        .filter(|entry| entry.key.starts_with("x-") && entry.key != SINGLE)
        .map(|entry| (entry.key.clone(), plain(&entry.node, format)))
        .collect();
    sort(&mut own, format);
    own
}

fn object(map: &Map, kind: &Object, format: Format) -> Out {
    if let Some(Value::Int(number)) = map.get(SINGLE).map(|node| &node.value) {
        return Out::Int(*number);
    }
    let mut entries = Vec::new();
    for field in kind.fields {
        if let Some(out) = field_out(map.get(field.key), field, format) {
            let key = match (format, kind.json_capital) {
                (Format::Json, true) => capital(field.key),
                _ => field.key.to_owned(),
            };
            entries.push((key, out));
        }
    }
    if format == Format::Yaml {
        entries.extend(extensions(map, format));
    }
    Out::Map(entries)
}

fn capital(key: &str) -> String {
    let mut letters = key.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// What is printed for a key; nothing if it is left out.
fn field_out(node: Option<&Node>, field: &Field, format: Format) -> Option<Out> {
    let out = node.map(|node| value(node, &field.kind, format));
    let is_zero = out.as_ref().is_none_or(is_zero);
    match field.shown {
        Shown::Never => None,
        Shown::JsonHook if format == Format::Json => {
            Some(out.unwrap_or_else(|| Out::Map(vec![("command".into(), Out::Null)])))
        }
        Shown::Present if out == Some(Out::Null) => None,
        Shown::Present => out,
        Shown::Always => Some(out.unwrap_or_else(|| zero(&field.kind))),
        // An empty command is not the same as none.
        Shown::JsonNull if format == Format::Json => Some(out.unwrap_or(Out::Null)),
        Shown::JsonNull => out.filter(|out| *out != Out::Null),
        Shown::JsonEmpty if format == Format::Json => Some(out.unwrap_or(Out::Map(Vec::new()))),
        // A pointer to a struct is printed though the struct is empty.
        Shown::NonZero
            if matches!(bare(&field.kind), Kind::Object(_))
                && out == Some(Out::Map(Vec::new())) =>
        {
            out
        }
        _ if is_zero => None,
        _ => out,
    }
}

fn zero(kind: &Kind) -> Out {
    match bare(kind) {
        Kind::Bool => Out::Bool(false),
        Kind::Int => Out::Int(0),
        Kind::Bytes => Out::Text("0".into()),
        _ => Out::Text(String::new()),
    }
}

fn is_zero(out: &Out) -> bool {
    match out {
        Out::Null => true,
        Out::Bool(yes) => !yes,
        Out::Int(number) => *number == 0,
        Out::Float(number) => *number == 0.0,
        Out::Text(text) => text.is_empty(),
        Out::List(items) => items.is_empty(),
        Out::Map(entries) => entries.is_empty(),
    }
}

fn value(node: &Node, kind: &Kind, format: Format) -> Out {
    match (bare(kind), &node.value) {
        (Kind::Object(inner), Value::Map(map)) => object(map, inner, format),
        (Kind::Named(inner), Value::Map(map)) => {
            let mut entries: Vec<(String, Out)> = map
                .iter()
                .map(|entry| (entry.key.clone(), value(&entry.node, inner, format)))
                .collect();
            sort(&mut entries, format);
            Out::Map(entries)
        }
        (Kind::List(inner) | Kind::OneOrMany(inner), Value::List(items)) => Out::List(
            items
                .iter()
                .map(|item| value(item, inner, format))
                .collect(),
        ),
        // A size that is nothing is left out.
        (Kind::Bytes | Kind::Duration, Value::Text(text)) if text == "0" => Out::Int(0),
        _ => plain(node, format),
    }
}

/// Keys in the order of the format: JSON's is that of bytes.
fn sort(entries: &mut [(String, Out)], format: Format) {
    entries.sort_by(|a, b| match format {
        Format::Json => a.0.cmp(&b.0),
        Format::Yaml => order::compare(&a.0, &b.0),
    });
}

/// A tree as it is, keys sorted.
fn plain(node: &Node, format: Format) -> Out {
    match &node.value {
        Value::Null => Out::Null,
        Value::Bool(yes) => Out::Bool(*yes),
        Value::Int(number) => Out::Int(*number),
        Value::Float(number) => Out::Float(*number),
        Value::Text(text) => Out::Text(text.clone()),
        Value::List(items) => Out::List(items.iter().map(|item| plain(item, format)).collect()),
        Value::Map(map) => {
            let mut entries: Vec<(String, Out)> = map
                .iter()
                .map(|entry| (entry.key.clone(), plain(&entry.node, format)))
                .collect();
            sort(&mut entries, format);
            Out::Map(entries)
        }
    }
}

/// A model as a JSON value, for reading it into types.
pub(crate) fn to_value(map: &Map) -> serde_json::Value {
    let node = Node::at(&Place::nowhere(), Value::Map(map.clone()));
    json::value(&plain(&node, Format::Json))
}
