//! All images, as `docker images` shows them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hull_oci::{Descriptor, Digest};
use jiff::Timestamp;

use super::entries::Entry;
use super::find::{created, repo_digests, repo_tags};
use super::inspect::ManifestDetails;
use super::{Store, blobs};
use crate::error::{Error, Result};
use crate::glob;

/// Which images to list. Empty: all. Different members must all hold, of one member's values any
/// (of labels: all).
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Without a name, or with one.
    pub dangling: Option<bool>,
    /// `name` or `name=value`, each must be there.
    pub labels: Vec<String>,
    /// `name` or `name=value`, none may be there.
    pub labels_absent: Vec<String>,
    /// Patterns of names, as `*:latest`.
    pub references: Vec<String>,
    /// Made before one of these images.
    pub before: Vec<String>,
    /// Made after one of these images.
    pub since: Vec<String>,
    /// Made before this time.
    pub until: Option<Timestamp>,
    /// Tell of each image's members too.
    pub with_manifests: bool,
}

/// One image in a list.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The digest of the index or manifest: Docker's image id.
    pub id: Digest,
    /// What the names point at.
    pub descriptor: Descriptor,
    /// The image it was committed from.
    pub parent: Option<Digest>,
    /// Names with tags, as people write them.
    pub repo_tags: Vec<String>,
    /// Names with digests, as people write them.
    pub repo_digests: Vec<String>,
    /// Unix seconds; 0: unknown.
    pub created: i64,
    /// Bytes of blobs and unpacked layers.
    pub size: u64,
    /// Bytes of `size` that other images share.
    pub shared_size: u64,
    /// The configuration's labels.
    pub labels: BTreeMap<String, String>,
    /// When it was last used or given a name.
    pub last_used: Option<Timestamp>,
    /// All members: the platforms, and attestations. Empty unless they were asked for.
    pub manifests: Vec<ManifestDetails>,
}

/// The images, as they were when they were last listed: as long as nothing changed, so they are.
#[derive(Default)]
pub(super) struct Listed(Mutex<Option<(State, Arc<Vec<Listing>>)>>);

/// What a list depends on.
pub(super) struct State {
    entries: Arc<Vec<Entry>>,
    blobs: blobs::Moment,
    layers: u64,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        // A changed list of names is another one.
        Arc::ptr_eq(&self.entries, &other.entries)
            && self.blobs == other.blobs
            && self.layers == other.layers
    }
}

/// An image, and when it was last given a name.
struct Listing {
    image: Summary,
    tagged: Option<Timestamp>,
    /// Everything of it could be read.
    is_whole: bool,
}

impl Store {
    /// How many images there are.
    pub fn count(&self) -> usize {
        let entries = self.entries.all();
        let images: HashSet<_> = entries.iter().map(|entry| &entry.target.digest).collect();
        images.len()
    }

