//! All about one container.

use std::path::Path;

use hull_api::{
    ApiVersion,
    types::{
        ContainerInspect, FlatNetworkSettings, GraphDriver, HostConfig, NetworkSettings,
        PortBinding, PortMap, SnapshotStorage, Storage,
    },
    version::Feature,
};
use hull_engine::{Engine, model::PublishedPort, record::Record};
use hull_network::Network;

use super::{
    config,
    host::{self, Shown},
    network, null_if_empty, status, summary, time,
};

/// The storage driver's name.
pub(crate) const DRIVER: &str = "overlayfs";

/// What a container that says nothing may not see.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What a container that says nothing may not change.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// All about one container; its size is the caller's.
pub(crate) fn to_wire(engine: &Engine, record: &Record, version: ApiVersion) -> ContainerInspect {
    let bundle = engine.paths().bundle(&record.id);
    let file = |name: &str| bundle.join(name).display().to_string();
    let mut command = record.command().into_iter();
    let snapshot = version.has(Feature::Storage);
    ContainerInspect {
        id: record.id.to_string(),
        created: time::text(record.created_at_ns),
        path: command.next().unwrap_or_default(),
        args: command.collect(),
        state: status::state(record),
        image: record.image_id.clone(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: record.log_path.as_deref().map(text_of).unwrap_or_default(),
        name: format!("/{}", record.name),
        restart_count: i64::from(record.restarts),
        driver: DRIVER.to_owned(),
        platform: "linux".to_owned(),
        exec_ids: exec_ids(engine, record),
        host_config: HostConfig {
            links: null_if_empty(engine.links_of(record)),
            ..host::to_wire(&record.host, shown(engine))
        },
        graph_driver: (!snapshot).then(|| GraphDriver {
            data: None,
            name: DRIVER.to_owned(),
        }),
        storage: snapshot.then(storage),
        mounts: summary::mount_points(record),
        config: config::to_wire(&record.config, version),
        network_settings: network_settings(engine, record, version),
        ..ContainerInspect::default()
    }
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}

/// What Docker shows where a container says nothing, as this engine decides.
pub(crate) fn shown(engine: &Engine) -> Shown<'_> {
    let config = engine.config();
    Shown {
        cgroup_version: engine.host().cgroup_version,
        default_cgroup_namespace: config.cgroup_namespace,
        default_ipc: &config.ipc,
        default_runtime: &config.default_runtime,
        masked_paths: &MASKED,
        readonly_paths: &READ_ONLY,
    }
}

fn storage() -> Storage {
    let snapshot = [("Name".to_owned(), DRIVER.to_owned())].into();
    Storage {
        root_fs: Some(SnapshotStorage { snapshot }),
    }
}

fn exec_ids(engine: &Engine, record: &Record) -> Option<Vec<String>> {
    let handle = engine.find(record.id.as_str()).ok()?;
    null_if_empty(
        engine
            .execs_of(&handle)
            .iter()
            .map(ToString::to_string)
            .collect(),
    )
}

/// Looks a network up for the conversions.
pub(crate) fn finder(engine: &Engine) -> impl Fn(&str) -> Option<Network> {
    |reference: &str| engine.network(reference).ok()
}

fn network_settings(engine: &Engine, record: &Record, version: ApiVersion) -> NetworkSettings {
    let networks = network::endpoints(record, &finder(engine));
    let main = network::mode_text(&record.host.network_mode);
    let flat = (!version.has(Feature::NoFlatNetworkSettings)).then(|| {
        // Only the default network's addresses stand there.
        let main = networks
            .get("bridge")
            .filter(|_| main == "bridge")
            .cloned()
            .unwrap_or_default();
        FlatNetworkSettings {
            endpoint_id: main.endpoint_id,
            gateway: main.gateway,
            global_ipv6_address: main.global_ipv6_address,
            global_ipv6_prefix_len: main.global_ipv6_prefix_len,
            ip_address: main.ip_address,
            ip_prefix_len: main.ip_prefix_len,
            ipv6_gateway: main.ipv6_gateway,
            mac_address: main.mac_address,
            ..FlatNetworkSettings::default()
        }
    });
    let run = record.state.run();
    NetworkSettings {
        flat,
        sandbox_id: run.map(|_| record.id.to_string()).unwrap_or_default(),
        sandbox_key: run
            .map(|run| format!("/proc/{}/ns/net", run.pid))
            .unwrap_or_default(),
        ports: ports(record),
        networks,
    }
}

/// `null` for a port that is exposed and not published; nothing at all while it does not run.
fn ports(record: &Record) -> PortMap {
    if !record.state.is_running() {
        return PortMap::new();
    }
    let exposed = record
        .config
        .exposed_ports
        .iter()
        .chain(record.host.port_bindings.keys());
    let mut ports: PortMap = exposed
        .map(|port: &PublishedPort| (port.to_string(), None))
        .collect();
    for published in &record.published {
        let key = format!(
            "{}/{}",
            published.container_port,
            published.protocol.as_str()
        );
        let binding = PortBinding {
            host_ip: published.host_ip.to_string(),
            host_port: match published.is_direct {
                // None of the host's leads there.
                true => String::new(),
                false => published.host_port.to_string(),
            },
        };
        ports
            .entry(key)
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    ports
}
