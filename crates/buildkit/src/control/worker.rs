//! What builds here, as clients see it.

use std::collections::HashMap;

use hull_build::cache::Budget;

use crate::proto::{
    llb,
    worker::{BuildkitVersion, CdiDevice, GcPolicy, WorkerRecord},
};
use crate::service::Device;

/// The version of BuildKit whose protocol is spoken.
const PROTOCOL: &str = "v0.29.0";

/// That the daemon's own image store builds: clients then offer archives, several platforms, and
/// the export of caches.
const SNAPSHOTTER: &str = "org.mobyproject.buildkit.worker.snapshotter";

/// What `host-gateway` in `--add-host` stands for.
const HOST_GATEWAY: &str = "org.mobyproject.buildkit.worker.moby.host-gateway-ip";

/// What builds here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The daemon's own id.
    pub id: String,
    /// The daemon's version.
    pub version: String,
    /// As `linux/amd64`, the host's own first.
    pub platforms: Vec<String>,
    /// Where containers reach the host; empty: nowhere.
    pub host_gateway: String,
    /// The host's name.
    pub hostname: String,
}

impl Worker {
    pub(crate) fn version_record(&self) -> BuildkitVersion {
        BuildkitVersion {
            package: "hull".to_owned(),
            version: PROTOCOL.to_owned(),
            revision: self.version.clone(),
        }
    }

    /// With the devices that there are, and how much of its cache may stay: also what images use, and the
    /// budget.
    pub(crate) fn record(
        &self,
        devices: Vec<Device>,
        budgets: Vec<(bool, Budget)>,
    ) -> WorkerRecord {
        let device = |device: Device| CdiDevice {
            name: device.name,
            auto_allow: device.auto_allow,
            annotations: device.annotations.into_iter().collect(),
            on_demand: false,
        };
        let mut labels = HashMap::from([
            (SNAPSHOTTER.to_owned(), "overlayfs".to_owned()),
            (
                "org.mobyproject.buildkit.worker.executor".to_owned(),
                "hull".to_owned(),
            ),
            (
                "org.mobyproject.buildkit.worker.hostname".to_owned(),
                self.hostname.clone(),
            ),
        ]);
        if !self.host_gateway.is_empty() {
            labels.insert(HOST_GATEWAY.to_owned(), self.host_gateway.clone());
        }
        WorkerRecord {
            id: self.id.clone(),
            labels,
            platforms: self.platforms.iter().map(|text| platform(text)).collect(),
            gc_policy: budgets.into_iter().map(rule).collect(),
            buildkit_version: Some(self.version_record()),
            cdi_devices: devices.into_iter().map(device).collect(),
        }
    }
}

/// A rule by which parts of the cache go, as it travels.
fn rule((all, budget): (bool, Budget)) -> GcPolicy {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    GcPolicy {
        all,
        max_used_space: bytes(budget.used_max),
        min_free_space: bytes(budget.free_min),
        reserved_space: bytes(budget.reserved),
        ..GcPolicy::default()
    }
}

/// `os/architecture[/variant]` as it travels.
fn platform(text: &str) -> llb::Platform {
    let mut parts = text.split('/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    llb::Platform {
        os: next(),
        architecture: next(),
        variant: next(),
        ..llb::Platform::default()
    }
}
