//! Events, and which of them a client wants.

use hull_api::{ApiVersion, Filters, types, version::Feature};
use hull_engine::events::{Event, Subject};

use super::time;

/// The keys of filters on events.
pub(crate) const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// All events of a daemon that is in no swarm have this scope.
const SCOPE: &str = "local";

/// To the wire.
pub(crate) fn to_wire(event: &Event, version: ApiVersion) -> types::Event {
    let mut wire = types::Event {
        kind: kind(event.subject).to_owned(),
        action: event.action.clone(),
        actor: types::Actor {
            id: event.id.clone(),
            attributes: event.attributes.clone(),
        },
        scope: SCOPE.to_owned(),
        time: time::seconds(event.time_ns),
        time_nano: event.time_ns,
        ..types::Event::default()
    };
    if !version.has(Feature::PlainEvents)
        && matches!(event.subject, Subject::Container | Subject::Image)
    {
        wire.status.clone_from(&event.action);
        wire.id.clone_from(&event.id);
        if event.subject == Subject::Container {
            wire.from = event.attributes.get("image").cloned().unwrap_or_default();
        }
    }
    wire
}

fn kind(subject: Subject) -> &'static str {
    match subject {
        Subject::Container => "container",
        Subject::Image => "image",
        Subject::Network => "network",
        Subject::Volume => "volume",
        Subject::Daemon => "daemon",
        Subject::Builder => "builder",
    }
}

/// Whether the filters let an event through.
pub(crate) fn wanted(event: &Event, filters: &Filters) -> bool {
    filters.matches("type", kind(event.subject))
        && filters.matches("scope", SCOPE)
        && action_wanted(event, filters)
        && labels_wanted(event, filters)
        && [
            "container",
            "network",
            "volume",
            "daemon",
            "plugin",
            "node",
            "service",
            "secret",
            "config",
        ]
        .iter()
        .all(|key| object_wanted(event, filters, key))
        && image_wanted(event, filters)
}

/// `exec_create` means `exec_create: sh` too.
fn action_wanted(event: &Event, filters: &Filters) -> bool {
    let word = event.action.split(':').next().unwrap_or_default();
    filters.matches("event", &event.action) || filters.matches("event", word)
}

/// All of them: `name` or `name=value`.
fn labels_wanted(event: &Event, filters: &Filters) -> bool {
    filters
        .values("label")
        .all(|label| match label.split_once('=') {
            Some((name, value)) => event
                .attributes
                .get(name)
                .is_some_and(|known| known == value),
            None => event.attributes.contains_key(label),
        })
}

/// By the beginning of the id or of the name.
fn object_wanted(event: &Event, filters: &Filters, key: &str) -> bool {
    if !filters.contains(key) {
        return true;
    }
    let name = event.attributes.get("name").map_or("", String::as_str);
    key == kind(event.subject)
        && filters
            .values(key)
            .any(|wanted| event.id.starts_with(wanted) || name.starts_with(wanted))
}

/// Events of the image, and of containers made from it; the tag may be left out.
fn image_wanted(event: &Event, filters: &Filters) -> bool {
    if !filters.contains("image") {
        return true;
    }
    let attribute = if event.subject == Subject::Image {
        "name"
    } else {
        "image"
    };
    let name = event.attributes.get(attribute).map_or("", String::as_str);
    let id = if event.subject == Subject::Image {
        event.id.as_str()
    } else {
        ""
    };
    let known = [id, name, without_tag(id), without_tag(name)];
    filters
        .values("image")
        .any(|wanted| known.contains(&wanted))
}

fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((bare, tag)) if !tag.contains('/') => bare,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn event() -> Event {
        let attributes = [("image", "nginx:1"), ("name", "web"), ("tier", "front")];
        Event {
            subject: Subject::Container,
            action: "exec_create: sh -c".to_owned(),
            id: "abcdef".to_owned(),
            attributes: BTreeMap::from(attributes.map(|(k, v)| (k.to_owned(), v.to_owned()))),
            time_ns: 1_700_000_000_000_000_001,
        }
    }

    #[test]
    fn older_clients_get_three_members_more() {
        let new = serde_json::to_value(to_wire(&event(), ApiVersion::MAX)).unwrap();
        assert_eq!(new["timeNano"], 1_700_000_000_000_000_001i64);
        assert_eq!(new["time"], 1_700_000_000);
        assert_eq!((&new["scope"], new.get("status")), (&"local".into(), None));
        let old = to_wire(&event(), ApiVersion::new(50));
        assert_eq!(
            (old.status.as_str(), old.from.as_str()),
            ("exec_create: sh -c", "nginx:1")
        );
    }

    #[test]
    fn filters_choose() {
        let yes = |json: &str| wanted(&event(), &Filters::parse(json).unwrap());
        for json in [
            "{}",
            r#"{"type":["container"],"event":["exec_create"]}"#,
            r#"{"event":["exec_create: sh -c","die"]}"#,
            r#"{"container":["we"]}"#,
            r#"{"container":["abc"]}"#,
            r#"{"image":["nginx"]}"#,
            r#"{"image":["nginx:1"]}"#,
            r#"{"label":["tier=front","name"]}"#,
        ] {
            assert!(yes(json), "{json}");
        }
        for json in [
            r#"{"type":["image"]}"#,
            r#"{"event":["exec_start"]}"#,
            r#"{"container":["db"]}"#,
            r#"{"network":["web"]}"#,
            r#"{"image":["redis"]}"#,
            r#"{"label":["tier=front","tier=back"]}"#,
            r#"{"scope":["swarm"]}"#,
        ] {
            assert!(!yes(json), "{json}");
        }
    }
}
