//! What is being deleted: renamed into `<data-root>/trash/` first, removed in the background.
//!
//! The rename is what the caller waits for, so deleting a large tree takes no longer than deleting
//! a small one, and a crash leaves nothing half deleted in sight.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dir::{Dir, remove_spilling};
use crate::error::{Context as _, Result};

/// The trash of a data root. Clones share it.
#[derive(Debug, Clone)]
pub struct Trash {
    dir: PathBuf,
}

/// One for all: a data root's trash is opened in several places.
static SERIAL: AtomicU64 = AtomicU64::new(0);

impl Trash {
    /// Opens or makes `<data_root>/trash`.
    pub fn open(data_root: &Path) -> Result<Self> {
        let dir = data_root.join("trash");
        fs::create_dir_all(&dir).context(|| format!("make {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Moves a file or directory of the data root here; what is not there is gone already.
    pub fn put(&self, path: &Path) -> Result<()> {
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let place = self.dir.join(format!("{}-{serial}", std::process::id()));
            // Something of an earlier process with this id: rename would replace it or fail.
            if fs::symlink_metadata(&place).is_ok() {
                continue;
            }
            return match fs::rename(path, place) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done.context(|| format!("remove {}", path.display())),
            };
        }
    }

    /// Removes everything here for good, however deep it is. Slow: for a background thread.
    pub fn empty(&self) -> Result<()> {
        let what = || format!("empty {}", self.dir.display());
        let trash = Dir::open(&self.dir).context(what)?;
        let mut first_failure = Ok(());
        let mut failed = HashSet::new();
        // What was too deep lies here again, less deep.
        loop {
            let names = trash.names().context(what)?.into_iter();
            let names: Vec<_> = names.filter(|name| !failed.contains(name)).collect();
            if names.is_empty() {
                return first_failure;
            }
            for name in names {
                if let Err(error) = remove_spilling(&trash, &name, &trash) {
                    let path = self.dir.join(&name);
                    let failure = Err(error).context(|| format!("remove {}", path.display()));
                    first_failure = first_failure.and(failure);
                    failed.insert(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

    use super::*;

    #[test]
    fn a_tree_goes_however_deep_it_is() {
        let root = tempfile::tempdir().unwrap();
        let trash = Trash::open(root.path()).unwrap();
        let top = root.path().join("deep");
        fs::create_dir(&top).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut at = openat(CWD, &top, flags, Mode::empty()).unwrap();
        for _ in 0..5000 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        drop(at);
        trash.put(&top).unwrap();
        trash.empty().unwrap();
        let left = fs::read_dir(root.path().join("trash")).unwrap().count();
        assert_eq!(left, 0);
    }
}
