//! A client's directory on the daemon's disk, with the digest of each file.
//!
//! ```text
//! <data-root>/build/trees/<key>/fs      the files
//! <data-root>/build/trees/<key>/index   what each of them is, digests included
//! <data-root>/build/trees/<key>/boot    names the boot, until the disk has the files: after a power
//!                                       cut they are not trusted
//! ```
//! A front opens a tree by a key (the client's host and path, say), tells what the client has with
//! [`TreeWriter::keep`], and brings only what that refuses: new files, and files whose size, mode,
//! time or change changed. [`TreeWriter::finish`] removes the rest and gives a [`Tree`] to build from. Each
//! tree has one user at a time; one without a key goes away with its user.
//!
//! A client chooses names and links: every path is cleaned, and nothing here follows a link.

mod index;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hull_oci::Digest;
use hull_sys::beneath::Root;

use crate::error::{Error, Result};
use crate::git::Scratch;

pub use write::TreeWriter;

/// What is in a tree, by relative path. Parents come before what lies in them.
pub type Entries = BTreeMap<PathBuf, Entry>;

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// How it looks.
    pub meta: Meta,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// Of its content.
        digest: Digest,
    },
    /// A directory.
    Directory,
    /// Leads there.
    Symlink(Vec<u8>),
}

/// How an entry looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When a client's file last changed in any way, and its number there. Size and time may be as
    /// before where the content is not; these are not. Zero: the client does not tell.
    pub change: (i64, u64),
}

/// The mark of a tree that the disk may not have yet.
const BOOT: &str = "boot";

/// All trees of a daemon.
pub struct Trees {
    dir: PathBuf,
    /// This boot of the host.
    boot: Arc<str>,
    busy: Arc<Mutex<HashSet<PathBuf>>>,
}

/// A tree to build from. Nobody changes it as long as it lives.
pub struct Tree {
    place: Place,
    root: Root,
    entries: Entries,
    /// Bytes that were brought in for this use.
    received: u64,
}

/// A tree's directory, in use.
struct Place {
    path: PathBuf,
    boot: Arc<str>,
    temporary: bool,
    busy: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Trees {
    /// The trees in `dir`. Temporary ones of an earlier daemon are removed, and those that nothing
    /// can be known of.
    pub fn open(dir: &Path) -> Result<Self> {
        let what = || format!("open {}", dir.display());
        fs::create_dir_all(dir).map_err(|error| Error::host(what(), error))?;
        let entries = fs::read_dir(dir).map_err(|error| Error::host(what(), error))?;
        for entry in entries.flatten() {
            let is_temporary = entry.file_name().as_encoded_bytes().starts_with(b".");
            if is_temporary || !index::is_known(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            dir: dir.to_owned(),
            boot: boot.trim().into(),
            busy: Arc::default(),
        })
    }

    /// The tree with this key, for this user alone. If it is in use, another one with the same
    /// purpose.
    pub fn writer(&self, key: &str) -> Result<TreeWriter> {
        let name = Digest::of(key.as_bytes()).hex()[..32].to_owned();
        for copy in 0.. {
            let path = self.dir.join(format!("{name}-{copy}"));
            if self.claim(&path) {
                return TreeWriter::open(self.place(path, false));
            }
        }
        unreachable!("some number is free")
    }

    /// A new tree that goes away with its user.
    pub fn temporary(&self) -> Result<TreeWriter> {
        for number in 0.. {
            let path = self.dir.join(format!(".{number}"));
            if self.claim(&path) {
                let _ = fs::remove_dir_all(&path);
                return TreeWriter::open(self.place(path, true));
            }
        }
        unreachable!("some number is free")
    }

    /// A directory for passing work, on the same file system.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        for number in 0.. {
            let path = self.dir.join(format!(".scratch-{number}"));
            if !path.exists() && self.claim(&path) {
                return Scratch::new(path);
            }
        }
        unreachable!("some number is free")
    }

    /// Marks of trees that the disk may not have yet, and when each was made.
    pub(crate) fn unsettled(&self) -> Vec<(PathBuf, SystemTime)> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mark = |entry: fs::DirEntry| {
            let mark = entry.path().join(BOOT);
            let made = fs::metadata(&mark).ok()?.modified().ok()?;
            Some((mark, made))
        };
        entries.filter_map(mark).collect()
    }

    /// The disk has what it lacked when these were listed.
    pub(crate) fn settled(&self, marks: &[(PathBuf, SystemTime)]) {
        for (mark, made) in marks {
            let now = fs::metadata(mark).and_then(|found| found.modified());
            if now.is_ok_and(|now| now == *made) {
                let _ = fs::remove_file(mark);
            }
        }
    }

    /// Trees that nobody uses: path, bytes, and when they were last used (seconds since 1970).
    pub fn idle(&self) -> Vec<IdleTree> {
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| !busy.contains(path))
            .filter_map(|path| index::summary(&path))
            .collect()
    }

    /// Removes a tree unless somebody uses it now. Whether it went away.
    pub fn remove(&self, tree: &IdleTree) -> bool {
        self.claim(&tree.path) && {
            drop(self.place(tree.path.clone(), true));
            true
        }
    }

    fn claim(&self, path: &Path) -> bool {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(path.to_owned())
    }

    fn place(&self, path: PathBuf, temporary: bool) -> Place {
        Place {
            path,
            boot: Arc::clone(&self.boot),
            temporary,
            busy: Arc::clone(&self.busy),
        }
    }
}

/// A tree that nobody uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleTree {
    path: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
    /// Seconds since 1970.
    pub used: i64,
}

impl IdleTree {
    /// Its name among trees.
    pub fn id(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

impl Tree {
    /// What is in it.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Its files.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The directory of its files, on the host.
    pub fn path(&self) -> PathBuf {
        self.place.path.join("fs")
    }

    /// Bytes that were brought in for this use.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// A small file's content; links are followed inside the tree. `None`: there is none. A file
    /// that is larger is an error for people: half of it would mean something else.
    pub fn read(&self, path: &str, bytes_max: u64) -> std::result::Result<Option<Vec<u8>>, String> {
        use rustix::fs::{Mode, OFlags};
        use std::io::Read as _;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Ok(file) = self.root.open(path, flags, Mode::empty()) else {
            return Ok(None);
        };
        let file = fs::File::from(file);
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            return Ok(None);
        }
        let mut content = Vec::new();
        let read = file.take(bytes_max + 1).read_to_end(&mut content);
        read.map_err(|error| format!("cannot read {path}: {error}"))?;
        if content.len() as u64 > bytes_max {
            return Err(format!("{path} is larger than {bytes_max} bytes"));
        }
        Ok(Some(content))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a tree");
        }
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.path);
    }
}

#[cfg(test)]
mod tests;
