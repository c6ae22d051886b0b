//! What a model must fulfil as a whole: all that is named exists, nothing contradicts itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::values;
use crate::error::{LoadError, Result, nearest};
use crate::node::{Map, Node, Value};

/// Services one project may have: far more than a machine runs.
const SERVICES_MAX: usize = 10_000;

/// Checks the model of the services that are on. `disabled` are the others. Values mean something only
/// where variables are replaced.
pub(super) fn check(project: &Map, disabled: &Map, with_values: bool) -> Result<()> {
    let empty = Map::default();
    let services = project.map("services").unwrap_or(&empty);
    if services.0.len() > SERVICES_MAX {
        return Err(LoadError::project(format!(
            "the project has {} services, and may have {SERVICES_MAX}",
            services.0.len()
        )));
    }
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in services.iter() {
        let Some(service) = entry.node.as_map() else {
            continue;
        };
        let check = Check {
            with_values,
            project,
            services,
            disabled,
            name: &entry.key,
            service,
            node: &entry.node,
        };
        check.itself()?;
        if with_values {
            values::service(&entry.key, service)?;
        }
        check.references()?;
        check.dependencies()?;
        if let Some(name) = service.text("container_name")
            && let Some(other) = names.insert(name, &entry.key)
        {
            return Err(LoadError::at(
                service.get("container_name").unwrap_or(&entry.node),
                format!(
                    "the services `{other}` and `{}` both want the container name `{name}`",
                    entry.key
                ),
            ));
        }
    }
    objects(project)?;
    let networks = project.map("networks").unwrap_or(&empty);
    for entry in networks.iter().filter(|_| with_values) {
        if let Some(network) = entry.node.as_map() {
            values::network(&entry.key, network)?;
        }
    }
    circles(services)
}

struct Check<'c> {
    /// Variables are replaced.
    with_values: bool,
    project: &'c Map,
    services: &'c Map,
    disabled: &'c Map,
    name: &'c str,
    service: &'c Map,
    node: &'c Node,
}

