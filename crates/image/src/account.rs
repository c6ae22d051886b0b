//! What the disk says a tree takes.
//!
//! Blocks, as `du` counts them: of files and directories, each file once, and of one file system. (How many bytes files
//! contain is another question: see [`usage`](crate::snapshot::usage).)

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FileType, RawDir, Stat};
use rustix::io::Errno;

use crate::dir::{DEPTH_MAX, Dir, file_type};
use crate::error::{Context as _, Result};

/// The unit of `st_blocks`, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

/// Room for the names that the kernel gives at a time.
const NAMES_BYTES: usize = 32 << 10;

/// Bytes of disk that `path` takes, with everything below it; 0: it is not there. What goes away
/// meanwhile is left out.
pub fn allocated(path: &Path) -> Result<u64> {
    let what = || format!("measure {}", path.display());
    let own = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        meta => meta.context(what)?,
    };
    let mut total = own.blocks() * BLOCK_BYTES;
    if own.is_dir() {
        match Dir::open(path) {
            Err(error) if is_gone(&error) => {}
            root => {
                total += Walk::on(own.dev())
                    .below(&root.context(what)?, 0)
                    .context(what)?
            }
        }
    }
    Ok(total)
}

/// As [`allocated`], for this file or directory alone.
pub(crate) fn allocated_alone(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |meta| meta.blocks() * BLOCK_BYTES)
}

/// A walk over a tree, of one file system.
struct Walk {
    device: u64,
    /// Files that have several names and were counted.
    seen: HashSet<(u64, u64)>,
    /// Where the kernel writes names; one directory is read at a time.
    names: Vec<u8>,
}

impl Walk {
    fn on(device: u64) -> Self {
        Self {
            device,
            seen: HashSet::new(),
            names: Vec::with_capacity(NAMES_BYTES),
        }
    }

    /// What everything in a directory takes that was not read before.
    fn below(&mut self, directory: &Dir, depth: usize) -> io::Result<u64> {
        if depth > DEPTH_MAX {
            return Err(Errno::NAMETOOLONG.into());
        }
        let mut total = 0;
        let mut children = Vec::new();
        let mut entries = RawDir::new(directory, self.names.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                // The directory was removed after it was opened.
                Err(Errno::NOENT) => break,
                entry => entry?,
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let Some(stat) = directory.stat_if_any(name)? else {
                continue;
            };
            // What is mounted there lies elsewhere.
            if stat.st_dev != self.device {
                continue;
            }
            total += of(&stat, &mut self.seen);
            if file_type(&stat) == FileType::Directory {
                children.push(name.to_owned());
            }
        }
        for name in children {
            match directory.child(&name) {
                Ok(child) => total += self.below(&child, depth + 1)?,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }
}

/// The file's own blocks, unless another name of it was counted.
fn of(stat: &Stat, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let has_names = stat.st_nlink > 1 && file_type(stat) != FileType::Directory;
    if has_names && !seen.insert((stat.st_dev, stat.st_ino)) {
        return 0;
    }
    stat.st_blocks.unsigned_abs() * BLOCK_BYTES
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
    )
}
