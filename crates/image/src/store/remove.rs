//! Takes names and images away, with Docker's rules and words.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;

use hull_oci::{Digest, Reference};

use super::Store;
use super::entries::Entry;
use super::find::Target;
use super::fsck::Garbage;
use super::lease::Table;
use super::tag::keep;
use crate::error::{Error, Result};

/// How to remove an image.
pub struct Removal<'a> {
    /// Also if it has several names, or a stopped container uses it.
    pub force: bool,
    /// Which containers use the image with this id.
    pub users: &'a dyn Fn(&Digest) -> Vec<User>,
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The container's id.
    pub container: String,
    /// Whether it runs (or is paused).
    pub is_running: bool,
    /// The platform it uses the image for; empty: not known.
    pub platform: String,
}

/// One line of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, as people write it.
    Untagged(String),
    /// An image's id.
    Deleted(String),
}

impl Store {
    /// Removes an image's name; with its last name, the image. Given an id, all its names.
    ///
    /// A forced removal of an image that a container uses takes its names away and keeps it, so
    /// that the container stays whole.
    pub fn remove(&self, name: &str, removal: &Removal<'_>) -> Result<Vec<Removed>> {
        let target = self.find(name)?;
        let users = (removal.users)(target.id());
        let (removed, forgotten) = match &target.name {
            Some(reference) => self.remove_name(name, reference, &target, removal, &users)?,
            None => self.remove_id(name, &target, removal, &users)?,
        };
        let mut report: Vec<Removed> = removed.into_iter().map(Removed::Untagged).collect();
        if forgotten {
            report.push(Removed::Deleted(target.id().to_string()));
            self.collect_garbage()?;
        }
        Ok(report)
    }

    /// Removes an image that has no name. One that was given a name since it was looked at is a conflict.
    pub(super) fn remove_dangling(&self, id: &Digest) -> Result<Vec<Removed>> {
        self.entries.update(|entries| {
            let is_named = |entry: &Entry| entry.target.digest == *id && entry.name.is_some();
            if entries.iter().any(is_named) {
                let message = format!("the image {} has a name by now", id.short());
                return Err(Error::Conflict(message));
            }
            let before = entries.len();
            entries.retain(|entry| entry.target.digest != *id);
            if entries.len() == before {
                return Err(Error::NoSuchImage(id.to_string()));
            }
            Ok(())
        })?;
        self.collect_garbage()?;
        Ok(vec![Removed::Deleted(id.to_string())])
    }

    fn remove_name(
        &self,
        typed: &str,
        reference: &Reference,
        target: &Target,
        removal: &Removal<'_>,
        users: &[User],
    ) -> Result<(Vec<String>, bool)> {
        // By its digest, the image loses all names it has in the repository.
        let goes = |entry: &Entry| {
            entry.name.as_ref() == Some(reference)
                || reference.digest().is_some() && same_repository(entry, reference)
        };
        let mut named = target.entries.iter().filter(|entry| entry.name.is_some());
        let is_last = named.all(goes);
        if is_last && let Some(user) = users.iter().max_by_key(|user| user.is_running) {
            let (container, image) = (short(&user.container), target.id().short());
            if !removal.force {
                return Err(Error::Conflict(format!(
                    "unable to remove repository reference {typed:?} (must force) - container \
                     {container} is using its referenced image {image}"
                )));
            }
        }
        let names = self.forget(target, goes, !users.is_empty())?;
        Ok((names, is_last && users.is_empty()))
    }

    fn remove_id(
        &self,
        typed: &str,
        target: &Target,
        removal: &Removal<'_>,
        users: &[User],
    ) -> Result<(Vec<String>, bool)> {
        let short_id = target.id().short();
        let repositories: BTreeSet<String> = target
            .entries
            .iter()
            .filter_map(|e| e.name.as_ref())
            .map(Reference::repository)
            .collect();
        if let Some(user) = users.iter().find(|user| user.is_running) {
            return Err(Error::Conflict(format!(
                "unable to delete {short_id} (cannot be forced) - image is being used by running \
                 container {}",
                short(&user.container)
            )));
        }
        if let (Some(user), false) = (users.first(), removal.force) {
            return Err(Error::Conflict(format!(
                "unable to delete {short_id} (must be forced) - image is being used by stopped \
                 container {}",
                short(&user.container)
            )));
        }
        let tags = target
            .entries
            .iter()
            .filter(|entry| entry.name.is_some())
            .count();
        if !removal.force && (repositories.len() > 1 || tags > 1) {
            tracing::debug!(
                typed,
                "refusing to remove an image with several names by its id"
            );
            return Err(Error::Conflict(format!(
                "unable to delete {short_id} (must be forced) - image is referenced in multiple \
                 repositories"
            )));
        }
        let names = self.forget(target, |_| true, !users.is_empty())?;
        Ok((names, users.is_empty()))
    }

