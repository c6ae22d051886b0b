//! How a service is built, and what of its sources is watched.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Texts;
use super::resources::Limit;
use super::service::Hook;
use super::storage::FileReference;

/// The right to have all.
const INSECURE: &str = "security.insecure";

/// How an image is built.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Build {
    /// The directory, or where else it is.
    pub context: String,
    /// The Dockerfile's path in it.
    pub dockerfile: String,
    /// The Dockerfile itself.
    pub dockerfile_inline: String,
    /// Build arguments.
    pub args: BTreeMap<String, Option<String>>,
    /// Labels of the image.
    pub labels: Texts,
    /// Images whose layers may be reused.
    pub cache_from: Vec<String>,
    /// Where what may be reused is kept.
    pub cache_to: Vec<String>,
    /// Build everything anew.
    pub no_cache: bool,
    /// Stages that are built anew.
    pub no_cache_filter: Vec<String>,
    /// Other contexts.
    pub additional_contexts: Texts,
    /// Look for newer base images.
    pub pull: bool,
    /// Names to resolve.
    pub extra_hosts: Vec<String>,
    /// The network of its steps.
    pub network: String,
    /// The stage to stop at.
    pub target: String,
    /// Secrets of its steps.
    pub secrets: Vec<FileReference>,
    /// SSH agents of its steps.
    pub ssh: Vec<String>,
    /// Rights that its steps may ask for.
    pub entitlements: Vec<String>,
    /// Steps may ask for all rights.
    pub privileged: bool,
    /// Shared memory of its steps.
    pub shm_size: String,
    /// How its steps are kept apart.
    pub isolation: String,
    /// What is stated about how it was built.
    pub provenance: String,
    /// What is stated about what it holds.
    pub sbom: String,
    pub(crate) ulimits: BTreeMap<String, Limit>,
    /// More names of the image.
    pub tags: Vec<String>,
    /// Platforms to build for.
    pub platforms: Vec<String>,
}

impl Build {
    /// Limits of its steps: `nofile=1024:2048`
    pub fn limits(&self) -> Vec<String> {
        let limits = self.ulimits.iter();
        let text =
            |(name, limit): (&String, &Limit)| format!("{name}={}:{}", limit.soft, limit.hard);
        limits.map(text).collect()
    }

    /// The rights that its steps may ask for, each once.
    pub fn rights(&self) -> Vec<String> {
        let mut rights = self.entitlements.clone();
        if self.privileged && !rights.iter().any(|right| right == INSECURE) {
            rights.push(INSECURE.to_owned());
        }
        rights
    }
}

/// What is watched while developing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Develop {
    /// Each path with what to do.
    pub watch: Vec<Trigger>,
}

/// A path, and what to do when it changes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Trigger {
    /// Where.
    pub path: String,
    /// What.
    pub action: String,
    /// Where to in the container.
    pub target: String,
    /// What to run then.
    pub exec: Option<Hook>,
    /// What alone counts.
    pub include: Vec<String>,
    /// What does not.
    pub ignore: Vec<String>,
    /// Synchronise at the start.
    pub initial_sync: bool,
}
