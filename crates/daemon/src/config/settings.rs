//! What the rest of the daemon reads: the options as types, checked.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use hull_api::ApiVersion;
use hull_engine::config::CachePolicy;
use hull_engine::model::{CgroupNamespace, IpcNamespace, LogConfig, Ulimit};
use serde_json::Value;
use tracing::level_filters::LevelFilter;

use super::{
    ConfigError, gc,
    table::{Effect, TABLE},
    value::{self, Values},
};

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Where Docker has them: kept by whoever comes from there.
const DEFAULT_CERTS: &str = "/etc/docker/certs.d";
const DEFAULT_DATA_ROOT: &str = "/var/lib/hull";
const DEFAULT_EXEC_ROOT: &str = "/run/hull";
const DEFAULT_PIDFILE: &str = "/run/hulld.pid";
/// Where vendors put their files.
const DEFAULT_CDI_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// The one feature that can be switched.
const CDI_FEATURE: &str = "cdi";
const DEFAULT_SHM_BYTES: i64 = 64 << 20;
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(15);

/// The daemon's configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    values: Values,
    pub(crate) hosts: Vec<Endpoint>,
    pub(crate) tls: Option<Tls>,
    pub(crate) group: Option<String>,
    /// Certificates and mirrors of registries, beside the file.
    pub(crate) certs: PathBuf,
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
    pub(crate) pidfile: PathBuf,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: LogFormat,
    pub(crate) min_api: ApiVersion,
    pub(crate) labels: Vec<String>,
    pub(crate) runtimes: BTreeMap<String, (PathBuf, Vec<String>)>,
    pub(crate) default_runtime: String,
    pub(crate) log: LogConfig,
    pub(crate) ulimits: Vec<Ulimit>,
    pub(crate) shm_size: i64,
    /// Bytes that images may take.
    pub(crate) storage_budget: Option<u64>,
    pub(crate) build_cache: Vec<CachePolicy>,
    pub(crate) cgroup_namespace: Option<CgroupNamespace>,
    pub(crate) ipc: IpcNamespace,
    pub(crate) seccomp_profile: Option<String>,
    pub(crate) dns: Vec<IpAddr>,
    pub(crate) host_gateway: Vec<IpAddr>,
    pub(crate) shutdown_timeout: Duration,
    /// Where the counters are served.
    pub(crate) metrics: Option<SocketAddr>,
}

/// Where clients reach the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
    /// Sockets systemd hands over.
    Activation,
}

/// Encrypted TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Clients must show a certificate signed by it; `None`: they need none.
    pub(crate) authority: Option<PathBuf>,
}

/// How the daemon's own log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Config {
    pub(super) fn of(values: Values) -> Result<Self, ConfigError> {
        build(values).map_err(ConfigError::Value)
    }

    /// A text; `None` when unset or empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.values.text(key)
    }

    /// Yes or no.
    pub(crate) fn switch(&self, key: &str, default: bool) -> bool {
        self.values.switch(key, default)
    }

    /// A number.
    pub(crate) fn number(&self, key: &str) -> Option<i64> {
        self.values.get(key).and_then(Value::as_i64)
    }

    /// Texts.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.values.list(key)
    }

    /// Where files describe CDI devices; empty: the feature is switched off.
    pub(crate) fn cdi_directories(&self) -> Vec<PathBuf> {
        let features = self.values.get("features").and_then(Value::as_object);
        if features.is_some_and(|all| all.get(CDI_FEATURE) == Some(&Value::Bool(false))) {
            return Vec::new();
        }
        let given = self.list("cdi-spec-dirs");
        match given.is_empty() {
            true => DEFAULT_CDI_DIRS.map(PathBuf::from).to_vec(),
            false => given
                .into_iter()
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
                .collect(),
        }
    }

    /// The address pools: base and size.
    pub(crate) fn address_pools(&self) -> Vec<(String, i64)> {
        let pools = self
            .values
            .get("default-address-pools")
            .and_then(Value::as_array);
        let pair = |pool: &Value| Some((pool["base"].as_str()?.to_owned(), pool["size"].as_i64()?));
        pools.into_iter().flatten().filter_map(pair).collect()
    }

    /// Options of networks that are made, by driver.
    pub(crate) fn network_options(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let drivers = self.values.get("default-network-opts");
        let drivers = drivers.and_then(Value::as_object).into_iter().flatten();
        let options = |options: &Value| {
            let options = options.as_object().into_iter().flatten();
            let pairs = options.map(|(name, option)| (name.clone(), value::shown(option)));
            pairs.collect()
        };
        drivers
            .map(|(driver, own)| (driver.clone(), options(own)))
            .collect()
    }

    /// Options that were given and mean nothing here.
    pub(crate) fn without_effect(&self) -> Vec<&'static str> {
        TABLE
            .iter()
            .filter(|row| row.effect == Effect::Nothing && self.says_more(row.key))
            .map(|row| row.key)
            .collect()
    }

    /// Whether an option was given; of features and of the builder, whether any but the one that works here.
    fn says_more(&self, key: &str) -> bool {
        match (key, self.values.get(key)) {
            ("features", Some(Value::Object(all))) => all.keys().any(|name| name != CDI_FEATURE),
            // Who grants what is the client's to say.
            ("builder", Some(Value::Object(all))) => all.keys().any(|name| name != "gc"),
            (_, value) => value.is_some(),
        }
    }
}

