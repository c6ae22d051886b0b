//! What the registry keeps, on disk and nowhere else: a process that is killed loses nothing.
//!
//! ```text
//! <root>/lock                                            flock: one server per root
//! <root>/blobs/<algorithm>/<2 digits>/<hex>              bytes, each once: layers, manifests
//! <root>/repositories/<name>/_blobs/<digest>             empty: the blob may be read here
//! <root>/repositories/<name>/_manifests/<digest>         holds the media type
//! <root>/repositories/<name>/_tags/<tag>                 holds a digest
//! <root>/repositories/<name>/_referrers/<digest>/<digest>  of the subject, of the manifest about it
//! <root>/uploads/<id>/data, repository                   blobs on their way in
//! ```
//! No part of a repository's name begins with `_`. A file appears under its name when it is whole.
//! Everything here blocks.

mod blobs;
mod collect;
mod manifests;
mod referrers;
mod tags;
mod uploads;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hull_oci::Digest;

pub use collect::Collected;
pub(crate) use manifests::{Document, PutManifest};
pub(crate) use referrers::Wanted;
pub(crate) use uploads::{Upload, UploadId};

use super::name::{RepositoryName, Tag};

/// Why the registry could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk or the kernel said no.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted, on which object.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The budget is used up.
    #[error("the registry's quota of {quota} bytes is used up")]
    Quota {
        /// The budget.
        quota: u64,
    },
    /// The client's fault, by the specification's code.
    #[error("{message}")]
    Refused {
        /// Which of the specification's codes.
        code: super::answer::Code,
        /// What is wrong.
        message: String,
    },
}

pub(crate) type Result<T> = std::result::Result<T, StorageError>;

/// All repositories and blobs.
#[derive(Debug)]
pub struct Storage {
    root: PathBuf,
    /// Bytes that may lie here; 0: as many as there is room for.
    quota: u64,
    used: AtomicU64,
    serial: AtomicU64,
    /// Held for reading by what makes links, for writing by what takes blobs away.
    links: RwLock<()>,
    /// Held while a blob is put in its place, by one at a time: of two that are the same, one is counted.
    placing: Mutex<()>,
    /// Uploads somebody writes to or was just writing to.
    uploads: Mutex<uploads::Open>,
    _lock: OwnedFd,
}

impl Storage {
    /// Opens the directory, and makes it if it is missing.
    pub fn open(root: &Path, quota: u64) -> Result<Self> {
        for name in ["blobs", "repositories", "uploads", "new"] {
            let path = root.join(name);
            fs::create_dir_all(&path).during(|| format!("make {}", path.display()))?;
        }
        let lock = lock(&root.join("lock"))?;
        let storage = Self {
            root: root.to_owned(),
            quota,
            used: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            links: RwLock::default(),
            placing: Mutex::default(),
            uploads: Mutex::default(),
            _lock: lock,
        };
        // What was being written when the last process ended.
        for path in list(&root.join("new"))? {
            fs::remove_file(&path).during(|| format!("remove {}", path.display()))?;
        }
        storage.used.store(storage.measure()?, Ordering::Relaxed);
        Ok(storage)
    }

    /// Bytes of blobs and uploads.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether so many bytes may still come.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<()> {
        // In one step: many ask at the same time.
        let more = |used: u64| {
            let after = used.saturating_add(bytes);
            (self.quota == 0 || after <= self.quota).then_some(after)
        };
        let reserved = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        match reserved {
            Ok(_) => Ok(()),
            Err(_) => Err(StorageError::Quota { quota: self.quota }),
        }
    }

    fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn measure(&self) -> Result<u64> {
        let mut bytes = 0;
        for top in ["blobs", "uploads"] {
            for directory in list(&self.root.join(top))? {
                for path in list(&directory)? {
                    bytes += fs::metadata(&path)
                        .map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 });
                    if path.is_dir() {
                        for blob in list(&path)? {
                            bytes += fs::metadata(&blob).map_or(0, |meta| meta.len());
                        }
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// All repositories that have anything, in order.
    pub(crate) fn repositories(&self) -> Result<Vec<RepositoryName>> {
        let mut names = Vec::new();
        self.collect_repositories(&self.root.join("repositories"), String::new(), &mut names)?;
        names.sort();
        Ok(names)
    }

    fn collect_repositories(
        &self,
        directory: &Path,
        name: String,
        names: &mut Vec<RepositoryName>,
    ) -> Result<()> {
        let mut is_repository = false;
        for path in list(directory)? {
            let part = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if part.starts_with('_') {
                is_repository |= part == "_manifests";
                continue;
            }
            let below = if name.is_empty() {
                part
            } else {
                format!("{name}/{part}")
            };
            self.collect_repositories(&path, below, names)?;
        }
        if is_repository && let Some(name) = RepositoryName::parse(&name) {
            names.push(name);
        }
        Ok(())
    }

    pub(crate) fn has_repository(&self, name: &RepositoryName) -> bool {
        self.repository(name).join("_manifests").is_dir()
            || self.repository(name).join("_blobs").is_dir()
    }

    fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn tag_path(&self, name: &RepositoryName, tag: &Tag) -> PathBuf {
        self.repository(name).join("_tags").join(tag.as_str())
    }

    /// Links may be made while the guard lives; nothing they point at goes away.
    fn linking(&self) -> RwLockReadGuard<'_, ()> {
        self.links
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn unlinking(&self) -> RwLockWriteGuard<'_, ()> {
        self.links
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Writes a small file whole, so that it outlives a power cut.
    fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let write = || -> io::Result<()> {
            rename_into(&self.write_new(bytes)?, path)?;
            sync_parent(path)
        };
        write().during(|| format!("write {}", path.display()))
    }

    /// As [`write_file`](Self::write_file), unless it says that already: a push of what is here writes nothing.
    fn update_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if fs::read(path).is_ok_and(|known| known == bytes) {
            // Whoever wrote it may not have come that far.
            return sync_parent(path).during(|| format!("write {}", path.display()));
        }
        self.write_file(path, bytes)
    }

    /// A file that has no place yet.
    fn write_new(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let new = self.root.join("new").join(serial.to_string());
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        Ok(new)
    }

    /// Puts a blob's file in its place. False: there is one already, and this one is gone.
    fn place(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let is_new = {
            let _placing = self
                .placing
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if to.exists() {
                fs::remove_file(from)?;
                false
            } else {
                rename_into(from, to)?;
                true
            }
        };
        // Whoever put the other one there may not have come that far.
        sync_parent(to)?;
        Ok(is_new)
    }
}

/// Renames a file into a directory that may be missing.
fn rename_into(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(to.parent().unwrap_or(Path::new("/")))?;
            fs::rename(from, to)
        }
        outcome => outcome,
    }
}

/// A rename is for good once the directory is on the disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// The paths in a directory; none if it is missing.
fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("list {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        entries => entries.during(what)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.during(what)?.path());
    }
    Ok(paths)
}

/// The digest a file is named for.
fn named_digest(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Removes a file; false if there was none.
fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).during(|| format!("remove {}", path.display())),
    }
}

fn lock(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{FlockOperation, Mode, OFlags};
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .during(|| format!("open {}", path.display()))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        StorageError::Io {
            what: format!("use {}", path.parent().unwrap_or(path).display()),
            source: io::Error::other("another registry serves it"),
        }
    })?;
    Ok(file)
}

/// Says what was attempted.
trait During<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| StorageError::Io {
            what: what(),
            source: source.into(),
        })
    }
}
