//! Which keys of a service differ from what its container was made of. Pure.

use crate::node::{Map, Node, Value};
use crate::render;

/// Values below these keys may be secrets: that they differ is told, not what they are.
const HIDDEN: [&str; 3] = ["environment", "args", "content"];

/// `image: "a" → "b"`: one line for each key that differs, with its path.
pub fn differences(before: &Map, now: &Map) -> Vec<String> {
    let mut lines = Vec::new();
    maps("", before, now, false, &mut lines);
    lines
}

fn maps(path: &str, before: &Map, now: &Map, hidden: bool, lines: &mut Vec<String>) {
    let gone = before.iter().filter(|entry| now.get(&entry.key).is_none());
    for entry in now.iter().chain(gone) {
        let path = match path {
            "" => entry.key.clone(),
            path => format!("{path}.{}", entry.key),
        };
        let hidden = hidden || HIDDEN.contains(&entry.key.as_str());
        let (old, new) = (before.get(&entry.key), now.get(&entry.key));
        values(&path, old, new, hidden, lines);
    }
}

fn values(
    path: &str,
    before: Option<&Node>,
    now: Option<&Node>,
    hidden: bool,
    lines: &mut Vec<String>,
) {
    if let (Some(Value::Map(before)), Some(Value::Map(now))) =
        (before.map(|node| &node.value), now.map(|node| &node.value))
    {
        return maps(path, before, now, hidden, lines);
    }
    let text = |node: Option<&Node>| node.map(render::tree_shown);
    let (old, new) = (text(before), text(now));
    if old == new {
        return;
    }
    // All of a section that came or went is one line: its values stay hidden, too.
    let hidden = hidden || [before, now].into_iter().flatten().any(holds_hidden);
    lines.push(match (old, new, hidden) {
        (None, _, true) => format!("{path}: new"),
        (_, None, true) => format!("{path}: gone"),
        (_, _, true) => format!("{path}: another value"),
        (old, new, false) => {
            let shown = |text: Option<String>| text.unwrap_or_else(|| "nothing".into());
            format!("{path}: {} → {}", shown(old), shown(new))
        }
    });
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
}
