//! Writing what was looked at: files, directories and links into a root.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hull_sys::beneath::Root;
use rustix::fs::{AtFlags, FileType, Gid, Mode as Bits, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::copy::Looked;
use super::fetch;
use super::files::{Files, Found, FoundKind};
use super::mode::Mode;
use super::select::{Item, Selected};
use crate::error::{Error, Result};
use crate::plan::{CopyOp, Unpack};
use crate::tree::Tree;

/// Writes files into a root.
pub(super) struct Writer<'a> {
    pub(super) root: &'a Root,
    pub(super) destination: &'a str,
    /// Whose the files become; `None`: whose they are where they come from.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<Mode>,
    /// Directories' times, set last: what is written into them changes them.
    pub(super) times: Vec<(PathBuf, (i64, u32))>,
    /// The directory of the last entry: files come directory by directory.
    pub(super) last: Option<(PathBuf, OwnedFd)>,
}

impl Writer<'_> {
    pub(super) fn source(&mut self, looked: &Looked, op: &CopyOp) -> Result<()> {
        match looked {
            Looked::Inline(files) => {
                for (name, content) in files {
                    let target = self.file_target(OsStr::new(name))?;
                    let found = plain_file(0o644, (0, 0));
                    let mut content = content.as_bytes();
                    self.attempt(&target, |writer| writer.file(&target, &found, &mut content))?;
                }
            }
            Looked::Fetched { name, tree, mtime } => {
                let content = open_fetched(tree)?;
                if op.unpack == Unpack::Always && is_archive(&content) {
                    return self.unpack(content);
                }
                if name.is_empty() && self.is_directory_target() {
                    let message = format!(
                        "cannot determine the file's name from the address: {:?} must be a file name",
                        self.destination
                    );
                    return Err(Error::invalid(message, None));
                }
                let target = self.file_target(name)?;
                let found = plain_file(0o600, (*mtime, 0));
                let mut content = content;
                self.attempt(&target, |writer| writer.file(&target, &found, &mut content))?;
            }
            Looked::Files { files, selected } => {
                for one in selected {
                    self.selected(&**files, one, op)?;
                }
            }
        }
        Ok(())
    }

    fn selected(&mut self, files: &dyn Files, one: &Selected, op: &CopyOp) -> Result<()> {
        if let ([item], false) = (&one.items[..], one.is_directory) {
            if op.unpack != Unpack::Never && item.found.kind == FoundKind::File {
                let content = files.open(&item.from);
                let content = content
                    .map_err(|error| Error::host(format!("read {}", item.from.display()), error))?;
                if is_archive(&content) {
                    return self.unpack(content);
                }
            }
            let name = item.to.file_name().unwrap_or_default().to_owned();
            let target = self.file_target(&name)?;
            return self.item(files, item, &target);
        }
        let base = self.directory_target()?;
        for item in &one.items {
            self.item(files, item, &base.join(&item.to))?;
        }
        Ok(())
    }

    /// Unpacks an archive into the destination.
    fn unpack(&mut self, content: File) -> Result<()> {
        let base = self.directory_target()?;
        let options = hull_image::archive::UnpackOptions {
            no_overwrite_dir_non_dir: false,
            refuses_marks: true,
            owner: self.owner,
            ..Default::default()
        };
        let path = format!("/{}", base.display());
        hull_image::archive::unpack(self.root, &path, content, options)
            .map_err(|error| Error::host(format!("unpack into {}", self.destination), error))
    }

    fn is_directory_target(&self) -> bool {
        self.destination.ends_with('/')
            || self
                .root
                .stat(self.destination)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// The path of a file of this name: in the destination, or the destination itself. That leads
    /// where a link of its name leads, also if there is nothing yet.
    fn file_target(&mut self, name: &OsStr) -> Result<PathBuf> {
        if self.is_directory_target() {
            return Ok(self.directory_target()?.join(name));
        }
        let path = super::files::resolve_beneath(self.root, Path::new(self.destination));
        let path =
            path.map_err(|error| Error::host(format!("write {}", self.destination), error))?;
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        self.make_directories(&parent)?;
        Ok(path)
    }

    fn directory_target(&mut self) -> Result<PathBuf> {
        let path = Path::new(self.destination.trim_matches('/')).to_owned();
        self.make_directories(&path)?;
        Ok(path)
    }

    /// Makes a directory and its parents. New ones belong to the owner asked for.
    fn make_directories(&mut self, path: &Path) -> Result<()> {
        let mut missing = Vec::new();
        for ancestor in path.ancestors() {
            if ancestor.as_os_str().is_empty() || self.root.stat(ancestor).is_ok() {
                break;
            }
            missing.push(ancestor.to_owned());
        }
        self.attempt(path, |writer| {
            writer
                .root
                .mkdir_all(path, Bits::from_raw_mode(0o755))
                .map(drop)?;
            for made in missing.iter().rev() {
                if let Some((uid, gid)) = writer.owner {
                    let directory = writer.root.open(made, OFlags::RDONLY, Bits::empty())?;
                    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                    rustix::fs::fchown(&directory, Some(uid), Some(gid))?;
                }
            }
            Ok(())
        })
    }

    fn item(&mut self, files: &dyn Files, item: &Item, target: &Path) -> Result<()> {
        if item.found.kind != FoundKind::File {
            // A directory may appear, or a link in its place.
            self.last = None;
        }
        self.attempt(target, |writer| match &item.found.kind {
            FoundKind::Directory => writer.directory(target, &item.found),
            FoundKind::File => {
                let mut content = files.open(&item.from)?;
                writer.file(target, &item.found, &mut content)?;
                for (attribute, value) in files.xattrs(&item.from)? {
                    let (parent, name) = writer.parent(target)?;
                    hull_sys::xattr::set(parent, &name, &attribute, &value)?;
                }
                Ok(())
            }
            FoundKind::Symlink(to) => writer.symlink(target, to, &item.found),
            FoundKind::Special(mode, device) => writer.special(target, *mode, *device, &item.found),
        })
    }

    fn attempt(
        &mut self,
        target: &Path,
        job: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<()> {
        job(self).map_err(|error| {
            let what = format!("write /{}", target.display());
            match Errno::from_io_error(&error) {
                Some(Errno::ISDIR) => Error::host(what, "there is a directory"),
                Some(Errno::NOTDIR) => Error::host(what, "something on the way is no directory"),
                _ => Error::host(what, error),
            }
        })
    }

    fn directory(&mut self, target: &Path, found: &Found) -> io::Result<()> {
        let (parent, name) = self.root.parent(target)?;
        match rustix::fs::mkdirat(&parent, &name, Bits::from_raw_mode(0o755)) {
            Ok(()) => {}
            // A link to a directory is as good.
            Err(Errno::EXIST) => {
                let stat = self.root.stat(target)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    return Err(Errno::NOTDIR.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        let directory =
            self.root
                .open(target, OFlags::RDONLY | OFlags::DIRECTORY, Bits::empty())?;
        self.own(&directory, found, true)?;
        self.times.push((target.to_owned(), found.mtime));
        Ok(())
    }

    fn file(
        &mut self,
        target: &Path,
        found: &Found,
        content: &mut dyn ContentOf,
    ) -> io::Result<()> {
        let (parent, name) = self.parent(target)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let open = || {
            let mode = Bits::from_raw_mode(0o600);
            rustix::fs::openat(parent, &name, flags | OFlags::CLOEXEC, mode)
        };
        let file = match open() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(parent, &name, AtFlags::empty())?;
                open()?
            }
            opened => opened?,
        };
        let mut file = File::from(file);
        content.copy_into(&mut file)?;
        self.own(&file, found, false)?;
        rustix::fs::futimens(&file, &times(found.mtime))?;
        Ok(())
    }

    fn symlink(&mut self, target: &Path, to: &[u8], found: &Found) -> io::Result<()> {
        let (parent, name) = self.room(target)?;
        rustix::fs::symlinkat(OsStr::from_bytes(to), &parent, &name)?;
        self.own_entry(&parent, &name, found)
    }

    fn special(&mut self, target: &Path, mode: u32, device: u64, found: &Found) -> io::Result<()> {
        let (parent, name) = self.room(target)?;
        let kind = FileType::from_raw_mode(mode);
        rustix::fs::mknodat(
            &parent,
            &name,
            kind,
            Bits::from_raw_mode(found.mode),
            device,
        )?;
        self.own_entry(&parent, &name, found)
    }

    /// The directory of an entry, and its name there.
    fn parent(&mut self, target: &Path) -> io::Result<(BorrowedFd<'_>, std::ffi::OsString)> {
        let directory = target.parent().unwrap_or(Path::new(""));
        let name = target.file_name().ok_or(Errno::INVAL)?.to_owned();
        if self.last.as_ref().is_none_or(|(path, _)| path != directory) {
            let (parent, _) = self.root.parent(target)?;
            self.last = Some((directory.to_owned(), parent));
        }
        let (_, parent) = self.last.as_ref().ok_or(Errno::INVAL)?;
        Ok((parent.as_fd(), name))
    }

    /// The place of a new entry; what is there and is no directory goes away.
    fn room(&self, target: &Path) -> io::Result<(OwnedFd, std::ffi::OsString)> {
        let (parent, name) = self.root.parent(target)?;
        match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((parent, name)),
            Err(error) => Err(error.into()),
        }
    }

    fn own(&self, file: impl AsFd, found: &Found, is_directory: bool) -> io::Result<()> {
        let (uid, gid) = self.owner.unwrap_or(found.owner);
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        let mode = match &self.mode {
            Some(mode) => mode.apply(found.mode, is_directory),
            None => found.mode,
        };
        Ok(rustix::fs::fchmod(&file, Bits::from_raw_mode(mode))?)
    }

    fn own_entry(&self, parent: &OwnedFd, name: &OsStr, found: &Found) -> io::Result<()> {
        let (uid, gid) = self.owner.unwrap_or(found.owner);
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), flags)?;
        Ok(rustix::fs::utimensat(
            parent,
            name,
            &times(found.mtime),
            flags,
        )?)
    }

    /// Sets what had to wait.
    pub(super) fn finish(self) {
        for (path, mtime) in self.times.into_iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            if let Ok(directory) = self.root.open(&path, flags, Bits::empty()) {
                let _ = rustix::fs::futimens(&directory, &times(mtime));
            }
        }
    }
}