impl Values {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    fn switch(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    fn list(&self, key: &str) -> Vec<String> {
        let items = self.get(key).and_then(Value::as_array);
        items
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    fn path(&self, key: &str, default: &str) -> Result<PathBuf, String> {
        let path = PathBuf::from(self.text(key).unwrap_or(default));
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(format!("{key} is no absolute path: {}", path.display()))
        }
    }

    fn addresses(&self, key: &str) -> Result<Vec<IpAddr>, String> {
        let address = |text: String| {
            text.trim()
                .parse()
                .map_err(|_| format!("IP address is not correctly formatted: {text}"))
        };
        self.list(key).into_iter().map(address).collect()
    }

    fn members(&self, key: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.get(key)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }
}

fn build(values: Values) -> Result<Config, String> {
    let tls = tls(&values)?;
    Ok(Config {
        hosts: hosts(&values)?,
        group: values.text("group").map(str::to_owned),
        certs: DEFAULT_CERTS.into(),
        data_root: values.path("data-root", DEFAULT_DATA_ROOT)?,
        exec_root: values.path("exec-root", DEFAULT_EXEC_ROOT)?,
        pidfile: values.path("pidfile", DEFAULT_PIDFILE)?,
        log_level: log_level(&values)?,
        log_format: log_format(&values)?,
        min_api: min_api(&values)?,
        labels: labels(&values)?,
        runtimes: runtimes(&values)?,
        default_runtime: values
            .text("default-runtime")
            .unwrap_or_default()
            .to_owned(),
        log: log(&values)?,
        ulimits: ulimits(&values)?,
        shm_size: shm_size(&values)?,
        storage_budget: storage_budget(&values)?,
        build_cache: gc::policies(values.get("builder"))?,
        cgroup_namespace: cgroup_namespace(&values)?,
        ipc: ipc(&values)?,
        seccomp_profile: seccomp_profile(&values)?,
        dns: values.addresses("dns")?,
        host_gateway: values.addresses("host-gateway-ips")?,
        shutdown_timeout: shutdown_timeout(&values)?,
        metrics: metrics(&values)?,
        tls,
        values: checked(values)?,
    })
}

/// Refuses what Hull does not do and a user would rely on.
fn checked(values: Values) -> Result<Values, String> {
    if let Some(driver) = values.text("storage-driver")
        && !["overlay", "overlay2", "overlayfs"].contains(&driver)
    {
        return Err(format!(
            "driver not supported: {driver}: this daemon stores on overlayfs"
        ));
    }
    for option in values.list("exec-opts") {
        match option.split_once('=') {
            Some(("native.cgroupdriver", "cgroupfs")) => {}
            Some(("native.cgroupdriver", driver)) => {
                return Err(format!(
                    "native.cgroupdriver={driver} is not available: use cgroupfs"
                ));
            }
            _ => return Err(format!("invalid execution option: {option}")),
        }
    }
    Ok(values)
}

/// `address:port`; without an address, the loopback.
fn metrics(values: &Values) -> Result<Option<SocketAddr>, String> {
    let Some(text) = values.text("metrics-addr") else {
        return Ok(None);
    };
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.replace("localhost:", "127.0.0.1:"),
    };
    whole
        .parse()
        .map(Some)
        .map_err(|_| format!("invalid metrics-addr: {text}: an address and a port: 127.0.0.1:9323"))
}

fn hosts(values: &Values) -> Result<Vec<Endpoint>, String> {
    let mut hosts = values.list("hosts");
    if hosts.is_empty() {
        hosts.push(DEFAULT_HOST.to_owned());
    }
    hosts.iter().map(|host| endpoint(host)).collect()
}

/// `unix:///path`, `tcp://host:port`, `fd://`, `host:port`.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let invalid = || format!("invalid bind address format: {text}");
    match text.trim().split_once("://") {
        Some(("unix", "")) => endpoint(DEFAULT_HOST),
        Some(("unix", path)) if path.starts_with('/') => Ok(Endpoint::Unix(path.into())),
        Some(("fd", _)) => Ok(Endpoint::Activation),
        Some(("tcp", address)) => Ok(Endpoint::Tcp(with_port(address))),
        None if text.contains(':') => Ok(Endpoint::Tcp(with_port(text.trim()))),
        _ => Err(invalid()),
    }
}

