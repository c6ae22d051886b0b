//! The file of an application that is there. Pure: from what the daemon tells of its containers,
//! networks and volumes.

use std::collections::{BTreeMap, BTreeSet};

use hull_api::types::{ContainerCreate, Network, SealedFile, TextMap, Volume};
use serde_json::{Map, Value, json};

use super::{OPTIONAL_LABEL, OWN_LABELS};
use crate::commands::container::compose::{Member, document, service, things};

/// Where secrets are, unless they say another place.
const SECRETS: &str = "/run/secrets/";
/// So much of an id is one, and no name.
const ID_PART: usize = 12;
/// The mode of a file that says none.
const FILE_MODE: u32 = 0o444;
/// What Compose does itself and leaves no trace of in what it makes.
const UNKNOWN: &str = "not known from containers, and left out: `build`, `profiles`, `develop`, hooks, and subnets chosen for networks";

/// A container that is there.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) labels: TextMap,
    /// The request that would make it again.
    pub(super) body: ContainerCreate,
    /// Where it is handed files, not what they hold.
    pub(super) sealed: Vec<SealedFile>,
}

impl Found {
    fn label(&self, key: &str) -> &str {
        own_label(&self.labels, key)
    }

    /// The service that it is already; one of `compose run` is none.
    fn service(&self) -> Option<&str> {
        let is_one_off = self.label("oneoff").eq_ignore_ascii_case("true");
        Some(self.label("service")).filter(|name| !name.is_empty() && !is_one_off)
    }

    /// What the service is called that it becomes.
    fn key(&self) -> &str {
        self.service().unwrap_or(&self.name)
    }

    /// Names by which others find it without anybody having asked for them.
    fn is_given_name(&self, name: &str) -> bool {
        let number = self.label("container-number");
        name == self.name || name == self.key() || name == format!("{}-{number}", self.key())
    }
}

fn own_label<'l>(labels: &'l TextMap, key: &str) -> &'l str {
    let key = format!("{OWN_LABELS}{key}");
    labels.get(&key).map_or("", String::as_str)
}

/// The project of which all are that are of any.
pub(super) fn project(found: &[Found]) -> String {
    let mut names = found
        .iter()
        .map(|found| found.label("project"))
        .filter(|name| !name.is_empty());
    match names.next() {
        Some(first) if names.all(|name| name == first) => first.to_owned(),
        _ => String::new(),
    }
}

/// A network or a volume in the file.
pub(super) struct Thing {
    /// What the file calls it.
    key: String,
    body: Map<String, Value>,
}

impl Thing {
    pub(super) fn of_network(network: &Network, application: &Application<'_>) -> Self {
        let labels = network.labels.clone().unwrap_or_default();
        let key = own_label(&labels, "network");
        let Some(mut body) = application.own(&network.name, key, &labels) else {
            return Self::external(&network.name);
        };
        let mut put = |key: &str, value: Value| _ = body.insert(key.to_owned(), value);
        if network.driver != "bridge" {
            put("driver", json!(network.driver));
        }
        for (name, value, usual) in [
            ("internal", network.internal, false),
            ("attachable", network.attachable, false),
            ("enable_ipv6", network.enable_ipv6, false),
            ("enable_ipv4", network.enable_ipv4, true),
        ] {
            if value != usual {
                put(name, json!(value));
            }
        }
        if let Some(options) = network.options.as_ref().filter(|all| !all.is_empty()) {
            put("driver_opts", json!(options));
        }
        // An address that was asked for needs the subnet that it is in.
        if application.has_addresses(&network.name) {
            let config: Vec<Value> = network
                .ipam
                .config
                .iter()
                .flatten()
                .map(|part| json!({ "subnet": part.subnet }))
                .collect();
            put("ipam", json!({ "config": config }));
        }
        Self {
            key: key.to_owned(),
            body,
        }
    }

    pub(super) fn of_volume(volume: &Volume, application: &Application<'_>) -> Self {
        let labels = volume.labels.clone().unwrap_or_default();
        let key = own_label(&labels, "volume");
        let Some(mut body) = application.own(&volume.name, key, &labels) else {
            return Self::external(&volume.name);
        };
        if volume.driver != "local" {
            body.insert("driver".to_owned(), json!(volume.driver));
        }
        if let Some(options) = volume.options.as_ref().filter(|all| !all.is_empty()) {
            body.insert("driver_opts".to_owned(), json!(options));
        }
        Self {
            key: key.to_owned(),
            body,
        }
    }

