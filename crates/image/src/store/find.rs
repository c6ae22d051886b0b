//! From a name or an id to an image.

use std::collections::BTreeSet;

use hull_oci::{Descriptor, Digest, Platform, Reference};

use super::entries::Entry;
use super::tree::Member;
use super::{Image, Store};
use crate::error::{Error, Result};

/// Shorter texts are never ids (Docker's rule).
const PREFIX_LENGTH_MIN: usize = 4;

/// What a name or an id stands for.
pub(super) struct Target {
    pub(super) descriptor: Descriptor,
    /// All entries of the image, at least one.
    pub(super) entries: Vec<Entry>,
    /// The name it was found by; `None`: an id.
    pub(super) name: Option<Reference>,
}

impl Target {
    pub(super) fn id(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// Names with tags, as people write them.
    pub(super) fn repo_tags(&self) -> Vec<String> {
        repo_tags(&self.entries)
    }

    /// Names with digests, as people write them.
    pub(super) fn repo_digests(&self) -> Vec<String> {
        repo_digests(&self.entries)
    }
}

impl Store {
    /// The image by this name (`busybox`, `busybox:1`, `busybox@sha256:…`), id, or beginning of
    /// an id, for `platform` (default: the best for this host), its layers unpacked.
    pub fn resolve(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let target = self.find(name)?;
        let member = self.choose(name, &target, platform)?;
        let lease = self.lease();
        self.used.touch(target.id());
        self.image(&lease, &target, &member)
    }

    /// The id of the image by this name or id; nothing is unpacked.
    pub fn id(&self, name: &str) -> Result<Digest> {
        Ok(self.find(name)?.descriptor.digest)
    }

    /// Whether an image with this id is in the list. What was protected before this look, and is of it, stays.
    pub(super) fn has_entry(&self, id: &Digest) -> bool {
        let entries = self.entries.all();
        entries.iter().any(|entry| entry.target.digest == *id)
    }

    /// What the name points at: to push it, or to see what it is.
    pub fn descriptor(&self, name: &str) -> Result<Descriptor> {
        Ok(self.find(name)?.descriptor)
    }

    pub(super) fn find(&self, text: &str) -> Result<Target> {
        let entries = self.entries.all();
        if let Some(digest) = parse_id(text) {
            let target = target_of(&entries, &digest, None);
            return target.ok_or_else(|| Error::NoSuchImage(text.to_owned()));
        }
        let reference = match text.parse::<Reference>() {
            Ok(reference) => reference.or_latest().exact(),
            // `sha256:12ab` is the beginning of an id and no valid tag's name.
            Err(error) => return by_prefix(&entries, text)?.ok_or_else(|| error.into()),
        };
        if let Some(digest) = by_name(&entries, &reference) {
            let target = target_of(&entries, &digest, Some(reference.clone()));
            return target.ok_or_else(|| Error::NoSuchImage(reference.familiar()));
        }
        by_prefix(&entries, text)?.ok_or_else(|| Error::NoSuchImage(reference.familiar()))
    }

    /// The image's manifest for the platform whose content is here.
    pub(super) fn choose(
        &self,
        name: &str,
        target: &Target,
        platform: Option<&Platform>,
    ) -> Result<Member> {
        self.choose_from(name, &target.descriptor, platform)
    }

    /// As [`choose`](Self::choose), for looking only: without a platform, any member that is here
    /// will do.
    pub(super) fn choose_to_show(
        &self,
        name: &str,
        target: &Target,
        platform: Option<&Platform>,
    ) -> Result<Member> {
        match self.choose(name, target, platform) {
            Err(error @ Error::NoSuchPlatform { .. }) if platform.is_none() => {
                let members = self.members(&target.descriptor)?;
                members
                    .into_iter()
                    .find(|member| member.is_image() && member.config.is_some())
                    .ok_or(error)
            }
            chosen => chosen,
        }
    }

