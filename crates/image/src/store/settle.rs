//! Layers reach the disk in their own time.
//!
//! Most of a pull would be waiting until the disk has every file of an image. A layer is complete without:
//! beside it lies a mark with the boot it was made in, which goes when the disk has everything. That the daemon dies
//! changes nothing, for the kernel has the files. After a power cut the mark names another boot, and the layer is
//! made anew from its blob, which did reach the disk before the image had a name.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Context as _, Result};

/// A link to nowhere: made whole or not at all, and it takes no room.
const MARK: &str = "unsettled";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// What comes right after an image has arrived, a container that starts, goes first.
const PATIENCE: Duration = Duration::from_secs(1);

/// Brings layers to the disk in the background.
pub(super) struct Settler {
    dir: PathBuf,
    boot: String,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// The layers' numbers.
    layers: Vec<u64>,
    /// Somebody takes them.
    is_watched: bool,
}

impl Settler {
    /// For the layers in `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        Ok(Self {
            dir: dir.to_owned(),
            boot: fs::read_to_string(BOOT)
                .context(|| format!("read {BOOT}"))?
                .trim_end()
                .to_owned(),
            waiting: Arc::default(),
        })
    }

    /// Marks the layer at `place`, before it is visible.
    pub(super) fn mark(&self, place: &Path) -> Result<()> {
        let mark = place.join(MARK);
        match symlink(&self.boot, &mark) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.context(|| format!("make {}", mark.display())),
        }
    }

    /// Whether the power may have gone before the disk had the layer at `place`. One that is only marked is
    /// brought to the disk from now on.
    pub(super) fn is_doubtful(&self, place: &Path, number: u64) -> bool {
        match fs::read_link(place.join(MARK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Ok(boot) if boot == Path::new(&self.boot) => {
                self.settle(number);
                false
            }
            _ => true,
        }
    }

    /// Brings a marked layer to the disk, some time soon.
    pub(super) fn settle(&self, number: u64) {
        let mut waiting = lock(&self.waiting);
        waiting.layers.push(number);
        if waiting.is_watched {
            return;
        }
        let (dir, all) = (self.dir.clone(), Arc::clone(&self.waiting));
        let work = move || while settle_some(&dir, &all) {};
        match thread::Builder::new().name("settle".to_owned()).spawn(work) {
            Ok(_) => waiting.is_watched = true,
            // The next one tries again.
            Err(error) => tracing::warn!(%error, "layers do not reach the disk yet"),
        }
    }
}

/// Brings all that wait to the disk; whether there may be more.
fn settle_some(dir: &Path, waiting: &Mutex<Waiting>) -> bool {
    thread::sleep(PATIENCE);
    let layers = {
        let mut waiting = lock(waiting);
        waiting.is_watched = !waiting.layers.is_empty();
        std::mem::take(&mut waiting.layers)
    };
    if layers.is_empty() {
        return false;
    }
    match sync(dir) {
        Ok(()) => layers
            .iter()
            .for_each(|number| unmark(&dir.join(number.to_string()))),
        Err(error) => tracing::error!(%error, "layers did not reach the disk"),
    }
    true
}

/// The layer may have gone in the meantime.
fn unmark(place: &Path) {
    let mark = place.join(MARK);
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(mark = %mark.display(), %error, "cannot remove the mark of a layer");
        }
        _ => {}
    }
}

/// Everything written below `path` reaches the disk: one call for a whole image.
pub(super) fn sync(path: &Path) -> Result<()> {
    let dir = File::open(path).context(|| format!("open {}", path.display()))?;
    rustix::fs::syncfs(dir.as_fd()).context(|| format!("sync {}", path.display()))
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
