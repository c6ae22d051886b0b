//! Two files, or a service and what it extends, become one.

use super::schema::{Field, Identity, Kind, Merge, Object, bare};
use super::written;
use crate::node::{Map, Node, Tag, Value};

/// In which form values are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Their long one.
    Long,
    /// As they are written: pairs may be a sequence, and one alone may stand for a sequence of one.
    Written,
}

/// Lays one mapping over another.
pub(super) fn merge_objects(base: Map, over: Map, object: &Object, form: Form) -> Map {
    let mut base = base;
    for entry in over.0 {
        let field = object.field(&entry.key);
        if entry.node.tag == Some(Tag::Reset) {
            base.remove(&entry.key);
            continue;
        }
        match (base.remove_keeping_place(&entry.key), field) {
            (Some(old), Some(field)) => {
                let node = merge_field(old, entry.node, field, form);
                base.set(&entry.key, node);
            }
            _ => {
                base.set(&entry.key, entry.node);
            }
        }
    }
    base
}

/// What asks to be reset in a single file is not there at all; the other tags have no meaning left.
pub(super) fn without_tags(node: &mut Node) {
    node.tag = None;
    match &mut node.value {
        Value::Map(map) => {
            map.0.retain(|entry| entry.node.tag != Some(Tag::Reset));
            map.0
                .iter_mut()
                .for_each(|entry| without_tags(&mut entry.node));
        }
        Value::List(items) => {
            items.retain(|item| item.tag != Some(Tag::Reset));
            items.iter_mut().for_each(without_tags);
        }
        _ => {}
    }
}

impl Map {
    /// The value of a key, its place in the order left for a new one.
    fn remove_keeping_place(&mut self, key: &str) -> Option<Node> {
        let node = self.get_mut(key)?;
        let place = node.place.clone();
        Some(std::mem::replace(node, Node::at(&place, Value::Null)))
    }
}

fn merge_field(base: Node, over: Node, field: &Field, form: Form) -> Node {
    merged(base, over, &field.kind, field.merge, form)
}

fn merged(base: Node, over: Node, kind: &Kind, merge: Merge, form: Form) -> Node {
    if over.tag == Some(Tag::Override) || merge == Merge::Replace {
        return over;
    }
    let kind = bare(kind);
    if over.is_null() && !matches!(kind, Kind::Command) {
        return base;
    }
    let place = over.place.clone();
    let over_tag = over.tag;
    let is_sequence = merge == Merge::Sequence || matches!(kind, Kind::OneOrMany(_));
    let value = match form == Form::Written && is_sequence {
        true => {
            let (base, over) = written::sequences(base, over);
            (Value::List(base), Value::List(over))
        }
        false => (base.value, over.value),
    };
    let value = match value {
        (Value::Map(base), Value::Map(over)) => {
            Value::Map(merge_maps(base, over, kind, merge, form))
        }
        (Value::List(base), Value::List(over)) => {
            let items = merge_lists(base, over, merge);
            Value::List(match kind {
                Kind::Pairs | Kind::Variables => unique(items, Identity::Key),
                _ => items,
            })
        }
        (_, over) => over,
    };
    Node {
        value,
        place,
        tag: over_tag,
    }
}

fn merge_maps(base: Map, over: Map, kind: &Kind, merge: Merge, form: Form) -> Map {
    if merge == Merge::Logging {
        let differs = match (base.text("driver"), over.text("driver")) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        };
        if differs {
            return over;
        }
    }
    match kind {
        Kind::Object(object) => merge_objects(base, over, object, form),
        Kind::Named(inner) => {
            let inner_merge = match merge {
                Merge::EachReplaced => Merge::Replace,
                _ => Merge::Deep,
            };
            merge_named(base, over, inner, inner_merge, form)
        }
        _ => merge_named(base, over, &Kind::Anything, Merge::Replace, form),
    }
}

fn merge_named(mut base: Map, over: Map, inner: &Kind, merge: Merge, form: Form) -> Map {
    for entry in over.0 {
        if entry.node.tag == Some(Tag::Reset) {
            base.remove(&entry.key);
            continue;
        }
        let node = match base.remove_keeping_place(&entry.key) {
            Some(old) if !entry.key.starts_with("x-") => {
                merged(old, entry.node, inner, merge, form)
            }
            _ => entry.node,
        };
        base.set(&entry.key, node);
    }
    base
}

fn merge_lists(mut base: Vec<Node>, over: Vec<Node>, merge: Merge) -> Vec<Node> {
    base.extend(over);
    match merge {
        Merge::Unique(by) => unique(base, by),
        Merge::Pools => pools(base),
        _ => base,
    }
}

/// Of items with the same identity the last one, where the first one stands.
pub(super) fn unique(items: Vec<Node>, by: Identity) -> Vec<Node> {
    let mut kept: Vec<(Option<String>, Node)> = Vec::with_capacity(items.len());
    for item in items {
        let own = identity(&item, by);
        match kept
            .iter_mut()
            .find(|(known, _)| own.is_some() && *known == own)
        {
            Some(place) => place.1 = item,
            None => kept.push((own, item)),
        }
    }
    kept.into_iter().map(|(_, item)| item).collect()
}

/// Pools of one subnet become one.
fn pools(items: Vec<Node>) -> Vec<Node> {
    let mut kept: Vec<Node> = Vec::new();
    for item in items {
        let subnet = item.as_map().and_then(|map| map.text("subnet"));
        let same = kept.iter_mut().find(|known| {
            subnet.is_some() && known.as_map().and_then(|map| map.text("subnet")) == subnet
        });
        match (same, item.value) {
            (Some(known), Value::Map(over)) => {
                let base = known.as_map().cloned().unwrap_or_default();
                let (kind, merge) = (&Kind::Anything, Merge::Replace);
                known.value = Value::Map(merge_named(base, over, kind, merge, Form::Long));
            }
            (_, value) => kept.push(Node {
                value,
                place: item.place,
                tag: item.tag,
            }),
        }
    }
    kept
}

fn identity(item: &Node, by: Identity) -> Option<String> {
    let Some(map) = item.as_map() else {
        let text = item.scalar_text()?;
        let key = text.split('=').next().filter(|_| by == Identity::Key);
        return Some(key.map_or_else(|| text.clone(), str::to_owned));
    };
    let part = |key: &str| map.get(key).and_then(Node::scalar_text);
    match by {
        Identity::Whole | Identity::Key => None,
        Identity::Path => part("path"),
        Identity::Target => part("target").or_else(|| part("source")),
        Identity::Port => Some(format!(
            "{}:{}:{}/{}",
            part("host_ip").unwrap_or_else(|| "0.0.0.0".to_owned()),
            part("published").unwrap_or_default(),
            part("target")?,
            part("protocol").unwrap_or_else(|| "tcp".to_owned()),
        )),
    }
}
