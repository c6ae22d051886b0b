//! Request and answer bodies.
//!
//! Member names and the difference between `null`, `[]`, `{}` and an absent member are Docker's:
//! an `Option` without `skip_serializing_if` is `null` when unset, one with it is absent. Times are
//! text (RFC 3339 with nanoseconds) or Unix seconds, as the original has them; durations of health
//! checks are nanoseconds. What each member means is described in the Engine API's reference.
#![expect(
    missing_docs,
    reason = "the members are named and described by the Engine API's reference"
)]

mod build;
mod config;
mod container;
mod disk;
mod exec;
mod host;
mod image;
mod network;
mod plugin;
mod project;
mod sealed;
mod stats;
mod system;
mod volume;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use build::{
    BUILD_CACHE, BUILD_DATA, BUILD_EVENTS, BuildCache, BuildEvent, BuildExtras, BuildLog,
    BuildOutput, BuildResult, BuildStatus, BuildVertex, BuildWarning, ContextEntry, ContextListing,
    ContextNeeds, build_data,
};
pub use config::{Config, ContainerCreate, HealthConfig, NetworkingConfig};
pub use container::{
    ContainerCreated, ContainerInspect, ContainerPrune, ContainerState, ContainerSummary,
    ContainerTop, ContainerUpdated, ContainerWait, FilesystemChange, GraphDriver, Health,
    HealthResult, HealthSummary, MountPoint, PathStat, PortSummary, SnapshotStorage, Storage,
    SummaryHostConfig, SummaryNetworkSettings, WaitError,
};
pub use disk::{DiskAccount, DiskAccountLine, DiskStanding, FsckFinding, FsckReport};
pub use exec::{ExecCreate, ExecInspect, ExecProcess, ExecStart};
pub use host::{
    BindOptions, ContainerUpdate, DeviceMapping, DeviceRequest, HostConfig, ImageOptions,
    LogConfig, Mount, PortBinding, PortMap, Resources, RestartPolicy, ThrottleDevice, TmpfsOptions,
    Ulimit, VolumeDriverConfig, VolumeOptions, WeightDevice,
};
pub use image::{
    AttestationStatement, Descriptor, DistributionInspect, ImageAttestationData, ImageConfig,
    ImageData, ImageDataSize, ImageDeleted, ImageHistoryItem, ImageInspect, ImageManifest,
    ImageManifestSize, ImageMetadata, ImagePrune, ImageSearchItem, ImageSummary, ManifestDocument,
    Platform, RootFs,
};
pub use network::{
    ConfigReference, EndpointIpamConfig, EndpointResource, EndpointSettings, FlatNetworkSettings,
    Ipam, IpamConfig, IpamStatus, Network, NetworkConnect, NetworkCreate, NetworkCreated,
    NetworkDisconnect, NetworkPrune, NetworkSettings, NetworkStatus, SubnetStatus,
};
pub use plugin::{Plugin, PluginConfig};
pub use project::ProjectHold;
pub use sealed::{SealedCompared, SealedFile, SealedFiles};
pub use stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
    StorageStats, ThrottlingData,
};
pub use system::{
    Actor, AuthConfig, AuthResponse, BuildCacheRecord, BuildPrune, Commit, Component,
    ContainerdInfo, ContainerdNamespaces, DeviceInfo, DiskUsage, DiskUsageKind, Event,
    FirewallInfo, IndexInfo, Info, Ping, PlatformName, Plugins, RegistryConfig, Runtime, SwarmInfo,
    SystemAddressPool, Version,
};
pub use volume::{Volume, VolumeCreate, VolumeList, VolumePrune, VolumeUsage};

/// Docker's "never".
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Go's `struct{}`: always `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A set of texts as Docker writes it: an object with empty values.
pub type TextSet = BTreeMap<String, Empty>;

/// Text to text.
pub type TextMap = BTreeMap<String, String>;

/// An error answer's body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    pub message: String,
}

/// An answer that is only an id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct IdResponse {
    pub id: String,
}

/// Whether a value is its type's zero: what Go's `omitempty` leaves out.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
