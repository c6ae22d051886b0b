//! Keeps the store within a budget: lets the least useful images go first.

use std::collections::HashSet;
use std::time::Duration;

use hull_oci::Digest;
use jiff::Timestamp;

use super::Store;
use super::list::{ListFilter, Summary};
use super::remove::{Removal, Removed, User};
use crate::error::{Kind, Result};

/// Images used or brought in since then are spared: somebody is about to use them.
pub const SPARED_FOR: Duration = Duration::from_secs(10 * 60);

/// Why an image is kept, or when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A container uses it.
    InUse,
    /// It was used or brought in a moment ago.
    Recent,
    /// It would go as the n-th, from 1.
    Turn(usize),
}

impl Store {
    /// Removes images that no container uses, the least useful first, until the store takes no more
    /// than `budget` bytes: downloads nobody goes on with, images without a name, then those not
    /// used for longest.
    pub fn keep_within(
        &self,
        budget: u64,
        users: &dyn Fn(&Digest) -> Vec<User>,
    ) -> Result<Vec<Removed>> {
        let mut removed = Vec::new();
        if self.total_bytes()? <= budget {
            return Ok(removed);
        }
        self.remove_leftovers()?;
        let is_used = |id: &Digest| !users(id).is_empty();
        for (image, standing) in self.standings(&is_used)? {
            if self.total_bytes()? <= budget {
                break;
            }
            if !matches!(standing, Standing::Turn(_)) {
                continue;
            }
            match self.remove(image.id.as_str(), &Removal { force: true, users }) {
                Ok(gone) => removed.extend(gone),
                // A container or another call came first.
                Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let entries = self.entries.all();
        let here: HashSet<&Digest> = entries.iter().map(|entry| &entry.target.digest).collect();
        self.used.retain(|image| here.contains(image));
        Ok(removed)
    }

    /// Removes downloads nobody goes on with, and what nothing reaches.
    pub fn remove_leftovers(&self) -> Result<()> {
        self.blobs.remove_partial()?;
        self.collect_garbage()?;
        Ok(())
    }

    /// All images, in the order in which they would go, and why some would not.
    pub fn standings(&self, is_used: &dyn Fn(&Digest) -> bool) -> Result<Vec<(Summary, Standing)>> {
        let mut images = self.list(&ListFilter::default())?;
        images.sort_by_key(|image| (!image.repo_tags.is_empty(), image.last_used));
        let now = Timestamp::now();
        let is_recent = |image: &Summary| {
            let used = image.last_used;
            used.is_some_and(|time| now.duration_since(time).unsigned_abs() < SPARED_FOR)
        };
        let mut turn = 0;
        let standings = images.into_iter().map(|image| {
            let standing = if is_used(&image.id) {
                Standing::InUse
            } else if is_recent(&image) {
                Standing::Recent
            } else {
                turn += 1;
                Standing::Turn(turn)
            };
            (image, standing)
        });
        Ok(standings.collect())
    }

    /// When the image was last used or given a name.
    pub(super) fn last_used(&self, image: &Digest, tagged: Option<Timestamp>) -> Option<Timestamp> {
        self.used.last(image).max(tagged)
    }
}
