//! Gives names to images.

use std::collections::HashSet;

use hull_oci::{Descriptor, Digest, Reference};
use jiff::Timestamp;

use super::Store;
use super::entries::{Entry, strip};
use crate::error::{Error, Result};

/// A digest promises which image it is: no name may give it to another one. The words are Docker's.
pub(super) const DIGEST_REFERENCE: &str = "refusing to create a tag with a digest reference";

impl Store {
    /// Gives the image `name` another name. An image that loses its last name by this stays,
    /// dangling.
    pub fn tag(&self, name: &str, new: &Reference) -> Result<Digest> {
        if new.digest().is_some() {
            return Err(Error::Invalid(DIGEST_REFERENCE.to_owned()));
        }
        let target = self.find(name)?.descriptor;
        let id = target.digest.clone();
        self.name_again(name, target, new.clone().or_latest())?;
        Ok(id)
    }

    /// Names an image that was found as `shown`, and may have gone since: nothing protects it.
    fn name_again(&self, shown: &str, target: Descriptor, new: Reference) -> Result<()> {
        self.entries.update(|entries| {
            let is_here = |entry: &Entry| entry.target.digest == target.digest;
            if !entries.iter().any(is_here) {
                return Err(Error::NoSuchImage(shown.to_owned()));
            }
            set_name(entries, new, target, None);
            Ok(())
        })
    }

    /// What exactly this name points at, if it is known.
    pub fn named(&self, name: &Reference) -> Option<Descriptor> {
        let name = name.clone().or_latest().exact();
        let entries = self.entries.all();
        let entry = entries.iter().find(|entry| entry.is_named(&name));
        entry.map(|entry| entry.target.clone())
    }

    /// The names that have a tag in this repository.
    pub fn tags_in(&self, repository: &Reference) -> Vec<Reference> {
        let entries = self.entries.all();
        let names = entries.iter().filter_map(|entry| entry.name.clone());
        names
            .filter(|name| name.tag().is_some() && name.repository() == repository.repository())
            .collect()
    }

    /// What images named for repositories of this registry hold: the path of each repository, and
    /// the digests. From there a push can have blobs mounted.
    pub fn held_for(&self, domain: &str) -> Vec<(String, HashSet<Digest>)> {
        let mut held = std::collections::BTreeMap::<String, HashSet<Digest>>::new();
        for entry in self.entries.all().iter() {
            let own = entry.name.iter().chain(entry.list.iter().flatten());
            for name in own.filter(|name| name.domain() == domain) {
                let reached = held.entry(name.path().to_owned()).or_default();
                // A damaged image is no source, and no reason to fail.
                let _ = self.reach(&entry.target, reached);
            }
        }
        held.into_iter().collect()
    }

    /// Lets a name point at an image that was just brought in. Its blobs must be complete, and
    /// leased until this returns.
    pub fn set_name(&self, name: &Reference, target: Descriptor) -> Result<()> {
        self.publish(Some(name), target, None)
    }

    /// Keeps an image that was just brought in without any name. Its blobs must be complete, and
    /// leased until this returns.
    pub fn keep_unnamed(&self, target: Descriptor) -> Result<()> {
        self.publish(None, target, None)
    }

    /// As [`set_name`](Self::set_name) or [`keep_unnamed`](Self::keep_unnamed), for an image made
    /// from another one (`parent`).
    pub fn publish(
        &self,
        name: Option<&Reference>,
        mut target: Descriptor,
        parent: Option<Digest>,
    ) -> Result<()> {
        strip(&mut target);
        let name = name.map(|name| name.clone().or_latest().exact());
        if let Some(digest) = name.as_ref().and_then(Reference::digest)
            && *digest != target.digest
        {
            return Err(Error::Invalid(DIGEST_REFERENCE.to_owned()));
        }
        // What the entry reaches must outlive a power cut if the entry does.
        self.settle(&target)?;
        self.entries.update(|entries| {
            match name {
                Some(name) => set_name(entries, name, target, parent),
                None => keep(
                    entries,
                    Entry {
                        parent,
                        ..Entry::new(target, None)
                    },
                ),
            }
            Ok(())
        })
    }
}

impl Store {
    /// All blobs that an image consists of reach the disk.
    pub(super) fn settle(&self, target: &Descriptor) -> Result<()> {
        let mut reached = HashSet::new();
        self.reach(target, &mut reached)?;
        self.blobs.sync(&reached)
    }
}

fn set_name(entries: &mut Vec<Entry>, name: Reference, target: Descriptor, parent: Option<Digest>) {
    // The parent belongs to the image, not to the name.
    let known = entries
        .iter()
        .find(|entry| entry.target.digest == target.digest);
    let parent = parent.or_else(|| known.and_then(|entry| entry.parent.clone()));
    let list = known.and_then(|entry| entry.list.clone());
    // A dangling entry has served its purpose once the image has a name.
    entries.retain(|entry| entry.name.is_some() || entry.target.digest != target.digest);
    let moved = entries
        .iter()
        .position(|entry| entry.name.as_ref() == Some(&name));
    let new = Entry {
        parent,
        list,
        ..Entry::new(target, Some(name))
    };
    match moved {
        Some(at) => {
            let old = std::mem::replace(&mut entries[at], new);
            keep(
                entries,
                Entry {
                    name: None,
                    tagged: Some(Timestamp::now()),
                    ..old
                },
            );
        }
        None => entries.push(new),
    }
}

/// Adds a dangling entry, unless the image has one entry or another.
pub(super) fn keep(entries: &mut Vec<Entry>, dangling: Entry) {
    if !entries
        .iter()
        .any(|entry| entry.target.digest == dangling.target.digest)
    {
        entries.push(dangling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_has_gone_gets_no_further_name() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("image")).unwrap();
        let lease = store.lease();
        let target = store.put_index(&lease, Vec::new()).unwrap();
        store.keep_unnamed(target.clone()).unwrap();
        let new: Reference = "app:1".parse().unwrap();
        // It was found, and then somebody else removed it.
        let removal = crate::store::Removal {
            force: false,
            users: &|_| Vec::new(),
        };
        store.remove(target.digest.as_str(), &removal).unwrap();
        let again = store.name_again("app", target.clone(), new.clone());
        assert!(matches!(again, Err(Error::NoSuchImage(_))), "{again:?}");
        assert_eq!(store.named(&new), None);
        store.keep_unnamed(target.clone()).unwrap();
        store.name_again("app", target, new.clone()).unwrap();
        assert!(store.named(&new).is_some());
    }
}