/// Docker's ports are 2375 (plain) and 2376 (TLS); without a host, loopback.
fn with_port(address: &str) -> String {
    let address = address.trim_end_matches('/');
    match address.rsplit_once(':') {
        Some(("", port)) => format!("127.0.0.1:{port}"),
        Some((_, port)) if !port.ends_with(']') => address.to_owned(),
        _ if address.is_empty() => "127.0.0.1:2375".to_owned(),
        _ => format!("{address}:2375"),
    }
}

fn tls(values: &Values) -> Result<Option<Tls>, String> {
    let verify = values.switch("tlsverify", false);
    if !verify && !values.switch("tls", false) {
        return Ok(None);
    }
    let home = std::env::var("DOCKER_CERT_PATH")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.docker")))
        .unwrap_or_else(|_| "/root/.docker".to_owned());
    let path = |key: &str, name: &str| match values.text(key) {
        Some(path) => PathBuf::from(path),
        None => Path::new(&home).join(name),
    };
    let authority =
        (verify || values.text("tlscacert").is_some()).then(|| path("tlscacert", "ca.pem"));
    Ok(Some(Tls {
        certificate: path("tlscert", "cert.pem"),
        key: path("tlskey", "key.pem"),
        authority: authority.filter(|_| verify),
    }))
}

fn log_level(values: &Values) -> Result<LevelFilter, String> {
    if values.switch("debug", false) {
        return Ok(LevelFilter::DEBUG);
    }
    match values.text("log-level").unwrap_or("info") {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "error" | "fatal" | "panic" => Ok(LevelFilter::ERROR),
        other => Err(format!("invalid logging level: {other}")),
    }
}

fn log_format(values: &Values) -> Result<LogFormat, String> {
    match values.text("log-format").unwrap_or("text") {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("invalid log format: {other}")),
    }
}

fn min_api(values: &Values) -> Result<ApiVersion, String> {
    let from_environment = std::env::var("DOCKER_MIN_API_VERSION").ok();
    let text = from_environment.as_deref().filter(|text| !text.is_empty());
    let Some(text) = text.or(values.text("min-api-version")) else {
        return Ok(ApiVersion::MIN);
    };
    let version: ApiVersion = text
        .parse()
        .map_err(|_| format!("API version has invalid format: {text}"))?;
    if version < ApiVersion::MIN || version > ApiVersion::MAX {
        return Err(format!(
            "API version {text} is not between {} and {}",
            ApiVersion::MIN,
            ApiVersion::MAX
        ));
    }
    Ok(version)
}

fn labels(values: &Values) -> Result<Vec<String>, String> {
    let mut by_name = BTreeMap::new();
    for label in values.list("labels") {
        let Some((name, value)) = label.split_once('=') else {
            return Err(format!("bad attribute format: {label}"));
        };
        if by_name
            .insert(name.to_owned(), value.to_owned())
            .is_some_and(|old| old != value)
        {
            return Err("conflict labels for ".to_owned() + name);
        }
    }
    Ok(by_name
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect())
}

fn runtimes(values: &Values) -> Result<BTreeMap<String, (PathBuf, Vec<String>)>, String> {
    let mut runtimes = BTreeMap::new();
    for (name, runtime) in values.members("runtimes") {
        if runtime
            .get("runtimeType")
            .and_then(Value::as_str)
            .is_some_and(|kind| !kind.is_empty())
        {
            return Err(format!(
                "runtime {name}: runtimeType is not available: give a path"
            ));
        }
        let path = runtime
            .get("path")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if path.is_empty() {
            return Err(format!(
                "runtime {name}: either a runtimeType or a path must be configured"
            ));
        }
        if ["hull", "runc"].contains(&name.as_str()) {
            return Err(format!("runtime name '{name}' is reserved"));
        }
        let arguments = runtime
            .get("runtimeArgs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let arguments = arguments.filter_map(|argument| argument.as_str().map(str::to_owned));
        runtimes.insert(name.clone(), (PathBuf::from(path), arguments.collect()));
    }
    Ok(runtimes)
}

fn log(values: &Values) -> Result<LogConfig, String> {
    let options = values.members("log-opts");
    let text = |(name, value): (&String, &Value)| (name.clone(), value::shown(value));
    Ok(LogConfig {
        driver: values.text("log-driver").unwrap_or("json-file").to_owned(),
        options: options.map(text).collect(),
    })
}

fn ulimits(values: &Values) -> Result<Vec<Ulimit>, String> {
    let number = |limit: &Value, name: &str| limit.get(name).and_then(Value::as_i64);
    let limit = |(name, limit): (&String, &Value)| {
        let pair = number(limit, "Soft").zip(number(limit, "Hard"));
        let (soft, hard) = pair.ok_or_else(|| format!("ulimit {name} needs Soft and Hard"))?;
        if hard >= 0 && soft > hard {
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            ));
        }
        Ok(Ulimit {
            name: name.clone(),
            soft,
            hard,
        })
    };
    values.members("default-ulimits").map(limit).collect()
}

