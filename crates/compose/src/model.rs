//! A loaded project as types: what planning and carrying out work with.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{LoadError, Result};
use crate::load::Loaded;
use crate::node::{Map, Node, Place};
use crate::render;

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
            networks: section(raw, "networks")?,
            volumes: section(raw, "volumes")?,
            secrets: section(raw, "secrets")?,
            configs: section(raw, "configs")?,
        };
        for (name, service) in &mut project.services {
            service.name.clone_from(name);
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
            }
        }
        for (name, volume) in &mut project.volumes {
            if let Some(map) = raw.map("volumes").and_then(|volumes| volumes.map(name)) {
                volume.hash = render::volume_hash(map);
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

    /// Keeps some services, and with them what they depend on unless they shall stand alone.
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
            self.services.remove(&name);
            self.disabled.insert(name);
        }
        if !with_dependencies {
            for service in self.services.values_mut() {
                service.depends_on.retain(|name, _| kept.contains(name));
            }
        }
    }
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

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// The hash of what it says about its containers.
    #[serde(skip)]
    pub hash: String,
    /// What it says, for hashes that depend on containers of others.
    #[serde(skip)]
    raw: Map,
    pub(crate) annotations: Texts,
    /// Whether `up` shows what it says.
    pub attach: Option<bool>,
    /// How its image is built.
    pub build: Option<Build>,
    /// What is watched.
    pub develop: Option<Develop>,
    pub(crate) blkio_config: Option<Blkio>,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) cgroup_parent: String,
    pub(crate) cgroup: String,
    pub(crate) cpu_count: i64,
    pub(crate) cpu_percent: f64,
    pub(crate) cpu_period: i64,
    pub(crate) cpu_quota: i64,
    pub(crate) cpu_rt_period: i64,
    pub(crate) cpu_rt_runtime: i64,
    pub(crate) cpus: f64,
    pub(crate) cpuset: String,
    pub(crate) cpu_shares: i64,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) configs: Vec<FileReference>,
    /// The name of its one container, if it has one.
    pub container_name: String,
    /// What it depends on.
    pub depends_on: BTreeMap<String, Dependency>,
    pub(crate) deploy: Option<Deploy>,
    pub(crate) device_cgroup_rules: Vec<String>,
    pub(crate) devices: Vec<Device>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_opt: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    pub(crate) domainname: String,
    pub(crate) entrypoint: Option<Vec<String>>,
    /// A program that provides the service instead of a container.
    pub provider: Option<Provider>,
    pub(crate) environment: BTreeMap<String, Option<String>>,
    pub(crate) expose: Vec<String>,
    pub(crate) external_links: Vec<String>,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) group_add: Vec<String>,
    pub(crate) gpus: Vec<DeviceRequest>,
    pub(crate) hostname: String,
    pub(crate) healthcheck: Option<HealthCheck>,
    /// Its image, if it has a name.
    pub image: String,
    pub(crate) init: Option<bool>,
    pub(crate) ipc: String,
    pub(crate) isolation: String,
    pub(crate) labels: Texts,
    pub(crate) links: Vec<String>,
    pub(crate) logging: Option<Logging>,
    pub(crate) mem_limit: String,
    pub(crate) mem_reservation: String,
    pub(crate) memswap_limit: String,
    pub(crate) mem_swappiness: Option<String>,
    pub(crate) mac_address: String,
    /// Models it wants; there are none.
    pub models: Option<Value>,
    pub(crate) network_mode: String,
    pub(crate) networks: BTreeMap<String, Option<ServiceNetwork>>,
    pub(crate) oom_kill_disable: bool,
    pub(crate) oom_score_adj: i32,
    pub(crate) pid: Option<String>,
    pub(crate) pids_limit: i64,
    pub(crate) platform: String,
    pub(crate) ports: Vec<Port>,
    pub(crate) privileged: bool,
    /// When its image is pulled.
    pub pull_policy: String,
    pub(crate) read_only: bool,
    pub(crate) restart: String,
    pub(crate) runtime: String,
    pub(crate) scale: Option<i64>,
    pub(crate) secrets: Vec<FileReference>,
    pub(crate) security_opt: Vec<String>,
    pub(crate) shm_size: String,
    pub(crate) stdin_open: bool,
    pub(crate) stop_grace_period: Option<String>,
    pub(crate) stop_signal: String,
    pub(crate) storage_opt: Texts,
    pub(crate) sysctls: Texts,
    pub(crate) tmpfs: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) ulimits: BTreeMap<String, Limit>,
    pub(crate) user: String,
    pub(crate) userns_mode: String,
    pub(crate) uts: String,
    pub(crate) volumes: Vec<Mount>,
    pub(crate) volumes_from: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) pre_start: Vec<Hook>,
    pub(crate) post_start: Vec<Hook>,
    pub(crate) pre_stop: Vec<Hook>,
}

