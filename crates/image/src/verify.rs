//! Compares an unpacked layer with the archive it came from.
//!
//! The archive is read once, as a stream. What differs is only suspected until its end: a later
//! entry may replace an earlier one.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hull_sys::beneath::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use crate::dir::{DEPTH_MAX, Dir, file_type, is_whiteout};
use crate::error::{Context as _, Error, Result};
use crate::tar::extract::clean;
use crate::tar::read::{Reader, read_full};
use crate::tar::{Entry, EntryKind};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
const PIECE_BYTES: usize = 128 << 10;
/// Differences told of one layer: more of them say nothing new.
const DIFFERENCES_MAX: usize = 20;

/// What in the layer's directory differs from the plain archive: a path and what is wrong with it.
pub(crate) fn differences(root: &Root, archive: impl Read) -> Result<Vec<(PathBuf, String)>> {
    let mut comparison = Comparison {
        root,
        expected: HashSet::from([PathBuf::new()]),
        suspects: BTreeMap::new(),
    };
    let mut reader = Reader::new(archive);
    while let Some(entry) = reader.next()? {
        comparison.entry(&entry, &mut reader)?;
    }
    let mut found: Vec<(PathBuf, String)> = comparison.suspects.into_iter().collect();
    if found.len() < DIFFERENCES_MAX {
        let directory = Dir::open_in(root, Path::new("")).context(|| "open the layer")?;
        let place = Path::new("");
        unexpected(&directory, place, &comparison.expected, 0, &mut found)
            .context(|| "list the layer")?;
    }
    found.truncate(DIFFERENCES_MAX);
    Ok(found)
}

struct Comparison<'a> {
    root: &'a Root,
    /// Every path the layer may have.
    expected: HashSet<PathBuf>,
    suspects: BTreeMap<PathBuf, String>,
}

impl Comparison<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let path = clean(&entry.path)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        if name == OPAQUE_WHITEOUT || matches!(entry.kind, EntryKind::Unknown(_)) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if !hidden.starts_with(WHITEOUT) {
                let path = path.with_file_name(OsStr::from_bytes(hidden));
                self.whiteout(path);
            }
            return Ok(());
        }
        let difference = self.compare(entry, &path, reader)?;
        let ancestors = path.ancestors().map(Path::to_path_buf);
        self.expected.extend(ancestors);
        match difference {
            Some(difference) => self.suspects.insert(path, difference),
            None => self.suspects.remove(&path),
        };
        Ok(())
    }

    /// A mark, unless the layer itself has something there.
    fn whiteout(&mut self, path: PathBuf) {
        let is_there = self.stat(&path).is_some();
        let ancestors = path.ancestors().map(Path::to_path_buf);
        self.expected.extend(ancestors);
        if !is_there {
            let text = "the mark of its removal is missing".to_owned();
            self.suspects.insert(path, text);
        }
    }

    fn compare<R: Read>(
        &self,
        entry: &Entry,
        path: &Path,
        reader: &mut Reader<R>,
    ) -> Result<Option<String>> {
        let Some(stat) = self.stat(path) else {
            return Ok(Some("is missing".to_owned()));
        };
        let kind = match entry.kind {
            EntryKind::Directory => FileType::Directory,
            EntryKind::Symlink => FileType::Symlink,
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            EntryKind::Fifo => FileType::Fifo,
            // A link's looks are those of its target, which has its own entry or lies below.
            EntryKind::HardLink => return Ok(None),
            EntryKind::File | EntryKind::Unknown(_) => FileType::RegularFile,
        };
        if file_type(&stat) != kind {
            return Ok(Some("is of another type".to_owned()));
        }
        // The root's own looks are set where it is mounted.
        if (stat.st_uid, stat.st_gid) != (entry.uid, entry.gid) {
            return Ok(Some("belongs to somebody else".to_owned()));
        }
        if kind != FileType::Symlink && stat.st_mode & 0o7777 != entry.mode {
            return Ok(Some("has other permissions".to_owned()));
        }
        match kind {
            FileType::Symlink => self.compare_link(entry, path),
            FileType::RegularFile => self.compare_content(entry, path, &stat, reader),
            _ => Ok(None),
        }
    }

    fn compare_link(&self, entry: &Entry, path: &Path) -> Result<Option<String>> {
        let what = || format!("read the link {}", path.display());
        let (parent, name) = self.root.parent(path).context(what)?;
        let target = rustix::fs::readlinkat(&parent, &name, Vec::new()).context(what)?;
        Ok((target.as_bytes() != entry.link).then(|| "points elsewhere".to_owned()))
    }

    fn compare_content<R: Read>(
        &self,
        entry: &Entry,
        path: &Path,
        stat: &Stat,
        reader: &mut Reader<R>,
    ) -> Result<Option<String>> {
        if stat.st_size.unsigned_abs() != entry.size {
            let (has, should) = (stat.st_size, entry.size);
            return Ok(Some(format!("has {has} bytes instead of {should}")));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = self.root.open(path, flags, Mode::empty());
        let file = File::from(opened.context(|| format!("open {}", path.display()))?);
        let whole = [(0, entry.size)];
        let segments = entry.segments.as_deref().unwrap_or(&whole);
        let same = same_content(&file, segments, reader);
        match same {
            // The archive's own trouble, not the file's.
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Error>()) => {
                Err(error).context(|| "read the archive")
            }
            Err(error) => Ok(Some(format!("cannot be read: {error}"))),
            Ok(same) => Ok((!same).then(|| "has other content".to_owned())),
        }
    }

    fn stat(&self, path: &Path) -> Option<Stat> {
        if path.as_os_str().is_empty() {
            let root = Dir::open_in(self.root, path).ok()?;
            return root.stat(OsStr::new(".")).ok();
        }
        let (parent, name) = self.root.parent(path).ok()?;
        rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }
}

/// Whether the file has the archive's bytes in the segments.
fn same_content(file: &File, segments: &[(u64, u64)], archive: &mut impl Read) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let mut expected = vec![0; PIECE_BYTES];
    let mut found = vec![0; PIECE_BYTES];
    for &(offset, length) in segments {
        let mut at = offset;
        while at < offset + length {
            let want = usize::try_from(offset + length - at).unwrap_or(usize::MAX);
            let want = want.min(PIECE_BYTES);
            let got = read_full(archive, &mut expected[..want])?;
            if got < want {
                return Err(Error::Tar("unexpected EOF".into()).into());
            }
            match file.read_exact_at(&mut found[..want], at) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                read => read?,
            }
            if expected[..want] != found[..want] {
                return Ok(false);
            }
            at += want as u64;
        }
    }
    Ok(true)
}

/// What is there and should not be.
fn unexpected(
    directory: &Dir,
    path: &Path,
    expected: &HashSet<PathBuf>,
    depth: usize,
    found: &mut Vec<(PathBuf, String)>,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Ok(());
    }
    for name in directory.names()? {
        let at = path.join(&name);
        let Some(stat) = directory.stat_if_any(&name)? else {
            continue;
        };
        if !expected.contains(&at) {
            let what = if is_whiteout(&stat) {
                "hides what lies below"
            } else {
                "was not in it"
            };
            found.push((at, what.to_owned()));
        } else if file_type(&stat) == FileType::Directory {
            unexpected(&directory.child(&name)?, &at, expected, depth + 1, found)?;
        }
        if found.len() >= DIFFERENCES_MAX {
            return Ok(());
        }
    }
    Ok(())
}
