//! A container's changes become an image.

use std::io;
use std::path::Path;

use hull_oci::{ContainerConfig, Digest, History, ImageConfig, Reference, RootFs};
use jiff::Timestamp;

use super::pack::PackOptions;
use super::{Image, Store};
use crate::error::{Context as _, Result};

/// What to make an image of.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// The container's image.
    pub parent: &'a Image,
    /// The container's writable layer.
    pub upper: &'a Path,
    /// How to run the new image, in full.
    pub config: ContainerConfig,
    /// Who.
    pub author: String,
    /// A remark.
    pub comment: String,
    /// The instruction, for the history.
    pub created_by: String,
    /// The new image's name.
    pub reference: Option<&'a Reference>,
}

impl Store {
    /// Makes an image of a container's changes. Its id.
    ///
    /// The writable layer must be at rest: a container that runs is paused.
    pub fn commit(&self, commit: Commit<'_>) -> Result<Digest> {
        let lease = self.lease();
        let parent = commit.parent;
        let Some(below) = self.manifest(&parent.manifest)? else {
            return Err(crate::Error::NoSuchImage(parent.id.to_string()));
        };
        let layer = self.pack_layer(&lease, commit.upper, &PackOptions::default())?;
        let now = Timestamp::now().to_string();
        let mut config = ImageConfig {
            created: Some(now.clone()),
            author: commit.author.clone(),
            config: commit.config,
            comment: None,
            ..parent.config.as_ref().clone()
        };
        let text = |text: String| (!text.is_empty()).then_some(text);
        config.history.push(History {
            created: Some(now),
            created_by: text(commit.created_by),
            author: text(commit.author),
            comment: text(commit.comment),
            empty_layer: layer.is_none(),
        });
        let mut layers = below.layers.clone();
        if let Some(layer) = layer {
            layers.push(layer.descriptor);
            config.rootfs.diff_ids.push(layer.diff_id);
        }
        // Layers keep Docker's words if the parent had them; the rest says OCI.
        let target = self.put_image(&lease, &config, layers)?;
        self.unpack_target(&lease, &target, &config)?;
        let id = target.digest.clone();
        self.publish(commit.reference, target, Some(parent.id.clone()))?;
        Ok(id)
    }
}

/// An image without layers for `platform`.
pub(super) fn blank(platform: &hull_oci::Platform, created: &str) -> ImageConfig {
    ImageConfig {
        created: Some(created.to_owned()),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        rootfs: RootFs::default(),
        ..ImageConfig::default()
    }
}

pub(super) fn to_json<T: serde::Serialize>(document: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(document)
        .map_err(io::Error::from)
        .context(|| "write a document")
}
