//! Paths that cannot leave a directory.
//!
//! A [`Root`] is a directory seen as the root of a file system: `..` stops there, absolute paths and
//! absolute symbolic links start there, and magic links (`/proc/*/fd`, `/proc/*/root` …) are refused.
//! The kernel enforces it (`openat2` with `RESOLVE_IN_ROOT`), also against somebody who renames
//! directories meanwhile. Nothing here ever joins a path of the root with one of the host.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat, openat2,
        readlinkat, statat,
    },
    io::Errno,
};

/// Longest chain of dangling symbolic links that is followed to create what they name: the kernel's
/// own limit for links.
const LINKS_MAX: u32 = 40;

/// How often a resolution that raced a rename elsewhere in the system is repeated.
const RETRIES_MAX: u32 = 128;

/// A directory that paths cannot leave.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
}

impl Root {
    /// The directory at a path of the host.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path.as_ref(), flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// A directory that is already open (`O_PATH` suffices).
    pub fn from_fd(directory: OwnedFd) -> Self {
        Self { directory }
    }

    /// Opens `path`, following links inside the root. With `CREATE`, the last component may be new.
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.open_with(path.as_ref(), flags, mode, ResolveFlags::empty())
    }

    /// An `O_PATH` descriptor of what `path` names, links followed.
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH, Mode::empty())
    }

    /// Like [`resolve`](Self::resolve), but a link as the last component is itself the result.
    pub fn resolve_no_follow(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Like [`resolve`](Self::resolve), but any link on the way is an error (`ELOOP`).
    pub fn resolve_without_links(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.open_with(
            path.as_ref(),
            OFlags::PATH,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS,
        )
    }

    /// What `path` names, links followed.
    pub fn stat(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(fstat(self.resolve(path)?)?)
    }

    /// What `path` names; a link as the last component is not followed.
    pub fn stat_no_follow(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(fstat(self.resolve_no_follow(path)?)?)
    }

    /// The target of the link `path`.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let link = self.resolve_no_follow(path)?;
        let target = readlinkat(link, "", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// The directory that holds the last component of `path`, and that component's name, for
    /// operations on the entry itself (create, remove, rename, link …) with the `*at` calls.
    ///
    /// An error (`EINVAL`) if `path` ends in `..` or names the root.
    pub fn parent(&self, path: impl AsRef<Path>) -> io::Result<(OwnedFd, OsString)> {
        let path = path.as_ref();
        let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
        let parent = path.parent().unwrap_or(Path::new(""));
        let directory = self.open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok((directory, name))
    }

    /// The directory `path`, made with all its parents where missing. Links are followed, also to
    /// places that do not exist yet. New directories get `mode` less the umask.
    pub fn mkdir_all(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path.as_ref(), flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
        let real = self.make_directories(path.as_ref(), mode, 0)?;
        self.open(real, flags, Mode::empty())
    }

    /// The file `path` as an `O_PATH` descriptor: whatever is there already, or a new empty file
    /// with `mode` less the umask, its parents (0755) included.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: Mode) -> io::Result<OwnedFd> {
        let path = path.as_ref();
        match self.resolve(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
        if let Some(parent) = path.parent() {
            self.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
        }
        // Opened for reading only: what is there could be a device or a FIFO by now.
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.open(path, flags, mode)?;
        self.resolve(path)
    }

    fn open_with(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        // openat2 refuses a mode without a flag that creates.
        let creates = flags.intersects(OFlags::CREATE) || flags.contains(OFlags::TMPFILE);
        let mode = if creates { mode } else { Mode::empty() };
        let mut tries = 0;
        loop {
            match openat2(&self.directory, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) if tries < RETRIES_MAX => tries += 1,
                result => return Ok(result?),
            }
        }
    }

    /// Makes what is missing of `path` and returns it with dangling links replaced by their targets.
    fn make_directories(&self, path: &Path, mode: Mode, links: u32) -> io::Result<PathBuf> {
        let mut done = PathBuf::new();
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => done.push(".."),
                Component::Normal(name) => done = self.make_directory(done, name, mode, links)?,
            }
        }
        Ok(done)
    }

    fn make_directory(
        &self,
        parent: PathBuf,
        name: &OsStr,
        mode: Mode,
        links: u32,
    ) -> io::Result<PathBuf> {
        let path = parent.join(name);
        match self.open(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(path),
        }
        let directory = self.open(&parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        match mkdirat(&directory, name, mode) {
            Ok(()) => return Ok(path),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // Somebody else made it meanwhile, or it is a link to nothing. A magic link is an error here:
        // what it reads like is not what it leads to.
        match self.open(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(path),
        }
        let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            return Ok(path); // somebody else made it meanwhile
        }
        if links >= LINKS_MAX {
            return Err(Errno::LOOP.into());
        }
        let target = readlinkat(&directory, name, Vec::new())?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        // `join` starts afresh for an absolute target: from the root, as a link does.
        self.make_directories(&parent.join(target), mode, links + 1)
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> Self {
        root.directory
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hull-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("root")).unwrap();
            fs::write(path.join("secret"), "host").unwrap();
            Self(path)
        }

        fn root(&self) -> Root {
            Root::new(self.0.join("root")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn dots_and_links_stay_inside() {
        let scratch = Scratch::new("beneath-inside");
        let root = scratch.root();
        symlink("../../secret", scratch.0.join("root/up")).unwrap();
        symlink(scratch.0.join("secret"), scratch.0.join("root/absolute")).unwrap();
        for path in ["../secret", "/../../secret", "up", "absolute"] {
            let error = root.resolve(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}");
        }
        fs::write(scratch.0.join("root/secret"), "inside").unwrap();
        assert_eq!(root.stat("up").unwrap().st_size, 6);
        assert_eq!(root.read_link("up").unwrap(), Path::new("../../secret"));
        assert!(root.resolve_without_links("up").is_err());
    }

    #[test]
    fn magic_links_are_refused() {
        let root = Root::new("/").unwrap();
        assert!(root.resolve("/proc/self/root/etc").is_err());
        assert!(root.resolve("/proc/self/cwd").is_err());
    }

    #[test]
    fn directories_are_made_through_dangling_links() {
        let scratch = Scratch::new("beneath-mkdir");
        let root = scratch.root();
        symlink("/run", scratch.0.join("root/varrun")).unwrap();
        symlink("loop", scratch.0.join("root/loop")).unwrap();
        root.mkdir_all("varrun/a/../b", Mode::from_raw_mode(0o755))
            .unwrap();
        assert!(scratch.0.join("root/run/a").is_dir());
        assert!(scratch.0.join("root/run/b").is_dir());
        assert!(
            root.mkdir_all("loop/x", Mode::from_raw_mode(0o755))
                .is_err()
        );
        assert!(root.mkdir_all("/", Mode::from_raw_mode(0o755)).is_ok());
    }

    #[test]
    fn files_are_made_where_missing_and_kept_where_present() {
        let scratch = Scratch::new("beneath-create");
        let root = scratch.root();
        root.create_file("etc/new/hosts", Mode::from_raw_mode(0o644))
            .unwrap();
        assert!(scratch.0.join("root/etc/new/hosts").is_file());
        fs::write(scratch.0.join("root/kept"), "text").unwrap();
        root.create_file("kept", Mode::from_raw_mode(0o644))
            .unwrap();
        assert_eq!(fs::read(scratch.0.join("root/kept")).unwrap(), b"text");
        symlink("../outside", scratch.0.join("root/out")).unwrap();
        root.create_file("out", Mode::from_raw_mode(0o644)).unwrap();
        assert!(scratch.0.join("root/outside").is_file());
    }

    #[test]
    fn a_parent_is_for_operations_on_the_entry() {
        let scratch = Scratch::new("beneath-parent");
        let root = scratch.root();
        symlink("nowhere", scratch.0.join("root/link")).unwrap();
        let (directory, name) = root.parent("/link").unwrap();
        rustix::fs::unlinkat(&directory, &name, AtFlags::empty()).unwrap();
        assert!(fs::symlink_metadata(scratch.0.join("root/link")).is_err());
        assert!(root.parent("/").is_err());
        assert!(root.parent("a/..").is_err());
    }
}
