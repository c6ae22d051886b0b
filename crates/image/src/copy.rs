//! Copies a tree exactly: owners, modes, times to the nanosecond, attributes, hard links, holes,
//! devices, and names of any bytes.
//!
//! Content is shared where the file system can (reflinks). Both trees may be changed by somebody
//! else meanwhile: they are walked by descriptors, and no link is ever followed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use hull_sys::beneath::Root;
use hull_sys::xattr;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::dir::{DEPTH_MAX, Dir, file_type, is_portable_xattr};
use crate::error::{Context as _, Error, Result};

/// Bytes asked of the kernel in one go.
const CHUNK_BYTES: usize = 64 << 20;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Entries, hard links included.
    pub entries: u64,
    /// Bytes of content that now exist twice: none where content is shared.
    pub bytes: u64,
}

/// Copies what is in the directory `path` of `from` into `to`, and makes `to` itself look like that
/// directory. What `to` has already under the same name is in the way.
pub fn copy_tree(from: &Root, path: &Path, to: &Root) -> Result<Copied> {
    let what = || format!("copy {}", path.display());
    let source = Dir::open_in(from, path).context(what)?;
    let target = Dir::open_in(to, Path::new("")).context(what)?;
    let mut copier = Copier {
        root: to,
        links: HashMap::new(),
        shares: true,
        done: Copied::default(),
    };
    copier.content(&source, &target, Path::new(""), 0)?;
    let dot = OsStr::new(".");
    let stat = source.stat(dot).context(what)?;
    keep(&source, &target, dot, &stat).context(what)?;
    Ok(copier.done)
}

struct Copier<'a> {
    root: &'a Root,
    /// Where the first name of each file with several lies in the copy.
    links: HashMap<(u64, u64), PathBuf>,
    /// Whether the file system shared content when last asked.
    shares: bool,
    done: Copied,
}

impl Copier<'_> {
    fn content(&mut self, from: &Dir, to: &Dir, path: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::Invalid("the tree is nested too deeply".into()));
        }
        for name in from
            .names()
            .context(|| format!("list {}", path.display()))?
        {
            let at = path.join(&name);
            let what = || format!("copy {}", at.display());
            let Some(stat) = from.stat_if_any(&name).context(what)? else {
                continue;
            };
            self.done.entries += 1;
            if file_type(&stat) == FileType::Directory {
                self.directory(from, to, &name, &at, &stat, depth)?;
            } else if let Some(first) = self.first_name(&stat) {
                self.link(&first, to, &name).context(what)?;
            } else {
                self.single(from, to, &name, &stat).context(what)?;
                if stat.st_nlink > 1 {
                    self.links.insert((stat.st_dev, stat.st_ino), at);
                }
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        from: &Dir,
        to: &Dir,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
        depth: usize,
    ) -> Result<()> {
        let what = || format!("copy {}", path.display());
        rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).context(what)?;
        let (source, target) = (
            from.child(name).context(what)?,
            to.child(name).context(what)?,
        );
        self.content(&source, &target, path, depth + 1)?;
        // Last: its entries changed its times.
        keep(&source, &target, OsStr::new("."), stat).context(what)
    }

    fn first_name(&self, stat: &Stat) -> Option<PathBuf> {
        if stat.st_nlink < 2 {
            return None;
        }
        self.links.get(&(stat.st_dev, stat.st_ino)).cloned()
    }

    fn link(&self, first: &Path, to: &Dir, name: &OsStr) -> io::Result<()> {
        let (directory, first) = self.root.parent(first)?;
        Ok(rustix::fs::linkat(
            &directory,
            &first,
            to,
            name,
            AtFlags::empty(),
        )?)
    }

    fn single(&mut self, from: &Dir, to: &Dir, name: &OsStr, stat: &Stat) -> io::Result<()> {
        match file_type(stat) {
            FileType::RegularFile => {
                let source = from.open_file(name)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let flags = flags | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o600);
                let target = File::from(rustix::fs::openat(to, name, flags, mode)?);
                self.data(&source, &target, stat)?;
                return keep_open(&source, &target, stat);
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&target, to, name)?;
            }
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            }
        }
        keep(from, to, name, stat)
    }

    fn data(&mut self, from: &File, to: &File, stat: &Stat) -> io::Result<()> {
        if stat.st_size == 0 {
            return Ok(());
        }
        if self.shares {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                // Two file systems, or one that cannot: it will not for the next file either.
                Err(_) => self.shares = false,
            }
        }
        let size = stat.st_size.unsigned_abs();
        let stored = stat.st_blocks.unsigned_abs() * 512;
        if stored >= size {
            self.done.bytes += copy_range(from, to, 0, u64::MAX)?;
            return Ok(());
        }
        to.set_len(size)?;
        let mut at = 0;
        while let Some((start, end)) = next_data(from, at)? {
            self.done.bytes += copy_range(from, to, start, end)?;
            at = end;
        }
        Ok(())
    }
}

