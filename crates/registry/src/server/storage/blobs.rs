//! Bytes under their digests, and which repositories may read them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hull_oci::Digest;

use super::{During, Result, Storage, remove};
use crate::server::name::RepositoryName;

/// A client that was told that a blob is here relies on it: the mark is made anew when it is older.
const MARK_AGE_MAX: Duration = Duration::from_secs(60);

impl Storage {
    /// Opens a blob of a repository; `None`: it has none with this digest.
    pub(crate) fn open_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<(File, u64)>> {
        if !self.link_path(name, digest).exists() {
            return Ok(None);
        }
        self.open_bytes(digest)
    }

    /// A blob's size, to tell a client that may rely on it.
    pub(crate) fn stat_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<u64>> {
        let _linking = self.linking();
        let link = self.link_path(name, digest);
        let Ok(mark) = fs::metadata(&link) else {
            return Ok(None);
        };
        let age = mark
            .modified()
            .map(|time| time.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age > MARK_AGE_MAX) {
            touch(&link)?;
        }
        Ok(fs::metadata(self.blob_path(digest))
            .ok()
            .map(|meta| meta.len()))
    }

    /// Lets a repository read a blob that another one has; false: it has not.
    pub(crate) fn mount(
        &self,
        name: &RepositoryName,
        from: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool> {
        let _linking = self.linking();
        let is_there = self.link_path(from, digest).exists() && self.blob_path(digest).exists();
        if is_there {
            self.link(name, digest)?;
        }
        Ok(is_there)
    }

    /// The first repository that has the blob, of those `may_read` lets pass.
    pub(crate) fn find_blob(
        &self,
        digest: &Digest,
        may_read: impl Fn(&RepositoryName) -> bool,
    ) -> Result<Option<RepositoryName>> {
        if !self.blob_path(digest).exists() {
            return Ok(None);
        }
        let has = |name: &RepositoryName| self.link_path(name, digest).exists();
        let mut names = self.all_repositories()?.into_iter();
        Ok(names.find(|name| has(name) && may_read(name)))
    }

    /// Takes a blob out of a repository; false: it had none. The bytes stay for the collector.
    pub(crate) fn unlink_blob(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        remove(&self.link_path(name, digest))
    }

    /// Must be called while links may be made.
    pub(super) fn link(&self, name: &RepositoryName, digest: &Digest) -> Result<()> {
        let link = self.link_path(name, digest);
        if link.exists() {
            touch(&link)
        } else {
            self.write_file(&link, b"")
        }
    }

    pub(super) fn open_bytes(&self, digest: &Digest) -> Result<Option<(File, u64)>> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).during(|| format!("open the blob {digest}")),
        };
        let size = file
            .metadata()
            .during(|| format!("look at the blob {digest}"))?
            .len();
        Ok(Some((file, size)))
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        self.root
            .join("blobs")
            .join(algorithm)
            .join(&hex[..2])
            .join(hex)
    }

    pub(super) fn link_path(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.repository(name).join("_blobs").join(digest.as_str())
    }
}

fn touch(link: &Path) -> Result<()> {
    let file = File::options().write(true).open(link);
    let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
    touched.during(|| format!("mark {}", link.display()))
}
