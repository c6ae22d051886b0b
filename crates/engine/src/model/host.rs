//! How this host runs a container.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{MountSpec, PortBinding, PublishedPort, Resources};

/// How this host runs a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// `-v` texts as typed, for `inspect`; their meaning stands in [`mounts`](Self::mounts).
    pub binds: Vec<String>,
    /// Binds, volumes, tmpfs and images to mount, from `-v` and `--mount` alike.
    pub mounts: Vec<MountSpec>,
    /// `--tmpfs`: target and mount options as typed.
    pub tmpfs: BTreeMap<String, String>,
    /// `container[:ro|rw]`, each.
    pub volumes_from: Vec<String>,
    /// The driver of volumes that name none.
    pub volume_driver: String,
    /// Where to write the id, kept for `inspect` only (the client writes it).
    pub container_id_file: String,
    /// How output is kept.
    pub log: LogConfig,
    /// Which network.
    pub network_mode: NetworkMode,
    /// Ports of the container, and where the host offers them.
    pub port_bindings: BTreeMap<PublishedPort, Vec<PortBinding>>,
    /// Offer every exposed port on a free port of the host.
    pub publish_all_ports: bool,
    /// What happens when it stops by itself.
    pub restart_policy: RestartPolicy,
    /// What happens when it is found unhealthy.
    pub health_action: HealthAction,
    /// Remove it when it stops.
    pub auto_remove: bool,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// For tools and foreign runtimes. Never read by the engine.
    pub annotations: BTreeMap<String, String>,
    /// `CAP_X`, `X` or `ALL`.
    pub cap_add: Vec<String>,
    /// `CAP_X`, `X` or `ALL`.
    pub cap_drop: Vec<String>,
    /// The cgroup namespace; `None`: private on cgroup v2, the host's on v1.
    pub cgroup_namespace: Option<CgroupNamespace>,
    /// Name servers; empty: the host's.
    pub dns: Vec<std::net::IpAddr>,
    /// `resolv.conf` options; empty: the host's.
    pub dns_options: Vec<String>,
    /// Search domains; empty: the host's.
    pub dns_search: Vec<String>,
    /// `name:address`, each; `host-gateway` stands for the host.
    pub extra_hosts: Vec<String>,
    /// Supplementary groups by name or number.
    pub group_add: Vec<String>,
    /// The IPC namespace.
    pub ipc: IpcNamespace,
    /// `container[:alias]`, each.
    pub links: Vec<String>,
    /// −1000 to 1000.
    pub oom_score_adj: i32,
    /// The PID namespace.
    pub pid: PidNamespace,
    /// All capabilities, all devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// The root file system is mounted read-only.
    pub readonly_rootfs: bool,
    /// `key=value` or `key:value`, each, as typed. A seccomp profile is here as its JSON.
    pub security_opt: Vec<String>,
    /// Options of the storage driver (`size=`).
    pub storage_opt: BTreeMap<String, String>,
    /// The UTS namespace.
    pub uts: UtsNamespace,
    /// The user namespace.
    pub userns: UserNamespace,
    /// Bytes of `/dev/shm`; 0: 64 MiB.
    pub shm_size: i64,
    /// Kernel settings of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The runtime's name; empty: the daemon's default.
    pub runtime: String,
    /// `None`: Docker's list; empty: none.
    pub masked_paths: Option<BTreeSet<String>>,
    /// `None`: Docker's list; empty: none.
    pub readonly_paths: Option<BTreeSet<String>>,
    /// An init that reaps zombies; `None`: the daemon's default.
    pub init: Option<bool>,
    /// Limits, weights and devices.
    pub resources: Resources,
}

/// How output is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The driver's name; empty: the daemon's default.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Which network a container is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's own.
    Host,
    /// Loopback only.
    None,
    /// Another container's, by name or id.
    Container(String),
    /// A user-defined one, by name or id.
    Named(String),
}

/// What happens when a container stops by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It starts again, also when the daemon starts.
    Always,
    /// As `Always`, unless the user stopped it.
    UnlessStopped,
    /// It starts again after a failure, at most this often; 0: without end.
    OnFailure {
        /// 0: without end.
        retries_max: u32,
    },
    /// It starts again after a failure, and being found unhealthy is one. Hull's own.
    OnUnhealthy,
}

/// What happens when a container is found unhealthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthAction {
    /// Its status says so, nothing else.
    #[default]
    None,
    /// It is killed (and its restart policy decides).
    Kill,
    /// It is restarted.
    Restart,
    /// It is stopped.
    Stop,
}

/// The cgroup namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupNamespace {
    /// Its own.
    Private,
    /// The host's.
    Host,
}

/// The IPC namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcNamespace {
    /// The daemon's default, which is private.
    #[default]
    Default,
    /// Its own, and nobody may join.
    Private,
    /// Its own, and other containers may join.
    Shareable,
    /// Its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// The PID namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidNamespace {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

/// The UTS namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UtsNamespace {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// The user namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// The daemon's default.
    #[default]
    Default,
    /// The host's, even when the daemon remaps.
    Host,
}
