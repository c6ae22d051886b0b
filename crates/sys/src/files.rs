//! Files: small reads and writes, descriptors at `exec`, sealed executables.

#![expect(unsafe_code, reason = "close_range has no wrapper")]

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read, Seek},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{
    MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags, fcntl_add_seals, fcntl_get_seals,
    memfd_create, openat2,
};

/// Files of `/proc` and `/sys` that are read whole are not larger.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Every descriptor from `first` on will be closed by the next `execve`.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on, whoever owns it: only for a process about to end or to
/// execute.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, 0)
}

fn close_range(first: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes numbers only. With `CLOEXEC` nothing is closed now; without, the caller was
    // told that owners lose their descriptors.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Writes `bytes` with one `write` to an existing file of a pseudo file system, reached from
/// `directory` without links and without crossing into another mount.
pub fn write_beneath(directory: BorrowedFd<'_>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = openat2(directory, path, flags, Mode::empty(), resolve)?;
    write_once(file.as_fd(), bytes)
}

/// Writes `bytes` with one `write` to an existing file.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write_once(file.as_fd(), bytes)
}

fn write_once(file: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    if rustix::io::write(file, bytes)? != bytes.len() {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "written in part"));
    }
    Ok(())
}

/// The text of a small file. Half of a larger one would be a lie: that is an error.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(SMALL_BYTES_MAX + 1);
    file.read_to_string(&mut text)?;
    if file.limit() == 0 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// A copy of `source` in memory that nobody can change, not even root.
pub fn sealed_copy(name: &CStr, source: &mut File) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = match memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => File::from(memfd_create(name, flags)?), // before Linux 6.3
        made => File::from(made?),
    };
    source.rewind()?;
    io::copy(source, &mut copy)?;
    fcntl_add_seals(&copy, SEALS)?;
    Ok(copy.into())
}

/// Whether `file` is a [`sealed_copy`].
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS))
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn a_sealed_copy_cannot_be_written() {
        let mut source = File::open("/proc/self/exe").unwrap();
        let copy = sealed_copy(c"copy", &mut source).unwrap();
        assert!(is_sealed(copy.as_fd()));
        assert!(!is_sealed(source.as_fd()));
        assert!(File::from(copy).write(b"x").is_err());
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_in_part() {
        let mut file = File::from(memfd_create(c"text", MemfdFlags::CLOEXEC).unwrap());
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let whole = usize::try_from(SMALL_BYTES_MAX).unwrap();
        file.write_all(&vec![b'7'; whole]).unwrap();
        assert_eq!(read_text(Path::new(&path)).unwrap().len(), whole);
        file.write_all(b"7").unwrap();
        let error = read_text(Path::new(&path)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn writes_do_not_follow_links_out() {
        let proc = File::open("/proc").unwrap();
        let error = write_beneath(proc.as_fd(), "self/root/etc/hostname", b"x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
