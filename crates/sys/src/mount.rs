//! Mounts by file descriptor.
//!
//! A mount is made detached (from a file system, or as a copy of another mount), configured while
//! nobody can see it, and attached on top of an open directory or file. No path is looked up twice.

#![expect(unsafe_code, reason = "mount_setattr has no wrapper")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
        fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
        move_mount, open_tree, unmount,
    },
};

use crate::namespace;

/// Flags of one mount: the kernel's `MOUNT_ATTR_*` bits.
pub mod attr {
    /// Nothing can be written through it.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-id bits and file capabilities are ignored.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// All the bits that choose how access times are kept.
    pub const ATIME_MASK: u64 = 0x70;
    /// Access times are kept sparingly (none of the mask's bits).
    pub const RELATIME: u64 = 0x0;
    /// Access times are not kept.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always kept.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are not kept.
    pub const NODIRATIME: u64 = 0x80;
    /// Owners are translated through a user namespace.
    pub const IDMAP: u64 = 0x0010_0000;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// How mounts and unmounts travel between copies of a mount: the kernel's `MS_*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// Towards this copy only.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and no copy can be made.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Private => libc::MS_PRIVATE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// What is to change on a mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Bits of [`attr`] to set.
    pub set: u64,
    /// Bits of [`attr`] to clear.
    pub clear: u64,
    /// New propagation.
    pub propagation: Option<Propagation>,
    /// The user namespace that [`attr::IDMAP`] translates through.
    pub user_namespace: Option<BorrowedFd<'a>>,
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Changes the mount that `mount` is (an `O_PATH` descriptor of its root suffices), with
/// `recursive` also all below.
pub fn change(mount: BorrowedFd<'_>, recursive: bool, what: &Change<'_>) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let fd = what.user_namespace.map_or(0, |fd| fd.as_raw_fd());
    let attr = MountAttr {
        set: what.set,
        clear: what.clear,
        propagation: what.propagation.map_or(0, Propagation::bits),
        user_namespace: u64::try_from(fd).map_err(io::Error::other)?,
    };
    // SAFETY: the path is a string, the structure is the kernel's and its size is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Shows owners on a detached mount as a user namespace sees them: who is 0 on the disk is the
/// namespace's root.
pub fn translate(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    recursive: bool,
) -> io::Result<()> {
    let what = Change {
        set: attr::IDMAP,
        user_namespace: Some(namespace),
        ..Change::default()
    };
    change(mount, recursive, &what)
}

/// A file system that is being configured.
#[derive(Debug)]
pub struct FileSystem {
    context: OwnedFd,
}

impl FileSystem {
    /// Begins with a kind of file system: `proc`, `tmpfs`, `overlay` …
    pub fn new(kind: &str) -> io::Result<Self> {
        Ok(Self {
            context: fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?,
        })
    }

    /// Sets an option that has a value.
    pub fn set(&self, key: &str, value: impl AsRef<Path>) -> io::Result<()> {
        fsconfig_set_string(self.context.as_fd(), key, value.as_ref())
            .map_err(|error| self.explain(error.into()))
    }

    /// Sets an option whose value is an open directory.
    pub fn set_descriptor(&self, key: &str, value: BorrowedFd<'_>) -> io::Result<()> {
        fsconfig_set_fd(self.context.as_fd(), key, value)
            .map_err(|error| self.explain(error.into()))
    }

    /// Sets an option without a value.
    pub fn set_flag(&self, key: &str) -> io::Result<()> {
        fsconfig_set_flag(self.context.as_fd(), key).map_err(|error| self.explain(error.into()))
    }

    /// Sets an option as it stands in a list of options: `key` or `key=value`.
    pub fn set_option(&self, option: &str) -> io::Result<()> {
        match option.split_once('=') {
            Some((key, value)) => self.set(key, value),
            None => self.set_flag(option),
        }
    }

    /// Makes a detached mount of it, with bits of [`attr`].
    pub fn mount(self, attributes: u64) -> io::Result<OwnedFd> {
        fsconfig_create(self.context.as_fd()).map_err(|error| self.explain(error.into()))?;
        let bits = u32::try_from(attributes).map_err(io::Error::other)?;
        fsmount(
            self.context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::from_bits_retain(bits),
        )
        .map_err(|error| self.explain(error.into()))
    }

    /// Adds what the file system itself had to say to a bare error number.
    fn explain(&self, error: io::Error) -> io::Error {
        let mut text = [0; 512];
        match rustix::io::read(&self.context, &mut text) {
            Ok(length) if length > 2 => {
                let words = String::from_utf8_lossy(&text[2..length]);
                io::Error::new(error.kind(), format!("{} ({error})", words.trim()))
            }
            _ => error,
        }
    }
}

/// A detached copy of the mount at `path` of `directory` (an empty path: `directory` itself).
pub fn copy(directory: BorrowedFd<'_>, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(directory, path, flags)?)
}

/// A detached copy of the mount at a path of the caller's own, links followed.
pub fn copy_path(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    copy(CWD, path, recursive)
}

/// The same of another mount namespace (an open file of `/proc/PID/ns`), and of its root: a caller can copy
/// mounts of its own namespace only.
pub fn copy_path_of(
    namespace: BorrowedFd<'_>,
    path: &Path,
    recursive: bool,
) -> io::Result<OwnedFd> {
    namespace::in_mounts(namespace, || copy_path(path, recursive))
}

/// Attaches a detached mount on top of what `target` is.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Takes the mount at `path`, and all on top of it, out of sight; it ends with its last user.
pub fn detach(path: &Path) -> io::Result<()> {
    Ok(unmount(
        path,
        UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
    )?)
}

/// Makes the directory `root`, which must be a mount of the caller's mount namespace, the root of
/// that namespace, and lets go of the old one.
pub fn pivot(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    // The old root now lies on top of the new one; `.` is the old one.
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// For roots that cannot be left with [`pivot`] (ramfs): moves the mount onto `/` and enters it.
pub fn move_to_root(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    Ok(())
}
