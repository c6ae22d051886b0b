//! Volumes, mounts, secrets and configs.

use serde::Deserialize;

use super::Texts;
use crate::node::Place;

/// A secret or config that a service uses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FileReference {
    /// Which.
    pub source: String,
    /// Where in the container.
    pub target: String,
    pub(crate) uid: String,
    pub(crate) gid: String,
    pub(crate) mode: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Mount {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) consistency: String,
    pub(crate) bind: Option<Bind>,
    pub(crate) volume: Option<VolumeOptions>,
    pub(crate) tmpfs: Option<Tmpfs>,
    pub(crate) image: Option<ImageOptions>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Bind {
    pub(crate) selinux: String,
    pub(crate) propagation: String,
    pub(crate) create_host_path: bool,
    pub(crate) recursive: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeOptions {
    pub(crate) labels: Texts,
    pub(crate) nocopy: bool,
    pub(crate) subpath: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tmpfs {
    pub(crate) size: String,
    pub(crate) mode: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ImageOptions {
    pub(crate) subpath: String,
}

/// A volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// The hash of what it says.
    #[serde(skip)]
    pub hash: String,
    /// Its name at the daemon.
    pub name: String,
    pub(crate) driver: String,
    pub(crate) driver_opts: Texts,
    /// Whether it is made by others.
    pub external: bool,
    /// Where it says so.
    #[serde(skip)]
    pub(crate) external_at: Place,
    pub(crate) labels: Texts,
}

/// A secret or a config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct FileObject {
    /// Its name.
    pub name: String,
    /// The file that holds it.
    pub file: String,
    /// The variable that holds it.
    pub environment: String,
    /// What it holds.
    pub content: String,
    /// Whether it is kept by others.
    pub external: bool,
    /// Where it says so.
    #[serde(skip)]
    pub(crate) external_at: Place,
    /// Where it names its file.
    #[serde(skip)]
    pub(crate) file_at: Place,
}
