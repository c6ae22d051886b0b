//! Brings a tree up to date.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hull_image::archive::{MemberKind, Members};
use hull_oci::{Algorithm, Hasher};
use hull_sys::beneath::Root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{BOOT, Entries, Entry, Kind, Meta, Place, Tree, index};
use crate::error::{Error, Result};

/// Bytes copied at once.
const COPY_BYTES: usize = 128 << 10;
/// The most entries a context may have.
const ENTRIES_MAX: usize = 5_000_000;

/// A tree being brought up to date.
pub struct TreeWriter {
    place: Place,
    root: Root,
    /// What an earlier use left.
    before: Entries,
    now: Entries,
    /// Something was written.
    is_changed: bool,
    received: u64,
    buffer: Vec<u8>,
    /// The directory of the last file: files come directory by directory.
    last: Option<(PathBuf, OwnedFd)>,
}

impl TreeWriter {
    pub(super) fn open(place: Place) -> Result<Self> {
        let fs_dir = place.path.join("fs");
        let what = || format!("open {}", fs_dir.display());
        // Of another boot that ended before the disk had it all.
        let is_torn =
            fs::read_to_string(place.path.join(BOOT)).is_ok_and(|boot| boot != *place.boot);
        let before = match index::read(&place.path) {
            Some(entries) if fs_dir.is_dir() && !is_torn => entries,
            _ => {
                let _ = fs::remove_dir_all(&place.path);
                Entries::new()
            }
        };
        fs::create_dir_all(&fs_dir).map_err(|error| Error::host(what(), error))?;
        let root = Root::new(&fs_dir).map_err(|error| Error::host(what(), error))?;
        Ok(Self {
            place,
            root,
            before,
            now: Entries::new(),
            is_changed: false,
            received: 0,
            buffer: Vec::new(),
            last: None,
        })
    }

    /// What an earlier use left: a client that has the same need not send it.
    pub fn before(&self) -> &Entries {
        &self.before
    }

    /// Keeps the file `path` of an earlier use if it looks the same; otherwise it must be brought.
    pub fn keep(&mut self, path: &Path, size: u64, meta: Meta) -> bool {
        let Some(entry) = self.before.get(path) else {
            return false;
        };
        let same = matches!(&entry.kind, Kind::File { size: known, .. } if *known == size)
            && entry.meta == meta
            && self.is_as_before(path);
        if same {
            self.now.insert(path.to_owned(), entry.clone());
        }
        same
    }

