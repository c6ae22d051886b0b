//! What is mounted into a container besides its root.

use serde::{Deserialize, Serialize};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Where the content comes from.
    pub source: MountSource,
    /// An absolute path in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// The mode text of `-v src:dst:MODE` as typed (`inspect` shows it), empty for `--mount`.
    pub mode: String,
    /// `default`, `consistent`, `cached`, `delegated`: kept for `inspect`, without effect on Linux.
    pub consistency: String,
    /// Whether it came from `-v` (and not `--mount`): `inspect` lists those elsewhere.
    pub from_bind_text: bool,
}

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute.
        path: String,
        /// How.
        options: BindOptions,
    },
    /// A volume; no name: an anonymous one.
    Volume {
        /// `None`: an anonymous one.
        name: Option<String>,
        /// How.
        options: VolumeOptions,
    },
    /// Memory.
    Tmpfs(TmpfsOptions),
    /// Another image's content, read-only.
    Image {
        /// The image's reference.
        reference: String,
        /// A path inside it; empty: its root.
        subpath: String,
    },
}

/// How a bind is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// How mounts made later travel.
    pub propagation: Option<Propagation>,
    /// Leave out what is mounted below the source.
    pub non_recursive: bool,
    /// Make the source as a directory when it is missing.
    pub create_source: bool,
    /// Read-only applies to the top mount alone.
    pub read_only_non_recursive: bool,
    /// Refuse where the kernel cannot make all of it read-only.
    pub read_only_force_recursive: bool,
}

/// How mounts made later travel between the host and the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "mount_namespaces(7) describes each")]
pub enum Propagation {
    Private,
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave,
}

/// How a volume is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Do not fill an empty volume with the image's content.
    pub no_copy: bool,
    /// A path inside the volume; empty: its root.
    pub subpath: String,
    /// The labels of a volume made for this mount.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The driver of a volume made for this mount; empty: `local`.
    pub driver: String,
    /// Its options.
    pub driver_options: std::collections::BTreeMap<String, String>,
}

/// A tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Bytes; 0: no limit.
    pub size_bytes: i64,
    /// Permission bits; 0: 1777.
    pub mode: u32,
    /// Further mount options: name, or name and value.
    pub options: Vec<Vec<String>>,
}
