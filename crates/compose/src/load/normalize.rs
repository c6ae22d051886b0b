//! What goes without saying is said: default networks, full names, implied dependencies.

use super::loader::Environment;
use super::merge;
use super::schema::{Identity, Kind, Merge, PROJECT, bare};
use crate::error::{LoadError, Result};
use crate::node::{Entry, Map, Node, Place, Value};

/// Sections whose objects are named after the project unless they have a name.
const NAMED: [&str; 4] = ["networks", "volumes", "secrets", "configs"];

/// What holds before paths are made absolute: items that are the same are there once, secrets have
/// a place, and a build without a context begins where the project lies.
pub(super) fn finish(project: &mut Map) {
    visit(project, &Kind::Object(&PROJECT));
    let services = project.get_mut("services").and_then(Node::as_map_mut);
    for entry in services.into_iter().flat_map(|services| &mut services.0) {
        let place = entry.place.clone();
        let Some(service) = entry.node.as_map_mut() else {
            continue;
        };
        secret_targets(service, &place);
        let build = service.get_mut("build");
        if let Some(build) = build.and_then(Node::as_map_mut)
            && build.get("context").is_none()
        {
            build.set("context", Node::text_at(&place, "."));
        }
    }
}

/// Where secrets are that name no place.
fn secret_targets(service: &mut Map, place: &Place) {
    let Some(Value::List(items)) = service.get_mut("secrets").map(|node| &mut node.value) else {
        return;
    };
    for item in items.iter_mut().filter_map(Node::as_map_mut) {
        let source = item.text("source").unwrap_or_default().to_owned();
        if item.get("target").is_none() {
            let target = format!("/run/secrets/{source}");
            item.set("target", Node::text_at(place, target));
        }
    }
}

fn visit(map: &mut Map, kind: &Kind) {
    for Entry { key, node, .. } in &mut map.0 {
        let (inner, merge) = match kind {
            Kind::Object(object) => match object.field(key) {
                Some(field) => (&field.kind, field.merge),
                None => continue,
            },
            Kind::Named(inner) => (*inner, Merge::Deep),
            _ => return,
        };
        match &mut node.value {
            Value::Map(map) => visit(map, bare(inner)),
            Value::List(items) => {
                let by = match (merge, inner) {
                    (Merge::Unique(by), _) => by,
                    (_, Kind::Pairs | Kind::Variables) => Identity::Key,
                    _ => continue,
                };
                *items = merge::unique(std::mem::take(items), by);
            }
            _ => {}
        }
    }
}

/// Says what goes without saying.
pub(super) fn normalize(project: &mut Map, name: &str, environment: &Environment) -> Result<()> {
    let place = Place::nowhere();
    let mut needs_default = false;
    if let Some(services) = project.get_mut("services").and_then(Node::as_map_mut) {
        for entry in &mut services.0 {
            let place = entry.node.place.clone();
            if entry.node.is_null() {
                entry.node.value = Value::Map(Map::default());
            }
            if let Some(service) = entry.node.as_map_mut() {
                needs_default |= service_defaults(service, &place, environment);
            }
        }
    }
    for section in NAMED {
        if section == "networks" && needs_default && project.get(section).is_none() {
            project.set(section, Node::at(&place, Value::Map(Map::default())));
        }
        let Some(objects) = project.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        if section == "networks" && needs_default && objects.get("default").is_none() {
            objects.set("default", Node::at(&place, Value::Map(Map::default())));
        }
        for entry in &mut objects.0 {
            full_name(entry, name);
        }
    }
    Ok(())
}

fn full_name(entry: &mut Entry, project: &str) {
    let place = entry.node.place.clone();
    if entry.node.is_null() {
        entry.node.value = Value::Map(Map::default());
    }
    let Some(map) = entry.node.as_map_mut() else {
        return;
    };
    if map.text("name").is_some() {
        return;
    }
    let is_external = matches!(
        map.get("external").map(|node| &node.value),
        Some(Value::Bool(true))
    );
    let name = match is_external {
        true => entry.key.clone(),
        false => format!("{project}_{}", entry.key),
    };
    map.set("name", Node::text_at(&place, name));
}

