//! Manifests about other manifests: signatures, attestations, bills of materials.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use hull_oci::{Descriptor, Digest};

use super::{During, Result, Storage, list, remove};
use crate::server::name::RepositoryName;
use crate::wire::MANIFEST_BYTES_MAX;

/// What one answer holds: as much as clients take for an index, with room for its frame.
const PAGE_BYTES_MAX: usize = MANIFEST_BYTES_MAX - (64 << 10);

/// Which of those that are about something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Those whose digests come after this one.
    pub(crate) after: String,
    /// Those of one kind.
    pub(crate) artifact_type: Option<String>,
}

/// As many of them as one answer holds, in the order of their digests.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) found: Vec<Descriptor>,
    bytes: usize,
    /// There are others behind the last one.
    pub(crate) has_more: bool,
}

impl Wanted {
    fn has(&self, descriptor: &Descriptor) -> bool {
        let kind = self.artifact_type.as_ref();
        descriptor.digest.as_str() > self.after.as_str()
            && kind.is_none_or(|kind| descriptor.artifact_type.as_ref() == Some(kind))
    }
}

impl Page {
    /// False: it is full. One always goes in, however large.
    fn add(&mut self, descriptor: Descriptor) -> bool {
        let bytes = serde_json::to_vec(&descriptor).map_or(0, |text| text.len() + 1);
        self.has_more |= !self.found.is_empty() && self.bytes + bytes > PAGE_BYTES_MAX;
        if !self.has_more {
            self.bytes += bytes;
            self.found.push(descriptor);
        }
        !self.has_more
    }

    /// With all that somebody else knows.
    pub(crate) fn joined(self, others: Vec<Descriptor>, wanted: &Wanted) -> Self {
        let last = self.found.last().map(|last| last.digest.clone());
        let end = last.filter(|_| self.has_more);
        let others = others.into_iter().filter(|other| wanted.has(other));
        let all: BTreeMap<Digest, Descriptor> = self
            .found
            .into_iter()
            .chain(others)
            .map(|descriptor| (descriptor.digest.clone(), descriptor))
            .collect();
        let mut page = Self::default();
        for (digest, descriptor) in all {
            // Behind our last one lie some that nobody has looked at.
            if end.as_ref().is_some_and(|end| digest > *end) || !page.add(descriptor) {
                break;
            }
        }
        page.has_more |= end.is_some();
        page
    }
}

impl Storage {
    /// What is about `subject`.
    pub(crate) fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        wanted: &Wanted,
    ) -> Result<Page> {
        let mut paths = list(&self.referrers_path(name, subject))?;
        paths.sort();
        let is_after = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().as_ref() > wanted.after.as_str()
        };
        let mut page = Page::default();
        for path in paths.into_iter().filter(is_after) {
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                // Deleted meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).during(|| format!("read {}", path.display())),
            };
            if let Ok(descriptor) = serde_json::from_slice::<Descriptor>(&bytes)
                && wanted.has(&descriptor)
                && !page.add(descriptor)
            {
                break;
            }
        }
        Ok(page)
    }

    pub(super) fn add_referrer(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        about: &Descriptor,
    ) -> Result<()> {
        let path = self
            .referrers_path(name, subject)
            .join(about.digest.as_str());
        let text = serde_json::to_vec(about).map_err(std::io::Error::from);
        self.update_file(&path, &text.during(|| format!("write {}", path.display()))?)
    }

    pub(super) fn remove_referrer(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        digest: &Digest,
    ) -> Result<()> {
        remove(&self.referrers_path(name, subject).join(digest.as_str())).map(drop)
    }

    fn referrers_path(&self, name: &RepositoryName, subject: &Digest) -> PathBuf {
        self.repository(name)
            .join("_referrers")
            .join(subject.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(number: usize, bytes: usize) -> Descriptor {
        let mut descriptor = Descriptor::of("a/b", number.to_string().as_bytes());
        descriptor.artifact_type = Some(format!("kind/{}", number % 2));
        let annotation = ("note".to_owned(), "x".repeat(bytes));
        descriptor.annotations = [annotation].into();
        descriptor
    }

    /// The digests on each page.
    fn pages(page: impl Fn(&Wanted) -> Page, artifact_type: Option<&str>) -> Vec<Vec<Digest>> {
        let mut wanted = Wanted {
            artifact_type: artifact_type.map(str::to_owned),
            ..Wanted::default()
        };
        let mut pages = Vec::new();
        loop {
            let page = page(&wanted);
            let found: Vec<Digest> = page.found.into_iter().map(|one| one.digest).collect();
            wanted.after = found.last().map(Digest::to_string).unwrap_or_default();
            pages.push(found);
            if !page.has_more {
                return pages;
            }
        }
    }

    #[test]
    fn a_long_list_comes_in_pages() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::open(directory.path(), 0).unwrap();
        let name = RepositoryName::parse("app").unwrap();
        let subject = Digest::of(b"subject");
        let mut expected = Vec::new();
        for number in 0..12 {
            let about = about(number, 1 << 20);
            storage.add_referrer(&name, &subject, &about).unwrap();
            expected.push(about);
        }
        expected.sort_by(|one, two| one.digest.cmp(&two.digest));
        let all: Vec<Digest> = expected.iter().map(|one| one.digest.clone()).collect();
        let here = |wanted: &Wanted| storage.referrers(&name, &subject, wanted).unwrap();
        let found = pages(here, None);
        assert_eq!((found.len(), found.concat()), (4, all.clone()));
        assert_eq!(pages(here, Some("kind/1")).concat().len(), 6);
        assert_eq!(pages(here, Some("kind/2")), [[]]);
        // What another registry knows comes between, some of it twice.
        let mut others: Vec<Descriptor> = (6..30).map(|number| about(number, 1 << 19)).collect();
        let mut both: Vec<Digest> = others.iter().map(|one| one.digest.clone()).collect();
        both.extend(all);
        both.sort();
        both.dedup();
        let joined = |wanted: &Wanted| here(wanted).joined(others.clone(), wanted);
        assert_eq!(pages(joined, None).concat(), both);
        others.clear();
        let joined = |wanted: &Wanted| here(wanted).joined(others.clone(), wanted);
        assert_eq!(pages(joined, None), found);
    }
}
