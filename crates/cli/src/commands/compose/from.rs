//! `compose from`: writes the file for containers that are there.

use std::collections::BTreeMap;

use hull_api::types::{ContainerInspect, ImageConfig, MountPoint};
use hull_compose::node::{Map, Node, Place, Value};
use hull_compose::render;

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui;

/// Networks that every daemon has.
const DEFAULT_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

#[derive(Default)]
pub(crate) struct From {
    name: String,
}

impl Command for From {
    const ABOUT: About = About::new(
        &["compose from"],
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Write the Compose file for containers that are there",
        Operands::AtLeast(1),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("name", "string", "The project's name", &mut self.name);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let mut file = File::default();
        for name in &call.operands {
            let container = client.container(name).await.map_err(failure)?;
            let image = client
                .image(&container.image)
                .await
                .ok()
                .and_then(|image| image.config)
                .unwrap_or_default();
            file.add(&container, &image);
        }
        ui::out(&render::project_yaml(&file.project(&self.name)))?;
        Ok(0)
    }
}

/// What is being written.
#[derive(Default)]
struct File {
    services: Map,
    networks: Map,
    volumes: Map,
}

fn text(text: impl Into<String>) -> Node {
    Node::text_at(&Place::nowhere(), text)
}

fn value(value: Value) -> Node {
    Node::at(&Place::nowhere(), value)
}

fn texts(items: impl IntoIterator<Item = String>) -> Node {
    value(Value::List(items.into_iter().map(text).collect()))
}

fn pairs<'p>(items: impl IntoIterator<Item = (&'p String, &'p String)>) -> Node {
    let mut map = Map::default();
    for (key, item) in items {
        map.set(key, text(item.clone()));
    }
    value(Value::Map(map))
}

/// Sets a key unless there is nothing to say.
fn put(map: &mut Map, key: &str, node: Node) {
    let is_empty = match &node.value {
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.0.is_empty(),
        Value::Bool(yes) => !yes,
        Value::Int(number) => *number == 0,
        Value::Null | Value::Float(_) => false,
    };
    if !is_empty {
        map.set(key, node);
    }
}

/// What is not in a list already.
fn beyond(list: Option<&Vec<String>>, known: &[String]) -> Vec<String> {
    list.into_iter()
        .flatten()
        .filter(|item| !known.contains(item))
        .cloned()
        .collect()
}

impl File {
    fn project(self, name: &str) -> Map {
        let mut project = Map::default();
        put(&mut project, "name", text(name));
        project.set("services", value(Value::Map(self.services)));
        put(&mut project, "networks", value(Value::Map(self.networks)));
        put(&mut project, "volumes", value(Value::Map(self.volumes)));
        project
    }

    fn add(&mut self, container: &ContainerInspect, image: &ImageConfig) {
        let labels = container.config.labels.clone().unwrap_or_default();
        let own_name = container.name.trim_start_matches('/');
        let service_name = labels.get("com.docker.compose.service");
        let name = service_name.map_or(own_name, String::as_str);
        let mut service = Map::default();
        put(&mut service, "image", text(container.config.image.clone()));
        if service_name.is_none() {
            put(&mut service, "container_name", text(own_name));
        }
        process(container, image, &mut service);
        let labels: BTreeMap<String, String> = labels
            .iter()
            .filter(|(key, item)| {
                !key.starts_with("com.docker.compose.") && image.labels.get(*key) != Some(*item)
            })
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect();
        put(&mut service, "labels", pairs(&labels));
        host(container, &mut service);
        let mounts = container
            .mounts
            .iter()
            .filter_map(|mount| self.mount(mount, image));
        put(&mut service, "volumes", texts(mounts));
        self.networks(container, &mut service);
        self.services.set(name, value(Value::Map(service)));
    }

    fn mount(&mut self, mount: &MountPoint, image: &ImageConfig) -> Option<String> {
        let mode = if mount.rw { "" } else { ":ro" };
        match mount.kind.as_str() {
            "bind" => Some(format!("{}:{}{mode}", mount.source, mount.destination)),
            // An anonymous volume has a name of 64 digits.
            "volume" if mount.name.len() == 64 => {
                (!image.volumes.contains_key(&mount.destination)).then(|| mount.destination.clone())
            }
            "volume" => {
                self.volumes.set(&mount.name, external());
                Some(format!("{}:{}{mode}", mount.name, mount.destination))
            }
            _ => None,
        }
    }

