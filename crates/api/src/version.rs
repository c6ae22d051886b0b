//! Which versions of the Engine API are spoken, and what differs between them.
//!
//! Handlers see the newest form only; where an older client must see something else, they ask
//! [`ApiVersion::has`] for a [`Feature`]. The table of features is the only place that knows
//! version numbers.

use std::{fmt, str::FromStr};

/// A version: `1.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

/// The text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid API version: {0:?}")]
pub struct InvalidVersion(pub String);

/// A change of the wire an older client has not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// `wait` sends its header at once and knows conditions.
    WaitConditions,
    /// `one-shot` on statistics.
    StatsOneShot,
    /// A container's IPC namespace is private unless asked otherwise (before: shareable).
    PrivateIpc,
    /// `platform` on create.
    CreatePlatform,
    /// `application/vnd.docker.multiplexed-stream` names framed streams.
    MultiplexedMediaType,
    /// `POST /volumes/prune` spares named volumes unless `all` is set.
    PruneAnonymousVolumes,
    /// `ConsoleSize` in exec and create.
    ConsoleSize,
    /// A create that names no cgroup namespace gets a private one where the host has cgroup v2.
    CgroupNamespace,
    /// `StartInterval` of health checks.
    HealthStartInterval,
    /// A MAC address belongs to an endpoint, and several endpoints may be named at create.
    EndpointMacAddress,
    /// `VirtualSize` is gone from images.
    NoVirtualSize,
    /// `Container` and `ContainerConfig` are gone from image inspect.
    NoImageContainer,
    /// `Annotations` in the container list.
    SummaryAnnotations,
    /// `manifests` on the image list.
    ImageManifests,
    /// `Descriptor` of images, `ImageManifestDescriptor` of containers.
    ImageDescriptor,
    /// The `Image` mount type.
    ImageMount,
    /// `BridgeNfIptables` and `BridgeNfIp6tables` are gone from info.
    NoBridgeNetfilter,
    /// Events carry no `status`, `id` and `from`, and are sent as JSON lines.
    PlainEvents,
    /// The default network's addresses stand in `Networks` alone.
    NoFlatNetworkSettings,
    /// `Storage` replaces `GraphDriver` where images are kept as snapshots.
    Storage,
    /// `Config.MacAddress` is refused.
    NoConfigMacAddress,
    /// `Status` in a network's inspect.
    NetworkStatus,
    /// `Health` in the container list.
    SummaryHealth,
    /// Disk usage as one object per kind.
    DiskUsagePerKind,
    /// `Parent`, `DockerVersion` are gone from image inspect.
    NoImageParent,
}

/// Since which minor version each feature is there.
const FEATURES: &[(Feature, u16)] = &[
    (Feature::WaitConditions, 30),
    (Feature::PrivateIpc, 40),
    (Feature::StatsOneShot, 41),
    (Feature::CreatePlatform, 41),
    (Feature::CgroupNamespace, 41),
    (Feature::MultiplexedMediaType, 42),
    (Feature::PruneAnonymousVolumes, 42),
    (Feature::ConsoleSize, 42),
    (Feature::HealthStartInterval, 44),
    (Feature::EndpointMacAddress, 44),
    (Feature::NoVirtualSize, 44),
    (Feature::NoImageContainer, 45),
    (Feature::SummaryAnnotations, 46),
    (Feature::ImageManifests, 47),
    (Feature::ImageDescriptor, 48),
    (Feature::ImageMount, 48),
    (Feature::NoBridgeNetfilter, 50),
    (Feature::PlainEvents, 52),
    (Feature::NoFlatNetworkSettings, 52),
    (Feature::Storage, 52),
    (Feature::NoConfigMacAddress, 52),
    (Feature::NetworkStatus, 52),
    (Feature::SummaryHealth, 52),
    (Feature::DiskUsagePerKind, 52),
    (Feature::NoImageParent, 52),
];

impl ApiVersion {
    /// The oldest version spoken.
    pub const MIN: Self = Self {
        major: 1,
        minor: 24,
    };
    /// The newest version spoken, and the one of a request that names none.
    pub const MAX: Self = Self {
        major: 1,
        minor: 55,
    };

    /// `1.minor`.
    pub const fn new(minor: u16) -> Self {
        Self { major: 1, minor }
    }

    /// The number after the dot.
    pub const fn minor(self) -> u16 {
        self.minor
    }

    /// Whether this version has a feature.
    pub fn has(self, feature: Feature) -> bool {
        let since = FEATURES
            .iter()
            .find(|(known, _)| *known == feature)
            .map(|(_, minor)| *minor)
            .expect("every feature stands in the table: see the test");
        self >= Self::new(since)
    }

    /// The version to speak with a peer whose newest is `theirs`.
    pub fn negotiated(self, theirs: Self) -> Self {
        self.min(theirs)
    }
}

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    /// Takes `1.50`, without a `v`.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u16>().ok()).flatten()
        };
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(Self {
                    major: number(major)?,
                    minor: number(minor)?,
                })
            })
            .ok_or_else(|| InvalidVersion(text.to_owned()))
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24"));
        assert!(version("2.0") > ApiVersion::MAX);
        assert_eq!(version("1.50").to_string(), "1.50");
        for bad in ["", "1", "v1.2", "1.x", "1.", ".1", "+1.2", "1.99999"] {
            assert!(bad.parse::<ApiVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_feature_is_there_from_its_version_on() {
        assert!(!ApiVersion::new(41).has(Feature::MultiplexedMediaType));
        assert!(ApiVersion::new(42).has(Feature::MultiplexedMediaType));
        assert!(ApiVersion::MAX.has(Feature::NoImageParent));
        let last = FEATURES.len();
        assert_eq!(
            Feature::NoImageParent as usize + 1,
            last,
            "a feature is missing in the table"
        );
        for index in 0..last {
            assert!(
                FEATURES
                    .iter()
                    .any(|(feature, _)| *feature as usize == index),
                "{index}"
            );
        }
    }
}