/// The next stretch of a file that is no hole, from `at` on.
pub(crate) fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Err(Errno::NXIO) => return Ok(None),
        start => start?,
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok(Some((start, end)))
}

/// Copies the bytes from `start` up to `end`, or to the file's end.
fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let want = usize::try_from(end - read_at).map_or(CHUNK_BYTES, |rest| rest.min(CHUNK_BYTES));
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), want);
        match copied {
            Ok(0) => break,
            Ok(_) => {}
            // Between some kinds of file systems the kernel copies nothing by itself.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_by_hand(from, to, read_at, end).map(|more| read_at - start + more);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read_at - start)
}

fn copy_by_hand(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; 128 << 10];
    let mut at = start;
    while at < end {
        let want = usize::try_from(end - at).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let got = from.read_at(&mut buffer[..want], at)?;
        if got == 0 {
            break;
        }
        to.write_all_at(&buffer[..got], at)?;
        at += got as u64;
    }
    Ok(at - start)
}

/// Gives the copy the original's owner, mode, attributes and times.
fn keep(from: &Dir, to: &Dir, name: &OsStr, stat: &Stat) -> io::Result<()> {
    let to: BorrowedFd<'_> = to.as_fd();
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if file_type(stat) != FileType::Symlink {
        // After the owner, whose change takes set-user-id bits away. By the entry's own descriptor,
        // for `chmod` follows what may have become a link.
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = rustix::fs::openat(to, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&entry)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP.into());
        }
        rustix::fs::chmod(proc_path(&entry), mode)?;
    }
    for (attribute, value) in from.portable_xattrs(name)? {
        supported(xattr::set(to, name, &attribute, &value))?;
    }
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// As [`keep`], of open files: most of what there is to copy.
fn keep_open(from: &File, to: &File, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(uid), Some(gid))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for attribute in xattr::list_open(from)? {
        if is_portable_xattr(&attribute)
            && let Some(value) = xattr::get_open(from, &attribute)?
        {
            supported(xattr::set_open(to, &attribute, &value))?;
        }
    }
    Ok(rustix::fs::futimens(to, &times(stat))?)
}

/// A file system without attributes, such as a driver's, takes the files all the same.
fn supported(set: io::Result<()>) -> io::Result<()> {
    match set {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => Ok(()),
        set => set,
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.cast_signed(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn proc_path(fd: &impl std::os::fd::AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_copy_is_told_from_its_original_by_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("a/b/file"), "content").unwrap();
        fs::hard_link(from.join("a/b/file"), from.join("z")).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        fs::write(from.join(OsStr::from_bytes(b"\xff\xfe")), "odd").unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 8 << 20).unwrap();
        sparse.set_len(16 << 20).unwrap();
        let fifo = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, from.join("fifo"), FileType::Fifo, fifo, 0).unwrap();
        std::os::unix::fs::chown(from.join("a"), Some(1234), Some(4321)).unwrap();
        fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o2751)).unwrap();
        let source = Dir::open(&from).unwrap();
        xattr::set(&source, OsStr::new("z"), OsStr::new("user.note"), b"x\0y").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1770)).unwrap();

        let roots = (Root::new(&from).unwrap(), Root::new(&to).unwrap());
        let copied = copy_tree(&roots.0, Path::new(""), &roots.1).unwrap();
        assert_eq!(copied.entries, 8);
        for name in ["", "a", "a/b", "a/b/file", "z", "link", "sparse", "fifo"] {
            let (one, two) = (from.join(name), to.join(name));
            let of = |path: &Path| fs::symlink_metadata(path).unwrap();
            let (one, two) = (of(&one), of(&two));
            let facts = |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec());
            assert_eq!(facts(&one), facts(&two), "{name}");
            assert_eq!(one.nlink(), two.nlink(), "{name}");
        }
        let target = Dir::open(&to).unwrap();
        assert_eq!(
            target.xattr(OsStr::new("z"), "user.note").unwrap().unwrap(),
            b"x\0y"
        );
        assert_eq!(
            fs::metadata(to.join("z")).unwrap().ino(),
            fs::metadata(to.join("a/b/file")).unwrap().ino()
        );
        assert!(fs::metadata(to.join("sparse")).unwrap().blocks() < 64);
        assert_eq!(
            fs::read(from.join("sparse")).unwrap(),
            fs::read(to.join("sparse")).unwrap()
        );
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
        assert!(to.join(OsStr::from_bytes(b"\xff\xfe")).is_file());
        assert!(
            fs::symlink_metadata(to.join("fifo"))
                .unwrap()
                .file_type()
                .is_fifo()
        );
    }
}
