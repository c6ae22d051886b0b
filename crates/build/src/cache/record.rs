//! What a cache says of itself when it travels.
//!
//! It is a member of a configuration: of an image's own (`type=inline`), or of one that belongs to
//! no image, in a manifest whose layers are those of the steps. Either way a step names its layer by
//! its diff id, which stands in `rootfs` at the place at which the manifest has the blob.

use hull_oci::{Digest, RootFs};
use serde::{Deserialize, Serialize};

/// The member's name.
pub(crate) const MEMBER: &str = "hull.buildcache";
/// The configuration of a manifest that is a cache and no image.
pub(crate) const CONFIG: &str = "application/vnd.hull.buildcache.config.v1+json";

/// Steps that were done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) steps: Vec<RecordedStep>,
    /// What definitions came out as: definition and key.
    #[serde(default)]
    pub(crate) aliases: Vec<(String, String)>,
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecordedStep {
    pub(crate) key: String,
    /// What its files are known by.
    pub(crate) outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) below: Option<String>,
    /// The diff id of its layer; none: it changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<Digest>,
    pub(crate) description: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    /// Of its files.
    #[serde(default)]
    pub(crate) bytes: u64,
}

/// What of a configuration matters here.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    #[serde(rename = "hull.buildcache", default)]
    pub(crate) recorded: Option<Recorded>,
    #[serde(default)]
    pub(crate) rootfs: RootFs,
}
