//! Single platforms of an image: taken away, or the only ones brought in.
//!
//! An image for several platforms is one index; which of its members are here is told by their
//! manifests' blobs alone. A member goes away with its manifest, and what only it needed becomes
//! garbage; the index, and with it the image's id, stays as it is.

use std::collections::HashSet;

use hull_oci::{Descriptor, Digest, Platform};

use super::remove::{Removed, User, short};
use super::tree::Member;
use super::{Lease, Store};
use crate::error::{Error, Result};

impl Store {
    /// Removes the image's members for these platforms, with the statements about them, and what
    /// only they needed. `users` tells which containers use the image.
    pub fn remove_platforms(
        &self,
        name: &str,
        platforms: &[Platform],
        users: &dyn Fn(&Digest) -> Vec<User>,
    ) -> Result<Vec<Removed>> {
        let target = self.find(name)?;
        let users = users(target.id());
        let members = self.members(&target.descriptor)?;
        let mut gone: Vec<Digest> = Vec::new();
        for platform in platforms {
            let member = self.choose(name, &target, Some(platform))?;
            let runs_on = member.platform();
            let is_used = |user: &&User| {
                let own: Option<Platform> = user.platform.parse().ok();
                own.is_none() || own.as_ref().map(Platform::normalized) == runs_on
            };
            if let Some(user) = users.iter().find(is_used) {
                return Err(Error::Conflict(format!(
                    "unable to delete {} (cannot be forced) - container {} is using the platform \
                     {platform} of it",
                    target.id().short(),
                    short(&user.container)
                )));
            }
            gone.push(member.descriptor.digest.clone());
            let about = statements_about(&members, &member.descriptor.digest);
            gone.extend(about.map(|member| member.descriptor.digest.clone()));
        }
        let removed = self.remove_manifests(name, &target.descriptor, gone)?;
        self.collect_garbage()?;
        Ok(removed)
    }

    /// All of them or none: not one that another image needs, or whoever pulls or pushes now.
    fn remove_manifests(
        &self,
        name: &str,
        target: &Descriptor,
        gone: Vec<Digest>,
    ) -> Result<Vec<Removed>> {
        // Held to the end: who protects a manifest later finds that it is not here.
        let leased = self.leases.lock();
        let elsewhere = self.reached_by_others(target)?;
        for digest in &gone {
            let why = if elsewhere.contains(digest) {
                "another image needs it"
            } else if leased.contains_key(digest) {
                "it is pulled or pushed at this moment"
            } else {
                continue;
            };
            return Err(Error::Conflict(format!(
                "unable to delete the manifest {} of {name}: {why}",
                digest.short()
            )));
        }
        let mut removed = Vec::new();
        for digest in gone {
            self.trees.forget(&digest);
            self.blobs.remove(&digest)?;
            removed.push(Removed::Deleted(digest.to_string()));
        }
        Ok(removed)
    }

    /// Of an image that is brought in, keeps only the members for these platforms; all of them must
    /// be there. Only manifests in `fresh` are dropped: others were here before. Nor are those that somebody
    /// else than `lease` protects: a pull took them for what is here.
    pub(super) fn keep_platforms(
        &self,
        lease: &Lease,
        shown: &str,
        target: &Descriptor,
        platforms: &[Platform],
        fresh: &HashSet<Digest>,
    ) -> Result<()> {
        let mut kept: HashSet<Digest> = HashSet::new();
        let members = self.members(target)?;
        for platform in platforms {
            let member = self.choose_from(shown, target, Some(platform))?;
            let about = statements_about(&members, &member.descriptor.digest);
            kept.extend(about.map(|member| member.descriptor.digest.clone()));
            kept.insert(member.descriptor.digest);
        }
        let leased = self.leases.lock();
        for member in members {
            let digest = &member.descriptor.digest;
            let is_ours = leased.get(digest).copied().unwrap_or(0) <= lease.count(digest);
            let goes = is_ours && fresh.contains(digest) && !kept.contains(digest);
            if member.manifest.is_some() && goes {
                self.trees.forget(digest);
                self.blobs.remove(digest)?;
            }
        }
        Ok(())
    }

    /// The image's members for these platforms, with the statements about them: what an archive of
    /// them holds.
    pub(super) fn members_for(
        &self,
        shown: &str,
        target: &Descriptor,
        platforms: &[Platform],
    ) -> Result<Vec<Descriptor>> {
        let members = self.members(target)?;
        let mut chosen: Vec<Descriptor> = Vec::new();
        for platform in platforms {
            let member = self.choose_from(shown, target, Some(platform))?;
            let about = statements_about(&members, &member.descriptor.digest);
            chosen.extend(about.map(|member| member.descriptor.clone()));
            chosen.push(member.descriptor);
        }
        Ok(chosen)
    }

    fn reached_by_others(&self, target: &Descriptor) -> Result<HashSet<Digest>> {
        let mut reached = HashSet::new();
        for entry in self.entries.all().iter() {
            if entry.target.digest != target.digest {
                self.reach(&entry.target, &mut reached)?;
            }
        }
        Ok(reached)
    }
}

/// The members that state something about the member with this manifest.
pub(super) fn statements_about<'a>(
    members: &'a [Member],
    manifest: &'a Digest,
) -> impl Iterator<Item = &'a Member> {
    members
        .iter()
        .filter(move |member| member.about().as_ref() == Some(manifest))
}
