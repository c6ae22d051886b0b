//! Creates an archive's files inside a root.
//!
//! The archive is hostile, and for containers that run, so may the root be: names are cleaned
//! before they are used, every path is resolved by the kernel beneath the root, what exists is
//! never followed at the last component, and attributes are set on open files or without following
//! links. For layers, whiteouts become overlayfs's marks.

mod attributes;
mod content;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use hull_sys::beneath::Root;
use hull_sys::idmap::Mappings;
use hull_sys::xattr;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::filecap;
use super::read::Reader;
use super::{Entry, EntryKind};
use crate::dir::{self, OPAQUE, file_type, is_whiteout, stat_if_any};
use crate::error::{Context as _, Error, Result};
use attributes::{chmod_node, set_times, set_xattrs, timestamps};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// The largest layer that is unpacked, in bytes of content: past any real one, short of "until
/// the disk is full".
const CONTENT_BYTES_MAX: u64 = 1 << 40;
/// The most entries a layer may have: an inode each.
const ENTRIES_MAX: u64 = 20_000_000;
const COPY_BYTES: usize = 128 << 10;

/// How to extract.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Where in the root, following links.
    pub(crate) base: PathBuf,
    /// `.wh.` names are marks, for overlayfs.
    pub(crate) is_layer: bool,
    /// `.wh.` names are refused: in a layer they would be marks.
    pub(crate) refuses_marks: bool,
    /// A directory and something else may not replace one another.
    pub(crate) keep_kinds: bool,
    /// Everything belongs to this user and group.
    pub(crate) owner: Option<(u32, u32)>,
    /// The entry for the archive's root is about the directory it is extracted to, as in layers.
    pub(crate) describes_base: bool,
    /// Owners in the archive, and `owner`, are those of a user namespace.
    pub(crate) owners: Option<Mappings>,
}

/// What was created.
#[derive(Debug, Default)]
pub(crate) struct Extracted {
    /// Bytes of files' content.
    pub(crate) bytes: u64,
    /// Entries.
    pub(crate) count: u64,
    /// Directories the archive needs but does not describe, parents first.
    pub(crate) implied: Vec<PathBuf>,
    /// Hard links whose targets are not in the archive: link, target, and the link's entry.
    pub(crate) unresolved: Vec<(PathBuf, PathBuf)>,
}

/// Extracts the archive; what follows its end is read too.
pub(crate) fn extract<R: Read>(root: &Root, options: Options, source: R) -> Result<Extracted> {
    let mut reader = Reader::new(source);
    // A whole directory that is brought in must not pass for whole when its end is missing.
    let must_end = options.describes_base;
    let mut extractor = Extractor::new(root, options);
    let root = extractor.options.owners.as_ref();
    let root = root.and_then(|owners| owners.outside((0, 0)));
    while let Some(mut entry) = reader.next()? {
        if let Some((root, _)) = root {
            filecap::with_owner(&mut entry.xattrs, root);
        }
        if extractor.options.refuses_marks {
            refuse_mark(&entry.path)?;
        }
        extractor.entry(&entry, &mut reader)?;
    }
    if must_end && !reader.has_end {
        return Err(Error::Tar("unexpected EOF".into()));
    }
    reader.drain()?;
    extractor.finish()
}

/// Refuses a name that cannot be in a layer.
pub(crate) fn refuse_mark(path: &[u8]) -> Result<()> {
    let mut names = path.split(|&letter| letter == b'/');
    if names.any(|name| name.starts_with(WHITEOUT)) {
        return Err(Error::Invalid(format!(
            "{:?} cannot be in an image: there, names that begin with .wh. mark what is removed",
            String::from_utf8_lossy(path)
        )));
    }
    Ok(())
}

