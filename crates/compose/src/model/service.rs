//! A service, and what it says of itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Texts;
use super::build::{Build, Develop};
use super::network::{Port, ServiceNetwork};
use super::resources::{Blkio, Deploy, Device, DeviceRequest, Limit};
use super::storage::{FileReference, Mount};
use super::update::Own;
use crate::node::{Map, Node, Place};
use crate::render;

/// How many containers a service may have.
pub const REPLICAS_MAX: i64 = 10_000;

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
    pub(super) raw: Map,
    /// Names have a `_` between their parts.
    #[serde(skip)]
    pub(super) compatible: bool,
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
    pub(crate) use_api_socket: bool,
    pub(crate) user: String,
    pub(crate) userns_mode: String,
    pub(crate) uts: String,
    pub(crate) volumes: Vec<Mount>,
    pub(crate) volumes_from: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) pre_start: Vec<Hook>,
    pub(crate) post_start: Vec<Hook>,
    pub(crate) pre_stop: Vec<Hook>,
    #[serde(rename = "x-hull")]
    pub(super) own: Own,
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

    /// Where it says something.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        let node = self.raw.get(key);
        node.map_or_else(Place::nowhere, |node| node.place.clone())
    }

    /// Where it says something one level down; where the whole stands if that goes without saying.
    pub(crate) fn place_below(&self, key: &str, inner: &str) -> Place {
        let node = self.raw.map(key).and_then(|map| map.get(inner));
        node.map_or_else(|| self.place_of(key), |node| node.place.clone())
    }

    /// Sets a variable, also in what its hash is made of.
    pub(super) fn set_variable(&mut self, key: String, value: String) {
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

    /// Whether its containers are started again that are found unhealthy.
    pub(crate) fn restarts_unhealthy(&self) -> bool {
        let deployed = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.restart_policy.as_ref());
        let policy = deployed.map_or(&self.restart, |policy| &policy.condition);
        policy == "on-unhealthy"
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
            "" => format!("{project}{}{}", self.separator(), self.name),
            image => image.to_owned(),
        }
    }

    /// The services whose images it is built from itself.
    pub(crate) fn bases(&self) -> Vec<&str> {
        let contexts = self
            .build
            .iter()
            .flat_map(|build| &build.additional_contexts);
        contexts
            .filter_map(|(_, place)| place.strip_prefix("service:"))
            .collect()
    }

    /// What stands between the parts of names.
    pub(crate) fn separator(&self) -> char {
        match self.compatible {
            true => '_',
            false => '-',
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