    /// A directory, which comes before what lies in it.
    pub fn directory(&mut self, path: &Path, meta: Meta) -> Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let known = self.before.get(path);
        if known.is_some_and(|entry| entry.kind == Kind::Directory) && self.is_as_before(path) {
            self.add(path, Kind::Directory, meta);
            return Ok(());
        }
        self.attempt(path, |writer| {
            let (parent, name) = writer.parent(path)?;
            writer.changing();
            match rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                Err(Errno::EXIST) if is_directory(&parent, &name) => {}
                Err(Errno::EXIST) => {
                    remove(&parent, &name)?;
                    rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755))?;
                }
                Err(error) => return Err(error.into()),
            }
            Ok(Kind::Directory)
        })
        .map(|kind| self.add(path, kind, meta))
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &Path, target: &[u8], meta: Meta) -> Result<()> {
        let kind = Kind::Symlink(target.to_vec());
        if let Some(entry) = self.before.get(path)
            && entry.kind == kind
            && self.is_as_before(path)
        {
            self.add(path, kind, meta);
            return Ok(());
        }
        self.attempt(path, |writer| {
            let (parent, name) = writer.parent(path)?;
            writer.changing();
            remove(&parent, &name)?;
            rustix::fs::symlinkat(OsStr::from_bytes(target), &parent, &name)?;
            Ok(kind.clone())
        })
        .map(|kind| self.add(path, kind, meta))
    }

    /// A file with the bytes that `content` gives.
    pub fn file(&mut self, path: &Path, content: &mut dyn Read, meta: Meta) -> Result<()> {
        self.attempt(path, |writer| {
            let file = writer.create(path)?;
            writer.fill(file, content, meta)
        })
        .map(|kind| self.add(path, kind, meta))
    }

    /// One more name of a file that was brought or kept before.
    pub fn hard_link(&mut self, path: &Path, target: &Path, meta: Meta) -> Result<()> {
        let kind = match self.now.get(target) {
            Some(entry) if matches!(entry.kind, Kind::File { .. }) => entry.kind.clone(),
            _ => {
                let (path, target) = (path.display(), target.display());
                let message = format!("the context's link {path} has no target {target}");
                return Err(Error::invalid(message, None));
            }
        };
        self.attempt(path, |writer| {
            let (from, from_name) = writer.parent(target)?;
            let (parent, name) = writer.parent(path)?;
            writer.changing();
            remove(&parent, &name)?;
            rustix::fs::linkat(&from, &from_name, &parent, &name, AtFlags::empty())?;
            Ok(kind)
        })
        .map(|kind| self.add(path, kind, meta))
    }

    /// All of an archive, compressed or not.
    pub fn unpack(&mut self, source: impl Read + Send) -> Result<()> {
        let mut members = Members::new(source).map_err(|error| bad_archive(&error))?;
        while let Some(member) = members.next_member().map_err(|error| bad_archive(&error))? {
            let meta = Meta {
                mode: member.mode & 0o7777,
                uid: member.uid,
                gid: member.gid,
                mtime_ns: member
                    .mtime
                    .0
                    .saturating_mul(1_000_000_000)
                    .saturating_add(i64::from(member.mtime.1)),
                ..Meta::default()
            };
            let path = member.path.as_path();
            if path.as_os_str().is_empty() {
                continue;
            }
            match &member.kind {
                MemberKind::File(_) => self.file(path, &mut members, meta)?,
                MemberKind::Directory => self.directory(path, meta)?,
                MemberKind::Symlink(target) => self.symlink(path, target, meta)?,
                MemberKind::HardLink(target) => self.hard_link(path, target, meta)?,
                MemberKind::Other => {}
            }
        }
        members.drain().map_err(|error| bad_archive(&error))
    }

    /// Files out of an archive: `wanted` says how each looks, and of others nothing is taken.
    pub fn files_from(
        &mut self,
        source: impl Read + Send,
        wanted: &mut dyn FnMut(&Path) -> Option<Meta>,
    ) -> Result<()> {
        let mut members = Members::new(source).map_err(|error| bad_archive(&error))?;
        while let Some(member) = members.next_member().map_err(|error| bad_archive(&error))? {
            if matches!(member.kind, MemberKind::File(_))
                && let Some(meta) = wanted(&member.path)
            {
                self.file(&member.path, &mut members, meta)?;
            }
        }
        members.drain().map_err(|error| bad_archive(&error))
    }

    /// Removes what was neither kept nor brought, and gives the tree.
    pub fn finish(mut self) -> Result<Arc<Tree>> {
        let gone: Vec<PathBuf> = self
            .before
            .keys()
            .rev()
            .filter(|path| !self.now.contains_key(*path))
            .cloned()
            .collect();
        if !gone.is_empty() {
            self.changing();
        }
        for path in gone {
            // With a parent that became something else it is gone already.
            if let Ok((parent, name)) = self.parent_if_any(&path) {
                let _ = remove(&parent, &name);
            }
        }
        if !self.place.temporary {
            self.write_index().map_err(|error| {
                Error::host(format!("write {}", self.place.path.display()), error)
            })?;
        }
        Ok(Arc::new(Tree {
            place: self.place,
            root: self.root,
            entries: std::mem::take(&mut self.now),
            received: self.received,
        }))
    }

    fn write_index(&self) -> io::Result<()> {
        if self.is_changed {
            fs::write(self.place.path.join(BOOT), &*self.place.boot)?;
        } else if !self.before.is_empty() && self.now == self.before {
            return index::touch(&self.place.path);
        }
        index::write(&self.place.path, &self.now)
    }

    /// Files are going to change: until that is done, nothing is known about them.
    fn changing(&mut self) {
        if !self.is_changed {
            self.is_changed = true;
            let _ = fs::remove_file(index::of(&self.place.path));
        }
    }

    /// Whether nothing took an entry's place, or on the way to it became something other than a
    /// directory: what was there before is gone then, and the way leads elsewhere.
    fn is_as_before(&self, path: &Path) -> bool {
        let taken = self.now.get(path);
        if taken
            .is_some_and(|entry| self.before.get(path).map(|old| &old.kind) != Some(&entry.kind))
        {
            return false;
        }
        let is_directory = |ancestor: &Path| match self.now.get(ancestor) {
            None => true,
            Some(entry) => entry.kind == Kind::Directory,
        };
        path.ancestors().skip(1).all(is_directory)
    }

    fn add(&mut self, path: &Path, kind: Kind, meta: Meta) {
        if kind != Kind::Directory {
            // With a directory that becomes something else goes what was told of it.
            let below = self.now.range(path.to_owned()..);
            let below = below.take_while(|(other, _)| other.starts_with(path));
            let below: Vec<PathBuf> = below.map(|(other, _)| other.clone()).collect();
            for gone in below {
                self.now.remove(&gone);
            }
            // And what lay there before is gone from the disk.
            let below = self.before.range(path.to_owned()..);
            let below = below.map(|(other, _)| other.clone());
            let below = below.take_while(|other| other.starts_with(path));
            let below: Vec<PathBuf> = below.filter(|other| other != path).collect();
            for gone in below {
                self.before.remove(&gone);
            }
        }
        self.now.insert(path.to_owned(), Entry { kind, meta });
    }

    fn attempt(
        &mut self,
        path: &Path,
        job: impl FnOnce(&mut Self) -> io::Result<Kind>,
    ) -> Result<Kind> {
        let is_clean = path
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
        if !is_clean {
            let message = format!(
                "the context holds a path that leads out: {}",
                path.display()
            );
            return Err(Error::invalid(message, None));
        }
        if self.now.len() >= ENTRIES_MAX {
            return Err(Error::invalid("the context has too many files", None));
        }
        job(self).map_err(|error| {
            Error::host(
                format!("take {} of the context over", path.display()),
                error,
            )
        })
    }

    /// A new file; what is there makes room.
    fn create(&mut self, path: &Path) -> io::Result<File> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = match self.last.take() {
            Some((known, parent)) if known == directory => parent,
            _ => self.parent(path)?.0,
        };
        self.changing();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o644);
        let open = || rustix::fs::openat(&parent, name, flags | OFlags::CLOEXEC, mode);
        let file = match open() {
            Err(Errno::EXIST) => {
                remove(&parent, name)?;
                open()?
            }
            opened => opened?,
        };
        self.last = Some((directory.to_owned(), parent));
        Ok(File::from(file))
    }

    /// The directory of an entry. What is missing of it is made; what is no directory makes room.
    fn parent(&mut self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        // Something is made or replaced: what was known of the last directory may be wrong.
        self.last = None;
        let parent = path.parent().unwrap_or(Path::new(""));
        let ancestors: Vec<&Path> = parent.ancestors().collect();
        for ancestor in ancestors.iter().rev() {
            let known = self.now.get(*ancestor).map(|entry| &entry.kind);
            if ancestor.as_os_str().is_empty() || known == Some(&Kind::Directory) {
                continue;
            }
            let (above, name) = self.parent_if_any(ancestor)?;
            if !is_directory(&above, &name) {
                self.changing();
                remove(&above, &name)?;
                rustix::fs::mkdirat(&above, &name, Mode::from_raw_mode(0o755))?;
            }
            let meta = Meta {
                mode: 0o755,
                ..Meta::default()
            };
            self.add(ancestor, Kind::Directory, meta);
        }
        self.parent_if_any(path)
    }

    fn parent_if_any(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.root.resolve_without_links(parent)?, name))
    }

    /// Writes a file. What `RUN --mount=type=bind` shows of it is what the client has.
    fn fill(&mut self, mut file: File, content: &mut dyn Read, meta: Meta) -> io::Result<Kind> {
        self.buffer.resize(COPY_BYTES, 0);
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut size = 0;
        loop {
            let got = content.read(&mut self.buffer)?;
            if got == 0 {
                break;
            }
            hasher.update(&self.buffer[..got]);
            file.write_all(&self.buffer[..got])?;
            size += got as u64;
        }
        self.received += size;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(meta.mode & 0o777))?;
        let time = Timespec {
            tv_sec: meta.mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: meta.mtime_ns.rem_euclid(1_000_000_000),
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::futimens(&file, &times)?;
        Ok(Kind::File {
            size,
            digest: hasher.finish(),
        })
    }
}

fn bad_archive(error: &hull_image::Error) -> Error {
    Error::invalid(format!("cannot read the build context: {error}"), None)
}

fn is_directory(parent: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Removes an entry, with all below it.
fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    for child in names {
        remove(&directory, &child)?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
