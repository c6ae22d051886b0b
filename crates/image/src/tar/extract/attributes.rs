//! What an archive says of a file besides its bytes.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _};

use hull_sys::xattr;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::dir::{file_type, is_portable_xattr};
use crate::error::{Context as _, Result};
use crate::tar::Entry;

/// Sets a node's mode (the umask took some) without following a link that took its place.
pub(super) fn chmod_node(
    directory: impl AsFd,
    name: &OsStr,
    mode: Mode,
    kind: FileType,
) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    if file_type(&rustix::fs::fstat(&fd)?) != kind {
        return Err(Errno::STALE);
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::chmodat(CWD, path, mode, AtFlags::empty())
}

/// Sets the attributes that may travel; a file system that has none is no failure.
pub(super) fn set_xattrs(directory: impl AsFd, name: &OsStr, entry: &Entry) -> Result<()> {
    for (attribute, value) in &entry.xattrs {
        if !is_portable_xattr(attribute) {
            continue;
        }
        match xattr::set(&directory, name, attribute, value) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::OPNOTSUPP | Errno::PERM)
                ) => {}
            Err(error) => {
                let what = || format!("set {} of {}", attribute.display(), name.display());
                return Err(error).context(what);
            }
        }
    }
    Ok(())
}

pub(super) fn set_times(
    directory: impl AsFd,
    name: &OsStr,
    mtime: (i64, u32),
) -> rustix::io::Result<()> {
    rustix::fs::utimensat(
        directory,
        name,
        &timestamps(mtime),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

pub(super) fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
