//! A loaded project as types: what planning and carrying out work with.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{LoadError, Result};
use crate::load::Loaded;
use crate::node::{Map, Node, Place};
use crate::render;

mod build;
mod network;
mod resources;
mod service;
mod storage;
mod update;

pub use build::{Build, Develop, Trigger};
pub use network::Network;
pub(crate) use resources::{DeviceRequest, Throttle};
pub(crate) use service::HealthCheck;
pub use service::{Dependency, Hook, Provider, REPLICAS_MAX, Service};
pub(crate) use storage::Mount;
pub use storage::{FileObject, FileReference, Volume};
pub(crate) use update::{Manner, OnFailure};

/// Text to text.
pub type Texts = BTreeMap<String, String>;

/// A project: what should be.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// What its paths began at.
    pub directory: String,
    /// Its files.
    pub files: Vec<String>,
    /// Its files of variables.
    pub env_files: Vec<String>,
    /// All variables.
    pub environment: Texts,
    /// Services that are on.
    pub services: BTreeMap<String, Service>,
    /// Services that are not, but whose images those that are on are built from.
    pub bases: BTreeMap<String, Service>,
    /// Names of the services that are not.
    pub disabled: BTreeSet<String>,
    /// Networks.
    pub networks: BTreeMap<String, Network>,
    /// Volumes.
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets.
    pub secrets: BTreeMap<String, FileObject>,
    /// Configs.
    pub configs: BTreeMap<String, FileObject>,
    /// Networks and volumes count though no service refers to them.
    pub keep_unused: bool,
}

impl Project {
    /// From what was loaded.
    ///
    /// # Errors
    /// A model that is not of the schema's shape; loading has made that impossible for what it
    /// knows.
    pub fn of(loaded: &Loaded) -> Result<Self> {
        let raw = &loaded.project;
        let mut project = Self {
            name: loaded.name.clone(),
            directory: loaded.directory.clone(),
            files: loaded.files.clone(),
            env_files: loaded.env_files.clone(),
            environment: loaded.environment.clone(),
            disabled: loaded
                .disabled
                .iter()
                .map(|entry| entry.key.clone())
                .collect(),
            services: section(raw, "services")?,
            bases: BTreeMap::new(),
            networks: section(raw, "networks")?,
            volumes: section(raw, "volumes")?,
            secrets: section(raw, "secrets")?,
            configs: section(raw, "configs")?,
            keep_unused: loaded.keep_unused,
        };
        for (name, service) in &mut project.services {
            service.name.clone_from(name);
            service.compatible = loaded.compatible;
            if let Some(map) = raw.map("services").and_then(|services| services.map(name)) {
                service.hash = render::service_hash(map);
                service.raw = map.clone();
            }
            service
                .depends_on
                .retain(|other, _| !project.disabled.contains(other));
        }
        for (name, network) in &mut project.networks {
            if let Some(map) = raw.map("networks").and_then(|networks| networks.map(name)) {
                network.hash = render::network_hash(map);
                network.external_at = place_of(map, "external");
            }
        }
        for (name, volume) in &mut project.volumes {
            if let Some(map) = raw.map("volumes").and_then(|volumes| volumes.map(name)) {
                volume.hash = render::volume_hash(map);
                volume.external_at = place_of(map, "external");
            }
        }
        for (section, objects) in [
            ("secrets", &mut project.secrets),
            ("configs", &mut project.configs),
        ] {
            for (name, object) in objects {
                if let Some(map) = raw.map(section).and_then(|objects| objects.map(name)) {
                    object.external_at = place_of(map, "external");
                    object.file_at = place_of(map, "file");
                }
            }
        }
        Ok(project)
    }

    /// Gives variables of a service that a program provides to those that depend on it: `URL` of `db`
    /// is `DB_URL` to them.
    pub fn provide(&mut self, provider: &str, variables: &[(String, String)]) {
        let prefix = format!("{}_", provider.to_uppercase());
        let dependents = self
            .services
            .values_mut()
            .filter(|service| service.depends_on.contains_key(provider));
        for service in dependents {
            for (key, value) in variables {
                service.set_variable(format!("{prefix}{key}"), value.clone());
            }
            service.hash = render::service_hash(&service.raw);
        }
    }

    /// Keeps some services, and with them what they depend on unless they shall stand alone. Networks
    /// and volumes of the others are nobody's business then.
    pub fn select(&mut self, names: &[String], with_dependencies: bool) {
        if names.is_empty() {
            return;
        }
        let mut kept: BTreeSet<String> = BTreeSet::new();
        let mut open: Vec<String> = names.to_vec();
        while let Some(name) = open.pop() {
            let Some(service) = self.services.get(&name) else {
                continue;
            };
            if kept.insert(name) && with_dependencies {
                open.extend(service.depends_on.keys().cloned());
            }
        }
        let dropped: Vec<String> = self
            .services
            .keys()
            .filter(|name| !kept.contains(*name))
            .cloned()
            .collect();
        for name in dropped {
            if let Some(service) = self.services.remove(&name) {
                self.bases.insert(name.clone(), service);
            }
            self.disabled.insert(name);
        }
        if !with_dependencies {
            for service in self.services.values_mut() {
                service.depends_on.retain(|name, _| kept.contains(name));
            }
        }
        if !self.keep_unused {
            self.drop_unused();
        }
    }

