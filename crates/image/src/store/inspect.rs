//! What an image is, for people and tools.

use std::collections::HashSet;
use std::sync::Arc;

use hull_oci::{Descriptor, Digest, ImageConfig, Platform, chain_ids};
use jiff::Timestamp;

use super::Store;
use super::tree::Member;
use crate::error::{Error, Result};

/// All about an image.
#[derive(Debug, Clone)]
pub struct Details {
    /// The digest of the index or manifest: Docker's image id.
    pub id: Digest,
    /// What the names point at.
    pub descriptor: Descriptor,
    /// Names with tags, as people write them.
    pub repo_tags: Vec<String>,
    /// Names with digests, as people write them.
    pub repo_digests: Vec<String>,
    /// The image it was committed from.
    pub parent: Option<Digest>,
    /// The configuration of the best member for the platform.
    pub config: Arc<ImageConfig>,
    /// That member's manifest.
    pub manifest: Digest,
    /// Where that member runs.
    pub platform: Platform,
    /// Bytes of blobs and unpacked layers.
    pub size: u64,
    /// When a name was last given.
    pub last_tagged: Option<Timestamp>,
    /// All members: the platforms, and attestations.
    pub manifests: Vec<ManifestDetails>,
}

/// One member of an image.
#[derive(Debug, Clone)]
pub struct ManifestDetails {
    /// What points at it.
    pub descriptor: Descriptor,
    /// Whether all its blobs are here.
    pub is_available: bool,
    /// Bytes of its blobs that are here.
    pub size_content: u64,
    /// Bytes of its unpacked layers.
    pub size_unpacked: u64,
    /// What it is.
    pub kind: ManifestKind,
}

/// What a member of an image is.
#[derive(Debug, Clone)]
pub enum ManifestKind {
    /// An image for a platform.
    Image {
        /// Where it runs.
        platform: Platform,
    },
    /// A statement about another member.
    Attestation {
        /// That member.
        about: Option<Digest>,
    },
    /// Something else.
    Unknown,
}

/// What an image takes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) content: u64,
    pub(super) unpacked: u64,
}

impl Size {
    pub(super) fn total(self) -> u64 {
        self.content + self.unpacked
    }
}

impl Store {
    /// All about the image by this name or id, with the member for `platform` in front (default:
    /// the best for this host, or any that is here).
    pub fn inspect(&self, name: &str, platform: Option<&Platform>) -> Result<Details> {
        let target = self.find(name)?;
        let member = self.choose_to_show(name, &target, platform)?;
        let config = member
            .config
            .clone()
            .ok_or_else(|| Error::NoSuchImage(name.to_owned()))?;
        Ok(Details {
            id: target.id().clone(),
            descriptor: target.descriptor.clone(),
            repo_tags: target.repo_tags(),
            repo_digests: target.repo_digests(),
            parent: target.entries.iter().find_map(|entry| entry.parent.clone()),
            manifest: member.descriptor.digest.clone(),
            platform: member.platform().unwrap_or_else(|| config.platform()),
            config,
            size: self.size(&target.descriptor)?.total(),
            last_tagged: target.entries.iter().filter_map(|entry| entry.tagged).max(),
            manifests: self.manifests(&target.descriptor)?,
        })
    }

    pub(super) fn manifests(&self, target: &Descriptor) -> Result<Vec<ManifestDetails>> {
        let members = self.members(target)?;
        Ok(members
            .iter()
            .map(|member| self.manifest_details(member))
            .collect())
    }

    /// What the image takes, each blob and layer once.
    pub(super) fn size(&self, target: &Descriptor) -> Result<Size> {
        let mut reached = HashSet::new();
        self.reach(target, &mut reached)?;
        let mut size = Size::default();
        for digest in &reached {
            size.content += self.blobs.size(digest).unwrap_or(0);
            // A digest is a chain id or a diff id; `find` asks for either.
            size.unpacked += self
                .layers
                .exactly(digest)
                .map_or(0, |layer| layer.record.bytes);
        }
        Ok(size)
    }

    fn manifest_details(&self, member: &Member) -> ManifestDetails {
        let mut blobs: Vec<&Digest> = vec![&member.descriptor.digest];
        if let Some(manifest) = &member.manifest {
            blobs.push(&manifest.config.digest);
            blobs.extend(manifest.layers.iter().map(|layer| &layer.digest));
        }
        let sizes: Vec<Option<u64>> = blobs.iter().map(|digest| self.blobs.size(digest)).collect();
        let kind = if member.descriptor.is_attestation() {
            ManifestKind::Attestation {
                about: member.about(),
            }
        } else {
            match member.platform() {
                Some(platform) if member.is_image() => ManifestKind::Image { platform },
                _ => ManifestKind::Unknown,
            }
        };
        ManifestDetails {
            descriptor: member.descriptor.clone(),
            is_available: member.manifest.is_some() && sizes.iter().all(Option::is_some),
            size_content: sizes.into_iter().flatten().sum(),
            size_unpacked: self.unpacked_size(member),
            kind,
        }
    }

    fn unpacked_size(&self, member: &Member) -> u64 {
        let Some(config) = &member.config else {
            return 0;
        };
        let diff_ids = &config.rootfs.diff_ids;
        let layers = diff_ids.iter().zip(chain_ids(diff_ids));
        let found = layers.filter_map(|(diff_id, chain_id)| self.layers.find(diff_id, &chain_id));
        found.map(|layer| layer.record.bytes).sum()
    }
}