/// The bytes of a new file.
trait ContentOf {
    fn copy_into(&mut self, file: &mut File) -> io::Result<u64>;
}

impl ContentOf for File {
    fn copy_into(&mut self, file: &mut File) -> io::Result<u64> {
        // Between two files, the kernel copies.
        io::copy(self, file)
    }
}

impl ContentOf for &[u8] {
    fn copy_into(&mut self, file: &mut File) -> io::Result<u64> {
        io::copy(self, file)
    }
}

fn plain_file(mode: u32, mtime: (i64, u32)) -> Found {
    Found {
        kind: FoundKind::File,
        mode,
        owner: (0, 0),
        mtime,
        digest: None,
    }
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn open_fetched(tree: &Tree) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
    let file = tree.root().open(fetch::NAME, flags, Bits::empty());
    file.map(File::from)
        .map_err(|error| Error::host("read what was fetched", error))
}

/// Whether a file is a tar archive, compressed or not. It is read from its beginning afterwards.
fn is_archive(file: &File) -> bool {
    use std::io::{Seek as _, SeekFrom};
    let Ok(mut copy) = file.try_clone() else {
        return false;
    };
    let first =
        hull_image::archive::Members::new(&mut copy).and_then(|mut archive| archive.has_member());
    let is_archive = matches!(first, Ok(true));
    copy.seek(SeekFrom::Start(0)).is_ok() && is_archive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(root: &Root, destination: &str, text: &str) -> Result<()> {
        let op = CopyOp {
            below: 0,
            sources: Vec::new(),
            destination: destination.to_owned(),
            owner: None,
            mode: None,
            link: false,
            parents: false,
            excludes: Vec::new(),
            unpack: Unpack::Never,
            checksum: None,
            keep_git_dir: false,
        };
        let mut writer = Writer {
            root,
            destination,
            owner: None,
            mode: None,
            times: Vec::new(),
            last: None,
        };
        let files = vec![("f".to_owned(), text.to_owned())];
        writer.source(&Looked::Inline(files), &op)
    }

    #[test]
    fn a_file_goes_where_a_link_of_its_name_leads_and_never_out() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root_dir = dir.path().join("root");
        std::fs::create_dir_all(root_dir.join("etc")).unwrap();
        std::fs::write(root_dir.join("etc/real"), "old").unwrap();
        for (link, target) in [
            ("link", "etc/real"),
            ("dangling", "/new/place"),
            ("out", "../../../up"),
            ("loop", "loop"),
        ] {
            symlink(target, root_dir.join(link)).unwrap();
        }
        let root = Root::new(&root_dir).unwrap();
        for (destination, real) in [
            ("/link", "etc/real"),
            ("/dangling", "new/place"),
            ("/out", "up"),
        ] {
            copied(&root, destination, destination).unwrap();
            let name = destination.trim_start_matches('/');
            assert!(root_dir.join(name).is_symlink(), "{name}");
            let text = std::fs::read_to_string(root_dir.join(real)).unwrap();
            assert_eq!(text, destination);
        }
        assert!(!dir.path().join("up").exists());
        assert!(copied(&root, "/loop", "x").is_err());
    }
}
