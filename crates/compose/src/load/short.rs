//! The short forms, written out.

use super::port;
use crate::error::{LoadError, Result};
use crate::node::{Map, Node, Value};

/// `build: .`
pub(super) fn build(node: Node) -> Result<Node> {
    Ok(keyed(node, "context"))
}

/// `extends: base`
pub(super) fn extends(node: Node) -> Result<Node> {
    Ok(keyed(node, "service"))
}

/// `include: [other.yaml]`
pub(super) fn include(node: Node) -> Result<Node> {
    Ok(keyed(node, "path"))
}

/// `secrets: [key]`, `configs: [settings]`
pub(super) fn file_reference(node: Node) -> Result<Node> {
    Ok(keyed(node, "source"))
}

fn keyed(node: Node, key: &str) -> Node {
    match &node.value {
        Value::Text(_) => {
            let place = node.place.clone();
            Node::map_at(&place, vec![(key, node)])
        }
        _ => node,
    }
}

/// `external: {name: x}` → `external: true` beside `name: x`.
pub(super) fn external(mut node: Node) -> Result<Node> {
    let Some(map) = node.as_map_mut() else {
        return Ok(node);
    };
    let Some(name) = map
        .map("external")
        .map(|external| external.get("name").cloned())
    else {
        return Ok(node);
    };
    let place = map
        .get("external")
        .map_or_else(crate::node::Place::nowhere, |node| node.place.clone());
    map.set("external", Node::at(&place, Value::Bool(true)));
    if let Some(name) = name {
        if let Some(other) = map
            .text("name")
            .filter(|other| name.as_text() != Some(other))
        {
            let message = format!("`external.name` and `name` differ (`{other}`)");
            return Err(
                LoadError::at(&name, message).with_hint("keep `name` and write `external: true`")
            );
        }
        map.set("name", name);
    }
    Ok(node)
}

/// `networks: [a]`, `models: [a]` → a mapping to nothing.
pub(super) fn names(node: Node) -> Result<Node> {
    listed(node, |place| Node::at(place, Value::Null))
}

/// `depends_on: [a]`, and what an entry says if it does not say it.
pub(super) fn depends_on(node: Node) -> Result<Node> {
    let mut node = listed(node, |place| {
        Node::map_at(
            place,
            vec![("condition", Node::text_at(place, "service_started"))],
        )
    })?;
    if let Some(map) = node.as_map_mut() {
        for entry in &mut map.0 {
            let place = entry.node.place.clone();
            if let Some(dependency) = entry.node.as_map_mut()
                && dependency.get("required").is_none()
            {
                dependency.set("required", Node::at(&place, Value::Bool(true)));
            }
        }
    }
    Ok(node)
}

fn listed(node: Node, value: impl Fn(&crate::node::Place) -> Node) -> Result<Node> {
    let Value::List(items) = node.value else {
        return Ok(node);
    };
    let mut map = Map::default();
    for item in items {
        let Some(name) = item.as_text() else {
            return Err(LoadError::at(
                &item,
                format!("a list of names cannot hold {}", item.kind()),
            ));
        };
        if map.set(name, value(&item.place)).is_some() {
            return Err(LoadError::at(&item, format!("`{name}` is listed twice")));
        }
    }
    Ok(Node {
        value: Value::Map(map),
        place: node.place,
        tag: node.tag,
    })
}

/// `env_file: a.env`, `env_file: [a.env, {path: b.env}]`
pub(super) fn env_file(node: Node) -> Result<Node> {
    let place = node.place.clone();
    let items = match node.value {
        Value::List(items) => items,
        _ => vec![node],
    };
    let items = items.into_iter().map(|item| {
        let place = item.place.clone();
        let mut item = keyed(item, "path");
        if let Some(map) = item.as_map_mut()
            && map.get("required").is_none()
        {
            map.set("required", Node::at(&place, Value::Bool(true)));
        }
        item
    });
    Ok(Node::at(&place, Value::List(items.collect())))
}

/// `/dev/a[:/dev/b[:rwm]]`
pub(super) fn device(node: Node) -> Result<Node> {
    let Some(text) = node.as_text() else {
        return Ok(node);
    };
    let part = |text: &str| Node::text_at(&node.place, text);
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (source, source, &"rwm"),
        [source, target] => (source, target, &"rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            return Err(
                LoadError::at(&node, format!("`{text}` has too many colons"))
                    .with_hint("a device is `/dev/on-the-host:/dev/in-the-container:rwm`"),
            );
        }
    };
    let entries = vec![
        ("source", part(source)),
        ("target", part(target)),
        ("permissions", part(permissions)),
    ];
    Ok(Node::map_at(&node.place, entries))
}

