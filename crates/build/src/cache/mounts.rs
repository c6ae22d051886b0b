//! Directories of `RUN --mount=type=cache`: each by its id, one or several.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use hull_oci::Digest;
use rustix::fs::{FlockOperation, flock};

use crate::cancel::Cancel;
use crate::dockerfile::Sharing;
use crate::error::{Error, Result};

/// All cache directories.
pub struct CacheMounts {
    dir: PathBuf,
    busy: Arc<(Mutex<HashSet<String>>, Condvar)>,
}

/// One in use.
pub struct CacheMount {
    /// Its files.
    pub path: PathBuf,
    /// Whether it was made for this use.
    pub is_new: bool,
    /// Taken for one step alone; given back when dropped.
    claim: Option<Claim>,
    /// Locked by all who use it: it is not removed meanwhile.
    _held: fs::File,
}

struct Claim {
    name: String,
    busy: Arc<(Mutex<HashSet<String>>, Condvar)>,
}

/// A cache directory that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) bytes: u64,
    pub(crate) created: i64,
    pub(crate) used: i64,
    pub(crate) in_use: bool,
}

impl CacheMounts {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)
            .map_err(|error| Error::host(format!("make {}", dir.display()), error))?;
        Ok(Self {
            dir: dir.to_owned(),
            busy: Arc::default(),
        })
    }

    /// The directory with this id. Waits for a locked one, unless cancelled.
    pub(crate) fn take(&self, id: &str, sharing: Sharing, cancel: &Cancel) -> Result<CacheMount> {
        // The id is the author's: it never becomes a path.
        let name = Digest::of(id.as_bytes()).hex()[..32].to_owned();
        let (name, claim) = match sharing {
            Sharing::Shared => (name, None),
            Sharing::Private => {
                let mut copies = (0..).map(|copy| match copy {
                    0 => name.clone(),
                    copy => format!("{name}-{copy}"),
                });
                let free = copies.find(|candidate| self.claim(candidate));
                let name = free.unwrap_or(name);
                (name.clone(), Some(self.claimed(name)))
            }
            Sharing::Locked => {
                self.wait_for(&name, cancel)?;
                (name.clone(), Some(self.claimed(name)))
            }
        };
        let place = self.dir.join(&name);
        let path = place.join("fs");
        let is_new = !path.exists();
        let make = || -> std::io::Result<fs::File> {
            fs::create_dir_all(&place)?;
            let held = fs::File::open(&place)?;
            flock(&held, FlockOperation::LockShared)?;
            fs::create_dir_all(&path)?;
            fs::write(place.join("id"), id)?;
            Ok(held)
        };
        let held =
            make().map_err(|error| Error::host(format!("make {}", path.display()), error))?;
        Ok(CacheMount {
            path,
            is_new,
            claim,
            _held: held,
        })
    }

    /// All directories.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let stored = |entry: fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let id_file = entry.path().join("id");
            let seconds = |time: std::time::SystemTime| {
                let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
                i64::try_from(since.as_secs()).ok()
            };
            let metadata = fs::metadata(&id_file).ok()?;
            let usage = hull_image::snapshot::usage(&entry.path().join("fs")).ok()?;
            Some(Stored {
                id: fs::read_to_string(&id_file).ok()?,
                bytes: usage.bytes,
                created: metadata.created().ok().and_then(seconds).unwrap_or(0),
                used: metadata.modified().ok().and_then(seconds)?,
                in_use: busy.contains(&name),
                name,
            })
        };
        entries.filter_map(stored).collect()
    }

    /// Removes one that nobody has taken for himself. Whether it went away.
    pub(crate) fn remove(&self, name: &str) -> bool {
        if !self.claim(name) {
            return false;
        }
        let _claim = self.claimed(name.to_owned());
        let Ok(held) = fs::File::open(self.dir.join(name)) else {
            return false;
        };
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            return false;
        }
        fs::remove_dir_all(self.dir.join(name)).is_ok()
    }

    fn claim(&self, name: &str) -> bool {
        let mut busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(name.to_owned())
    }

    fn claimed(&self, name: String) -> Claim {
        Claim {
            name,
            busy: Arc::clone(&self.busy),
        }
    }

    fn wait_for(&self, name: &str, cancel: &Cancel) -> Result<()> {
        let busy = Arc::clone(&self.busy);
        let _hook = cancel.on_cancel(move || busy.1.notify_all());
        let mut busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !busy.insert(name.to_owned()) {
            cancel.check()?;
            busy = self
                .busy
                .1
                .wait(busy)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl CacheMount {
    /// Whether it is this step's alone.
    pub fn is_exclusive(&self) -> bool {
        self.claim.is_some()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut busy = self.busy.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.name);
        self.busy.1.notify_all();
    }
}
