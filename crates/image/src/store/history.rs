//! How an image was made.

use hull_oci::{Digest, Platform, chain_ids};
use jiff::Timestamp;

use super::Store;
use crate::error::{Error, Result};

/// One step in the making of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's, at its last step only.
    pub id: Option<Digest>,
    /// Unix seconds; 0: unknown.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// The image's names, at its last step only.
    pub tags: Vec<String>,
    /// Bytes the step added.
    pub size: u64,
    /// A remark.
    pub comment: String,
}

impl Store {
    /// The steps of the image's making, the last one first.
    pub fn history(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<HistoryEntry>> {
        let target = self.find(name)?;
        let member = self.choose_to_show(name, &target, platform)?;
        let (Some(manifest), Some(config)) = (&member.manifest, &member.config) else {
            return Err(Error::NoSuchImage(name.to_owned()));
        };
        let diff_ids = &config.rootfs.diff_ids;
        let chain = chain_ids(diff_ids);
        let mut layers = (0..diff_ids.len()).map(|at| {
            let unpacked = self.layers.find(&diff_ids[at], &chain[at]);
            let packed = manifest.layers.get(at).map_or(0, |layer| layer.size);
            unpacked.map_or(packed, |layer| layer.record.bytes)
        });
        let mut entries: Vec<HistoryEntry> = Vec::new();
        for step in &config.history {
            let time = step
                .created
                .as_deref()
                .and_then(|text| text.parse::<Timestamp>().ok());
            entries.push(HistoryEntry {
                id: None,
                created: time.map_or(0, Timestamp::as_second),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size: if step.empty_layer {
                    0
                } else {
                    layers.next().unwrap_or(0)
                },
                comment: step.comment.clone().unwrap_or_default(),
            });
        }
        entries.reverse();
        if let Some(last) = entries.first_mut() {
            (last.id, last.tags) = (Some(target.id().clone()), target.repo_tags());
        }
        Ok(entries)
    }
}
