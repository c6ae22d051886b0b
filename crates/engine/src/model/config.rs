//! What runs: the part of a container that could move to another host unchanged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{EndpointConfig, HostConfig, Name, PublishedPort};

/// The order to make a container.
#[derive(Debug, Clone)]
pub struct CreateContainer {
    /// `None`: the engine makes one up.
    pub name: Option<Name>,
    /// `os/arch[/variant]` as asked for; `None`: the host's.
    pub platform: Option<String>,
    /// What runs.
    pub config: Config,
    /// How this host runs it.
    pub host: HostConfig,
    /// By network name or id.
    pub endpoints: BTreeMap<String, EndpointConfig>,
}

/// What runs. `None` and empty mean "as the image says" at create; a stored container holds the
/// image's values already merged in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The image as the user typed it.
    pub image: String,
    /// Empty: the first twelve digits of the id.
    pub hostname: String,
    /// The NIS domain name.
    pub domainname: String,
    /// `user`, `uid`, `user:group`, `uid:gid`; empty: root.
    pub user: String,
    /// Whether the maker meant to attach stdin.
    pub attach_stdin: bool,
    /// Whether the maker meant to attach stdout.
    pub attach_stdout: bool,
    /// Whether the maker meant to attach stderr.
    pub attach_stderr: bool,
    /// A pseudo-terminal instead of three pipes.
    pub tty: bool,
    /// Keep stdin open with nobody attached.
    pub open_stdin: bool,
    /// Close stdin when the first attached client leaves.
    pub stdin_once: bool,
    /// `NAME=value`; `NAME` alone removes the image's.
    pub env: Vec<String>,
    /// `None`: the image's.
    pub cmd: Option<Vec<String>>,
    /// `None`: the image's; `[""]`: none, and the image's command is dropped too.
    pub entrypoint: Option<Vec<String>>,
    /// Empty: `/`.
    pub working_dir: String,
    /// Ports the application listens on.
    pub exposed_ports: BTreeSet<PublishedPort>,
    /// Paths that get an anonymous volume.
    pub volumes: BTreeSet<String>,
    /// Free text for people and tools. Never read by the engine.
    pub labels: BTreeMap<String, String>,
    /// `None`: the image's.
    pub healthcheck: Option<Healthcheck>,
    /// As typed (`SIGINT`, `INT`, `2`); `None`: SIGTERM.
    pub stop_signal: Option<String>,
    /// Seconds; negative: wait for ever; `None`: ten.
    pub stop_timeout_s: Option<i64>,
    /// No network at all, not even loopback settings (legacy).
    pub network_disabled: bool,
    /// Instructions for builds on top (kept for `commit`).
    pub on_build: Option<Vec<String>>,
    /// The shell of shell-form commands (kept for `commit`).
    pub shell: Option<Vec<String>>,
    /// A MAC address from clients older than 1.44.
    pub mac_address: String,
}

/// When to ask a container whether it is well. Zero means "the default" for each duration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// What to run.
    pub probe: HealthProbe,
    /// Nanoseconds between probes (default 30 s).
    pub interval_ns: i64,
    /// Nanoseconds one probe may take (default 30 s).
    pub timeout_ns: i64,
    /// Nanoseconds after the start in which failures do not count.
    pub start_period_ns: i64,
    /// Nanoseconds between probes in the start period (default 5 s).
    pub start_interval_ns: i64,
    /// Failures in a row that make it unhealthy (default 3).
    pub retries: i64,
}

/// What a health check runs inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthProbe {
    /// The image's check.
    Inherit,
    /// None at all, not even the image's.
    Disabled,
    /// Arguments, run as they are.
    Command(Vec<String>),
    /// Text for the container's shell.
    Shell(String),
}