fn shm_size(values: &Values) -> Result<i64, String> {
    match values.get("default-shm-size") {
        None => Ok(DEFAULT_SHM_BYTES),
        Some(Value::Number(bytes)) => bytes
            .as_i64()
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| format!("invalid size: {bytes}")),
        Some(other) => bytes(&value::shown(other)),
    }
}

fn storage_budget(values: &Values) -> Result<Option<u64>, String> {
    let bytes = match values.get("storage-budget") {
        None => return Ok(None),
        Some(Value::Number(number)) => number
            .as_i64()
            .ok_or_else(|| format!("invalid size: {number}"))?,
        Some(other) => bytes(&value::shown(other))?,
    };
    let positive = u64::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    positive
        .map(Some)
        .ok_or_else(|| "storage-budget must be a size above 0, for example 20g".to_owned())
}

/// `64m`, `1GiB`, `512`.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let power = match unit
        .trim()
        .to_ascii_lowercase()
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(invalid()),
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sizes of memory are far below 2^63"
    )]
    Ok((number * (1u64 << power) as f64) as i64)
}

fn cgroup_namespace(values: &Values) -> Result<Option<CgroupNamespace>, String> {
    match values.text("default-cgroupns-mode") {
        None => Ok(None),
        Some("private") => Ok(Some(CgroupNamespace::Private)),
        Some("host") => Ok(Some(CgroupNamespace::Host)),
        Some(other) => Err(format!(
            "default cgroup namespace mode ({other}) is invalid; must be private or host"
        )),
    }
}

fn ipc(values: &Values) -> Result<IpcNamespace, String> {
    match values.text("default-ipc-mode").unwrap_or("private") {
        "private" => Ok(IpcNamespace::Private),
        "shareable" => Ok(IpcNamespace::Shareable),
        other => Err(format!(
            "IPC mode \"{other}\" is not supported as default value"
        )),
    }
}

/// The profile's JSON, `unconfined`, or none for the built-in one.
fn seccomp_profile(values: &Values) -> Result<Option<String>, String> {
    match values.text("seccomp-profile").unwrap_or("builtin") {
        "builtin" | "default" => Ok(None),
        "unconfined" => Ok(Some("unconfined".to_owned())),
        path => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| format!("opening seccomp profile ({path}) failed: {error}")),
    }
}

fn shutdown_timeout(values: &Values) -> Result<Duration, String> {
    match values.get("shutdown-timeout").and_then(Value::as_i64) {
        None => Ok(DEFAULT_SHUTDOWN),
        Some(seconds) => u64::try_from(seconds)
            .map(Duration::from_secs)
            .map_err(|_| format!("invalid shutdown-timeout: {seconds}")),
    }
}

/// What may change while the daemon runs.
const RELOADABLE: [&str; 8] = [
    "debug",
    "default-stop-timeout",
    "insecure-registries",
    "labels",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "registry-mirrors",
];

impl Config {
    /// This configuration with what may change taken from another one.
    pub(crate) fn reloaded(&self, new: Self) -> Self {
        let mut values = self.values.clone();
        for key in RELOADABLE {
            values.replace(key, new.values.get(key).cloned());
        }
        let judges = "authorization-plugins";
        values.replace(judges, new.values.get(judges).cloned());
        Self {
            values,
            log_level: new.log_level,
            labels: new.labels,
            ..self.clone()
        }
    }

    /// Options that another configuration has otherwise, and that only a restart changes.
    pub(crate) fn waiting_for_restart(&self, new: &Self) -> Vec<&'static str> {
        let others = ["authorization-plugins", "log-level"];
        let is_taken = |key: &str| RELOADABLE.contains(&key) || others.contains(&key);
        let keys = TABLE.iter().map(|row| row.key);
        keys.filter(|key| !key.is_empty() && !is_taken(key))
            .filter(|key| self.values.get(key) != new.values.get(key))
            .collect()
    }

    /// What may change, for the event that tells of a reload.
    pub(crate) fn reloadable(&self) -> BTreeMap<String, String> {
        let shown = |key: &&str| self.values.get(key).map(value::shown).unwrap_or_default();
        RELOADABLE
            .iter()
            .map(|key| ((*key).to_owned(), shown(key)))
            .collect()
    }
}
