//! What the daemon's configuration decides for the engine.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub use hull_build::cache::{Policy as CachePolicy, Space as CacheSpace};
pub use hull_plugin::Directories as PluginDirectories;

use crate::model::{CgroupNamespace, IpcNamespace, LogConfig, Ulimit};

/// What the daemon's configuration decides for the engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where state lives.
    pub data_root: PathBuf,
    /// Where sockets of running containers live; a tmpfs as a rule.
    pub exec_root: PathBuf,
    /// The shim's program.
    pub shim: PathBuf,
    /// What is asked of the default network.
    pub network: hull_network::Config,
    /// How registries are spoken to.
    pub registries: hull_registry::Settings,
    /// Other OCI runtimes, by name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// The runtime of containers that name none (`hull`: our own).
    pub default_runtime: String,
    /// How output of containers that say nothing is kept.
    pub log: LogConfig,
    /// Limits of processes of containers that set none.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`.
    pub shm_size: i64,
    /// Whether containers that say nothing run an init.
    pub init: bool,
    /// The parent of containers' cgroups; empty: `/hull`.
    pub cgroup_parent: String,
    /// The cgroup namespace of containers that say nothing; `None`: private on v2, the host's on v1.
    pub cgroup_namespace: Option<CgroupNamespace>,
    /// The IPC namespace of containers that say nothing.
    pub ipc: IpcNamespace,
    /// Whether containers may not gain privileges unless they say so.
    pub no_new_privileges: bool,
    /// A Docker seccomp profile's JSON that replaces the built-in one; `unconfined`: none.
    pub seccomp_profile: Option<String>,
    /// Name servers of containers that name none.
    pub dns: Vec<std::net::IpAddr>,
    /// Their search domains.
    pub dns_search: Vec<String>,
    /// Their resolver options.
    pub dns_options: Vec<String>,
    /// What `host-gateway` stands for; empty: the default bridge's gateway.
    pub host_gateway: Vec<std::net::IpAddr>,
    /// Where files describe CDI devices, a later one's wins; empty: there are none.
    pub cdi_directories: Vec<PathBuf>,
    /// Bytes that images may take; `None`: as many as there are.
    pub storage_budget: Option<u64>,
    /// What of the build cache goes by itself.
    pub build_cache: Vec<CachePolicy>,
    /// The daemon's labels, for `info`.
    pub labels: Vec<String>,
    /// Where volume plugins are looked for.
    pub plugins: PluginDirectories,
    /// How long a volume plugin may take to do something.
    pub plugin_answers_within: Duration,
    /// How long a container may take to stop when the engine must stop it.
    pub shutdown_timeout: Duration,
}

/// Another OCI runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// An absolute path.
    pub path: PathBuf,
    /// Arguments before the verb.
    pub args: Vec<String>,
}