impl Check<'_> {
    fn wrong<T>(&self, key: &str, message: &str) -> Result<T> {
        let node = self.service.get(key).unwrap_or(self.node);
        Err(LoadError::at(
            node,
            format!("services.{}: {message}", self.name),
        ))
    }

    fn itself(&self) -> Result<()> {
        let has = |key: &str| self.service.get(key).is_some();
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !self.name.chars().all(is_allowed) {
            return self.wrong(
                "",
                "the name of a service has letters, digits, `.`, `_` and `-`",
            );
        }
        if !has("image") && !has("build") && !has("provider") {
            return self.wrong("", "there is neither an `image` nor a `build`");
        }
        if has("network_mode") && has("networks") {
            return self.wrong(
                "networks",
                "`network_mode` and `networks` exclude each other",
            );
        }
        let scale = self.service.get("scale").and_then(Node::scalar_text);
        let scale: i64 = scale.and_then(|scale| scale.parse().ok()).unwrap_or(1);
        let replicas = self.service.map("deploy");
        let replicas = replicas.and_then(|deploy| deploy.get("replicas"));
        let replicas = replicas.and_then(Node::scalar_text);
        let replicas: i64 = replicas.and_then(|count| count.parse().ok()).unwrap_or(1);
        if scale.max(replicas) > 1 && has("container_name") {
            return self.wrong(
                "container_name",
                "a service with a `container_name` cannot be scaled",
            );
        }
        self.distinct()?;
        self.health()?;
        self.watch()
    }

    /// What can be said in two places must be the same in both.
    fn distinct(&self) -> Result<()> {
        let resources = self
            .service
            .map("deploy")
            .and_then(|deploy| deploy.map("resources"));
        for (key, part, other) in [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ] {
            let own = self.service.get(key).and_then(Node::scalar_text);
            let deployed = resources
                .and_then(|all| all.map(part))
                .and_then(|part| part.get(other));
            let deployed = deployed.and_then(Node::scalar_text);
            if own.is_some() && deployed.is_some() && own != deployed {
                return self.wrong(
                    key,
                    &format!("`{key}` and `deploy.resources.{part}.{other}` differ"),
                );
            }
        }
        Ok(())
    }

    fn health(&self) -> Result<()> {
        let Some(test) = self
            .service
            .map("healthcheck")
            .and_then(|health| health.get("test"))
        else {
            return Ok(());
        };
        let words = test.as_list().unwrap_or_default();
        let first = words.first().and_then(Node::as_text).unwrap_or_default();
        let why = match first {
            "NONE" | "CMD" => return Ok(()),
            "CMD-SHELL" if words.len() == 2 => return Ok(()),
            "CMD-SHELL" => "`CMD-SHELL` is followed by one text",
            _ => "a list begins with `NONE`, `CMD` or `CMD-SHELL`",
        };
        Err(LoadError::at(
            test,
            format!("services.{}.healthcheck.test: {why}", self.name),
        ))
    }

    fn watch(&self) -> Result<()> {
        let Some(develop) = self.service.map("develop") else {
            return Ok(());
        };
        for trigger in develop.list("watch") {
            let Some(map) = trigger.as_map() else {
                continue;
            };
            let action = map.text("action").unwrap_or_default();
            let why = match action {
                "rebuild" if self.service.get("build").is_none() => "`rebuild` needs a `build`",
                "sync" | "sync+restart" | "sync+exec" if map.get("target").is_none() => {
                    "what is synchronised needs a `target`"
                }
                "sync+exec" if map.get("exec").is_none() => "`sync+exec` needs an `exec`",
                _ => continue,
            };
            return Err(LoadError::at(
                trigger,
                format!("services.{}.develop.watch: {why}", self.name),
            ));
        }
        Ok(())
    }

    fn references(&self) -> Result<()> {
        if let Some(networks) = self.service.map("networks") {
            for entry in networks.iter() {
                self.known("networks", "network", &entry.key, &entry.node)?;
            }
        }
        for mount in self.service.list("volumes") {
            let Some(map) = mount.as_map() else {
                continue;
            };
            if map.text("type") == Some("volume")
                && let Some(name) = map.text("source")
            {
                self.known("volumes", "volume", name, mount)?;
            }
            if map.text("target").is_none() {
                return Err(LoadError::at(
                    mount,
                    format!("services.{}.volumes: a volume needs a `target`", self.name),
                ));
            }
        }
        for (section, what) in [("secrets", "secret"), ("configs", "config")] {
            for reference in self.service.list(section) {
                if let Some(name) = reference.as_map().and_then(|map| map.text("source")) {
                    self.known(section, what, name, reference)?;
                }
            }
        }
        let build = self.service.map("build");
        for reference in build.map(|build| build.list("secrets")).unwrap_or_default() {
            if let Some(name) = reference.as_map().and_then(|map| map.text("source")) {
                self.known("secrets", "build secret", name, reference)?;
            }
        }
        Ok(())
    }

    fn known(&self, section: &str, what: &str, name: &str, node: &Node) -> Result<()> {
        let empty = Map::default();
        let objects = self.project.map(section).unwrap_or(&empty);
        // A variable that stands for itself may become any of them.
        if objects.get(name).is_some() || (!self.with_values && name.contains('$')) {
            return Ok(());
        }
        let error = LoadError::at(
            node,
            format!("services.{}: the {what} `{name}` is not defined", self.name),
        );
        Err(
            match nearest(name, objects.iter().map(|entry| entry.key.as_str())) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint(format!("add it below `{section}:`")),
            },
        )
    }

    fn dependencies(&self) -> Result<()> {
        let Some(dependencies) = self.service.map("depends_on") else {
            return Ok(());
        };
        for entry in dependencies.iter() {
            let required = entry.node.as_map().and_then(|map| map.get("required"));
            let is_required = !matches!(required.map(|node| &node.value), Some(Value::Bool(false)));
            let is_off = self.disabled.get(&entry.key).is_some();
            if self.services.get(&entry.key).is_some() || (is_off && !is_required) {
                continue;
            }
            let error = LoadError::written(
                &entry.place,
                format!(
                    "services.{}: it depends on the service `{}`, which is not defined",
                    self.name, entry.key
                ),
            );
            if is_off {
                return Err(error.with_hint("the service is there, but none of its profiles is on"));
            }
            return Err(
                match nearest(
                    &entry.key,
                    // Nothing can depend on itself.
                    self.services
                        .iter()
                        .map(|other| other.key.as_str())
                        .filter(|other| *other != self.name),
                ) {
                    Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                    None => error,
                },
            );
        }
        Ok(())
    }
}

