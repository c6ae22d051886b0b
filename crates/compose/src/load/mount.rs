//! `[source:]target[:options]`: the short form of a volume.

use crate::error::{LoadError, Result};
use crate::node::{Map, Node, Value};

/// The long form of a short one; a long one gets what goes without saying.
pub(super) fn volume(node: Node) -> Result<Node> {
    let Some(text) = node.as_text() else {
        return Ok(completed(node));
    };
    let parts = parts(text);
    let (source, target, options) = match parts.as_slice() {
        [""] => return Err(LoadError::at(&node, "a volume cannot be empty")),
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => {
            return Err(
                LoadError::at(&node, format!("`{text}` has too many colons"))
                    .with_hint("use the long form: `type`, `source`, `target`"),
            );
        }
    };
    if target.is_empty() || (source.is_empty() && parts.len() > 1) {
        return Err(LoadError::at(&node, format!("`{text}` has an empty part"))
            .with_hint("a volume is `[source:]target[:options]`"));
    }
    Ok(long(&node, source, target, options))
}

/// What colons part, but for those of `${FROM:-./x}`.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut before = ' ';
    text.split(|letter| {
        match (before, letter) {
            ('$', '{') => depth += 1,
            (_, '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = letter;
        letter == ':' && depth == 0
    })
    .collect()
}

fn long(node: &Node, source: &str, target: &str, options: &str) -> Node {
    let text = |text: &str| Node::text_at(&node.place, text);
    let yes = || Node::at(&node.place, Value::Bool(true));
    let is_bind = source.starts_with(['.', '/', '~', '\\']);
    let mut map = Map::default();
    map.set("type", text(if is_bind { "bind" } else { "volume" }));
    if !source.is_empty() {
        map.set("source", text(source));
    }
    map.set("target", text(&clean(target)));
    let mut bind = Map::default();
    let mut volume = Map::default();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => {
                map.set("read_only", yes());
            }
            "nocopy" => {
                volume.set("nocopy", yes());
            }
            "z" | "Z" => {
                bind.set("selinux", text(option));
            }
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" => {
                bind.set("propagation", text(option));
            }
            // `rw`, `cached` and what else is written change nothing, as with Docker's programs.
            _ => {}
        }
    }
    if is_bind {
        bind.set("create_host_path", yes());
    }
    if is_bind || !bind.0.is_empty() {
        map.set("bind", Node::at(&node.place, Value::Map(bind)));
    }
    // Docker's Compose says nothing about the shortest of anonymous volumes.
    if !is_bind && node.as_text().is_some_and(|text| text.len() > 2) {
        map.set("volume", Node::at(&node.place, Value::Map(volume)));
    }
    Node::at(&node.place, Value::Map(map))
}

/// A long form whose target has no superfluous slashes.
fn completed(mut node: Node) -> Node {
    let place = node.place.clone();
    if let Some(map) = node.as_map_mut()
        && let Some(target) = map.text("target").map(clean)
    {
        map.set("target", Node::text_at(&place, target));
    }
    node
}

/// A path without empty and `.` parts.
pub(super) fn clean(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
