//! Which services count: by profile and by name; and what only the others need.

use std::collections::BTreeSet;

use super::loader::{Asker, Environment, Loader, unreadable};
use super::normalize::resolve_nothing;
use super::{Selected, environment, file as files, paths};
use crate::error::{LoadError, Result, nearest};
use crate::node::{Map, Node, Place, Value};

/// Splits services by their profiles; a service that is asked for by name counts with what it
/// needs.
pub(super) fn by_profile(services: Map, profiles: &[String], names: &[String]) -> Result<Selected> {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for name in names {
        if services.get(name).is_none() {
            return Err(unknown(name, &services));
        }
        with_dependencies(&services, name, &mut wanted);
    }
    let all = profiles.iter().any(|profile| profile == "*");
    let mut selected = Selected::default();
    for entry in services.0 {
        let own = entry
            .node
            .as_map()
            .map(|service| service.list("profiles"))
            .unwrap_or_default();
        let is_on = own.is_empty()
            || all
            || own
                .iter()
                .filter_map(Node::as_text)
                .any(|name| profiles.iter().any(|on| on == name))
            || wanted.contains(&entry.key);
        if is_on {
            selected.enabled.0.push(entry);
        } else {
            selected.disabled.0.push(entry);
        }
    }
    Ok(selected)
}

