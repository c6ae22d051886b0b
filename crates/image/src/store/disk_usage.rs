//! What the store takes, to the byte.
//!
//! Every figure is what `du` says: blocks of files and directories. The sum of the parts is what
//! `du` says of the store's directories.

use std::collections::{HashMap, HashSet};

use hull_oci::Digest;

use super::Store;
use super::list::{ListFilter, Summary};
use crate::error::Result;

/// What all images take.
#[derive(Debug, Clone)]
pub struct DiskUsage {
    /// Each image: its size, and how much of it is shared.
    pub images: Vec<Summary>,
    /// Bytes of all of the store.
    pub total_bytes: u64,
    /// Bytes of blobs, each once.
    pub blobs_bytes: u64,
    /// Bytes of unpacked layers, each once.
    pub layers_bytes: u64,
    /// Bytes of blobs that have not come whole.
    pub partial_bytes: u64,
    /// Bytes that images in use do not need.
    pub reclaimable_bytes: u64,
    /// Bytes of blobs and layers that only keepers need: the build cache.
    pub kept_bytes: u64,
}

/// What each blob and layer takes, by the digest it is known by.
struct Parts {
    sizes: HashMap<Digest, u64>,
    blobs_bytes: u64,
    layers_bytes: u64,
    /// Layers that the build cache holds, too.
    built: Vec<Digest>,
    /// Bytes of layers that only the build cache knows.
    only_built_bytes: u64,
}

impl Store {
    /// What all images take, to the byte: also what no image reaches (any more). `is_used` tells
    /// which images (by id) cannot be had back.
    pub fn disk_usage(&self, is_used: &dyn Fn(&Digest) -> bool) -> Result<DiskUsage> {
        let parts = self.parts()?;
        let mut images = self.list(&ListFilter::default())?;
        let (mut used, mut wanted) = (HashSet::new(), HashSet::new());
        let mut counts: HashMap<Digest, usize> = HashMap::new();
        let mut reaches = Vec::new();
        for image in &images {
            let mut reached = HashSet::new();
            // A damaged image needs what is known of it.
            let _ = self.reach(&image.descriptor, &mut reached);
            for digest in &reached {
                *counts.entry(digest.clone()).or_insert(0) += 1;
            }
            if is_used(&image.id) {
                used.extend(reached.iter().cloned());
            }
            wanted.extend(reached.iter().cloned());
            reaches.push(reached);
        }
        for (image, reached) in images.iter_mut().zip(&reaches) {
            image.size = parts.sum(reached.iter());
            let shared = reached.iter().filter(|digest| counts[*digest] > 1);
            image.shared_size = parts.sum(shared);
        }
        let mut kept: HashSet<Digest> = parts.built.iter().cloned().collect();
        kept.retain(|digest| !wanted.contains(digest));
        let parts_bytes = parts.blobs_bytes + parts.layers_bytes;
        let partial_bytes = self.blobs.partial_bytes();
        let kept_bytes = parts.sum(kept.iter()) + parts.only_built_bytes;
        let total_bytes = parts_bytes + partial_bytes + self.frame_bytes();
        Ok(DiskUsage {
            images,
            total_bytes,
            blobs_bytes: parts.blobs_bytes,
            layers_bytes: parts.layers_bytes,
            partial_bytes,
            reclaimable_bytes: (parts_bytes - parts.sum(used.iter())).saturating_sub(kept_bytes)
                + partial_bytes,
            kept_bytes,
        })
    }

    /// Bytes of all of the store.
    pub fn total_bytes(&self) -> Result<u64> {
        let parts = self.parts()?;
        let parts_bytes = parts.blobs_bytes + parts.layers_bytes;
        Ok(parts_bytes + self.blobs.partial_bytes() + self.frame_bytes())
    }

    fn parts(&self) -> Result<Parts> {
        let mut parts = Parts {
            sizes: HashMap::new(),
            blobs_bytes: 0,
            layers_bytes: 0,
            built: Vec::new(),
            only_built_bytes: 0,
        };
        for digest in self.blobs.list()? {
            let size = self.blobs.allocated(&digest);
            parts.blobs_bytes += size;
            *parts.sizes.entry(digest).or_insert(0) += size;
        }
        for layer in self.layers.all() {
            let size = self.layers.disk(layer.number);
            if self.layers.built(layer.number).is_some() {
                parts.built.push(layer.id().clone());
            }
            parts.layers_bytes += size;
            // A plain layer's diff id is its blob's digest: one name for both.
            *parts.sizes.entry(layer.id().clone()).or_insert(0) += size;
        }
        for number in self.layers.only_built() {
            parts.only_built_bytes += self.layers.disk(number);
        }
        parts.layers_bytes += parts.only_built_bytes;
        Ok(parts)
    }

    /// The directories, and the list of names.
    fn frame_bytes(&self) -> u64 {
        self.blobs.frame_bytes() + self.layers.frame_bytes()
    }
}

impl Parts {
    fn sum<'a>(&self, digests: impl Iterator<Item = &'a Digest>) -> u64 {
        digests.filter_map(|digest| self.sizes.get(digest)).sum()
    }
}
