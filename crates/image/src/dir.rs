//! A directory held open: its entries by bare name, links never followed.
//!
//! Walks over trees that somebody else may be changing go through here, so that a renamed
//! directory or a new link cannot lead them elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hull_sys::beneath::Root;
use hull_sys::xattr;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

/// The deepest tree that is walked: each level keeps a descriptor open.
pub(crate) const DEPTH_MAX: usize = 1000;

/// The same for a tree that is removed: each level keeps its list of names, too.
const REMOVED_DEPTH_MAX: usize = 256;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// An open directory.
pub(crate) struct Dir(OwnedFd);

impl Dir {
    /// The directory at a path of the host.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(
            CWD,
            path,
            DIRECTORY,
            Mode::empty(),
        )?))
    }

    /// The directory `path` inside `root`, links followed.
    pub(crate) fn open_in(root: &Root, path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Self(root.open(path, flags, Mode::empty())?))
    }

    /// A directory in this one.
    pub(crate) fn child(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(
            &self.0,
            name,
            DIRECTORY,
            Mode::empty(),
        )?))
    }

    /// The names of all entries, sorted by their bytes.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        // A fresh descriptor: the position in a directory belongs to the open file.
        let fresh = rustix::fs::openat(&self.0, ".", DIRECTORY, Mode::empty())?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut entries = RawDir::new(fresh, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What the entry is (`.`: this directory).
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(rustix::fs::statat(
            &self.0,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// What the entry is, if there is one.
    pub(crate) fn stat_if_any(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        stat_if_any(&self.0, name)
    }

    /// The target of a link.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }

    /// A regular file, for reading.
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        // Not blocking: by now it may be a FIFO. O_NOATIME is refused for others' files.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags | OFlags::NOCTTY, Mode::empty())?;
        if file_type(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
            return Err(Errno::STALE.into());
        }
        Ok(File::from(file))
    }

    /// The value of an attribute of the entry (`.`: of this directory).
    pub(crate) fn xattr(&self, name: &OsStr, attribute: &str) -> io::Result<Option<Vec<u8>>> {
        xattr::get(&self.0, name, OsStr::new(attribute))
    }

    /// The attributes that travel in archives.
    pub(crate) fn portable_xattrs(&self, name: &OsStr) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        let mut attributes = Vec::new();
        for attribute in xattr::list(&self.0, name)? {
            if is_portable_xattr(&attribute)
                && let Some(value) = xattr::get(&self.0, name, &attribute)?
            {
                attributes.push((attribute, value));
            }
        }
        attributes.sort_unstable();
        Ok(attributes)
    }

    /// Whether overlayfs hides what lower layers have in this directory.
    pub(crate) fn is_opaque(&self) -> io::Result<bool> {
        Ok(self
            .xattr(OsStr::new("."), OPAQUE)?
            .is_some_and(|value| value == b"y"))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Overlayfs's mark of a directory that hides its namesakes in lower layers.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// Whether an attribute may enter or leave by an archive: users' own, capabilities and ACLs. Never
/// overlayfs's, which would let an archive redirect a layer's directories.
pub fn is_portable_xattr(attribute: &OsStr) -> bool {
    let name = attribute.as_bytes();
    (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
        || name == b"security.capability"
        || name == b"security.ima"
        || name.starts_with(b"system.posix_acl_")
}

/// What the entry is, if there is one; a link is itself.
pub(crate) fn stat_if_any(directory: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Removes the entry, with everything below it.
pub(crate) fn remove(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    remove_level(directory.as_fd(), name, 0, None)
}

/// The same for a tree of any depth: what lies too deep is moved into `spill`, under names of its own,
/// to be removed from there.
pub(crate) fn remove_spilling(directory: &Dir, name: &OsStr, spill: &Dir) -> io::Result<()> {
    remove_level(directory.as_fd(), name, 0, Some(spill.as_fd()))
}

fn remove_level(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    depth: usize,
    spill: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let deepest = match spill {
        Some(_) => REMOVED_DEPTH_MAX,
        None => DEPTH_MAX,
    };
    if depth >= deepest {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let spill = spill.ok_or(Errno::NAMETOOLONG)?;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let place = format!("deep-{}-{serial}", std::process::id());
            match rustix::fs::renameat(directory, name, spill, place) {
                // An earlier process's.
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                moved => return Ok(moved?),
            }
        }
    }
    let child = Dir(rustix::fs::openat(
        directory,
        name,
        DIRECTORY,
        Mode::empty(),
    )?);
    for entry in child.names()? {
        remove_level(child.as_fd(), &entry, depth + 1, spill)?;
    }
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

/// What kind of file it is.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether it is overlayfs's mark of a deleted file: the character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}
