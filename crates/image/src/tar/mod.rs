//! The tar format: read leniently, written one way.
//!
//! [`read`] parses ustar, GNU and pax archives as a stream, [`write`] makes ustar with pax
//! records, [`extract`] creates files in a root that hostile archives cannot leave, and [`pack`]
//! walks a tree into an archive.

pub(crate) mod extract;
pub(crate) mod pack;
pub(crate) mod read;
pub(crate) mod write;

mod filecap;
mod sparse;

use std::ffi::OsString;

/// The unit of the format.
pub(crate) const BLOCK: usize = 512;

/// One member of an archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// As it stands in the archive.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Bytes of the file's content, holes included.
    pub(crate) size: u64,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    /// Major and minor of a device.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(OsString, Vec<u8>)>,
    /// Where the stored bytes belong, if the file has holes: offset and length, ascending.
    pub(crate) segments: Option<Vec<(u64, u64)>>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// Something this version does not know.
    Unknown(u8),
}

impl Entry {
    /// An entry of root's from the beginning of time.
    pub(crate) fn new(path: impl Into<Vec<u8>>, kind: EntryKind) -> Self {
        Self {
            path: path.into(),
            kind,
            mode: if kind == EntryKind::Directory {
                0o755
            } else {
                0o644
            },
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
            segments: None,
        }
    }

    /// A regular file of `size` bytes.
    pub(crate) fn file(path: impl Into<Vec<u8>>, size: u64) -> Self {
        Self {
            size,
            ..Self::new(path, EntryKind::File)
        }
    }
}

#[cfg(test)]
mod tests;
