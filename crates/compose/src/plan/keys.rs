//! Which keys of a service differ from what its container was made of. Pure.

use crate::load::schema::{Kind, SERVICE, Shown, bare};
use crate::node::{Map, Node, Value};
use crate::render;

/// Values below these keys may be secrets: that they differ is told, not what they are.
const HIDDEN: [&str; 3] = ["environment", "args", "content"];

static WHOLE: Kind = Kind::Object(&SERVICE);

/// How many containers a service has is told by what is made and what goes.
const COUNTS: [&str; 2] = ["scale", "deploy.replicas"];

/// `image: "a" → "b"`: one line for each key that differs, with its path.
pub fn differences(before: &Map, now: &Map) -> Vec<String> {
    let mut lines = Vec::new();
    let service = Key {
        path: String::new(),
        kind: Some(&WHOLE),
        is_hidden: false,
    };
    service.maps(before, now, &mut lines);
    lines.retain(|(path, _)| !COUNTS.contains(&path.as_str()));
    let told = lines
        .into_iter()
        .map(|(path, what)| format!("{path}: {what}"));
    told.collect()
}

/// Where a value stands, and what the schema calls it.
struct Key {
    path: String,
    kind: Option<&'static Kind>,
    is_hidden: bool,
}

impl Key {
    fn below(&self, key: &str) -> (Self, Option<Shown>) {
        let (kind, shown) = match self.kind.map(bare) {
            Some(Kind::Object(object)) => {
                let field = object.field(key);
                (
                    field.map(|field| &field.kind),
                    field.map(|field| field.shown),
                )
            }
            Some(Kind::Named(inner)) => (Some(*inner), None),
            _ => (None, None),
        };
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        let is_hidden = self.is_hidden || HIDDEN.contains(&key);
        let place = Self {
            path,
            kind,
            is_hidden,
        };
        (place, shown)
    }

    fn maps(&self, before: &Map, now: &Map, lines: &mut Vec<(String, String)>) {
        let gone = before.iter().filter(|entry| now.get(&entry.key).is_none());
        for entry in now.iter().chain(gone) {
            let (place, shown) = self.below(&entry.key);
            // What goes without saying is the same whether it is said or not.
            let says = |node: &&Node| shown != Some(Shown::NonZero) || !is_zero(node);
            let old = before.get(&entry.key).filter(says);
            place.values(old, now.get(&entry.key).filter(says), lines);
        }
    }

    fn values(&self, before: Option<&Node>, now: Option<&Node>, lines: &mut Vec<(String, String)>) {
        if let (Some(Value::Map(before)), Some(Value::Map(now))) =
            (before.map(|node| &node.value), now.map(|node| &node.value))
        {
            return self.maps(before, now, lines);
        }
        let text = |node: Option<&Node>| node.map(render::tree_shown);
        let (old, new) = (text(before), text(now));
        if old == new {
            return;
        }
        // All of a section that came or went is one line: its values stay hidden, too.
        let is_hidden = self.is_hidden || [before, now].into_iter().flatten().any(holds_hidden);
        let what = match (old, new, is_hidden) {
            (None, _, true) => "new".to_owned(),
            (_, None, true) => "gone".to_owned(),
            (_, _, true) => "another value".to_owned(),
            _ => {
                let shown = |node: Option<&Node>| {
                    let said = node.map(|node| render::tree_shown(&said(node, self.kind)));
                    said.unwrap_or_else(|| "nothing".into())
                };
                format!("{} → {}", shown(before), shown(now))
            }
        };
        lines.push((self.path.clone(), what));
    }
}

fn is_zero(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Int(number) => *number == 0,
        Value::Float(number) => *number == 0.0,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(_) => false,
    }
}

/// A value as people write it: sizes with their unit, ports and mounts in their short form.
fn said(node: &Node, kind: Option<&'static Kind>) -> Node {
    let text = |text: String| Node::text_at(&node.place, text);
    match (kind.map(bare), &node.value) {
        (Some(Kind::Bytes), Value::Text(bytes)) => text(size(bytes)),
        (Some(Kind::List(inner) | Kind::OneOrMany(inner)), Value::List(items)) => {
            let items = items.iter().map(|item| said(item, Some(inner)));
            Node::at(&node.place, Value::List(items.collect()))
        }
        (Some(Kind::Object(object)), Value::Map(map)) => {
            let short = port(map).or_else(|| mount(map)).or_else(|| reference(map));
            short.map(text).unwrap_or_else(|| {
                let mut map = map.clone();
                for entry in &mut map.0 {
                    let kind = object.field(&entry.key).map(|field| &field.kind);
                    entry.node = said(&entry.node, kind);
                }
                Node::at(&node.place, Value::Map(map))
            })
        }
        _ => node.clone(),
    }
}

/// `67108864` → `64m`
fn size(bytes: &str) -> String {
    let number: u64 = bytes.parse().unwrap_or_default();
    let units = [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)];
    let unit = units
        .iter()
        .find(|(_, unit)| number != 0 && number.is_multiple_of(*unit));
    unit.map_or_else(
        || bytes.to_owned(),
        |(name, unit)| format!("{}{name}", number / unit),
    )
}

/// Whether a mapping has some keys, and no others than these.
fn has(map: &Map, must: &[&str], may: &[&str]) -> bool {
    let known = |key: &str| must.contains(&key) || may.contains(&key);
    must.iter().all(|key| map.get(key).is_some()) && map.iter().all(|entry| known(&entry.key))
}

