//! Takes away what no manifest needs, while the registry serves.
//!
//! A blob that was uploaded, mounted or asked after within the grace stays: a client may be about
//! to push the manifest that needs it. Manifests stay until they are deleted, tagged or not.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hull_oci::Digest;

use super::{Document, Result, Storage, UploadId, list, named_digest, remove};
use crate::server::name::RepositoryName;

/// What a collection took away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Blobs.
    pub blobs: u64,
    /// Uploads nobody goes on with.
    pub uploads: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Storage {
    /// Takes away what nobody needs and is older than `grace`.
    pub fn collect(&self, grace: Duration) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut linked = HashSet::new();
        for name in self.all_repositories()? {
            self.collect_links(&name, grace, &mut linked)?;
        }
        self.collect_blobs(grace, &linked, &mut collected)?;
        self.collect_uploads(grace, &mut collected)?;
        Ok(collected)
    }

    /// Removes links that no manifest of the repository needs, and gathers the others.
    fn collect_links(
        &self,
        name: &RepositoryName,
        grace: Duration,
        linked: &mut HashSet<Digest>,
    ) -> Result<()> {
        // One repository at a time, so that nobody waits for long.
        let _unlinking = self.unlinking();
        let mut needed = HashSet::new();
        for digest in self.manifest_digests(name)? {
            if let Some((media_type, bytes)) = self.manifest(name, &digest)?
                && let Ok(document) = Document::parse(&media_type, &bytes)
            {
                // Members of some indexes are blobs: a builder's cache, of older ones.
                let parts = document.blobs().chain(document.manifests());
                needed.extend(parts.map(|part| part.digest.clone()));
            }
            linked.insert(digest);
        }
        for link in list(&self.repository(name).join("_blobs"))? {
            let Some(digest) = named_digest(&link) else {
                continue;
            };
            if needed.contains(&digest) || is_younger(&link, grace) {
                linked.insert(digest);
            } else {
                remove(&link)?;
            }
        }
        Ok(())
    }

    fn collect_blobs(
        &self,
        grace: Duration,
        linked: &HashSet<Digest>,
        collected: &mut Collected,
    ) -> Result<()> {
        for algorithm in list(&self.root.join("blobs"))? {
            let prefix = algorithm
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            for directory in list(&algorithm)? {
                let _unlinking = self.unlinking();
                for blob in list(&directory)? {
                    let hex = blob
                        .file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned();
                    let Ok(digest) = format!("{prefix}:{hex}").parse::<Digest>() else {
                        continue;
                    };
                    // Linked since the look at its repository: then the link is young.
                    if linked.contains(&digest)
                        || is_younger(&blob, grace)
                        || self.is_linked(&digest)?
                    {
                        continue;
                    }
                    let size = fs::metadata(&blob).map_or(0, |meta| meta.len());
                    if remove(&blob)? {
                        self.release(size);
                        collected.blobs += 1;
                        collected.bytes += size;
                    }
                }
            }
        }
        Ok(())
    }

    fn is_linked(&self, digest: &Digest) -> Result<bool> {
        let mut repositories = self.all_repositories()?.into_iter();
        Ok(repositories.any(|name| {
            self.link_path(&name, digest).exists()
                || self
                    .repository(&name)
                    .join("_manifests")
                    .join(digest.as_str())
                    .exists()
        }))
    }

    fn collect_uploads(&self, grace: Duration, collected: &mut Collected) -> Result<()> {
        for directory in list(&self.root.join("uploads"))? {
            let name = directory
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let Some(id) = UploadId::parse(&name) else {
                continue;
            };
            let data = directory.join("data");
            let is_young = || is_younger(&data, grace) || is_younger(&directory, grace);
            if is_young() {
                continue;
            }
            // To the end: what a request did meanwhile would be counted, or taken away, twice.
            let Some(_held) = self.hold(&id) else {
                continue;
            };
            if !directory.exists() {
                self.forget_slot(&id);
                continue;
            }
            if is_young() {
                continue;
            }
            let size = fs::metadata(&data).map_or(0, |meta| meta.len());
            self.forget_upload(&id)?;
            self.release(size);
            collected.uploads += 1;
            collected.bytes += size;
        }
        Ok(())
    }

    /// Repositories with blobs only count, too.
    pub(super) fn all_repositories(&self) -> Result<Vec<RepositoryName>> {
        let mut names = Vec::new();
        walk(&self.root.join("repositories"), "", &mut names)?;
        Ok(names)
    }
}

fn walk(directory: &Path, name: &str, names: &mut Vec<RepositoryName>) -> Result<()> {
    for path in list(directory)? {
        let part = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if part.starts_with('_') {
            continue;
        }
        let below = if name.is_empty() {
            part
        } else {
            format!("{name}/{part}")
        };
        names.extend(RepositoryName::parse(&below));
        walk(&path, &below, names)?;
    }
    Ok(())
}

fn is_younger(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| time.elapsed().unwrap_or_default() < age)
}
