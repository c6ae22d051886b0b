//! Walks a tree into an archive.
//!
//! Somebody may be changing the tree: it is walked by descriptors, links are never followed, and
//! what vanishes meanwhile is left out. Names are sorted, so equal trees give equal archives.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{FileType, Stat};

use super::extract::refuse_mark;
use super::filecap;
use super::write::Writer;
use super::{Entry, EntryKind};
use crate::archive::PackOptions;
use crate::copy::next_data;
use crate::dir::{DEPTH_MAX, Dir, file_type, is_whiteout};
use crate::error::{Context as _, Error, Result};

/// A tree on its way into an archive.
pub(crate) struct Packer<'a, W> {
    writer: &'a mut Writer<W>,
    /// Overlayfs's marks become whiteouts.
    is_layer: bool,
    /// No file is younger (Unix seconds).
    mtime_max: i64,
    /// The first name of each file with several.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The file system that the tree begins in.
    device: Option<u64>,
    keep: PackOptions,
}

impl<'a, W: Write> Packer<'a, W> {
    /// A tree as it is.
    pub(crate) fn tree(writer: &'a mut Writer<W>) -> Self {
        Self {
            writer,
            is_layer: false,
            mtime_max: i64::MAX,
            links: HashMap::new(),
            device: None,
            keep: PackOptions::default(),
        }
    }

    /// The upper directory of an overlay, as a layer.
    pub(crate) fn layer(writer: &'a mut Writer<W>, mtime_max: Option<i64>) -> Self {
        Self {
            writer,
            is_layer: true,
            mtime_max: mtime_max.unwrap_or(i64::MAX),
            links: HashMap::new(),
            device: None,
            keep: PackOptions::default(),
        }
    }

    /// Keeps more than the usual.
    pub(crate) fn keeping(self, keep: PackOptions) -> Self {
        Self { keep, ..self }
    }

    /// The entry `name` of `directory`, with all below it, under the name `path` (without a slash
    /// at its end).
    pub(crate) fn entry(&mut self, directory: &Dir, name: &OsStr, path: &[u8]) -> Result<()> {
        self.level(directory, name, path, 0)
    }

    /// All entries of `directory`, each under its own name behind `prefix`.
    pub(crate) fn content(&mut self, directory: &Dir, prefix: &[u8]) -> Result<()> {
        self.children(directory, prefix, 0)
    }