    /// The services whose images one is built from (`service:NAME` in `additional_contexts`), each
    /// after those that it is built from itself.
    ///
    /// # Errors
    /// A service that there is not, and services that are built from each other.
    pub fn built_from<'p>(&'p self, service: &'p Service) -> Result<Vec<&'p Service>> {
        let mut ordered = Vec::new();
        let mut waiting = vec![(service, service.bases())];
        while let Some((above, names)) = waiting.last_mut() {
            let Some(name) = names.pop() else {
                let (done, _) = waiting.pop().unwrap_or((service, Vec::new()));
                ordered.push(done);
                continue;
            };
            let wrong = |why: &str| {
                let message = format!(
                    "service {:?} is built from service {name:?}, {why}",
                    above.name
                );
                Err(LoadError::project(message))
            };
            let Some(base) = self.services.get(name).or_else(|| self.bases.get(name)) else {
                return wrong("which there is not");
            };
            if waiting.iter().any(|(other, _)| other.name == base.name) {
                return wrong("which is built from it");
            }
            if ordered
                .iter()
                .all(|other: &&Service| other.name != base.name)
            {
                waiting.push((base, base.bases()));
            }
        }
        ordered.pop();
        Ok(ordered)
    }

    fn drop_unused(&mut self) {
        let services = || self.services.values();
        let networks: BTreeSet<&String> = services()
            .flat_map(|service| service.networks.keys())
            .collect();
        let volumes: BTreeSet<&String> = services()
            .flat_map(|service| &service.volumes)
            .filter(|mount| mount.kind == "volume")
            .map(|mount| &mount.source)
            .collect();
        self.networks.retain(|key, _| networks.contains(key));
        self.volumes.retain(|key, _| volumes.contains(key));
    }
}

/// Where a key's value stands.
fn place_of(map: &Map, key: &str) -> Place {
    map.get(key)
        .map(|node| node.place.clone())
        .unwrap_or_default()
}

fn section<T: for<'de> Deserialize<'de>>(project: &Map, name: &str) -> Result<BTreeMap<String, T>> {
    let mut objects = BTreeMap::new();
    let Some(map) = project.map(name) else {
        return Ok(objects);
    };
    for entry in map.iter() {
        let map = entry.node.as_map().cloned().unwrap_or_default();
        let value: Value = render::to_value(&map);
        let object = serde_json::from_value(value)
            .map_err(|error| shape_error(&entry.node, name, &entry.key, &error))?;
        objects.insert(entry.key.clone(), object);
    }
    Ok(objects)
}

fn shape_error(node: &Node, section: &str, name: &str, error: &serde_json::Error) -> LoadError {
    LoadError::at(node, format!("{section}.{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Services, each built from others.
    fn project(services: &[(&str, &[&str])]) -> Project {
        let service = |(name, bases): &(&str, &[&str])| {
            let contexts: Texts = bases
                .iter()
                .map(|base| (format!("of-{base}"), format!("service:{base}")))
                .collect();
            let service =
                json!({"name": name, "build": {"context": "/c", "additional_contexts": contexts}});
            let mut service: Service = serde_json::from_value(service).unwrap();
            service.name = (*name).to_owned();
            ((*name).to_owned(), service)
        };
        Project {
            services: services.iter().map(service).collect(),
            ..Project::default()
        }
    }

    fn built_from(project: &Project, name: &str) -> std::result::Result<Vec<String>, String> {
        let bases = project.built_from(&project.services[name]);
        let bases = bases.map_err(|error| error.to_string())?;
        Ok(bases.iter().map(|base| base.name.clone()).collect())
    }

    #[test]
    fn a_service_is_built_from_others_though_they_are_not_wanted() {
        let mut project = project(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[]), ("d", &[])]);
        project.select(&["a".to_owned()], false);
        assert_eq!(project.services.len(), 1);
        assert_eq!(built_from(&project, "a").unwrap(), ["c", "b"]);
    }

    #[test]
    fn what_cannot_be_built_from_each_other_is_refused() {
        let project = project(&[("a", &["b"]), ("b", &["a"]), ("c", &["none"])]);
        let circle = built_from(&project, "a").unwrap_err();
        assert_eq!(
            circle,
            "service \"b\" is built from service \"a\", which is built from it"
        );
        let absent = built_from(&project, "c").unwrap_err();
        assert!(absent.contains("\"none\", which there is not"), "{absent}");
    }
}
