//! `tmpcopyup`: a new tmpfs begins with what the image has in its place.

use std::{ffi::OsStr, fs::File, io, os::fd::BorrowedFd, os::unix::ffi::OsStrExt};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, chmodat, chownat, mkdirat,
    mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};

/// An image that nests deeper than paths can name is not copied.
const DEPTH_MAX: u32 = 2048;

/// Copies what is in `from`, an open directory of the image, into `to`. Links are copied, not
/// followed; owners, modes and times are kept.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    copy_entries(from, to, 0)
}

fn copy_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(rustix::io::Errno::NAMETOOLONG.into());
    }
    let directory = openat(
        from,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            copy_entry(from, to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &OsStr,
    depth: u32,
) -> io::Result<()> {
    use std::os::fd::AsFd;
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let kind = FileType::from_raw_mode(stat.st_mode);
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match kind {
        FileType::Directory => {
            mkdirat(to, name, mode)?;
            let open =
                |directory| openat(directory, name, flags | OFlags::DIRECTORY, Mode::empty());
            let (source, target) = (open(from)?, open(to)?);
            copy_entries(source.as_fd(), target.as_fd(), depth + 1)?;
        }
        FileType::RegularFile => {
            let mut source = File::from(openat(from, name, flags, Mode::empty())?);
            let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let mut target = File::from(openat(to, name, create, mode)?);
            io::copy(&mut source, &mut target)?;
        }
        FileType::Symlink => {
            symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
        }
        _ => mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    keep(to, name, &stat, kind, mode)
}

fn keep(
    to: BorrowedFd<'_>,
    name: &OsStr,
    stat: &Stat,
    kind: FileType,
    mode: Mode,
) -> io::Result<()> {
    let owner = rustix::fs::Uid::from_raw(stat.st_uid);
    let group = rustix::fs::Gid::from_raw(stat.st_gid);
    chownat(
        to,
        name,
        Some(owner),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    if kind != FileType::Symlink {
        chmodat(to, name, mode, AtFlags::empty())?; // chown takes set-user-id bits away
    }
    let time = |seconds, nanoseconds| -> io::Result<Timespec> {
        Ok(Timespec {
            tv_sec: seconds,
            tv_nsec: i64::try_from(nanoseconds).map_err(io::Error::other)?,
        })
    };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec)?,
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec)?,
    };
    utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
