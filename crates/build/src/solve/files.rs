//! Files to copy from: a client's tree, or the root of a stage or an image.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hull_oci::{Algorithm, Digest, Hasher};
use hull_sys::beneath::Root;
use rustix::fs::{FileType, Mode, OFlags};

use crate::tree::{Entry, Kind, Tree};

/// Links followed on the way to one file: the kernel's own limit.
const LINKS_MAX: usize = 40;
/// The deepest tree that is copied.
const DEPTH_MAX: usize = 1000;

/// Files to copy from. Paths are relative, without `.` and `..`; empty: the root.
pub(super) trait Files {
    /// What is there; a link is itself.
    fn look(&self, path: &Path) -> io::Result<Option<Found>>;

    /// The names in a directory, sorted.
    fn names(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// The digest of a file's content.
    fn digest(&self, path: &Path) -> io::Result<Digest>;

    /// Opens a file.
    fn open(&self, path: &Path) -> io::Result<File>;

    /// Extended attributes worth copying.
    fn xattrs(&self, path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>>;

    /// Calls `visit` for everything below a directory, parents first, with the path below it.
    fn walk(&self, directory: &Path, visit: &mut Visit<'_>) -> io::Result<()>;
}

/// Takes what a walk finds.
pub(super) type Visit<'a> = dyn FnMut(&Path, &Found) -> io::Result<()> + 'a;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: FoundKind,
    pub(super) mode: u32,
    /// User and group. Whatever owns a client's file at home, in an image it is root's.
    pub(super) owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// A file's, if it is known without reading it.
    pub(super) digest: Option<Digest>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FoundKind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// A device or FIFO: its type and number.
    Special(u32, u64),
}

/// The path that `path` leads to, links followed inside the root. What does not exist is itself.
pub(super) fn resolve(files: &dyn Files, path: &Path) -> io::Result<PathBuf> {
    follow(path, |at| {
        Ok(match files.look(at)?.map(|found| found.kind) {
            Some(FoundKind::Symlink(target)) => Some(PathBuf::from(OsString::from_vec(target))),
            _ => None,
        })
    })
}

/// As [`resolve`], in a root that is written to.
pub(super) fn resolve_beneath(root: &Root, path: &Path) -> io::Result<PathBuf> {
    use rustix::io::Errno;
    follow(path, |at| match root.read_link(at) {
        Ok(target) => Ok(Some(target)),
        Err(error) => match Errno::from_io_error(&error) {
            // It is no link, or it is not there, or what should hold it is no directory.
            Some(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(None),
            _ => Err(error),
        },
    })
}

/// Follows links; `link` says where what is at a path leads, if it is a link.
fn follow(path: &Path, link: impl Fn(&Path) -> io::Result<Option<PathBuf>>) -> io::Result<PathBuf> {
    let mut links = 0;
    let mut todo: Vec<PathBuf> = vec![path.to_owned()];
    let mut done = PathBuf::new();
    while let Some(next) = todo.pop() {
        let mut components = next.components();
        let Some(first) = components.next() else {
            continue;
        };
        let rest = components.as_path().to_owned();
        if !rest.as_os_str().is_empty() {
            todo.push(rest);
        }
        match first {
            Component::RootDir => done = PathBuf::new(),
            Component::ParentDir => {
                done.pop();
            }
            Component::Normal(name) => {
                let at = done.join(name);
                match link(&at)? {
                    Some(target) => {
                        links += 1;
                        if links > LINKS_MAX {
                            return Err(rustix::io::Errno::LOOP.into());
                        }
                        todo.push(target);
                    }
                    None => done = at,
                }
            }
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(done)
}

fn level(
    files: &RootFiles,
    base: &Path,
    below: &Path,
    depth: usize,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(rustix::io::Errno::NAMETOOLONG.into());
    }
    for name in files.names(&base.join(below))? {
        let path = below.join(name);
        let Some(found) = files.look(&base.join(&path))? else {
            continue;
        };
        visit(&path, &found)?;
        if found.kind == FoundKind::Directory {
            level(files, base, &path, depth + 1, visit)?;
        }
    }
    Ok(())
}

/// A client's tree.
pub(super) struct TreeFiles(pub(super) Arc<Tree>);

impl Files for TreeFiles {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        if path.as_os_str().is_empty() {
            return Ok(Some(Found {
                kind: FoundKind::Directory,
                mode: 0o755,
                owner: (0, 0),
                mtime: (0, 0),
                digest: None,
            }));
        }
        Ok(self.0.entries().get(path).map(found))
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let depth = path.components().count();
        let below = self
            .0
            .entries()
            .range(path.to_owned()..)
            .take_while(|(other, _)| other.starts_with(path));
        let names = below
            .filter(|(other, _)| other.components().count() == depth + 1)
            .filter_map(|(other, _)| other.file_name().map(OsString::from));
        Ok(names.collect())
    }

    fn digest(&self, path: &Path) -> io::Result<Digest> {
        match self.0.entries().get(path).map(|entry| &entry.kind) {
            Some(Kind::File { digest, .. }) => Ok(digest.clone()),
            _ => Err(rustix::io::Errno::NOENT.into()),
        }
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        open(self.0.root(), path)
    }

    fn xattrs(&self, _: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        // A client's attributes do not travel.
        Ok(Vec::new())
    }

    fn walk(&self, directory: &Path, visit: &mut Visit<'_>) -> io::Result<()> {
        // The index is in order: no directory is listed.
        for (path, entry) in self.0.entries().range(directory.to_owned()..) {
            let Ok(below) = path.strip_prefix(directory) else {
                break;
            };
            if !below.as_os_str().is_empty() {
                visit(below, &found(entry))?;
            }
        }
        Ok(())
    }
}

fn found(entry: &Entry) -> Found {
    let (kind, digest) = match &entry.kind {
        Kind::File { digest, .. } => (FoundKind::File, Some(digest.clone())),
        Kind::Directory => (FoundKind::Directory, None),
        Kind::Symlink(target) => (FoundKind::Symlink(target.clone()), None),
    };
    Found {
        kind,
        mode: entry.meta.mode & 0o7777,
        owner: (0, 0),
        mtime: nanoseconds(entry.meta.mtime_ns),
        digest,
    }
}

/// The root of a stage or an image.
pub(super) struct RootFiles(pub(super) Root);

impl Files for RootFiles {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        let stat = match self.0.stat_no_follow(path) {
            Ok(stat) => stat,
            Err(error) => {
                let absent = matches!(
                    rustix::io::Errno::from_io_error(&error),
                    Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)
                );
                return if absent { Ok(None) } else { Err(error) };
            }
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FoundKind::File,
            FileType::Directory => FoundKind::Directory,
            FileType::Symlink => {
                let target = self.0.read_link(path)?;
                FoundKind::Symlink(target.into_os_string().into_vec())
            }
            // A socket means nothing without who listens.
            FileType::Socket => return Ok(None),
            _ => FoundKind::Special(stat.st_mode, stat.st_rdev),
        };
        Ok(Some(Found {
            kind,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            mtime: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            digest: None,
        }))
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = self.0.open(path, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(std::ffi::OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn digest(&self, path: &Path) -> io::Result<Digest> {
        let mut file = open(&self.0, path)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; 128 << 10];
        loop {
            let got = io::Read::read(&mut file, &mut buffer)?;
            if got == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(&buffer[..got]);
        }
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        open(&self.0, path)
    }

    fn xattrs(&self, path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        let (parent, name) = self.0.parent(path)?;
        let mut attributes = Vec::new();
        for attribute in hull_sys::xattr::list(&parent, &name)? {
            if hull_image::archive::is_portable_xattr(&attribute)
                && let Some(value) = hull_sys::xattr::get(&parent, &name, &attribute)?
            {
                attributes.push((attribute, value));
            }
        }
        Ok(attributes)
    }

    fn walk(&self, directory: &Path, visit: &mut Visit<'_>) -> io::Result<()> {
        level(self, directory, Path::new(""), 0, visit)
    }
}

fn open(root: &Root, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(root.open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(rustix::io::Errno::STALE.into());
    }
    Ok(file)
}

fn nanoseconds(time: i64) -> (i64, u32) {
    let part = u32::try_from(time.rem_euclid(1_000_000_000)).unwrap_or(0);
    (time.div_euclid(1_000_000_000), part)
}
