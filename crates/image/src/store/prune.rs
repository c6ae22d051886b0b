//! Removes images nobody uses.

use hull_oci::Digest;
use jiff::Timestamp;

use super::Store;
use super::list::ListFilter;
use super::remove::{Removal, Removed, User};
use crate::error::{Kind, Result};

/// Which images to prune.
#[derive(Debug, Clone, Default)]
pub struct PruneFilter {
    /// Also those that have a name.
    pub all: bool,
    /// `name` or `name=value`, each must be there.
    pub labels: Vec<String>,
    /// `name` or `name=value`, none may be there.
    pub labels_absent: Vec<String>,
    /// Made before this time.
    pub until: Option<Timestamp>,
}

/// What was pruned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names and ids.
    pub removed: Vec<Removed>,
    /// Bytes of blobs and unpacked layers.
    pub reclaimed_bytes: u64,
}

impl Store {
    /// Removes all images that no container uses and the filter picks.
    pub fn prune(
        &self,
        filter: &PruneFilter,
        users: &dyn Fn(&Digest) -> Vec<User>,
    ) -> Result<Pruned> {
        let list = self.list(&ListFilter {
            dangling: (!filter.all).then_some(true),
            labels: filter.labels.clone(),
            labels_absent: filter.labels_absent.clone(),
            until: filter.until,
            ..ListFilter::default()
        })?;
        let before = self.total_bytes()?;
        let mut pruned = Pruned::default();
        for image in list {
            if !users(&image.id).is_empty() {
                continue;
            }
            let removed = if filter.all {
                let removal = Removal { force: true, users };
                self.remove(image.id.as_str(), &removal)
            } else {
                self.remove_dangling(&image.id)
            };
            match removed {
                Ok(removed) => pruned.removed.extend(removed),
                // A container or another call came first.
                Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        self.blobs.remove_partial()?;
        self.collect_garbage()?;
        pruned.reclaimed_bytes = before.saturating_sub(self.total_bytes()?);
        Ok(pruned)
    }
}