/// Applies a layer's archive to a root that holds what lies below: whiteouts remove.
pub(crate) fn apply<R: Read>(root: &Root, source: R) -> Result<()> {
    let mut reader = Reader::new(source);
    let mut extractor = Extractor::new(root, Options::default());
    while let Some(entry) = reader.next()? {
        let path = clean(&entry.path)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        let Some(hidden) = name.strip_prefix(WHITEOUT) else {
            extractor.entry(&entry, &mut reader)?;
            continue;
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        let what = || format!("remove {}", path.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Ok(directory) = root.open(parent, flags, Mode::empty()) else {
            continue;
        };
        if name != OPAQUE_WHITEOUT {
            dir::remove(&directory, OsStr::from_bytes(hidden)).context(what)?;
            continue;
        }
        for child in dir::Dir::open_in(root, parent)
            .and_then(|dir| dir.names())
            .context(what)?
        {
            dir::remove(&directory, &child).context(what)?;
        }
    }
    reader.drain()?;
    extractor.finish()?;
    Ok(())
}

struct Extractor<'a> {
    root: &'a Root,
    options: Options,
    done: Extracted,
    /// The directory of the last entry: archives are written directory by directory.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories' times, set last: creating an entry changes them.
    times: Vec<(PathBuf, (i64, u32))>,
    buffer: Vec<u8>,
    /// When the directory that is extracted to last changed.
    base_time: Option<(i64, u32)>,
}

impl<'a> Extractor<'a> {
    fn new(root: &'a Root, options: Options) -> Self {
        Self {
            root,
            options,
            done: Extracted::default(),
            parent: None,
            times: Vec::new(),
            buffer: vec![0; COPY_BYTES],
            base_time: None,
        }
    }

    fn entry<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        self.done.count += 1;
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.count > ENTRIES_MAX || self.done.bytes > CONTENT_BYTES_MAX {
            return Err(Error::Tar("the archive is too large".into()));
        }
        let path = clean(&entry.path)?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return self.base_itself(entry);
        };
        if self.options.is_layer && name.as_bytes().starts_with(WHITEOUT) {
            return self.whiteout(&path, name.as_bytes());
        }
        if matches!(entry.kind, EntryKind::Unknown(_)) {
            tracing::debug!(path = %path.display(), "skipping an entry of unknown type");
            return Ok(());
        }
        self.enter(path.parent().unwrap_or(Path::new("")))?;
        let hid_lower = self.make_room(&path, &name, entry)?;
        self.create(entry, &path, &name, reader)?;
        if hid_lower && entry.kind == EntryKind::Directory {
            self.mark_opaque(&name)?;
        }
        Ok(())
    }

    /// Sets what had to wait.
    fn finish(mut self) -> Result<Extracted> {
        // Children before parents: nothing but their own entries changes directories any more.
        for (path, mtime) in std::mem::take(&mut self.times).into_iter().rev() {
            let (directory, name) = match self.root.parent(self.options.base.join(&path)) {
                Ok(found) => found,
                // Replaced by a later entry, or by somebody else.
                Err(_) => continue,
            };
            match set_times(&directory, &name, mtime) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => {
                    return Err(error).context(|| format!("set times of {}", path.display()));
                }
            }
        }
        if let Some(mtime) = self.base_time {
            let what = || "set the times of the root directory";
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let base = self.root.open(&self.options.base, flags, Mode::empty());
            rustix::fs::futimens(base.context(what)?, &timestamps(mtime)).context(what)?;
        }
        Ok(self.done)
    }

    /// The archive describes the directory it is extracted to.
    fn base_itself(&mut self, entry: &Entry) -> Result<()> {
        let is_about_base = self.options.is_layer || self.options.describes_base;
        if entry.kind != EntryKind::Directory || !is_about_base {
            return Ok(());
        }
        self.enter(Path::new(""))?;
        let (_, directory) = self.parent.as_ref().expect("entered just now");
        let what = || "set the attributes of the root directory";
        let fd = rustix::fs::openat(
            directory,
            ".",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .context(what)?;
        let (uid, gid) = (
            Some(Uid::from_raw(entry.uid)),
            Some(Gid::from_raw(entry.gid)),
        );
        rustix::fs::fchown(&fd, uid, gid).context(what)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(entry.mode)).context(what)?;
        set_xattrs(directory, OsStr::new("."), entry)?;
        if self.options.describes_base {
            // Last of all: the entries in it change it.
            self.base_time = Some(entry.mtime);
        }
        Ok(())
    }

    /// Makes `path` (relative to the base) the current directory, creating what is missing.
    fn enter(&mut self, path: &Path) -> Result<()> {
        if self
            .parent
            .as_ref()
            .is_some_and(|(current, _)| current == path)
        {
            return Ok(());
        }
        let what = || format!("open the directory {}", path.display());
        let full = self.options.base.join(path);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = match self.root.open(&full, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.imply(path)?,
            // A file, where a directory must be: the archive's own doing.
            Err(error) => return Err(error).context(what),
        };
        self.parent = Some((path.to_owned(), fd));
        Ok(())
    }

    /// Makes the directory and its parents, which the archive does not describe.
    fn imply(&mut self, path: &Path) -> Result<OwnedFd> {
        let what = || format!("make the directory {}", path.display());
        let mut missing: Vec<&Path> = Vec::new();
        for ancestor in path.ancestors() {
            if self.root.resolve(self.options.base.join(ancestor)).is_ok() {
                break;
            }
            missing.push(ancestor);
        }
        let full = self.options.base.join(path);
        let fd = self
            .root
            .mkdir_all(full, Mode::from_raw_mode(0o755))
            .context(what)?;
        self.done
            .implied
            .extend(missing.into_iter().rev().map(Path::to_path_buf));
        Ok(fd)
    }

    /// Removes what stands where the entry goes, unless both are directories. Whether lower layers
    /// were hidden there.
    fn make_room(&mut self, path: &Path, name: &OsStr, entry: &Entry) -> Result<bool> {
        let directory = self.current();
        let what = || format!("look at {}", path.display());
        let Some(stat) = stat_if_any(directory, name).context(what)? else {
            return Ok(false);
        };
        let is_directory = file_type(&stat) == FileType::Directory;
        let becomes_directory = entry.kind == EntryKind::Directory;
        if is_directory && becomes_directory {
            return Ok(false);
        }
        if self.options.keep_kinds && (is_directory || becomes_directory) {
            let kind = |directory: bool| {
                if directory {
                    "directory"
                } else {
                    "non-directory"
                }
            };
            return Err(Error::Invalid(format!(
                "cannot overwrite {} {:?} with {} {:?}",
                kind(is_directory),
                path,
                kind(becomes_directory),
                self.options.base.join(path),
            )));
        }
        dir::remove(directory, name).context(|| format!("replace {}", path.display()))?;
        self.done
            .implied
            .retain(|implied| !implied.starts_with(path));
        Ok(is_whiteout(&stat))
    }

    fn create<R: Read>(
        &mut self,
        entry: &Entry,
        path: &Path,
        name: &OsStr,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let what = || format!("create {}", path.display());
        match entry.kind {
            EntryKind::File => return self.file(entry, name, reader).context(what),
            EntryKind::Directory => return self.directory(entry, path, name),
            EntryKind::HardLink => return self.hard_link(entry, path, name),
            EntryKind::Symlink => {
                rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), self.current(), name)
                    .context(what)?;
            }
            EntryKind::Fifo | EntryKind::CharDevice | EntryKind::BlockDevice => {
                let kind = match entry.kind {
                    EntryKind::Fifo => FileType::Fifo,
                    EntryKind::CharDevice => FileType::CharacterDevice,
                    _ => FileType::BlockDevice,
                };
                let device = rustix::fs::makedev(entry.device.0, entry.device.1);
                let mode = Mode::from_raw_mode(entry.mode);
                rustix::fs::mknodat(self.current(), name, kind, mode, device).context(what)?;
                chmod_node(self.current(), name, mode, kind).context(what)?;
            }
            EntryKind::Unknown(_) => return Ok(()),
        }
        self.chown(entry, name).context(what)?;
        set_xattrs(self.current(), name, entry)?;
        set_times(self.current(), name, entry.mtime).context(what)
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        name: &OsStr,
        reader: &mut Reader<R>,
    ) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        let fd = rustix::fs::openat(self.current(), name, flags | OFlags::CLOEXEC, mode)?;
        let mut file = File::from(fd);
        match &entry.segments {
            None => content::copy(reader, &mut file, &mut self.buffer)?,
            Some(segments) => {
                let buffer = &mut self.buffer;
                content::copy_segments(reader, &file, segments, entry.size, buffer)?;
            }
        }
        let (uid, gid) = self.owner(entry)?;
        // The owner first: changing it takes setuid and capabilities away.
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        set_xattrs(self.current(), name, entry)?;
        Ok(rustix::fs::futimens(&file, &timestamps(entry.mtime))?)
    }

    fn directory(&mut self, entry: &Entry, path: &Path, name: &OsStr) -> Result<()> {
        let what = || format!("create the directory {}", path.display());
        match rustix::fs::mkdirat(self.current(), name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).context(what),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.current(), name, flags, Mode::empty()).context(what)?;
        let (uid, gid) = self.owner(entry).context(what)?;
        rustix::fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .context(what)?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(entry.mode)).context(what)?;
        set_xattrs(&fd, OsStr::new("."), entry)?;
        self.done.implied.retain(|implied| implied != path);
        self.times.push((path.to_owned(), entry.mtime));
        Ok(())
    }

    fn hard_link(&mut self, entry: &Entry, path: &Path, name: &OsStr) -> Result<()> {
        let target = clean(&entry.link)?;
        let what = || format!("link {} to {}", path.display(), target.display());
        let found = self.root.parent(self.options.base.join(&target));
        let linked = found.and_then(|(directory, target_name)| {
            let flags = AtFlags::empty();
            Ok(rustix::fs::linkat(
                &directory,
                &target_name,
                self.current(),
                name,
                flags,
            )?)
        });
        match linked {
            Err(error) if self.options.is_layer && error.kind() == io::ErrorKind::NotFound => {
                self.done.unresolved.push((path.to_owned(), target));
                Ok(())
            }
            linked => linked.context(what),
        }
    }

    /// `.wh.NAME` hides NAME of lower layers; `.wh..wh..opq` all of the directory.
    fn whiteout(&mut self, path: &Path, name: &[u8]) -> Result<()> {
        self.enter(path.parent().unwrap_or(Path::new("")))?;
        if name == OPAQUE_WHITEOUT {
            return self.mark_opaque(OsStr::new("."));
        }
        // Leftovers of aufs, and names that would leave the directory.
        let hidden = OsStr::from_bytes(&name[WHITEOUT.len()..]);
        if name.starts_with(AUFS_PREFIX) || matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Ok(());
        }
        let what = || format!("hide {}", path.display());
        let existing = stat_if_any(self.current(), hidden).context(what)?;
        if let Some(existing) = existing {
            // This layer's own: the whiteout only concerns what lies below.
            if file_type(&existing) == FileType::Directory {
                self.mark_opaque(hidden)?;
            }
            return Ok(());
        }
        let mode = Mode::from_raw_mode(0o600);
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(self.current(), hidden, kind, mode, 0).context(what)
    }

    fn mark_opaque(&self, name: &OsStr) -> Result<()> {
        xattr::set(self.current(), name, OsStr::new(OPAQUE), b"y")
            .context(|| format!("mark the directory {} opaque", name.display()))
    }

    fn chown(&self, entry: &Entry, name: &OsStr) -> io::Result<()> {
        let (uid, gid) = self.owner(entry)?;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(self.current(), name, uid, gid, flags)?)
    }

    fn owner(&self, entry: &Entry) -> io::Result<(u32, u32)> {
        let owner = self.options.owner.unwrap_or((entry.uid, entry.gid));
        let Some(owners) = &self.options.owners else {
            return Ok(owner);
        };
        owners.outside(owner).ok_or_else(|| {
            let (uid, gid) = owner;
            io::Error::other(format!(
                "user {uid} or group {gid} is outside of the container's user namespace"
            ))
        })
    }

    fn current(&self) -> &OwnedFd {
        let (_, directory) = self
            .parent
            .as_ref()
            .expect("each entry enters its directory first");
        directory
    }
}

/// A name without `.`, doubled slashes and leading slashes; `..` may not lead out.
pub(crate) fn clean(name: &[u8]) -> Result<PathBuf> {
    if name.contains(&0) {
        return Err(Error::Tar("a name contains NUL".into()));
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() {
                    let name = String::from_utf8_lossy(name);
                    return Err(Error::Tar(format!(
                        "{name:?} is outside of the archive's root"
                    )));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(PathBuf::from(OsString::from_vec(parts.join(&b'/'))))
}
