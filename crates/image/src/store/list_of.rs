//! Lists of manifests made of images that are here: one name for several platforms.

use std::collections::HashSet;

use hull_oci::{Descriptor, Digest, Index, Platform, Reference, media_type};

use super::entries::Entry;
use super::find::Target;
use super::remove::User;
use super::tag::{DIGEST_REFERENCE, keep};
use super::{Lease, Store};
use crate::error::{Error, Result};

/// What a list is made of.
#[derive(Debug, Clone)]
pub enum ListMember {
    /// An image that is here, by its name.
    Here(String),
    /// Manifests that are in a registry's repository alone.
    Elsewhere {
        /// Which.
        repository: Reference,
        /// With their platforms.
        manifests: Vec<Descriptor>,
    },
}

/// Which containers use the image with an id. They know their image by that: it stays, without a
/// name, when a list gets another id.
pub type Users<'a> = &'a dyn Fn(&Digest) -> Vec<User>;

/// What an annotation changes of a member's platform; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct PlatformChange {
    /// `linux` …
    pub os: Option<String>,
    /// `arm64` …
    pub architecture: Option<String>,
    /// `v7` …
    pub variant: Option<String>,
    /// A version of Windows, as a rule.
    pub os_version: Option<String>,
    /// All of them, in place of those there were.
    pub os_features: Option<Vec<String>>,
}

