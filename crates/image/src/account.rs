//! What the disk says a tree takes.
//!
//! Blocks, as `du` counts them: of files and directories, each file once, and of one file system. (How many bytes files
//! contain is another question: see [`usage`](crate::snapshot::usage).)

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::dir::{DEPTH_MAX, Dir, file_type};
use crate::error::{Context as _, Result};

/// The unit of `st_blocks`, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

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
        let mut seen = HashSet::new();
        match Dir::open(path) {
            Err(error) if is_gone(&error) => {}
            root => {
                let device = own.dev();
                total += below(&root.context(what)?, device, 0, &mut seen).context(what)?;
            }
        }
    }
    Ok(total)
}

/// As [`allocated`], for this file or directory alone.
pub(crate) fn allocated_alone(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |meta| meta.blocks() * BLOCK_BYTES)
}

fn below(
    directory: &Dir,
    device: u64,
    depth: usize,
    seen: &mut HashSet<(u64, u64)>,
) -> io::Result<u64> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG.into());
    }
    let mut total = 0;
    for name in directory.names()? {
        let Some(stat) = directory.stat_if_any(&name)? else {
            continue;
        };
        // What is mounted there lies elsewhere.
        if stat.st_dev != device {
            continue;
        }
        total += of(&stat, seen);
        if file_type(&stat) == FileType::Directory {
            total += child(directory, &name, device, depth, seen)?;
        }
    }
    Ok(total)
}

fn child(
    directory: &Dir,
    name: &OsStr,
    device: u64,
    depth: usize,
    seen: &mut HashSet<(u64, u64)>,
) -> io::Result<u64> {
    match directory.child(name) {
        Ok(child) => below(&child, device, depth + 1, seen),
        Err(error) if is_gone(&error) => Ok(0),
        Err(error) => Err(error),
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