/// A service that is not there.
pub(crate) fn unknown(name: &str, services: &Map) -> LoadError {
    let error = LoadError::project(format!("no such service: {name}"));
    match nearest(name, services.iter().map(|entry| entry.key.as_str())) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

fn with_dependencies(services: &Map, name: &str, wanted: &mut BTreeSet<String>) {
    if !wanted.insert(name.to_owned()) {
        return;
    }
    let service = services.get(name).and_then(Node::as_map);
    if let Some(dependencies) = service.and_then(|service| service.map("depends_on")) {
        for entry in dependencies
            .iter()
            .filter(|entry| services.get(&entry.key).is_some())
        {
            with_dependencies(services, &entry.key, wanted);
        }
    }
}

/// Takes out networks, volumes, secrets and configs that no service refers to.
pub fn drop_unused(project: &mut Map) {
    let mut used: [BTreeSet<String>; 4] = Default::default();
    if let Some(services) = project.map("services") {
        for service in services.iter().filter_map(|entry| entry.node.as_map()) {
            collect(service, &mut used);
        }
    }
    for (section, used) in ["networks", "volumes", "secrets", "configs"]
        .into_iter()
        .zip(used)
    {
        if let Some(objects) = project.get_mut(section).and_then(Node::as_map_mut) {
            objects.0.retain(|entry| used.contains(&entry.key));
        }
    }
}

fn collect(service: &Map, used: &mut [BTreeSet<String>; 4]) {
    let [networks, volumes, secrets, configs] = used;
    if let Some(own) = service.map("networks") {
        networks.extend(own.iter().map(|entry| entry.key.clone()));
    }
    let sources = |list: &[Node], kind: Option<&str>| -> Vec<String> {
        list.iter()
            .filter_map(Node::as_map)
            .filter(|map| kind.is_none() || map.text("type") == kind)
            .filter_map(|map| map.text("source").map(str::to_owned))
            .collect()
    };
    volumes.extend(sources(service.list("volumes"), Some("volume")));
    secrets.extend(sources(service.list("secrets"), None));
    configs.extend(sources(service.list("configs"), None));
    if let Some(build) = service.map("build") {
        secrets.extend(sources(build.list("secrets"), None));
    }
}

impl Loader<'_> {
    /// Reads the files of variables that services name into the services themselves.
    pub(super) fn resolve_variables(
        &self,
        services: &mut Map,
        outside: &Environment,
    ) -> Result<()> {
        for entry in &mut services.0 {
            let place = entry.node.place.clone();
            let Some(service) = entry.node.as_map_mut() else {
                continue;
            };
            let files = service.remove("env_file");
            let mut variables = Map::default();
            for file in listed(files.as_ref()) {
                self.env_file(file, &mut variables, service, outside)?;
            }
            laid_over(&mut variables, service.map("environment"));
            self.take_nothing(&variables, outside);
            resolve_nothing(&mut variables, outside, true);
            put(service, "environment", variables, &place);
        }
        Ok(())
    }

    /// Reads the files of labels that services name into the services themselves.
    pub(super) fn resolve_labels(&self, services: &mut Map, outside: &Environment) -> Result<()> {
        for entry in &mut services.0 {
            let place = entry.node.place.clone();
            let Some(service) = entry.node.as_map_mut() else {
                continue;
            };
            let files = service.remove("label_file");
            let mut labels = Map::default();
            for file in listed(files.as_ref()) {
                self.label_file(file, &mut labels, outside)?;
            }
            laid_over(&mut labels, service.map("labels"));
            put(service, "labels", labels, &place);
        }
        Ok(())
    }

    /// Remembers which variables stand alone, and so take the value of this machine's.
    fn take_nothing(&self, variables: &Map, outside: &Environment) {
        for entry in variables.iter().filter(|entry| entry.node.is_null()) {
            self.take(&entry.key, outside);
        }
    }

    /// The same for the arguments of builds.
    pub(super) fn take_arguments(&self, project: &Map, outside: &Environment) {
        let services = project.map("services").into_iter().flat_map(Map::iter);
        for service in services.filter_map(|entry| entry.node.as_map()) {
            let build = service.map("build");
            if let Some(arguments) = build.and_then(|build| build.map("args")) {
                self.take_nothing(arguments, outside);
            }
        }
    }

    fn env_file(
        &self,
        file: &Node,
        variables: &mut Map,
        service: &Map,
        outside: &Environment,
    ) -> Result<()> {
        let Some(map) = file.as_map() else {
            return Ok(());
        };
        let path = map.text("path").unwrap_or_default();
        let is_required = !matches!(
            map.get("required").map(|node| &node.value),
            Some(Value::Bool(false))
        );
        let path = &paths::join(&self.directory, path);
        let asker = Asker {
            key: "env_file",
            node: file,
        };
        self.check_inside(path, Some(asker))?;
        let text = match files::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_required => {
                return Ok(());
            }
            Err(error) => {
                return Err(unreadable(path, error, Some(asker)));
            }
        };
        let found = match map.text("format") {
            Some("raw") => environment::parse_raw(&text),
            Some(other) => {
                return Err(LoadError::at(
                    file,
                    format!("the format `{other}` of {path} is not known"),
                )
                .with_hint("the one format there is besides the usual one is `raw`"));
            }
            None => {
                let before = &*variables;
                let lookup = |name: &str| {
                    let text = |map: &Map| map.text(name).map(str::to_owned);
                    let own = service.map("environment").and_then(text);
                    own.or_else(|| self.take(name, outside))
                        .or_else(|| text(before))
                };
                self.variables_of(path, &text, &lookup)?
            }
        };
        for (key, value) in found {
            let value = value.map_or(Value::Null, Value::Text);
            variables.set(&key, Node::at(&file.place, value));
        }
        Ok(())
    }

    fn label_file(&self, file: &Node, labels: &mut Map, outside: &Environment) -> Result<()> {
        let path = &paths::join(&self.directory, file.as_text().unwrap_or_default());
        let asker = Asker {
            key: "label_file",
            node: file,
        };
        self.check_inside(path, Some(asker))?;
        let text = files::read(path).map_err(|error| unreadable(path, error, Some(asker)))?;
        let lookup = |name: &str| self.take(name, outside);
        for (key, value) in self.variables_of(path, &text, &lookup)? {
            labels.set(&key, Node::text_at(&file.place, value.unwrap_or_default()));
        }
        Ok(())
    }
}

fn listed(files: Option<&Node>) -> &[Node] {
    files.and_then(Node::as_list).unwrap_or_default()
}

/// What a service says itself counts more than what it has from a file.
fn laid_over(found: &mut Map, own: Option<&Map>) {
    for entry in own.into_iter().flat_map(Map::iter) {
        found.set(&entry.key, entry.node.clone());
    }
}

fn put(service: &mut Map, key: &str, map: Map, place: &Place) {
    if map.0.is_empty() {
        service.remove(key);
    } else {
        service.set(key, Node::at(place, Value::Map(map)));
    }
}