    /// Drops the image's entries that `which` picks; with `keep_image`, the last leaves a dangling
    /// one. The names dropped.
    fn forget(
        &self,
        target: &Target,
        which: impl Fn(&Entry) -> bool,
        keep_image: bool,
    ) -> Result<Vec<String>> {
        self.entries.update(|entries| {
            let picked = |entry: &Entry| entry.target.digest == *target.id() && which(entry);
            let (gone, rest): (Vec<Entry>, Vec<Entry>) =
                std::mem::take(entries).into_iter().partition(picked);
            *entries = rest;
            if keep_image && let Some(entry) = gone.first() {
                keep(
                    entries,
                    Entry {
                        name: None,
                        ..entry.clone()
                    },
                );
            }
            let names: BTreeSet<String> = gone
                .iter()
                .filter_map(|entry| entry.name.as_ref())
                .map(Reference::familiar)
                .collect();
            Ok(names.into_iter().collect())
        })
    }

    /// Removes the blobs and layers nobody needs: neither an entry nor a lease reaches them. The
    /// bytes freed.
    pub fn collect_garbage(&self) -> Result<u64> {
        let leased = self.leases.lock();
        let Some(garbage) = self.unreached(&leased)? else {
            return Ok(0);
        };
        if garbage.spares {
            self.leases.spared.store(true, Ordering::Relaxed);
        }
        let mut freed = 0;
        for digest in garbage.blobs {
            self.trees.forget(&digest);
            freed += self.blobs.remove(&digest)?;
        }
        for layer in garbage.layers {
            self.layers.remove(&layer)?;
            freed += layer.record.bytes;
        }
        Ok(freed)
    }

    /// Collects what an earlier collection left only because somebody held it: for when they have let
    /// go. Nothing is looked at if nothing was.
    pub fn collect_spared(&self) -> Result<u64> {
        if self.leases.spared.swap(false, Ordering::Relaxed) {
            return self.collect_garbage();
        }
        Ok(0)
    }

    /// What [`collect_garbage`](Self::collect_garbage) would remove now.
    pub(super) fn garbage(&self) -> Result<Garbage> {
        let leased = self.leases.lock();
        Ok(self.unreached(&leased)?.unwrap_or_default())
    }

    /// What neither an entry nor a lease reaches; `None`: nobody knows.
    fn unreached(&self, leased: &Table) -> Result<Option<Garbage>> {
        let mut reached: HashSet<Digest> = HashSet::new();
        for entry in self.entries.all().iter() {
            if let Err(error) = self.reach(&entry.target, &mut reached) {
                // Nobody knows what it needs: nothing is garbage until it is removed.
                let image = entry.target.digest.as_str();
                tracing::warn!(image, %error, "keeping everything because of a damaged image");
                return Ok(None);
            }
        }
        let is_garbage =
            |digest: &Digest| !reached.contains(digest) && !leased.contains_key(digest);
        let is_spared = |digest: &Digest| !reached.contains(digest) && leased.contains_key(digest);
        let mut blobs = self.blobs.list()?;
        let mut layers = self.layers.all();
        let spares = blobs.iter().any(is_spared) || layers.iter().any(|one| is_spared(one.id()));
        blobs.retain(is_garbage);
        layers.retain(|layer| is_garbage(layer.id()));
        Ok(Some(Garbage {
            blobs,
            layers,
            spares,
        }))
    }
}

fn same_repository(entry: &Entry, reference: &Reference) -> bool {
    entry
        .name
        .as_ref()
        .is_some_and(|name| name.repository() == reference.repository())
}

/// The first twelve digits of a container's id.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