/// `127.0.0.1:8080:80/udp`
fn port(map: &Map) -> Option<String> {
    let may = ["host_ip", "published"];
    if !has(map, &["mode", "protocol", "target"], &may) || map.text("mode") != Some("ingress") {
        return None;
    }
    let mut text = map.get("target")?.scalar_text()?;
    let address = map.text("host_ip");
    if map.get("published").is_some() || address.is_some() {
        let published = map.get("published").and_then(Node::scalar_text);
        text = format!("{}:{text}", published.unwrap_or_default());
    }
    if let Some(address) = address {
        let address = match address.contains(':') {
            true => format!("[{address}]"),
            false => address.to_owned(),
        };
        text = format!("{address}:{text}");
    }
    Some(match map.text("protocol") {
        Some("tcp") => text,
        protocol => format!("{text}/{}", protocol?),
    })
}

/// `data:/data:ro`
fn mount(map: &Map) -> Option<String> {
    if !has(
        map,
        &["type", "source", "target"],
        &["read_only", "bind", "volume"],
    ) {
        return None;
    }
    let options = match map.text("type")? {
        "bind" => map
            .map("bind")
            .map(|bind| has(bind, &["create_host_path"], &[])),
        "volume" => Some(map.map("volume").is_none_or(|volume| volume.0.is_empty())),
        _ => None,
    };
    options.filter(|is_plain| *is_plain)?;
    let read_only = map.get("read_only").map(|node| &node.value);
    let read_only = matches!(read_only, Some(Value::Bool(true)));
    let end = if read_only { ":ro" } else { "" };
    Some(format!(
        "{}:{}{end}",
        map.text("source")?,
        map.text("target")?
    ))
}

/// The name of a secret or a config, where nothing else is said.
fn reference(map: &Map) -> Option<String> {
    let source = map.text("source")?;
    let target = map.text("target");
    let is_usual = target.is_none_or(|target| target == format!("/run/secrets/{source}"));
    (has(map, &["source"], &["target"]) && is_usual).then(|| source.to_owned())
}

fn holds_hidden(node: &Node) -> bool {
    let in_list = node
        .as_list()
        .is_some_and(|items| items.iter().any(holds_hidden));
    in_list
        || node.as_map().is_some_and(|map| {
            map.iter()
                .any(|entry| HIDDEN.contains(&entry.key.as_str()) || holds_hidden(&entry.node))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Place;

    fn node(value: &serde_json::Value) -> Node {
        let value = match value {
            serde_json::Value::Object(map) => {
                let mut own = Map::default();
                for (key, value) in map {
                    own.set(key, node(value));
                }
                Value::Map(own)
            }
            serde_json::Value::Array(items) => Value::List(items.iter().map(node).collect()),
            serde_json::Value::Number(number) => Value::Int(number.as_i64().unwrap()),
            serde_json::Value::Null => Value::Null,
            other => Value::Text(other.as_str().unwrap().to_owned()),
        };
        Node::at(&Place::nowhere(), value)
    }

    #[test]
    fn keys_that_differ_are_told_and_secrets_are_not() {
        let before = node(&serde_json::json!({
            "image": "a:1", "command": ["x"], "labels": {"one": "1"}, "mem_limit": 5,
            "environment": {"TOKEN": "old-secret", "SAME": "s", "GONE": "gone-secret"},
        }));
        let now = node(&serde_json::json!({
            "image": "a:2", "command": ["x", "y"], "labels": {"one": "1", "two": "2"},
            "environment": {"TOKEN": "new-secret", "SAME": "s"},
            "build": {"args": {"KEY": "third-secret"}},
        }));
        let lines = differences(before.as_map().unwrap(), now.as_map().unwrap());
        assert_eq!(
            lines,
            [
                "build: new",
                "command: [\"x\"] → [\"x\",\"y\"]",
                "environment.TOKEN: another value",
                "environment.GONE: gone",
                "image: \"a:1\" → \"a:2\"",
                "labels.two: nothing → \"2\"",
                "mem_limit: 5 → nothing",
            ]
        );
    }

    #[test]
    fn values_are_told_as_they_are_written_and_only_if_they_differ() {
        let service = |text: &str| {
            let options = crate::Options {
                files: vec!["-".into()],
                standard_input: format!("services: {{a: {{image: x, {text}}}}}"),
                project_name: Some("p".into()),
                ..crate::Options::default()
            };
            let loaded = crate::load(&options).unwrap();
            let text = render::project_yaml(&loaded.project);
            let again = crate::Options {
                standard_input: text,
                ..options
            };
            let services = |loaded: &crate::Loaded| {
                let services = loaded.project.map("services").unwrap();
                services.map("a").unwrap().clone()
            };
            (services(&loaded), services(&crate::load(&again).unwrap()))
        };
        let one = "deploy: {update_config: {max_failure_ratio: 0}}, privileged: false, scale: 1";
        let (written, kept) = service(one);
        assert_eq!(differences(&kept, &written), Vec::<String>::new());
        let (before, _) =
            service("mem_limit: 64m, ports: ['80:80'], volumes: ['./a:/a'], scale: 3");
        let (now, _) = service(
            "mem_limit: 1500k, ports: ['80:80', '127.0.0.1:53:53/udp'], volumes: ['./a:/a:ro', {type: tmpfs, target: /t}]",
        );
        let expected = [
            "mem_limit: \"64m\" → \"1500k\"",
            "ports: [\"80:80\"] → [\"80:80\",\"127.0.0.1:53:53/udp\"]",
            "volumes: [\"/a:/a\"] → [\"/a:/a:ro\",{\"target\":\"/t\",\"type\":\"tmpfs\"}]",
        ];
        assert_eq!(differences(&before, &now), expected);
    }
}
