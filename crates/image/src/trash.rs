//! What is being deleted: renamed into `<data-root>/trash/` first, removed in the background.
//!
//! The rename is what the caller waits for, so deleting a large tree takes no longer than deleting
//! a small one, and a crash leaves nothing half deleted in sight.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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

    /// Removes everything here for good. Slow: for a background thread.
    pub fn empty(&self) -> Result<()> {
        let what = || format!("empty {}", self.dir.display());
        let mut first_failure = Ok(());
        for entry in fs::read_dir(&self.dir).context(what)? {
            let path = entry.context(what)?.path();
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
            let removed = if is_dir {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let failure = Err(error).context(|| format!("remove {}", path.display()));
                    first_failure = first_failure.and(failure);
                }
                _ => {}
            }
        }
        first_failure
    }
}