    fn external(name: &str) -> Self {
        let body = [("external".to_owned(), json!(true))];
        Self {
            key: name.to_owned(),
            body: body.into_iter().collect(),
        }
    }
}

/// What is there, and what the file becomes.
pub(super) struct Application<'f> {
    project: String,
    found: &'f [Found],
    /// By the names they have.
    pub(super) networks: BTreeMap<String, Thing>,
    pub(super) volumes: BTreeMap<String, Thing>,
    secrets: Map<String, Value>,
    /// The names of sealed files' objects, by where the files lie.
    places: BTreeMap<String, String>,
    configs: Map<String, Value>,
    notes: Vec<String>,
}

impl<'f> Application<'f> {
    pub(super) fn new(project: String, found: &'f [Found]) -> Self {
        Self {
            project,
            found,
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            secrets: Map::new(),
            places: BTreeMap::new(),
            configs: Map::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn network_names(&self) -> BTreeSet<String> {
        self.things().flat_map(|(networks, _)| networks).collect()
    }

    pub(super) fn volume_names(&self) -> BTreeSet<String> {
        self.things().flat_map(|(_, volumes)| volumes).collect()
    }

    fn things(&self) -> impl Iterator<Item = (Vec<String>, Vec<String>)> {
        self.found.iter().map(|found| things(&found.body))
    }

    /// What the file says at least of a thing that the project has made; `None`: it has not.
    fn own(&self, name: &str, key: &str, labels: &TextMap) -> Option<Map<String, Value>> {
        if key.is_empty() || own_label(labels, "project") != self.project {
            return None;
        }
        let mut body = Map::new();
        if name != format!("{}_{key}", self.project) {
            body.insert("name".to_owned(), json!(name));
        }
        let labels: BTreeMap<&String, &String> = labels
            .iter()
            .filter(|(key, _)| !key.starts_with(OWN_LABELS))
            .collect();
        if !labels.is_empty() {
            body.insert("labels".to_owned(), json!(labels));
        }
        Some(body)
    }

    fn has_addresses(&self, network: &str) -> bool {
        let places = self.found.iter().filter_map(|found| {
            let networks = found.body.networking_config.as_ref()?;
            networks
                .endpoints_config
                .get(network)?
                .as_ref()?
                .ipam_config
                .as_ref()
        });
        places
            .into_iter()
            .any(|asked| !asked.ipv4_address.is_empty() || !asked.ipv6_address.is_empty())
    }

    /// The file, and what should be told about it.
    pub(super) fn written(mut self) -> (String, Vec<String>) {
        let mut services: Map<String, Value> = Map::new();
        for found in self.found {
            if let Some(service) = services.get_mut(found.key()) {
                let count = service["scale"].as_i64().unwrap_or(1) + 1;
                service["scale"] = json!(count);
                continue;
            }
            let service = self.service(found);
            services.insert(found.key().to_owned(), Value::Object(service));
        }
        if self.found.iter().any(|found| found.service().is_some()) {
            self.notes.push(UNKNOWN.to_owned());
        }
        let section = |things: BTreeMap<String, Thing>| -> Map<String, Value> {
            let named = things.into_values().map(|thing| (thing.key, thing.body));
            // The project's own network needs no words unless it has something to say.
            let said = named.filter(|(key, body)| key != "default" || !body.is_empty());
            said.map(|(key, body)| match body.is_empty() {
                true => (key, Value::Null),
                false => (key, Value::Object(body)),
            })
            .collect()
        };
        let text = document(
            &self.project,
            [
                ("services", services),
                ("networks", section(self.networks)),
                ("volumes", section(self.volumes)),
                ("secrets", self.secrets),
                ("configs", self.configs),
            ],
        );
        (text, self.notes)
    }

    fn service(&mut self, found: &Found) -> Map<String, Value> {
        let number = found.label("container-number");
        let usual = format!("{}-{}-{number}", found.label("project"), found.key());
        let is_named = found.service().is_none() || found.name != usual;
        let mut service = service(&Member {
            service: found.key(),
            container: if is_named { &found.name } else { "" },
            body: &found.body,
        });
        self.name_networks(found, &mut service);
        self.name_volumes(&mut service);
        self.name_neighbours(&mut service);
        self.dependencies(found, &mut service);
        self.sealed_files(found, &mut service);
        service
    }

    /// Networks under the names that the file gives them, without what is said of every place.
    fn name_networks(&self, found: &Found, service: &mut Map<String, Value>) {
        let places: Vec<(String, Value)> = match service.remove("networks") {
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(|name| Some((name.as_str()?.to_owned(), Value::Null)))
                .collect(),
            Some(Value::Object(places)) => places.into_iter().collect(),
            _ => return,
        };
        let named = |(name, mut place): (String, Value)| {
            let key = self
                .networks
                .get(&name)
                .map_or(name, |thing| thing.key.clone());
            if let Some(aliases) = place["aliases"].as_array() {
                let asked: Vec<Value> = aliases
                    .iter()
                    .filter(|alias| !found.is_given_name(alias.as_str().unwrap_or_default()))
                    .cloned()
                    .collect();
                place["aliases"] = json!(asked);
            }
            if let Value::Object(said) = &mut place {
                said.retain(|_, value| *value != json!([]));
            }
            let is_empty = place.as_object().is_none_or(Map::is_empty);
            (key, if is_empty { Value::Null } else { place })
        };
        let places: Map<String, Value> = places.into_iter().map(named).collect();
        let is_plain = places.values().all(Value::is_null);
        if is_plain && places.keys().eq(["default"]) {
            return;
        }
        let networks = match is_plain {
            true => places.keys().map(|key| json!(key)).collect(),
            false => Value::Object(places),
        };
        service.insert("networks".to_owned(), networks);
    }

    /// Volumes under the names that the file gives them; a file at the place of secrets is one.
    fn name_volumes(&mut self, service: &mut Map<String, Value>) {
        let Some(Value::Array(volumes)) = service.remove("volumes") else {
            return;
        };
        let key = |name: &str| self.volumes.get(name).map(|thing| thing.key.clone());
        let (mut kept, mut secrets) = (Vec::new(), Vec::new());
        for mut volume in volumes {
            if let Some(text) = volume.as_str() {
                let text = text.strip_suffix(":rw").unwrap_or(text);
                let renamed = text
                    .split_once(':')
                    .and_then(|(name, rest)| Some(format!("{}:{rest}", key(name)?)));
                kept.push(json!(renamed.as_deref().unwrap_or(text)));
                continue;
            }
            let source = volume["source"].as_str().unwrap_or_default().to_owned();
            let target = volume["target"].as_str().unwrap_or_default();
            let secret = target
                .strip_prefix(SECRETS)
                .filter(|name| !name.contains('/'));
            if let Some(name) = secret.filter(|_| volume["type"] == "bind") {
                let own = named(&mut self.secrets, name, json!({ "file": source }));
                secrets.push(match own == name {
                    true => json!(name),
                    false => json!({ "source": own, "target": name }),
                });
                continue;
            }
            if let Some(key) = key(&source).filter(|_| volume["type"] == "volume") {
                volume["source"] = json!(key);
            }
            kept.push(volume);
        }
        for (title, list) in [("volumes", kept), ("secrets", secrets)] {
            if !list.is_empty() {
                service.insert(title.to_owned(), Value::Array(list));
            }
        }
    }

    /// Containers of the file under the names of their services.
    fn name_neighbours(&self, service: &mut Map<String, Value>) {
        for key in ["network_mode", "ipc", "pid"] {
            let name = service
                .get(key)
                .and_then(|mode| mode.as_str()?.strip_prefix("container:"))
                .and_then(|id| {
                    self.found
                        .iter()
                        .find(|other| other.id == id || other.name == id)
                })
                .map(|other| json!(format!("service:{}", other.key())));
            if let Some(name) = name {
                service.insert(key.to_owned(), name);
            }
        }
        if let Some(Value::Array(from)) = service.get_mut("volumes_from") {
            for entry in from {
                if let Some(own) = entry.as_str().and_then(|text| self.neighbour(text)) {
                    *entry = json!(own);
                }
            }
        }
        let Some(Value::Array(links)) = service.remove("external_links") else {
            return;
        };
        let (mut own, mut others) = (BTreeSet::new(), Vec::new());
        for link in links {
            let text = link.as_str().unwrap_or_default();
            let (name, alias) = text.split_once(':').unwrap_or((text, text));
            match self.found.iter().find(|other| other.name == name) {
                Some(other) if other.is_given_name(alias) => _ = own.insert(other.key().to_owned()),
                Some(other) => _ = own.insert(format!("{}:{alias}", other.key())),
                None => others.push(link),
            }
        }
        // A link with an alias says the same, and more.
        let aliased: Vec<String> = own
            .iter()
            .filter_map(|link| Some(link.split_once(':')?.0.to_owned()))
            .collect();
        own.retain(|link| !aliased.contains(link));
        if !own.is_empty() {
            service.insert("links".to_owned(), json!(own));
        }
        if !others.is_empty() {
            service.insert("external_links".to_owned(), Value::Array(others));
        }
    }

    /// `container:0123456789ab:ro` → `db:ro`, if it is of the file.
    fn neighbour(&self, text: &str) -> Option<String> {
        let text = text.strip_prefix("container:")?;
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        let is_meant = |other: &&Found| {
            other.name == name || (name.len() >= ID_PART && other.id.starts_with(name))
        };
        let other = self.found.iter().find(is_meant)?;
        Some(match mode {
            "" | "rw" => other.key().to_owned(),
            mode => format!("{}:{mode}", other.key()),
        })
    }

    /// `db:service_healthy:false,cache:service_started:true`, as Compose writes it down.
    fn dependencies(&mut self, found: &Found, service: &mut Map<String, Value>) {
        let mut dependencies = Map::new();
        for text in found
            .label("depends_on")
            .split(',')
            .filter(|text| !text.is_empty())
        {
            let mut parts = text.split(':');
            let name = parts.next().unwrap_or_default();
            if !self.found.iter().any(|other| other.service() == Some(name)) {
                self.notes.push(format!(
                    "{} depends on {name}, of which no container is named here: left out",
                    found.key()
                ));
                continue;
            }
            let mut dependency = json!({ "condition": parts.next().unwrap_or("service_started") });
            if parts.next() == Some("true") {
                dependency["restart"] = json!(true);
            }
            let optional = found.labels.get(OPTIONAL_LABEL);
            if optional.is_some_and(|names| names.split(',').any(|one| one == name)) {
                dependency["required"] = json!(false);
            }
            dependencies.insert(name.to_owned(), dependency);
        }
        if !dependencies.is_empty() {
            service.insert("depends_on".to_owned(), Value::Object(dependencies));
        }
    }

    /// Files that are handed over sealed: where they are is known, what they hold is told to nobody.
    fn sealed_files(&mut self, found: &Found, service: &mut Map<String, Value>) {
        for file in &found.sealed {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            let is_secret = file.path == format!("{SECRETS}{name}");
            let (section, objects) = match is_secret {
                true => ("secrets", &mut self.secrets),
                false => ("configs", &mut self.configs),
            };
            // What lies at one place in several services is one object; what merely has the same name is
            // not.
            let place = self.places.get(&file.path).cloned();
            let own = place.unwrap_or_else(|| free(objects, name));
            let variable = variable_of(&own);
            objects.insert(own.clone(), json!({ "environment": variable }));
            self.places.insert(file.path.clone(), own.clone());
            self.notes.push(format!(
                "what {} in {} holds is kept sealed: give it in the variable {variable}",
                file.path,
                found.key()
            ));
            let list = service.entry(section).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(reference(file, (&own, name), is_secret));
            }
        }
    }
}

/// How a service names a sealed file.
fn reference(file: &SealedFile, (own, name): (&str, &str), is_secret: bool) -> Value {
    let mut reference = json!({ "source": own });
    if !is_secret {
        reference["target"] = json!(file.path);
    } else if own != name {
        reference["target"] = json!(name);
    }
    if file.mode != FILE_MODE {
        reference["mode"] = json!(format!("0{:o}", file.mode));
    }
    for (key, owner) in [("uid", file.uid), ("gid", file.gid)] {
        if let Some(owner) = owner {
            reference[key] = json!(owner.to_string());
        }
    }
    match reference.as_object().is_some_and(|said| said.len() == 1) {
        true => json!(own),
        false => reference,
    }
}

fn variable_of(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.to_uppercase().chars().map(plain).collect()
}

/// A name that no object has: the wanted one, or with a number.
fn free(objects: &Map<String, Value>, wanted: &str) -> String {
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    names
        .find(|name| !objects.contains_key(name))
        .unwrap_or_default()
}

/// A name for an object: the wanted one, or with a number if that one is something else already.
fn named(objects: &mut Map<String, Value>, wanted: &str, body: Value) -> String {
    let mut name = wanted.to_owned();
    let mut number = 2;
    while objects.get(&name).is_some_and(|known| *known != body) {
        name = format!("{wanted}-{number}");
        number += 1;
    }
    objects.insert(name.clone(), body);
    name
}