/// `gpus: all`
pub(super) fn gpus(node: Node) -> Result<Node> {
    if node.as_text() != Some("all") {
        return Ok(node);
    }
    let all = Node::at(&node.place, Value::Int(-1));
    let request = Node::map_at(&node.place, vec![("count", all)]);
    Ok(Node::at(&node.place, Value::List(vec![request])))
}

/// `count: all`, which is also what counts if nothing is said.
pub(super) fn device_request(mut node: Node) -> Result<Node> {
    let place = node.place.clone();
    if let Some(map) = node.as_map_mut() {
        let is_all = map.text("count") == Some("all");
        let is_open = map.get("count").is_none() && map.get("device_ids").is_none();
        if is_all || is_open {
            map.set("count", Node::at(&place, Value::Int(-1)));
        }
    }
    Ok(node)
}

/// `test: curl …` → `[CMD-SHELL, curl …]`
pub(super) fn health_test(node: Node) -> Result<Node> {
    match &node.value {
        Value::Text(_) => {
            let place = node.place.clone();
            let shell = Node::text_at(&place, "CMD-SHELL");
            Ok(Node::at(&place, Value::List(vec![shell, node])))
        }
        _ => Ok(node),
    }
}

/// `ssh: [default, id=path]`, also as a mapping.
pub(super) fn ssh(node: Node) -> Result<Node> {
    let Value::Map(map) = node.value else {
        return Ok(match node.as_text() {
            Some(_) => Node::at(&node.place.clone(), Value::List(vec![node])),
            None => node,
        });
    };
    let keys = map
        .0
        .into_iter()
        .map(|entry| match entry.node.scalar_text() {
            Some(path) if !path.is_empty() => {
                Node::text_at(&entry.place, format!("{}={path}", entry.key))
            }
            _ => Node::text_at(&entry.place, entry.key),
        });
    Ok(Node::at(&node.place, Value::List(keys.collect())))
}

/// `extra_hosts` in all its forms → sorted `host=address`.
pub(super) fn extra_hosts(node: Node) -> Result<Node> {
    let place = node.place.clone();
    let mut hosts: Vec<(String, Node)> = Vec::new();
    let mut add = |host: &str, address: &str, from: &Node| {
        let address = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(address);
        hosts.push((
            host.to_owned(),
            Node::text_at(&from.place, format!("{host}={address}")),
        ));
    };
    match &node.value {
        Value::Map(map) => {
            for entry in map.iter() {
                match &entry.node.value {
                    Value::List(items) => items
                        .iter()
                        .for_each(|item| add(&entry.key, item.as_text().unwrap_or_default(), item)),
                    Value::Text(address) => add(&entry.key, address, &entry.node),
                    _ => {
                        return Err(LoadError::at(
                            &entry.node,
                            format!("the address of `{}` must be a text", entry.key),
                        ));
                    }
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let text = item.as_text().unwrap_or_default();
                let Some((host, address)) = text.split_once('=').or_else(|| text.split_once(':'))
                else {
                    return Err(LoadError::at(
                        item,
                        format!("`{text}` is not of the form host=address"),
                    ));
                };
                add(host, address, item);
            }
        }
        _ => return Ok(node),
    }
    hosts.sort_by(|a, b| a.0.cmp(&b.0));
    let hosts = hosts.into_iter().map(|(_, node)| node);
    Ok(Node::at(&place, Value::List(hosts.collect())))
}

/// `nofile: 1024` stays one number.
pub(super) fn ulimit(node: Node) -> Result<Node> {
    let number = match &node.value {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        return Ok(node);
    };
    let limit = || Node::at(&node.place, Value::Int(number));
    let entries = vec![
        ("soft", limit()),
        ("hard", limit()),
        (super::SINGLE, limit()),
    ];
    Ok(Node::map_at(&node.place, entries))
}

/// Each item of `ports` becomes one or more long forms.
pub(super) fn ports(node: Node) -> Result<Node> {
    let Value::List(items) = node.value else {
        return Ok(node);
    };
    let mut ports = Vec::with_capacity(items.len());
    for item in items {
        match item.scalar_text() {
            Some(text) => ports.extend(port::parse(&text, &item)?),
            None => ports.push(port::completed(item)),
        }
    }
    Ok(Node {
        value: Value::List(ports),
        place: node.place,
        tag: node.tag,
    })
}

/// `[source:]target[:options]`
pub(super) fn volume(node: Node) -> Result<Node> {
    super::mount::volume(node)
}
