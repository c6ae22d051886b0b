//! What the store takes, to the byte.
//!
//! Every figure is what `du` says: blocks of files and directories. The sum of the parts is what
//! `du` says of the store's directories.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hull_oci::Digest;

use super::Store;
use super::list::{ListFilter, State, Summary};
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

/// What was measured last: as long as nothing came or went, it holds.
#[derive(Default)]
pub(super) struct Measured(Mutex<Option<(State, Arc<Parts>)>>);

/// What each blob and layer takes, by the digest it is known by.
struct Parts {
    sizes: HashMap<Digest, u64>,
    blobs_bytes: u64,
    layers_bytes: u64,
    /// Layers that the build cache holds, too.
    built: Vec<Digest>,
    /// Bytes of layers that only the build cache knows.
    only_built_bytes: u64,
    /// What each image needs.
    reaches: HashMap<Digest, HashSet<Digest>>,
    /// How many images need it.
    counts: HashMap<Digest, usize>,
}

impl Store {
    /// What all images take, to the byte: also what no image reaches (any more). `is_used` tells
    /// which images (by id) cannot be had back.
    pub fn disk_usage(&self, is_used: &dyn Fn(&Digest) -> bool) -> Result<DiskUsage> {
        let parts = self.parts()?;
        let mut images = self.list(&ListFilter::default())?;
        let mut used = HashSet::new();
        let none = HashSet::new();
        for image in &mut images {
            let reached = parts.reaches.get(&image.descriptor.digest);
            let reached = reached.unwrap_or(&none);
            if is_used(&image.id) {
                used.extend(reached);
            }
            let is_shared = |digest: &&Digest| parts.counts.get(digest).is_some_and(|n| *n > 1);
            image.size = parts.sum(reached.iter());
            image.shared_size = parts.sum(reached.iter().filter(is_shared));
        }
        let kept: HashSet<_> = parts.built.iter().collect();
        let kept = kept
            .into_iter()
            .filter(|digest| !parts.counts.contains_key(*digest));
        let parts_bytes = parts.blobs_bytes + parts.layers_bytes;
        let partial_bytes = self.blobs.partial_bytes();
        let kept_bytes = parts.sum(kept) + parts.only_built_bytes;
        let total_bytes = parts_bytes + partial_bytes + self.frame_bytes();
        let needed = parts.sum(used.into_iter());
        Ok(DiskUsage {
            images,
            total_bytes,
            blobs_bytes: parts.blobs_bytes,
            layers_bytes: parts.layers_bytes,
            partial_bytes,
            reclaimable_bytes: (parts_bytes - needed).saturating_sub(kept_bytes) + partial_bytes,
            kept_bytes,
        })
    }

    /// Bytes of all of the store.
    pub fn total_bytes(&self) -> Result<u64> {
        let parts = self.parts()?;
        let parts_bytes = parts.blobs_bytes + parts.layers_bytes;
        Ok(parts_bytes + self.blobs.partial_bytes() + self.frame_bytes())
    }

    /// Measured anew only if something changed: names, blobs or layers.
    fn parts(&self) -> Result<Arc<Parts>> {
        // Before anything is looked at: what changes meanwhile is another state.
        let state = self.state();
        let mut known = self
            .measured
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((before, parts)) = &*known
            && state.as_ref() == Some(before)
        {
            return Ok(Arc::clone(parts));
        }
        let parts = Arc::new(self.measure()?);
        *known = state.map(|state| (state, Arc::clone(&parts)));
        Ok(parts)
    }

    fn measure(&self) -> Result<Parts> {
        let mut parts = Parts {
            sizes: HashMap::new(),
            blobs_bytes: 0,
            layers_bytes: 0,
            built: Vec::new(),
            only_built_bytes: 0,
            reaches: HashMap::new(),
            counts: HashMap::new(),
        };
        for entry in self.entries.all().iter() {
            if parts.reaches.contains_key(&entry.target.digest) {
                continue;
            }
            let mut reached = HashSet::new();
            // A damaged image needs what is known of it.
            let _ = self.reach(&entry.target, &mut reached);
            for digest in &reached {
                *parts.counts.entry(digest.clone()).or_insert(0) += 1;
            }
            parts.reaches.insert(entry.target.digest.clone(), reached);
        }
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
