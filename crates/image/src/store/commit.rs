//! A container's changes become an image.

use std::io::{self, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use hull_oci::{
    Algorithm, ContainerConfig, Descriptor, Digest, Hasher, History, ImageConfig, Manifest,
    Reference, RootFs, media_type,
};
use jiff::Timestamp;

use super::blobs::BlobWriter;
use super::{Image, Lease, Store};
use crate::compression::gzip;
use crate::diff::layer_tar;
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
        let layer = self.write_layer(&lease, |out| layer_tar(commit.upper, out))?;
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
        if let Some((descriptor, diff_id)) = layer {
            layers.push(descriptor);
            config.rootfs.diff_ids.push(diff_id);
        }
        let parent_id = Some(parent.id.clone());
        self.add_image(&lease, &config, layers, commit.reference, parent_id)
    }

    /// Writes a new layer, compressed: its descriptor and diff id. `None` if nothing is in it.
    pub(super) fn write_layer(
        &self,
        lease: &Lease,
        write: impl FnOnce(&mut LayerWriter) -> Result<()>,
    ) -> Result<Option<(Descriptor, Digest)>> {
        let hasher = Hasher::new(Algorithm::Sha256);
        let mut writer = LayerWriter {
            gzip: gzip(self.blobs.writer(None)?),
            hasher,
            has_content: false,
        };
        write(&mut writer)?;
        if !writer.has_content {
            return Ok(None);
        }
        let diff_id = writer.hasher.finish();
        let blob = writer.gzip.finish().context(|| "write the layer")?;
        let (digest, size) = blob.commit_leased(lease)?;
        Ok(Some((
            Descriptor::new(media_type::LAYER_GZIP, digest, size),
            diff_id,
        )))
    }

    /// Stores the documents of a new image, unpacks it, and gives it its name. Its id.
    pub(super) fn add_image(
        &self,
        lease: &Lease,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        name: Option<&Reference>,
        parent: Option<Digest>,
    ) -> Result<Digest> {
        let config_bytes = to_json(config)?;
        let config_descriptor = self.put_blob(lease, media_type::CONFIG, &config_bytes)?;
        // Layers keep Docker's words if the parent had them; the rest says OCI.
        let manifest = Manifest::new(config_descriptor, layers);
        let mut target = self.put_blob(lease, media_type::MANIFEST, &to_json(&manifest)?)?;
        target.platform = Some(config.platform());
        self.ensure_unpacked(lease, &manifest, config, &mut |_| {})?;
        let id = target.digest.clone();
        self.set_new(name, target, parent)?;
        Ok(id)
    }
}

/// A new layer on its way into the store.
pub(super) struct LayerWriter {
    gzip: GzEncoder<BlobWriter>,
    hasher: Hasher,
    /// Whether there is anything but the end of an archive.
    has_content: bool,
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gzip.write_all(bytes)?;
        self.hasher.update(bytes);
        self.has_content = self.has_content || bytes.iter().any(|&byte| byte != 0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
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