/// Fills in one service; whether it is on the default network.
fn service_defaults(service: &mut Map, place: &Place, environment: &Environment) -> bool {
    if service.text("pull_policy") == Some("if_not_present") {
        service.set("pull_policy", Node::text_at(place, "missing"));
    }
    if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
        build_defaults(build, place, environment);
    }
    imply_dependencies(service, place);
    let has_own = service
        .map("networks")
        .is_some_and(|networks| !networks.0.is_empty());
    if service.get("provider").is_some() {
        return false;
    }
    if !has_own && service.get("network_mode").is_none() {
        let mut networks = Map::default();
        networks.set("default", Node::at(place, Value::Null));
        service.set("networks", Node::at(place, Value::Map(networks)));
    }
    service
        .map("networks")
        .is_some_and(|networks| networks.get("default").is_some())
}

fn build_defaults(build: &mut Map, place: &Place, environment: &Environment) {
    if build.get("dockerfile").is_none() && build.get("dockerfile_inline").is_none() {
        build.set("dockerfile", Node::text_at(place, "Dockerfile"));
    }
    match build.get_mut("args").map(|node| &mut node.value) {
        Some(Value::Map(args)) => resolve_nothing(args, environment, false),
        // As they are written, with nothing to take them from.
        Some(Value::List(args)) => args.retain(|argument| {
            let text = argument.as_text();
            text.is_none_or(|text| text.contains('='))
        }),
        _ => {}
    }
}

/// Takes variables that stand alone from the environment; the others stay, or go.
pub(crate) fn resolve_nothing(variables: &mut Map, environment: &Environment, stay: bool) {
    variables.0.retain_mut(|entry| {
        if !entry.node.is_null() {
            return true;
        }
        match environment.get(&entry.key) {
            Some(value) => {
                entry.node.value = Value::Text(value.clone());
                true
            }
            None => stay,
        }
    });
}

/// Links, shared namespaces and volumes of others are dependencies.
fn imply_dependencies(service: &mut Map, place: &Place) {
    let mut implied: Vec<(String, bool)> = Vec::new();
    for link in service.list("links").iter().filter_map(Node::as_text) {
        let name = link.split(':').next().unwrap_or(link);
        implied.push((name.to_owned(), true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(name) = service
            .text(key)
            .and_then(|mode| mode.strip_prefix("service:"))
        {
            implied.push((name.to_owned(), true));
        }
    }
    for other in service
        .list("volumes_from")
        .iter()
        .filter_map(Node::as_text)
    {
        if !other.starts_with("container:") {
            let name = other.split(':').next().unwrap_or(other);
            implied.push((name.to_owned(), false));
        }
    }
    if implied.is_empty() {
        return;
    }
    if service.get("depends_on").is_none() {
        service.set("depends_on", Node::at(place, Value::Map(Map::default())));
    }
    let Some(dependencies) = service.get_mut("depends_on").and_then(Node::as_map_mut) else {
        return;
    };
    for (name, restart) in implied {
        if dependencies.get(&name).is_none() {
            let yes = |is_so| Node::at(place, Value::Bool(is_so));
            let entries = vec![
                ("condition", Node::text_at(place, "service_started")),
                ("required", yes(true)),
                ("restart", yes(restart)),
            ];
            dependencies.set(&name, Node::map_at(place, entries));
        }
    }
}

/// Checks both ways to say how many containers a service has, and makes them one.
pub(super) fn scales(project: &mut Map) -> Result<()> {
    let services = project.get_mut("services").and_then(Node::as_map_mut);
    for entry in services.into_iter().flat_map(|services| &mut services.0) {
        if let Some(service) = entry.node.as_map_mut() {
            scale(service, &entry.key)?;
        }
    }
    Ok(())
}

/// `scale` and `deploy.replicas` are one number.
fn scale(service: &mut Map, name: &str) -> Result<()> {
    let replicas = service
        .map("deploy")
        .and_then(|deploy| deploy.get("replicas"))
        .cloned();
    let scale = service.get("scale").cloned();
    match (scale, replicas) {
        (Some(scale), Some(replicas)) if scale.scalar_text() != replicas.scalar_text() => {
            let message = format!("services.{name}: `scale` and `deploy.replicas` differ");
            Err(LoadError::at(&scale, message))
        }
        (Some(scale), None) => {
            if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_map_mut) {
                deploy.set("replicas", scale);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