    /// The images that pass the filter, the youngest first.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<Summary>> {
        let filter = self.prepare(filter)?;
        let all = self.listed();
        let passing = all.iter().filter(|listing| filter.passes(&listing.image));
        let told = passing.map(|Listing { image, tagged, .. }| {
            let mut image = image.clone();
            image.last_used = self.last_used(&image.id, *tagged);
            if filter.filter.with_manifests {
                image.manifests = self.manifests(&image.descriptor).unwrap_or_default();
            }
            image
        });
        Ok(told.collect())
    }

    /// All images, made anew only if something changed: names, blobs or layers.
    fn listed(&self) -> Arc<Vec<Listing>> {
        let state = self.state();
        let mut known = self.listed.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, all)) = &*known
            && state.as_ref() == Some(before)
        {
            return Arc::clone(all);
        }
        let entries = state.as_ref().map(|state| Arc::clone(&state.entries));
        let entries = entries.unwrap_or_else(|| self.entries.all());
        let all = Arc::new(self.summaries(&entries));
        // What could not be read now may be readable the next time.
        let state = state.filter(|_| all.iter().all(|listing| listing.is_whole));
        *known = state.map(|state| (state, Arc::clone(&all)));
        all
    }

    /// What there is now, to be compared with what there was. `None`: it changes.
    pub(super) fn state(&self) -> Option<State> {
        let blobs = self.blobs.moment()?;
        Some(State {
            entries: self.entries.all(),
            blobs,
            layers: self.layers.changes(),
        })
    }

    fn summaries(&self, entries: &[Entry]) -> Vec<Listing> {
        let mut groups: BTreeMap<&Digest, Vec<Entry>> = BTreeMap::new();
        for entry in entries.iter() {
            groups
                .entry(&entry.target.digest)
                .or_default()
                .push(entry.clone());
        }
        let mut counts: HashMap<Digest, usize> = HashMap::new();
        let mut reaches = Vec::new();
        for group in groups.values() {
            let mut reached = HashSet::new();
            if let Err(error) = self.reach(&group[0].target, &mut reached) {
                let image = group[0].target.digest.as_str();
                tracing::warn!(image, %error, "an image is damaged");
            }
            reached
                .iter()
                .for_each(|digest| *counts.entry(digest.clone()).or_insert(0) += 1);
            reaches.push(reached);
        }
        let groups = groups.into_values().zip(reaches);
        let listings = groups.map(|(group, reached)| Listing {
            image: self.summary(&group, &reached, &counts),
            tagged: group.iter().filter_map(|entry| entry.tagged).max(),
            is_whole: self.members(&group[0].target).is_ok(),
        });
        let mut list: Vec<_> = listings.collect();
        list.sort_by(|one, two| {
            let key = |it: &Listing| (it.image.created, it.image.id.clone());
            key(two).cmp(&key(one))
        });
        list
    }

    fn summary(
        &self,
        group: &[Entry],
        reached: &HashSet<Digest>,
        counts: &HashMap<Digest, usize>,
    ) -> Summary {
        let descriptor = group[0].target.clone();
        let (mut size, mut shared_size) = (0, 0);
        for digest in reached {
            let unpacked = self
                .layers
                .exactly(digest)
                .map_or(0, |layer| layer.record.bytes);
            let bytes = self.blobs.size(digest).unwrap_or(0) + unpacked;
            size += bytes;
            if counts.get(digest).is_some_and(|count| *count > 1) {
                shared_size += bytes;
            }
        }
        let host = hull_oci::Platform::host();
        // A damaged image is listed with what is known of it, so that it can be removed.
        let members = self.members(&descriptor).unwrap_or_default();
        let config = members
            .iter()
            .filter(|member| member.is_image() && member.config.is_some())
            .min_by_key(|member| {
                member
                    .platform()
                    .and_then(|has| host.rank(&has))
                    .unwrap_or(usize::MAX)
            })
            .and_then(|member| member.config.clone());
        let created = config
            .as_deref()
            .and_then(created)
            .map_or(0, Timestamp::as_second);
        Summary {
            id: descriptor.digest.clone(),
            parent: group.iter().find_map(|entry| entry.parent.clone()),
            repo_tags: repo_tags(group),
            repo_digests: repo_digests(group),
            created,
            size,
            shared_size,
            labels: config
                .map(|config| config.config.labels.clone())
                .unwrap_or_default(),
            last_used: None,
            manifests: Vec::new(),
            descriptor,
        }
    }

    /// Looks up the images the filter names.
    fn prepare(&self, filter: &ListFilter) -> Result<Prepared> {
        let time = |name: &String| -> Result<i64> {
            let config = self.inspect(name, None)?.config;
            Ok(created(&config).map_or(0, Timestamp::as_second))
        };
        let times = |names: &[String]| names.iter().map(time).collect::<Result<Vec<i64>>>();
        for pattern in &filter.references {
            if glob::matches(pattern, "").is_none() {
                return Err(Error::Invalid(format!(
                    "invalid reference filter {pattern:?}: syntax error in pattern"
                )));
            }
        }
        Ok(Prepared {
            before: times(&filter.before)?.into_iter().max(),
            since: times(&filter.since)?.into_iter().min(),
            filter: filter.clone(),
        })
    }
}

/// A filter whose images are times.
struct Prepared {
    filter: ListFilter,
    before: Option<i64>,
    since: Option<i64>,
}

impl Prepared {
    fn passes(&self, image: &Summary) -> bool {
        let filter = &self.filter;
        let is_dangling = image.repo_tags.is_empty() && image.repo_digests.is_empty();
        filter.dangling.is_none_or(|wanted| wanted == is_dangling)
            && filter
                .labels
                .iter()
                .all(|label| has_label(&image.labels, label))
            && !filter
                .labels_absent
                .iter()
                .any(|label| has_label(&image.labels, label))
            && (filter.references.is_empty() || self.has_reference(image))
            && self.before.is_none_or(|time| image.created < time)
            && self.since.is_none_or(|time| image.created > time)
            && filter
                .until
                .is_none_or(|time| image.created < time.as_second())
    }

    fn has_reference(&self, image: &Summary) -> bool {
        let names = image.repo_tags.iter().chain(&image.repo_digests);
        names.into_iter().any(|name| {
            let bare = name.split('@').next().unwrap_or(name);
            let repository = match bare.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => repository,
                _ => bare,
            };
            self.filter.references.iter().any(|pattern| {
                glob::matches(pattern, name) == Some(true)
                    || glob::matches(pattern, repository) == Some(true)
            })
        })
    }
}

/// Whether there is a label `wanted` (`name` or `name=value`).
pub(super) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|has| has == value),
        None => labels.contains_key(wanted),
    }
}
