//! A container's files, seen from outside.

use std::{
    fs::File,
    io::Read,
    os::{fd::OwnedFd, unix::fs::FileTypeExt},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hull_image::{Snapshot, Snapshotter as _};
use hull_sys::beneath::Root;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::{
    claims::Claim,
    container::view::{self, Purpose, View},
    error::{Attempt, Error, Result},
    record::Record,
    remap::ids_of,
    services::Services,
};

/// How long the news of a container's end may take.
const ENDING_TAKES: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// Files of an image that the engine reads (`passwd`, `group`) are cut here: a hostile image must
/// not fill the daemon's memory.
const READ_BYTES_MAX: u64 = 1 << 20;

impl Services {
    /// The root directory of a container: as its processes see it while it runs, its layers and what
    /// is mounted over them otherwise.
    pub(crate) fn root_of(self: &Arc<Self>, record: &Record, purpose: Purpose) -> Result<View> {
        let Some(run) = record.state.run() else {
            return view::of_stopped(self, record, purpose);
        };
        let running = || {
            let view = View::running(process_root(run.pid)?, ids_of(run.pid)?);
            self.check_held(&record.id, run.pid)?;
            Ok(view)
        };
        running().or_else(|error| {
            // It may be ending at this moment: its files are still there.
            let until = Instant::now() + ENDING_TAKES;
            while Instant::now() < until {
                let now = self.registry.find(record.id.as_str())?.record();
                if now.state.run().is_none_or(|other| other.pid != run.pid) {
                    return self.root_of(&now, purpose);
                }
                thread::sleep(LOOK);
            }
            Err(error)
        })
    }

    /// A container's layers, without what is mounted over them, to be written.
    pub(crate) fn layers_of(&self, record: &Record, _right: &Claim) -> Result<Root> {
        Ok(self.snapshots.mount(&record.snapshot)?)
    }

    /// The same to be read only, also while the container runs.
    pub(crate) fn layers_to_read(&self, record: &Record) -> Result<Root> {
        let Snapshot { upper, lower, .. } = &record.snapshot;
        let layers: Vec<_> = std::iter::once(upper).chain(lower).cloned().collect();
        Ok(self.snapshots.mount_layers_as(&layers, None)?)
    }

    /// The content of a small file of a container that may not run yet; empty if there is none.
    pub(crate) fn read_file_of(&self, record: &Record, path: &str) -> Result<String> {
        if record.state.run().is_none()
            && let Layered::Found(bytes) = self.read_layered(record, path)
        {
            return Ok(text(bytes));
        }
        let root = match record.state.run() {
            Some(run) => {
                let root = process_root(run.pid)?;
                self.check_held(&record.id, run.pid)?;
                root
            }
            None => self.layers_to_read(record)?,
        };
        let bytes = match root.open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(file) => read_bounded(file),
            Err(_) => Vec::new(),
        };
        Ok(text(bytes))
    }

    /// Looks through the layers without mounting them, where that is safe to decide.
    fn read_layered(&self, record: &Record, path: &str) -> Layered {
        let Snapshot { upper, lower, .. } = &record.snapshot;
        let layers = std::iter::once(upper).chain(lower);
        for layer in layers {
            match look_in(layer, path) {
                Layered::NotHere => {}
                decided => return decided,
            }
        }
        Layered::Found(Vec::new())
    }
}

/// What one layer says about a file.
enum Layered {
    /// This is it (empty: it was removed).
    Found(Vec<u8>),
    /// Ask the next layer.
    NotHere,
    /// Links or opaque directories are in the way: only a mount can tell.
    Unclear,
}

fn look_in(layer: &Path, path: &str) -> Layered {
    let mut at = layer.to_owned();
    let mut parts = Path::new(path).components().peekable();
    while let Some(part) = parts.next() {
        at.push(part);
        let Ok(found) = at.symlink_metadata() else {
            return Layered::NotHere;
        };
        let kind = found.file_type();
        if kind.is_char_device() {
            // A whiteout.
            return Layered::Found(Vec::new());
        }
        let is_last = parts.peek().is_none();
        if (is_last && !kind.is_file()) || (!is_last && !kind.is_dir()) {
            return Layered::Unclear;
        }
        if !is_last && is_opaque(&at) {
            return Layered::Unclear;
        }
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat(CWD, &at, flags, Mode::empty()) {
        Ok(file) => Layered::Found(read_bounded(file)),
        Err(_) => Layered::Unclear,
    }
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0u8; 1];
    rustix::fs::lgetxattr(directory, c"trusted.overlay.opaque", &mut value[..]).is_ok()
}

fn read_bounded(file: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = File::from(file);
    if file.metadata().is_ok_and(|found| found.is_file()) {
        let _ = file.take(READ_BYTES_MAX).read_to_end(&mut bytes);
    }
    bytes
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The root of a running process, by a descriptor: it stays what it is when the process ends.
fn process_root(pid: i32) -> Result<Root> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, &path, flags, Mode::empty()).map_err(std::io::Error::from);
    let root = root.attempt(|| format!("open {path}"))?;
    if same_as_ours(&root) {
        return Err(Error::Internal(format!("process {pid} is no container's")));
    }
    Ok(Root::from_fd(root))
}

/// A pid that was reused by a process of the host must not open the host's files.
fn same_as_ours(root: &OwnedFd) -> bool {
    let ours = rustix::fs::stat("/").map(|found| (found.st_dev, found.st_ino));
    let theirs = rustix::fs::fstat(root).map(|found| (found.st_dev, found.st_ino));
    ours.ok() == theirs.ok()
}
