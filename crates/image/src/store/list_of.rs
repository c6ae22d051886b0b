//! Lists of manifests made of images that are here: one name for several platforms.

use hull_oci::{Descriptor, Digest, Index, Platform, Reference, media_type};

use super::Store;
use super::find::Target;
use crate::error::{Error, Result};

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
    /// Makes an index of the images by these names, of all their platforms that are here. A name
    /// that is taken needs `amend`: the members are added then. The index's digest.
    pub fn create_list(&self, name: &Reference, members: &[String], amend: bool) -> Result<Digest> {
        let lease = self.lease();
        let name = name.clone().or_latest().exact();
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
        for member in members {
            let target = self.find(member)?;
            for descriptor in self.manifests_here(member, &target)? {
                lease.protect(&descriptor.digest);
                manifests.retain(|known| known.digest != descriptor.digest);
                manifests.push(descriptor);
            }
        }
        let target = self.put_index(&lease, manifests)?;
        let digest = target.digest.clone();
        self.point_at(&name, target)?;
        Ok(digest)
    }

    /// Changes what the list says of a member's platform. The index's new digest.
    pub fn annotate_list(
        &self,
        name: &str,
        member: &str,
        change: &PlatformChange,
    ) -> Result<Digest> {
        let lease = self.lease();
        let target = self.find(name)?;
        let Some(reference) = target.name.clone() else {
            return Err(Error::Invalid(format!("{name} is an id: lists are named")));
        };
        let mut index = self.list_at(&target)?;
        let wanted = self.find(member)?;
        let own: Vec<Digest> = self
            .members(&wanted.descriptor)?
            .into_iter()
            .map(|member| member.descriptor.digest)
            .collect();
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
        self.point_at(&reference, target)?;
        Ok(digest)
    }

    /// The index or manifest a name points at, as it is.
    pub fn document_of(&self, name: &str) -> Result<(Descriptor, Vec<u8>)> {
        let target = self.find(name)?;
        let bytes = self.blobs.read(target.id())?;
        Ok((target.descriptor, bytes))
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

    /// Lets the name point at the new list. The old one is not kept: it was no image of its own.
    fn point_at(&self, name: &Reference, target: Descriptor) -> Result<()> {
        self.blobs.sync()?;
        let mut is_known = false;
        self.entries.update(|entries| {
            for entry in entries
                .iter_mut()
                .filter(|entry| entry.name.as_ref() == Some(name))
            {
                entry.target = target.clone();
                is_known = true;
            }
            Ok(())
        })?;
        if is_known {
            self.collect_garbage()?;
            return Ok(());
        }
        self.publish(Some(name), target, None)
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