    fn networks(&mut self, container: &ContainerInspect, service: &mut Map) {
        let mode = container.host_config.network_mode.as_str();
        if mode == "host" || mode == "none" || mode.starts_with("container:") {
            put(service, "network_mode", text(mode));
            return;
        }
        let joined = container
            .network_settings
            .networks
            .keys()
            .filter(|name| !DEFAULT_NETWORKS.contains(&name.as_str()));
        let joined: Vec<String> = joined.cloned().collect();
        for name in &joined {
            self.networks.set(name, external());
        }
        put(service, "networks", texts(joined));
    }
}

/// What runs, where it differs from what the image says.
fn process(container: &ContainerInspect, image: &ImageConfig, service: &mut Map) {
    let config = &container.config;
    for (key, words, known) in [
        ("command", &config.cmd, &image.cmd),
        ("entrypoint", &config.entrypoint, &image.entrypoint),
    ] {
        if let Some(words) = words.as_ref().filter(|words| *words != known) {
            put(service, key, texts(words.clone()));
        }
    }
    put(
        service,
        "environment",
        texts(beyond(config.env.as_ref(), &image.env)),
    );
    if !container.id.starts_with(&config.hostname) {
        put(service, "hostname", text(config.hostname.clone()));
    }
    for (key, own, known) in [
        ("user", &config.user, &image.user),
        ("working_dir", &config.working_dir, &image.working_dir),
    ] {
        if own != known {
            put(service, key, text(own.clone()));
        }
    }
    put(service, "tty", value(Value::Bool(config.tty)));
    put(service, "stdin_open", value(Value::Bool(config.open_stdin)));
}

/// How the host runs it.
fn host(container: &ContainerInspect, service: &mut Map) {
    let host = &container.host_config;
    for (key, given) in [
        ("privileged", host.privileged),
        ("read_only", host.readonly_rootfs),
        ("init", host.init == Some(true)),
    ] {
        put(service, key, value(Value::Bool(given)));
    }
    for (key, list) in [
        ("cap_add", &host.cap_add),
        ("cap_drop", &host.cap_drop),
        ("security_opt", &host.security_opt),
        ("dns", &host.dns),
        ("extra_hosts", &host.extra_hosts),
    ] {
        put(service, key, texts(list.clone().unwrap_or_default()));
    }
    put(service, "sysctls", pairs(&host.sysctls));
    put(service, "mem_limit", value(Value::Int(host.memory)));
    put(service, "restart", text(restart(container)));
    put(service, "ports", texts(ports(container)));
    let tmpfs = host
        .tmpfs
        .iter()
        .map(|(path, options)| match options.as_str() {
            "" => path.clone(),
            options => format!("{path}:{options}"),
        });
    put(service, "tmpfs", texts(tmpfs));
}

/// What is there already is used, not made.
fn external() -> Node {
    let mut map = Map::default();
    map.set("external", value(Value::Bool(true)));
    value(Value::Map(map))
}

fn restart(container: &ContainerInspect) -> String {
    let policy = &container.host_config.restart_policy;
    match (policy.name.as_str(), policy.maximum_retry_count) {
        ("no" | "", _) => String::new(),
        ("on-failure", count) if count > 0 => format!("on-failure:{count}"),
        (name, _) => name.to_owned(),
    }
}

fn ports(container: &ContainerInspect) -> Vec<String> {
    let mut ports = Vec::new();
    for (port, bindings) in container.host_config.port_bindings.iter().flatten() {
        let port = port.strip_suffix("/tcp").unwrap_or(port);
        for binding in bindings.iter().flatten() {
            ports.push(
                match (binding.host_ip.as_str(), binding.host_port.as_str()) {
                    ("", "") => port.to_owned(),
                    ("", published) => format!("{published}:{port}"),
                    (address, published) if address.contains(':') => {
                        format!("[{address}]:{published}:{port}")
                    }
                    (address, published) => format!("{address}:{published}:{port}"),
                },
            );
        }
    }
    ports
}
