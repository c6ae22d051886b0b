//! What a service gets of the host.

use serde::Deserialize;

use super::Texts;

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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deploy {
    pub(crate) replicas: Option<i64>,
    pub(crate) update_config: Option<Update>,
    pub(crate) rollback_config: Option<Update>,
    pub(crate) resources: Resources,
    pub(crate) restart_policy: Option<RestartPolicy>,
}

/// How a service is updated, or brought back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Update {
    pub(crate) parallelism: Option<i64>,
    pub(crate) delay: Option<String>,
    pub(crate) failure_action: String,
    pub(crate) monitor: Option<String>,
    pub(crate) max_failure_ratio: f64,
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
pub(crate) struct Limit {
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}