    fn level(&mut self, directory: &Dir, name: &OsStr, path: &[u8], depth: usize) -> Result<()> {
        let what = || format!("read {}", String::from_utf8_lossy(path));
        let Some(stat) = directory.stat_if_any(name).context(what)? else {
            return Ok(());
        };
        if self.is_layer && is_whiteout(&stat) {
            return self.whiteout(path);
        }
        if self.is_layer {
            refuse_mark(path)?;
        }
        match self.one(directory, name, path, &stat).context(what) {
            // It went away, or became something else: as if it had never been.
            Err(Error::Io { source, .. }) if is_gone(&source) => return Ok(()),
            other => other?,
        }
        if file_type(&stat) != FileType::Directory {
            return Ok(());
        }
        let is_elsewhere = stat.st_dev != *self.device.get_or_insert(stat.st_dev);
        if depth >= DEPTH_MAX {
            return Err(Error::Invalid("the tree is nested too deeply".into()));
        }
        let child = match directory.child(name) {
            Ok(child) => child,
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error).context(what),
        };
        if is_elsewhere && is_kernels(&child) {
            return Ok(());
        }
        // The root of all is named `/` already.
        let prefix = if path.ends_with(b"/") {
            path.to_vec()
        } else {
            [path, b"/"].concat()
        };
        if self.is_layer && child.is_opaque().context(what)? {
            self.writer
                .append(&marker([&prefix[..], b".wh..wh..opq"].concat()))?;
        }
        self.children(&child, &prefix, depth + 1)
    }

    fn children(&mut self, directory: &Dir, prefix: &[u8], depth: usize) -> Result<()> {
        let what = || format!("list {}", String::from_utf8_lossy(prefix));
        for name in directory.names().context(what)? {
            let path = [prefix, name.as_bytes()].concat();
            self.level(directory, &name, &path, depth)?;
        }
        Ok(())
    }

    fn one(&mut self, directory: &Dir, name: &OsStr, path: &[u8], stat: &Stat) -> io::Result<()> {
        let Some(mut entry) = describe(path, stat) else {
            return Ok(());
        };
        let is_device = matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        if is_device && self.device.is_some_and(|device| stat.st_dev != device) {
            // A running container's, not one of the tree's.
            return Ok(());
        }
        entry.mtime.0 = entry.mtime.0.min(self.mtime_max);
        if let Some(owners) = &self.keep.owners {
            (entry.uid, entry.gid) = owners.inside((entry.uid, entry.gid));
        }
        if self.keep.nanoseconds {
            entry.mtime.1 = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        }
        if entry.kind == EntryKind::Symlink {
            entry.link = directory.read_link(name)?;
        }
        if stat.st_nlink > 1 && entry.kind != EntryKind::Directory {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                (entry.kind, entry.link, entry.size) = (EntryKind::HardLink, first.clone(), 0);
                return Ok(self.writer.append(&entry)?);
            }
            self.links.insert(key, path.to_vec());
        }
        entry.xattrs = directory.portable_xattrs(name)?;
        if let Some((root, _)) = self
            .keep
            .owners
            .as_ref()
            .and_then(|ids| ids.outside((0, 0)))
        {
            filecap::without_owner(&mut entry.xattrs, root);
        }
        if entry.kind == EntryKind::File {
            let file = directory.open_file(name)?;
            if self.keep.sparse && holes(stat) >= HOLES_BYTES_MIN {
                entry.segments = Some(segments(&file)?);
                return Ok(self.writer.append_sparse(&entry, &file)?);
            }
            return Ok(self.writer.append_file(&entry, file)?);
        }
        Ok(self.writer.append(&entry)?)
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        let at = path
            .iter()
            .rposition(|&b| b == b'/')
            .map_or(0, |slash| slash + 1);
        self.writer
            .append(&marker([&path[..at], b".wh.", &path[at..]].concat()))
    }
}

/// File systems in which the kernel shows itself: what is there is nobody's content, and some of it
/// cannot be read.
const KERNELS: [rustix::fs::FsWord; 10] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x7363_6673, // securityfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0xcafe_4a11, // bpf
];

fn is_kernels(directory: &Dir) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|found| KERNELS.contains(&found.f_type))
}

/// Files with fewer bytes in holes are written as any other.
const HOLES_BYTES_MIN: u64 = 64 << 10;

/// Bytes of a file that are not on the disk.
fn holes(stat: &Stat) -> u64 {
    let stored = stat.st_blocks.unsigned_abs() * 512;
    stat.st_size.unsigned_abs().saturating_sub(stored)
}

/// Where a file's bytes are: offset and length, ascending.
fn segments(file: &File) -> io::Result<Vec<(u64, u64)>> {
    let mut segments = Vec::new();
    let mut at = 0;
    while let Some((start, end)) = next_data(file, at)? {
        segments.push((start, end - start));
        at = end;
    }
    Ok(segments)
}

/// The entry of a file; `None` for sockets, which no archive can hold.
fn describe(path: &[u8], stat: &Stat) -> Option<Entry> {
    let kind = match file_type(stat) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Fifo => EntryKind::Fifo,
        _ => return None,
    };
    let mut path = path.to_vec();
    if kind == EntryKind::Directory && !path.ends_with(b"/") {
        path.push(b'/');
    }
    let is_file = kind == EntryKind::File;
    let device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    Some(Entry {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, 0),
        size: if is_file {
            stat.st_size.unsigned_abs()
        } else {
            0
        },
        device: if device { (major, minor) } else { (0, 0) },
        ..Entry::new(path, kind)
    })
}

fn marker(path: Vec<u8>) -> Entry {
    Entry {
        mode: 0o600,
        ..Entry::file(path, 0)
    }
}

fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::STALE | Errno::LOOP | Errno::NOTDIR | Errno::NXIO)
    )
}