    /// As [`choose`](Self::choose), for an image that has no entry yet.
    pub(super) fn choose_from(
        &self,
        name: &str,
        target: &Descriptor,
        platform: Option<&Platform>,
    ) -> Result<Member> {
        let host = Platform::host();
        let wanted = platform.unwrap_or(&host);
        let members = self.members(target)?;
        let sole = members.len() == 1 && platform.is_none();
        let rank = |member: &Member| -> Option<usize> {
            member.config.as_ref()?;
            match (platform, member.platform()?) {
                (Some(wanted), has) => wanted.matches(&has).then_some(0),
                (None, has) => wanted.rank(&has).or(sole.then_some(usize::MAX)),
            }
        };
        let candidates = members.into_iter().filter(Member::is_image);
        candidates
            .filter_map(|member| rank(&member).map(|rank| (rank, member)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, member)| member)
            .ok_or_else(|| Error::NoSuchPlatform {
                reference: name.to_owned(),
                platform: Box::new(wanted.clone()),
            })
    }

    fn image(&self, lease: &super::Lease, target: &Target, member: &Member) -> Result<Image> {
        let (Some(manifest), Some(config)) = (&member.manifest, &member.config) else {
            return Err(Error::NoSuchImage(target.id().to_string()));
        };
        let mut layers = self.ensure_unpacked(lease, manifest, config, &mut |_| {})?;
        layers.reverse();
        Ok(Image {
            id: target.id().clone(),
            manifest: member.descriptor.digest.clone(),
            config_digest: manifest.config.digest.clone(),
            config: config.clone(),
            platform: member.platform().unwrap_or_else(|| config.platform()),
            layers,
            repo_tags: target.repo_tags(),
            repo_digests: target.repo_digests(),
            size: self.size(&target.descriptor)?.total(),
            created: created(config),
        })
    }
}

/// When the image was made, if it says so.
pub(super) fn created(config: &hull_oci::ImageConfig) -> Option<jiff::Timestamp> {
    config.created.as_deref()?.parse().ok()
}

/// Names with tags, as people write them, sorted.
pub(super) fn repo_tags(entries: &[Entry]) -> Vec<String> {
    let named = entries.iter().filter_map(|entry| entry.name.as_ref());
    let tagged = named.filter(|name| name.tag().is_some());
    tagged
        .map(Reference::familiar)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Names with digests, as people write them, sorted.
pub(super) fn repo_digests(entries: &[Entry]) -> Vec<String> {
    let with_digest = |entry: &Entry| {
        let name = entry.name.clone()?;
        Some(name.with_digest(entry.target.digest.clone()).familiar())
    };
    entries
        .iter()
        .filter_map(with_digest)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn parse_id(text: &str) -> Option<Digest> {
    text.parse().ok().or_else(|| Digest::from_hex(text).ok())
}

fn target_of(entries: &[Entry], digest: &Digest, name: Option<Reference>) -> Option<Target> {
    let same = |entry: &&Entry| entry.target.digest == *digest;
    let entries: Vec<Entry> = entries.iter().filter(same).cloned().collect();
    let descriptor = entries.first()?.target.clone();
    Some(Target {
        descriptor,
        entries,
        name,
    })
}

fn by_name(entries: &[Entry], reference: &Reference) -> Option<Digest> {
    let target = |entry: &Entry| entry.target.digest.clone();
    let exact = entries.iter().find(|entry| entry.is_named(reference));
    if let Some(entry) = exact {
        return Some(target(entry));
    }
    let digest = reference.digest()?;
    let same_repository =
        |name: &Reference| name.domain() == reference.domain() && name.path() == reference.path();
    let found = entries.iter().find(|entry| {
        entry.target.digest == *digest && entry.name.as_ref().is_some_and(same_repository)
    });
    found.map(target)
}

fn by_prefix(entries: &[Entry], text: &str) -> Result<Option<Target>> {
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if prefix.len() < PREFIX_LENGTH_MIN || !prefix.bytes().all(is_hex) {
        return Ok(None);
    }
    let ids: BTreeSet<&Digest> = entries
        .iter()
        .map(|entry| &entry.target.digest)
        .filter(|digest| digest.hex().starts_with(prefix))
        .collect();
    match ids.len() {
        0 => Ok(None),
        1 => Ok(ids.first().and_then(|id| target_of(entries, id, None))),
        _ => Err(Error::AmbiguousPrefix(prefix.to_owned())),
    }
}
