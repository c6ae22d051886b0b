//! What all images take.

use super::Store;
use super::list::{ListFilter, Summary};
use crate::error::Result;

/// What all images take.
#[derive(Debug, Clone)]
pub struct DiskUsage {
    /// Each image: its size, and how much of it is shared.
    pub images: Vec<Summary>,
    /// Bytes of all blobs and unpacked layers, each once.
    pub total_bytes: u64,
    /// Bytes of unpacked layers, each once.
    pub layers_bytes: u64,
}

impl Store {
    /// What all images take, to the byte: also what no image reaches (any more).
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let blobs: u64 = self
            .blobs
            .list()?
            .iter()
            .filter_map(|blob| self.blobs.size(blob))
            .sum();
        let layers_bytes: u64 = self
            .layers
            .all()
            .iter()
            .map(|layer| layer.record.bytes)
            .sum();
        let images = self.list(&ListFilter::default())?;
        Ok(DiskUsage {
            images,
            total_bytes: blobs + layers_bytes,
            layers_bytes,
        })
    }
}
