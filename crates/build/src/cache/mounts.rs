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

/// A file beside a directory that is not filled yet.
const MAKING: &str = "making";
/// How names of claims to fill a directory begin.
const FILLING: &str = "fill ";

/// All cache directories.
pub struct CacheMounts {
    dir: PathBuf,
    busy: Arc<(Mutex<HashSet<String>>, Condvar)>,
}

/// One in use.
pub struct CacheMount {
    /// Its files.
    pub path: PathBuf,
    /// Whether it is to be filled, and [`filled`](Self::filled) to be said then.
    pub is_new: bool,
    /// As long as it is being filled, nobody else has it.
    filling: Option<Claim>,
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
        let filling = format!("{FILLING}{name}");
        self.wait_for(&filling, cancel)?;
        let filling = self.claimed(filling);
        let place = self.dir.join(&name);
        let made = make(&place, id);
        let (held, is_new) =
            made.map_err(|error| Error::host(format!("make {}", place.display()), error))?;
        Ok(CacheMount {
            path: place.join("fs"),
            is_new,
            filling: is_new.then_some(filling),
            claim,
            _held: held,
        })
    }

    /// All directories.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        // Looking at all files takes long: nobody waits for that.
        let busy = self
            .busy
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
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
        // Should it be removed half, nobody takes the rest for the whole.
        let place = self.dir.join(name);
        fs::write(place.join(MAKING), "").is_ok() && fs::remove_dir_all(place).is_ok()
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
        // With the lock: nobody is between looking and waiting then.
        let _hook = cancel.on_cancel(move || {
            let _locked = busy.0.lock().unwrap_or_else(PoisonError::into_inner);
            busy.1.notify_all();
        });
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

/// Makes the directory at `place`, or goes on with the one that is there. It is locked; whether it is
/// new, too.
fn make(place: &Path, id: &str) -> std::io::Result<(fs::File, bool)> {
    let (path, making) = (place.join("fs"), place.join(MAKING));
    let held = locked(place)?;
    let is_new = making.exists() || !path.exists();
    if is_new {
        fs::write(&making, "")?;
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
    }
    fs::write(place.join("id"), id)?;
    Ok((held, is_new))
}

/// Locks the directory at `place`, made if need be: it is not removed as long as that is held.
fn locked(place: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::MetadataExt as _;
    loop {
        fs::create_dir_all(place)?;
        let held = match fs::File::open(place) {
            // It was removed just now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        flock(&held, FlockOperation::LockShared)?;
        let is_it = fs::metadata(place).is_ok_and(|there| {
            held.metadata()
                .is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        });
        if is_it {
            return Ok(held);
        }
    }
}

impl CacheMount {
    /// What belongs into a new one is in it.
    pub(crate) fn filled(&mut self) -> std::io::Result<()> {
        if self.is_new {
            fs::remove_file(self.path.with_file_name(MAKING))?;
        }
        self.is_new = false;
        self.filling = None;
        Ok(())
    }

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