fn objects(project: &Map) -> Result<()> {
    let empty = Map::default();
    for (section, what, sources) in [
        ("secrets", "secret", &["file", "environment"][..]),
        ("configs", "config", &["file", "environment", "content"][..]),
    ] {
        for entry in project.map(section).unwrap_or(&empty).iter() {
            let Some(map) = entry.node.as_map() else {
                continue;
            };
            let is_external = matches!(
                map.get("external").map(|node| &node.value),
                Some(Value::Bool(true))
            );
            let count = sources
                .iter()
                .filter(|source| map.get(source).is_some())
                .count();
            if !is_external && count != 1 {
                let list = sources[..sources.len().min(3)].join("`, `");
                return Err(LoadError::at(
                    &entry.node,
                    format!(
                        "{section}.{}: a {what} has exactly one of `{list}`",
                        entry.key
                    ),
                ));
            }
        }
    }
    for section in ["networks", "volumes"] {
        for entry in project.map(section).unwrap_or(&empty).iter() {
            let Some(map) = entry.node.as_map() else {
                continue;
            };
            let is_external = matches!(
                map.get("external").map(|node| &node.value),
                Some(Value::Bool(true))
            );
            let other = map.iter().find(|entry| {
                !matches!(entry.key.as_str(), "external" | "name") && !entry.key.starts_with("x-")
            });
            if let Some(other) = other.filter(|_| is_external) {
                return Err(LoadError::written(
                    &other.place,
                    format!(
                        "{section}.{}: what is external has no `{}` here",
                        entry.key, other.key
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// Refuses services that wait for each other.
fn circles(services: &Map) -> Result<()> {
    let nodes: HashMap<&str, &Node> = services
        .iter()
        .map(|entry| (entry.key.as_str(), &entry.node))
        .collect();
    let mut finished: BTreeSet<&str> = BTreeSet::new();
    for entry in services.iter() {
        walk(&nodes, &entry.key, &mut finished)?;
    }
    Ok(())
}

/// Follows dependencies from one service on. A chain may be as long as there are services, so what is
/// open is kept here and not on the stack.
fn walk<'s>(
    services: &HashMap<&'s str, &'s Node>,
    first: &'s str,
    finished: &mut BTreeSet<&'s str>,
) -> Result<()> {
    let mut path: Vec<(&str, Vec<&str>)> = vec![(first, dependencies(services, first))];
    let mut open = BTreeSet::from([first]);
    while let Some((name, left)) = path.last_mut() {
        let Some(next) = left.pop() else {
            open.remove(name);
            finished.insert(name);
            path.pop();
            continue;
        };
        if finished.contains(next) {
            continue;
        }
        if !open.insert(next) {
            let names = path.iter().map(|(name, _)| *name);
            return Err(circle(
                services,
                names.skip_while(|name| *name != next),
                next,
            ));
        }
        path.push((next, dependencies(services, next)));
    }
    Ok(())
}

/// The services that one depends on, the last one first.
fn dependencies<'s>(services: &HashMap<&'s str, &'s Node>, name: &str) -> Vec<&'s str> {
    let service = services.get(name).and_then(|node| node.as_map());
    let dependencies = service.and_then(|service| service.map("depends_on"));
    let entries = dependencies.map(|map| map.0.as_slice()).unwrap_or_default();
    let names = entries.iter().rev().map(|entry| entry.key.as_str());
    names.filter(|name| services.contains_key(name)).collect()
}

fn circle<'s>(
    services: &HashMap<&'s str, &'s Node>,
    path: impl Iterator<Item = &'s str>,
    closing: &'s str,
) -> LoadError {
    let names: Vec<&str> = path.chain([closing]).collect();
    let place = services.get(closing).map(|node| node.place.clone());
    LoadError::written(
        &place.unwrap_or_default(),
        format!(
            "services depend on each other in a circle: {}",
            names.join(" → ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::yaml;

    fn told(text: &str) -> String {
        let document = yaml::parse("c.yaml", text).unwrap().remove(0);
        let services = document.as_map().unwrap();
        circles(services).unwrap_err().to_string()
    }

    #[test]
    fn a_circle_is_named_and_a_long_chain_is_none() {
        let circle =
            "a: {depends_on: {b: , d: }}\nb: {depends_on: {c: }}\nc: {depends_on: {b: }}\nd: {}\n";
        assert_eq!(
            told(circle),
            "c.yaml:2:4: services depend on each other in a circle: b → c → b"
        );
        assert!(told("a: {depends_on: {a: }}").ends_with("circle: a → a"));
        let chain: String = (0..SERVICES_MAX)
            .map(|number| format!("s{number}: {{depends_on: {{s{}: }}}}\n", number + 1))
            .collect();
        let document = yaml::parse("c.yaml", &chain).unwrap().remove(0);
        assert!(circles(document.as_map().unwrap()).is_ok());
    }
}