impl Service {
    /// Services whose containers it shares namespaces or volumes with.
    pub(crate) fn shares_with(&self) -> Vec<&str> {
        let modes = [
            self.network_mode.as_str(),
            self.ipc.as_str(),
            self.pid.as_deref().unwrap_or_default(),
        ];
        let namespaces = modes
            .into_iter()
            .filter_map(|mode| mode.strip_prefix("service:"));
        let volumes = self
            .volumes_from
            .iter()
            .filter(|from| !from.starts_with("container:"));
        namespaces
            .chain(volumes.filter_map(|from| from.split(':').next()))
            .collect()
    }

    /// Sets a variable, also in what its hash is made of.
    fn set_variable(&mut self, key: String, value: String) {
        let place = Place::nowhere();
        if self.raw.get("environment").is_none() {
            let empty = Node::at(&place, crate::node::Value::Map(Map::default()));
            self.raw.set("environment", empty);
        }
        let raw = self.raw.get_mut("environment").and_then(Node::as_map_mut);
        if let Some(raw) = raw {
            raw.set(&key, Node::text_at(&place, value.clone()));
        }
        self.environment.insert(key, Some(value));
    }

    /// The hash once containers of others are known by their ids.
    pub(crate) fn hash_beside(&self, containers: &BTreeMap<String, String>) -> String {
        if self.shares_with().is_empty() {
            return self.hash.clone();
        }
        let mut raw = self.raw.clone();
        for key in ["network_mode", "ipc", "pid"] {
            let id = raw
                .text(key)
                .and_then(|mode| mode.strip_prefix("service:"))
                .and_then(|name| containers.get(name));
            if let (Some(id), Some(node)) = (id, raw.get(key)) {
                let node = Node::text_at(&node.place, format!("container:{id}"));
                raw.set(key, node);
            }
        }
        if let Some(node) = raw.get_mut("volumes_from")
            && let crate::node::Value::List(items) = &mut node.value
        {
            for item in items {
                let text = item.as_text().unwrap_or_default();
                let (name, mode) = text
                    .split_once(':')
                    .map_or((text, None), |(name, mode)| (name, Some(mode)));
                if let Some(id) = containers.get(name) {
                    let mode = mode.map(|mode| format!(":{mode}")).unwrap_or_default();
                    *item = Node::text_at(&item.place, format!("container:{id}{mode}"));
                }
            }
        }
        render::service_hash(&raw)
    }

    /// How many containers it has.
    pub fn replicas(&self) -> i64 {
        let deployed = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        self.scale.or(deployed).unwrap_or(1)
    }

    /// Sets how many containers it has.
    pub fn set_replicas(&mut self, count: i64) {
        self.scale = Some(count);
    }

    /// The image its containers are made from.
    pub fn image_name(&self, project: &str) -> String {
        match self.image.as_str() {
            "" => format!("{project}-{}", self.name),
            image => image.to_owned(),
        }
    }

    /// Whether its containers have a terminal.
    pub fn has_terminal(&self) -> bool {
        self.tty
    }
}

/// A program that provides a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// Its name: the program is `docker-NAME`, or `NAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is told, each as `--KEY=VALUE`.
    pub options: BTreeMap<String, Value>,
}

/// How an image is built.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The directory, or where else it is.
    pub context: String,
    /// The Dockerfile's path in it.
    pub dockerfile: String,
    /// The Dockerfile itself.
    pub dockerfile_inline: String,
    /// Build arguments.
    pub args: BTreeMap<String, Option<String>>,
    /// Labels of the image.
    pub labels: Texts,
    /// Images whose layers may be reused.
    pub cache_from: Vec<String>,
    /// Build everything anew.
    pub no_cache: bool,
    /// Other contexts.
    pub additional_contexts: Texts,
    /// Look for newer base images.
    pub pull: bool,
    /// Names to resolve.
    pub extra_hosts: Vec<String>,
    /// The network of its steps.
    pub network: String,
    /// The stage to stop at.
    pub target: String,
    /// Secrets of its steps.
    pub secrets: Vec<FileReference>,
    /// SSH agents of its steps.
    pub ssh: Vec<String>,
    /// Shared memory of its steps.
    pub shm_size: String,
    /// More names of the image.
    pub tags: Vec<String>,
    /// Platforms to build for.
    pub platforms: Vec<String>,
}

/// What is watched while developing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Develop {
    /// Each path with what to do.
    pub watch: Vec<Trigger>,
}

/// A path, and what to do when it changes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Trigger {
    /// Where.
    pub path: String,
    /// What.
    pub action: String,
    /// Where to in the container.
    pub target: String,
    /// What to run then.
    pub exec: Option<Hook>,
    /// What alone counts.
    pub include: Vec<String>,
    /// What does not.
    pub ignore: Vec<String>,
    /// Synchronise at the start.
    pub initial_sync: bool,
}

/// A command to run at a moment of a container's life.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Hook {
    pub(crate) command: Option<Vec<String>>,
    pub(crate) image: String,
    pub(crate) user: String,
    pub(crate) privileged: bool,
    pub(crate) working_dir: String,
    pub(crate) environment: BTreeMap<String, Option<String>>,
    pub(crate) per_replica: bool,
}