impl Store {
    /// Makes an index of these images, of all their platforms (that are here, of those that are
    /// here). A name that is taken needs `amend`: the members are added then. The index's digest.
    pub fn create_list(
        &self,
        name: &Reference,
        members: &[ListMember],
        amend: bool,
        users: Users<'_>,
    ) -> Result<Digest> {
        let lease = self.lease();
        if name.digest().is_some() {
            return Err(Error::Invalid(DIGEST_REFERENCE.to_owned()));
        }
        let name = name.clone().or_latest();
        let mut manifests = match self.find(&name.familiar()) {
            Ok(_) if !amend => {
                return Err(Error::Conflict(format!(
                    "{} exists: amend it with --amend, or choose another name",
                    name.familiar()
                )));
            }
            Ok(target) => self.list_at(&target)?.manifests,
            Err(Error::NoSuchImage(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut sources = Vec::new();
        for member in members {
            let found = match member {
                ListMember::Here(member) => self.protected_here(&lease, member)?,
                ListMember::Elsewhere {
                    repository,
                    manifests,
                } => {
                    sources.push(repository.clone().without_suffix());
                    manifests.clone()
                }
            };
            for descriptor in found {
                lease.protect(&descriptor.digest);
                manifests.retain(|known| known.digest != descriptor.digest);
                manifests.push(descriptor);
            }
        }
        let target = self.put_index(&lease, manifests)?;
        let digest = target.digest.clone();
        self.point_at(&name, target, Some(sources), users)?;
        Ok(digest)
    }

    /// Takes a list away that was made here; its members stay.
    pub fn remove_list(&self, name: &str, users: Users<'_>) -> Result<()> {
        let no_list = || Error::NoSuchList(name.to_owned());
        let target = self.find(name).map_err(|error| match error {
            Error::NoSuchImage(_) => no_list(),
            other => other,
        })?;
        let used = !users(target.id()).is_empty();
        let Some(reference) = target.name else {
            return Err(no_list());
        };
        self.entries.update(|entries| {
            let before = entries.len();
            entries.retain(|entry| entry.name.as_ref() != Some(&reference) || entry.list.is_none());
            if entries.len() == before {
                return Err(no_list());
            }
            if used {
                keep(entries, Entry::new(target.descriptor.clone(), None));
            }
            Ok(())
        })?;
        self.collect_garbage()?;
        Ok(())
    }

    /// Changes what the list says of a member's platform: of the one whose manifest is among `own`.
    /// The index's new digest.
    pub fn annotate_list(
        &self,
        name: &str,
        member: &str,
        own: &[Digest],
        change: &PlatformChange,
        users: Users<'_>,
    ) -> Result<Digest> {
        let lease = self.lease();
        let target = self.find(name)?;
        let tagged = target.name.clone().filter(|name| name.digest().is_none());
        let Some(reference) = tagged else {
            let message = format!("{name} is an id or a digest: a list is changed under its name");
            return Err(Error::Invalid(message));
        };
        let mut index = self.list_at(&target)?;
        let mut found: Vec<&mut Descriptor> = index
            .manifests
            .iter_mut()
            .filter(|known| own.contains(&known.digest) && !known.is_attestation())
            .collect();
        let [descriptor] = &mut found[..] else {
            let count = found.len();
            return Err(Error::Invalid(format!(
                "{member} stands for {count} manifests of {name}: name exactly one"
            )));
        };
        change.apply(descriptor.platform.get_or_insert_with(Platform::host));
        let target = self.put_index(&lease, index.manifests)?;
        let digest = target.digest.clone();
        self.point_at(&reference, target, None, users)?;
        Ok(digest)
    }

    /// The manifests a name stands for.
    pub fn manifests_of(&self, name: &str) -> Result<Vec<Digest>> {
        let target = self.find(name)?;
        let members = self.members(&target.descriptor)?.into_iter();
        Ok(members.map(|member| member.descriptor.digest).collect())
    }

    /// The index or manifest a name points at, as it is.
    pub fn document_of(&self, name: &str) -> Result<(Descriptor, Vec<u8>)> {
        let target = self.find(name)?;
        let bytes = self.blobs.read(target.id())?;
        Ok((target.descriptor, bytes))
    }

    /// A manifest of a list, if it is here.
    pub fn member_document(&self, digest: &Digest) -> Result<Option<(Descriptor, Vec<u8>)>> {
        if !self.blobs.has(digest) {
            return Ok(None);
        }
        let bytes = self.blobs.read(digest)?;
        let Some(manifest) = self.manifest(digest)? else {
            return Ok(None);
        };
        let media_type = manifest.media_type.as_deref();
        let media_type = media_type.unwrap_or(media_type::MANIFEST);
        let size = bytes.len() as u64;
        Ok(Some((
            Descriptor::new(media_type, digest.clone(), size),
            bytes,
        )))
    }

    /// The repositories a list was made of.
    pub fn sources_of(&self, name: &Reference) -> Vec<Reference> {
        let name = name.clone().or_latest().exact();
        let entries = self.entries.all();
        let list = entries
            .iter()
            .find(|entry| entry.name.as_ref() == Some(&name));
        list.and_then(|entry| entry.list.clone())
            .unwrap_or_default()
    }

    /// Whether that is a list that was made here.
    pub fn is_made_list(&self, name: &Reference) -> bool {
        let name = name.clone().or_latest().exact();
        let entries = self.entries.all();
        let mut named = entries
            .iter()
            .filter(|entry| entry.name.as_ref() == Some(&name));
        named.any(|entry| entry.list.is_some())
    }

    fn list_at(&self, target: &Target) -> Result<Index> {
        if media_type::is_index(&target.descriptor.media_type)
            && let Some(index) = self.index(target.id())?
        {
            return Ok(Index::clone(&index));
        }
        Err(Error::Conflict(format!(
            "{} is an image for one platform, no list of manifests",
            target.id().short()
        )))
    }

    /// As [`manifests_here`](Self::manifests_here), kept from the collector with all they need.
    fn protected_here(&self, lease: &Lease, shown: &str) -> Result<Vec<Descriptor>> {
        loop {
            let target = self.find(shown)?;
            let found = self.manifests_here(shown, &target)?;
            let mut reached = HashSet::new();
            for descriptor in &found {
                self.reach(descriptor, &mut reached)?;
            }
            reached.iter().for_each(|digest| lease.protect(digest));
            // An image that was removed between the look and the lease may have lost something.
            if self.has_entry(target.id()) {
                return Ok(found);
            }
        }
    }

    /// Members whose content is here, with the statements about them.
    fn manifests_here(&self, shown: &str, target: &Target) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        for member in self.members(&target.descriptor)? {
            if member.manifest.is_none() {
                continue;
            }
            let platform = member.platform();
            let mut descriptor = member.descriptor;
            if descriptor.platform.is_none() {
                descriptor.platform = platform;
            }
            found.push(descriptor);
        }
        if found.is_empty() {
            return Err(Error::Invalid(format!(
                "nothing of {shown} is here: pull it first"
            )));
        }
        Ok(found)
    }

    /// Lets the name point at the new list. The old one is kept only for containers that use it.
    /// `made_of`: repositories that have members; `None`: those it was made of before.
    fn point_at(
        &self,
        name: &Reference,
        target: Descriptor,
        made_of: Option<Vec<Reference>>,
        users: Users<'_>,
    ) -> Result<()> {
        self.settle(&target)?;
        let old = self.named(name);
        let used = old.filter(|old| !users(&old.digest).is_empty());
        let mut is_known = false;
        self.entries.update(|entries| {
            for entry in entries
                .iter_mut()
                .filter(|entry| entry.name.as_ref() == Some(name))
            {
                entry.target = target.clone();
                if let Some(sources) = &made_of {
                    add(entry.list.get_or_insert_default(), sources);
                }
                is_known = true;
            }
            if !is_known {
                let mut entry = Entry::new(target, Some(name.clone()));
                if let Some(sources) = &made_of {
                    add(entry.list.get_or_insert_default(), sources);
                }
                entries.push(entry);
            }
            if let Some(old) = used {
                keep(entries, Entry::new(old, None));
            }
            Ok(())
        })?;
        self.collect_garbage()?;
        Ok(())
    }
}

fn add(known: &mut Vec<Reference>, more: &[Reference]) {
    for name in more {
        if !known.contains(name) {
            known.push(name.clone());
        }
    }
}

impl PlatformChange {
    fn apply(&self, platform: &mut Platform) {
        let set = |place: &mut String, value: &Option<String>| {
            if let Some(value) = value {
                place.clone_from(value);
            }
        };
        set(&mut platform.os, &self.os);
        set(&mut platform.architecture, &self.architecture);
        if self.variant.is_some() {
            platform.variant.clone_from(&self.variant);
        }
        if self.os_version.is_some() {
            platform.os_version.clone_from(&self.os_version);
        }
        if self.os_features.is_some() {
            platform.os_features.clone_from(&self.os_features);
        }
    }
}
