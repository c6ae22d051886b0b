//! Limits, weights and devices. Zero means "not limited" or "the kernel's default" throughout.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits, weights and devices: what `update` can change on a running container, and a little more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Relative weight, 1024 is the usual.
    pub cpu_shares: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// Microseconds.
    pub cpu_period_us: i64,
    /// Microseconds per period.
    pub cpu_quota_us: i64,
    /// Microseconds.
    pub cpu_realtime_period_us: i64,
    /// Microseconds.
    pub cpu_realtime_runtime_us: i64,
    /// `0-3,7`.
    pub cpuset_cpus: String,
    /// `0,1`.
    pub cpuset_mems: String,
    /// Bytes.
    pub memory: i64,
    /// Bytes, soft.
    pub memory_reservation: i64,
    /// Bytes of memory and swap together; −1: no limit; 0: twice the memory.
    pub memory_swap: i64,
    /// 0 to 100; `None`: the kernel's.
    pub memory_swappiness: Option<i64>,
    /// cgroup v1 only.
    pub oom_kill_disable: bool,
    /// `None`, 0 and negative: no limit.
    pub pids_limit: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Per device.
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Bytes a second.
    pub blkio_read_bps: Vec<ThrottleDevice>,
    /// Bytes a second.
    pub blkio_write_bps: Vec<ThrottleDevice>,
    /// Operations a second.
    pub blkio_read_iops: Vec<ThrottleDevice>,
    /// Operations a second.
    pub blkio_write_iops: Vec<ThrottleDevice>,
    /// Devices of the host to show.
    pub devices: Vec<DeviceMapping>,
    /// `c 1:3 rwm`, each, as typed.
    pub device_cgroup_rules: Vec<String>,
    /// Devices by what they can do (GPUs, CDI names).
    pub device_requests: Vec<DeviceRequest>,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// The parent cgroup; empty: the daemon's default.
    pub cgroup_parent: String,
}

/// A block device and its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightDevice {
    /// The device's path on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A block device and its rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    /// The device's path on the host.
    pub path: String,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A device of the host shown in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// A device node, or a directory of them.
    pub path_on_host: String,
    /// Where it appears.
    pub path_in_container: String,
    /// Letters of `rwm`.
    pub permissions: String,
}

/// Devices by what they can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// Who serves it (`cdi`, `nvidia`).
    pub driver: String,
    /// −1: all.
    pub count: i64,
    /// By id, instead of a count.
    pub device_ids: Vec<String>,
    /// Any of these sets.
    pub capabilities: Vec<Vec<String>>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
}

/// A limit of each process: `nofile`, soft and hard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in `setrlimit`, lowercase, without `RLIMIT_`.
    pub name: String,
    /// −1: unlimited.
    pub soft: i64,
    /// −1: unlimited.
    pub hard: i64,
}