impl Hook {
    /// The command.
    pub fn command(&self) -> &[String] {
        self.command.as_deref().unwrap_or_default()
    }

    /// Who runs it; empty: the container's user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where it runs; empty: the container's directory.
    pub fn working_dir(&self) -> &str {
        &self.working_dir
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Blkio {
    pub(crate) weight: u16,
    pub(crate) weight_device: Vec<WeightDevice>,
    pub(crate) device_read_bps: Vec<Throttle>,
    pub(crate) device_read_iops: Vec<Throttle>,
    pub(crate) device_write_bps: Vec<Throttle>,
    pub(crate) device_write_iops: Vec<Throttle>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WeightDevice {
    pub(crate) path: String,
    pub(crate) weight: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Throttle {
    pub(crate) path: String,
    pub(crate) rate: String,
}

/// A secret or config that a service uses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FileReference {
    /// Which.
    pub source: String,
    /// Where in the container.
    pub target: String,
    pub(crate) uid: String,
    pub(crate) gid: String,
    pub(crate) mode: Option<String>,
}

/// A dependency on another service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// What is waited for.
    pub condition: String,
    /// Restart with it.
    pub restart: bool,
    /// Whether it must be there.
    pub required: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deploy {
    pub(crate) replicas: Option<i64>,
    pub(crate) update_config: Option<Update>,
    pub(crate) resources: Resources,
    pub(crate) restart_policy: Option<RestartPolicy>,
}

/// How a service is updated.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Update {
    pub(crate) order: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Resources {
    pub(crate) limits: Option<Amounts>,
    pub(crate) reservations: Option<Amounts>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Amounts {
    pub(crate) cpus: f64,
    pub(crate) memory: String,
    pub(crate) pids: i64,
    pub(crate) devices: Vec<DeviceRequest>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RestartPolicy {
    pub(crate) condition: String,
    pub(crate) max_attempts: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Device {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) permissions: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeviceRequest {
    pub(crate) capabilities: Vec<String>,
    pub(crate) driver: String,
    pub(crate) count: i64,
    pub(crate) device_ids: Vec<String>,
    pub(crate) options: Texts,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HealthCheck {
    pub(crate) test: Vec<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) interval: Option<String>,
    pub(crate) retries: Option<i64>,
    pub(crate) start_period: Option<String>,
    pub(crate) start_interval: Option<String>,
    pub(crate) disable: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Logging {
    pub(crate) driver: String,
    pub(crate) options: Texts,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceNetwork {
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_opts: Texts,
    pub(crate) gw_priority: i64,
    pub(crate) interface_name: String,
    pub(crate) ipv4_address: String,
    pub(crate) ipv6_address: String,
    pub(crate) link_local_ips: Vec<String>,
    pub(crate) mac_address: String,
    pub(crate) priority: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Port {
    pub(crate) host_ip: String,
    pub(crate) target: u32,
    pub(crate) published: String,
    pub(crate) protocol: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limit {
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Mount {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) consistency: String,
    pub(crate) bind: Option<Bind>,
    pub(crate) volume: Option<VolumeOptions>,
    pub(crate) tmpfs: Option<Tmpfs>,
    pub(crate) image: Option<ImageOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bind {
    pub(crate) selinux: String,
    pub(crate) propagation: String,
    pub(crate) create_host_path: bool,
    pub(crate) recursive: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeOptions {
    pub(crate) labels: Texts,
    pub(crate) nocopy: bool,
    pub(crate) subpath: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tmpfs {
    pub(crate) size: String,
    pub(crate) mode: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ImageOptions {
    pub(crate) subpath: String,
}

/// A network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The hash of what it says.
    #[serde(skip)]
    pub hash: String,
    /// Its name at the daemon.
    pub name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: Texts,
    pub(crate) ipam: Ipam,
    /// Whether it is made by others.
    pub external: bool,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) labels: Texts,
    pub(crate) enable_ipv4: Option<bool>,
    pub(crate) enable_ipv6: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ipam {
    pub(crate) driver: String,
    pub(crate) config: Vec<Pool>,
    pub(crate) options: Texts,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pool {
    pub(crate) subnet: String,
    pub(crate) gateway: String,
    pub(crate) ip_range: String,
    pub(crate) aux_addresses: Texts,
}

/// A volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// The hash of what it says.
    #[serde(skip)]
    pub hash: String,
    /// Its name at the daemon.
    pub name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: Texts,
    /// Whether it is made by others.
    pub external: bool,
    pub(crate) labels: Texts,
}

/// A secret or a config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FileObject {
    /// Its name.
    pub name: String,
    /// The file that holds it.
    pub file: String,
    /// The variable that holds it.
    pub environment: String,
    /// What it holds.
    pub content: String,
    /// Whether it is kept by others.
    pub external: bool,
}
