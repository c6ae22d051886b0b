//! What a writable layer changes, as Docker tells it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::dir::{DEPTH_MAX, Dir, file_type, is_whiteout};
use crate::error::{Context as _, Error, Result};
use crate::tar::pack::Packer;
use crate::tar::write::Writer;

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How it changed.
    pub kind: ChangeKind,
    /// Absolute, in the container.
    pub path: PathBuf,
}

/// How a path changed. The numbers are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ChangeKind {
    /// Content or attributes, or something below a directory.
    Modified = 0,
    /// It is new.
    Added = 1,
    /// It is gone.
    Deleted = 2,
}

/// What `upper` changes over `lower` (uppermost first), sorted by path.
///
/// A directory above a change counts as modified; of what was deleted with a directory, only the
/// directory is listed.
pub fn diff(upper: &Path, lower: &[PathBuf]) -> Result<Vec<Change>> {
    let what = || format!("compare {} with its image", upper.display());
    let open = |path: &PathBuf| Dir::open(path).context(what);
    let lower: Vec<Dir> = lower.iter().map(open).collect::<Result<_>>()?;
    let mut changes = Vec::new();
    let root = Dir::open(upper).context(what)?;
    compare(&root, &lower, Path::new("/"), 0, &mut changes)?;
    Ok(changes)
}

/// Writes `upper` as a layer: overlayfs's marks become whiteouts. No file is younger than
/// `mtime_max` (Unix seconds).
pub fn layer_tar(upper: &Path, mtime_max: Option<i64>, out: impl Write) -> Result<()> {
    let directory = Dir::open(upper).context(|| format!("open {}", upper.display()))?;
    let mut writer = Writer::new(out);
    Packer::layer(&mut writer, mtime_max).content(&directory, b"")?;
    writer.finish()?;
    Ok(())
}

/// `lower` holds the layers' own directories of this path, uppermost first.
fn compare(
    upper: &Dir,
    lower: &[Dir],
    path: &Path,
    depth: usize,
    changes: &mut Vec<Change>,
) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::Invalid("the tree is nested too deeply".into()));
    }
    let what = || format!("compare {}", path.display());
    let names = upper.names().context(what)?;
    let opaque = upper.is_opaque().context(what)?;
    let mut deleted = if opaque {
        hidden(lower, &names).context(what)?
    } else {
        Vec::new()
    };
    let mut found: Vec<(OsString, Option<Stat>)> = Vec::new();
    for name in names {
        if let Some(stat) = upper.stat_if_any(&name).context(what)? {
            found.push((name, Some(stat)));
        }
    }
    found.extend(deleted.drain(..).map(|name| (name, None)));
    found.sort_by(|(one, _), (two, _)| one.cmp(two));
    for (name, stat) in found {
        let at = path.join(&name);
        let below = lookup(lower, &name).context(what)?;
        match stat {
            None => changes.push(Change {
                kind: ChangeKind::Deleted,
                path: at,
            }),
            Some(stat) if is_whiteout(&stat) => {
                if below.is_some() {
                    changes.push(Change {
                        kind: ChangeKind::Deleted,
                        path: at,
                    });
                }
            }
            Some(stat) => entry(upper, &name, &stat, below, at, depth, changes)?,
        }
    }
    Ok(())
}

fn entry(
    upper: &Dir,
    name: &OsStr,
    stat: &Stat,
    below: Option<Below>,
    path: PathBuf,
    depth: usize,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let what = || format!("compare {}", path.display());
    let kind = if below.is_some() {
        ChangeKind::Modified
    } else {
        ChangeKind::Added
    };
    let unchanged = below
        .as_ref()
        .is_some_and(|below| same_directory(stat, &below.stat));
    let position = changes.len();
    if file_type(stat) == FileType::Directory {
        let lower = below.map(|below| below.directories).unwrap_or_default();
        match upper.child(name) {
            Ok(child) => compare(&child, &lower, &path, depth + 1, changes)?,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error).context(what),
        }
    }
    // A directory that was only copied up for something below it which did not change after all.
    if !unchanged || changes.len() > position {
        changes.insert(position, Change { kind, path });
    }
    Ok(())
}

/// What the lower layers have under a name.
struct Below {
    stat: Stat,
    /// The directories that are merged there; empty unless it is one.
    directories: Vec<Dir>,
}

/// Looks `name` up as overlayfs does.
fn lookup(lower: &[Dir], name: &OsStr) -> io::Result<Option<Below>> {
    let mut below: Option<Below> = None;
    for layer in lower {
        if let Some(stat) = layer.stat_if_any(name)? {
            let is_directory = file_type(&stat) == FileType::Directory;
            if is_whiteout(&stat) || (below.is_some() && !is_directory) {
                break;
            }
            let found = below.get_or_insert(Below {
                stat,
                directories: Vec::new(),
            });
            if !is_directory {
                break;
            }
            let directory = layer.child(name)?;
            let opaque = directory.is_opaque()?;
            found.directories.push(directory);
            if opaque {
                break;
            }
        }
        if layer.is_opaque()? {
            break;
        }
    }
    Ok(below)
}

/// What an opaque directory hides: everything below that it does not have itself.
fn hidden(lower: &[Dir], own: &[OsString]) -> io::Result<Vec<OsString>> {
    let mut hidden = Vec::new();
    for layer in lower {
        for name in layer.names()? {
            if own.binary_search(&name).is_err()
                && !hidden.contains(&name)
                && lookup(lower, &name)?.is_some()
            {
                hidden.push(name);
            }
        }
    }
    Ok(hidden)
}

/// Whether both are directories that look alike.
fn same_directory(one: &Stat, two: &Stat) -> bool {
    file_type(one) == FileType::Directory
        && file_type(two) == FileType::Directory
        && one.st_mode == two.st_mode
        && (one.st_uid, one.st_gid) == (two.st_uid, two.st_gid)
        && (one.st_mtime, one.st_mtime_nsec) == (two.st_mtime, two.st_mtime_nsec)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
    )
}
