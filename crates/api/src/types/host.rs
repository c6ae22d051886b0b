//! How a host runs a container: everything that is not the application's own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{TextMap, is_zero};

/// `80/tcp` to where the host offers it; `null` for a port that is not offered.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Makes a struct of its own members and of those of `Resources`, which Docker embeds in several
/// bodies.
macro_rules! with_resources {
    ($name:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty,)*
    } $(then {
        $($(#[$last_attribute:meta])* $last:ident: $last_type:ty,)*
    })?) => {
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        pub struct $name {
            $($(#[$attribute])* pub $field: $type,)*
            pub cpu_shares: i64,
            pub memory: i64,
            pub nano_cpus: i64,
            pub cgroup_parent: String,
            pub blkio_weight: u16,
            pub blkio_weight_device: Option<Vec<WeightDevice>>,
            pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
            pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
            #[serde(rename = "BlkioDeviceReadIOps")]
            pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
            #[serde(rename = "BlkioDeviceWriteIOps")]
            pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
            pub cpu_period: i64,
            pub cpu_quota: i64,
            pub cpu_realtime_period: i64,
            pub cpu_realtime_runtime: i64,
            pub cpuset_cpus: String,
            pub cpuset_mems: String,
            pub devices: Option<Vec<DeviceMapping>>,
            pub device_cgroup_rules: Option<Vec<String>>,
            pub device_requests: Option<Vec<DeviceRequest>>,
            pub memory_reservation: i64,
            pub memory_swap: i64,
            pub memory_swappiness: Option<i64>,
            pub oom_kill_disable: Option<bool>,
            pub pids_limit: Option<i64>,
            pub ulimits: Option<Vec<Ulimit>>,
            pub cpu_count: i64,
            pub cpu_percent: i64,
            #[serde(rename = "IOMaximumIOps")]
            pub io_maximum_iops: u64,
            #[serde(rename = "IOMaximumBandwidth")]
            pub io_maximum_bandwidth: u64,
            $($($(#[$last_attribute])* pub $last: $last_type,)*)?
        }
    };
}

with_resources!(Resources {});

with_resources!(ContainerUpdate {
    restart_policy: RestartPolicy,
    /// Hull's own: ports to publish from now on.
    #[serde(skip_serializing_if = "is_zero")]
    publish_add: PortMap,
    /// Hull's own: ports to publish no longer; without bindings, all of a port's.
    #[serde(skip_serializing_if = "is_zero")]
    publish_remove: PortMap,
});

with_resources!(HostConfig {
    binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: String,
    log_config: LogConfig,
    network_mode: String,
    port_bindings: Option<PortMap>,
    restart_policy: RestartPolicy,
    auto_remove: bool,
    volume_driver: String,
    volumes_from: Option<Vec<String>>,
    console_size: [u16; 2],
    #[serde(skip_serializing_if = "is_zero")]
    annotations: TextMap,
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    cgroupns_mode: String,
    dns: Option<Vec<String>>,
    dns_options: Option<Vec<String>>,
    dns_search: Option<Vec<String>>,
    extra_hosts: Option<Vec<String>>,
    group_add: Option<Vec<String>>,
    ipc_mode: String,
    cgroup: String,
    links: Option<Vec<String>>,
    oom_score_adj: i32,
    pid_mode: String,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_zero")]
    storage_opt: TextMap,
    #[serde(skip_serializing_if = "is_zero")]
    tmpfs: TextMap,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    userns_mode: String,
    shm_size: i64,
    #[serde(skip_serializing_if = "is_zero")]
    sysctls: TextMap,
    #[serde(skip_serializing_if = "is_zero")]
    runtime: String,
    isolation: String,
} then {
    #[serde(skip_serializing_if = "is_zero")]
    mounts: Vec<Mount>,
    masked_paths: Option<Vec<String>>,
    readonly_paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<bool>,
});

/// Moves the embedded members from one body to another.
macro_rules! resources_of {
    ($($from:ident),*) => {$(
        impl From<$from> for Resources {
            fn from(body: $from) -> Self {
                Self {
                    cpu_shares: body.cpu_shares,
                    memory: body.memory,
                    nano_cpus: body.nano_cpus,
                    cgroup_parent: body.cgroup_parent,
                    blkio_weight: body.blkio_weight,
                    blkio_weight_device: body.blkio_weight_device,
                    blkio_device_read_bps: body.blkio_device_read_bps,
                    blkio_device_write_bps: body.blkio_device_write_bps,
                    blkio_device_read_iops: body.blkio_device_read_iops,
                    blkio_device_write_iops: body.blkio_device_write_iops,
                    cpu_period: body.cpu_period,
                    cpu_quota: body.cpu_quota,
                    cpu_realtime_period: body.cpu_realtime_period,
                    cpu_realtime_runtime: body.cpu_realtime_runtime,
                    cpuset_cpus: body.cpuset_cpus,
                    cpuset_mems: body.cpuset_mems,
                    devices: body.devices,
                    device_cgroup_rules: body.device_cgroup_rules,
                    device_requests: body.device_requests,
                    memory_reservation: body.memory_reservation,
                    memory_swap: body.memory_swap,
                    memory_swappiness: body.memory_swappiness,
                    oom_kill_disable: body.oom_kill_disable,
                    pids_limit: body.pids_limit,
                    ulimits: body.ulimits,
                    cpu_count: body.cpu_count,
                    cpu_percent: body.cpu_percent,
                    io_maximum_iops: body.io_maximum_iops,
                    io_maximum_bandwidth: body.io_maximum_bandwidth,
                }
            }
        }
    )*};
}

resources_of!(HostConfig, ContainerUpdate);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct LogConfig {
    #[serde(rename = "Type")]
    pub driver: String,
    pub config: Option<TextMap>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RestartPolicy {
    pub name: String,
    pub maximum_retry_count: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PortBinding {
    pub host_ip: String,
    pub host_port: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WeightDevice {
    pub path: String,
    pub weight: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ThrottleDevice {
    pub path: String,
    pub rate: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceMapping {
    pub path_on_host: String,
    pub path_in_container: String,
    pub cgroup_permissions: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DeviceRequest {
    pub driver: String,
    pub count: i64,
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    pub capabilities: Option<Vec<Vec<String>>>,
    pub options: Option<TextMap>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ulimit {
    pub name: String,
    pub hard: i64,
    pub soft: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    #[serde(rename = "Type", skip_serializing_if = "is_zero")]
    pub kind: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub source: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub target: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
    /// Hull's own: how owners are translated.
    #[serde(rename = "IDMap", skip_serializing_if = "is_zero")]
    pub idmap: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BindOptions {
    #[serde(skip_serializing_if = "is_zero")]
    pub propagation: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub non_recursive: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub create_mountpoint: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_force_recursive: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeOptions {
    #[serde(skip_serializing_if = "is_zero")]
    pub no_copy: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub labels: TextMap,
    #[serde(skip_serializing_if = "is_zero")]
    pub subpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<VolumeDriverConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeDriverConfig {
    #[serde(skip_serializing_if = "is_zero")]
    pub name: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub options: TextMap,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageOptions {
    #[serde(skip_serializing_if = "is_zero")]
    pub subpath: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct TmpfsOptions {
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub options: Vec<Vec<String>>,
}
