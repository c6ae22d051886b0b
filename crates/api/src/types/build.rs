//! Hull's own messages about a build that goes on, and contexts that come before their build.

use serde::{Deserialize, Serialize};

use super::is_zero;

/// The result of a build, as `aux` of a message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BuildResult {
    #[serde(rename = "ID")]
    pub id: String,
}

/// The `id` of messages whose `aux` is a [`BuildEvent`].
pub const BUILD_EVENTS: &str = "hull.build";

/// The `id` of messages whose `aux` is a piece of the resulting archive, base64.
pub const BUILD_DATA: &str = "hull.build.data";

/// Something that happened in a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildEvent {
    Vertex(BuildVertex),
    Status(BuildStatus),
    Log(BuildLog),
    Warning(BuildWarning),
}

/// A step as it is now; the newest word replaces earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildVertex {
    pub digest: String,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub cached: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub error: String,
}

/// How far something within a step is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildStatus {
    pub vertex: String,
    pub id: String,
    pub current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    pub started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
}

/// Output of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildLog {
    pub vertex: String,
    /// 1 or 2.
    pub stream: u8,
    /// What is no text is replaced.
    pub text: String,
    pub timestamp: String,
}

/// A rule of the linter that is broken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildWarning {
    pub rule: String,
    pub description: String,
    pub message: String,
    pub url: String,
    pub file: String,
    pub first_line: usize,
    pub last_line: usize,
    /// The lines around it, marked.
    pub excerpt: String,
}

/// One entry of a client's directory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextEntry {
    /// Relative, with `/`.
    pub path: String,
    /// `f`, `d` or `l`.
    pub kind: String,
    pub mode: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mtime_ns: i64,
    /// When it last changed in any way; 0: it may have changed since in a way that shows nowhere.
    #[serde(skip_serializing_if = "is_zero")]
    pub ctime_ns: i64,
    /// A file's number on its file system.
    #[serde(skip_serializing_if = "is_zero")]
    pub inode: u64,
    /// The target of a link.
    #[serde(skip_serializing_if = "is_zero")]
    pub link: String,
}

/// What a client has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextListing {
    /// Names the directory: the client's host and the path there.
    pub key: String,
    /// Parents before what lies in them.
    pub entries: Vec<ContextEntry>,
}

/// What the daemon does not have of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextNeeds {
    /// Names the transfer.
    pub id: String,
    /// Positions of files in the listing.
    pub files: Vec<usize>,
}

/// What a build gets in its body, when its context came before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildExtras {
    /// Transfers of directories by name: `context`, and named ones.
    pub contexts: std::collections::BTreeMap<String, String>,
    /// Other named contexts: name to `docker-image://…`, `https://…`.
    pub named: std::collections::BTreeMap<String, String>,
    /// The Dockerfile's text, if it is not in the context.
    pub dockerfile: Option<String>,
    /// What is ignored, if a file beside the Dockerfile says so that is not in the context.
    pub ignore: Option<String>,
    /// Secrets by id, base64. Kept in memory only.
    pub secrets: std::collections::BTreeMap<String, String>,
    /// Privileges granted.
    pub entitlements: Vec<String>,
    /// Stages whose steps are done again.
    pub no_cache_filter: Vec<String>,
    /// Platforms to build for.
    pub platforms: Vec<String>,
    /// `check`, `outline` or `targets` instead of a build.
    pub call: String,
    /// Where the result goes; none: an image in the store. Archives come as messages whose id is
    /// what [`build_data`] says.
    pub outputs: Vec<BuildOutput>,
    /// `INCLUDE` is an instruction.
    pub include: bool,
    /// What is stated about the image: kinds and their settings.
    pub attests: Vec<(String, String)>,
    /// Words on the image: names (`-manifest[linux/arm64].key`) and values.
    pub annotations: Vec<(String, String)>,
    /// Where else finished steps may be found.
    pub cache_from: Vec<BuildCache>,
    /// Where finished steps are to be taken. A layout for the client comes as messages whose id is
    /// [`BUILD_CACHE`].
    pub cache_to: Vec<BuildCache>,
    /// Under which token the client offers its ssh agents, and their ids.
    pub agent_token: String,
    pub ssh: Vec<String>,
    /// What to log in with at registries, by server. Kept in memory only.
    pub auths: std::collections::BTreeMap<String, super::AuthConfig>,
}

/// A place where a build's result goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildOutput {
    /// `image`, `docker`, `oci`, `tar` or `cacheonly`.
    pub kind: String,
    /// Its names besides those that all outputs have.
    pub names: Vec<String>,
    /// `gzip`, `zstd` or `uncompressed`; empty: as always.
    pub compression: String,
    /// Whether the files of each platform have a directory of their own.
    pub platform_split: Option<bool>,
}

/// The `id` of messages with pieces of the archive of this output.
pub fn build_data(output: usize) -> String {
    match output {
        0 => BUILD_DATA.to_owned(),
        more => format!("{BUILD_DATA}.{more}"),
    }
}

/// A build's cache that is elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildCache {
    /// `registry`, `local` or `inline`.
    pub kind: String,
    /// Its name at a registry; of a directory to import, its transfer.
    pub reference: String,
    /// All steps, not only those the result is made of.
    pub all: bool,
    /// The build is good without it.
    pub ignore_error: bool,
}

/// The `id` of messages whose `aux` is a piece of a cache, as an archive in base64.
pub const BUILD_CACHE: &str = "hull.build.cache";
