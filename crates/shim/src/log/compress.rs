//! Compresses an older log file in a process of its own, at the lowest priority.
//!
//! The process is this same program (`--compress`), stdin to stdout, so that the shim's own loop
//! never stops for it and its memory is given back when it is done.

use std::{
    ffi::{CString, OsString},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use hull_sys::{
    process::Ended,
    spawn::{Program, spawn},
};
use rustix::process::{Signal, pidfd_send_signal};

/// The lowest.
const NICENESS: i32 = 19;

/// A compression under way; dropped, it is called off.
#[derive(Debug)]
pub(super) struct Compression {
    /// Which of the older files it is now: a rotation moves it on.
    pub(super) index: u32,
    pub(super) pid: i32,
    pidfd: OwnedFd,
    unfinished: PathBuf,
}

impl Compression {
    /// Starts on `PATH.INDEX`.
    pub(super) fn start(path: &Path, index: u32) -> io::Result<Self> {
        let source = File::open(super::file::older(path, index, ""))?;
        let mut unfinished = OsString::from(path);
        unfinished.push(".gz.tmp");
        let unfinished = PathBuf::from(unfinished);
        let target = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(super::file::MODE)
            .open(&unfinished)?;
        let (pid, pidfd) = spawn(&Program {
            file: File::open("/proc/self/exe")?.as_fd(),
            args: &[CString::from(c"hull-shim"), CString::from(c"--compress")],
            env: &[],
            fds: &[
                source.as_fd(),
                target.as_fd(),
                File::open("/dev/null")?.as_fd(),
            ],
        })?;
        Ok(Self {
            index,
            pid: pid.as_raw_nonzero().get(),
            pidfd,
            unfinished,
        })
    }

    /// Puts the result in the place of the file it was made from.
    pub(super) fn finish(self, ended: Ended, plain: &Path, compressed: &Path) -> io::Result<()> {
        if ended != Ended::Exited(0) {
            return Err(io::Error::other("the compression failed"));
        }
        std::fs::rename(&self.unfinished, compressed)?;
        std::fs::remove_file(plain)
    }
}

impl Drop for Compression {
    fn drop(&mut self) {
        // Both are refused, if it was finished. Whoever reaps this process's children reaps it.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

/// The process's work: stdin, compressed, to stdout.
pub(crate) fn run() -> io::Result<()> {
    // Of no consequence if it is refused.
    let _ = rustix::process::nice(NICENESS);
    // Not `io::stdout`, which looks for newlines in all that is written.
    let target = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut encoder = flate2::write::GzEncoder::new(target, flate2::Compression::default());
    let mut source = io::stdin().lock();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            count => encoder.write_all(&buffer[..count])?,
        }
    }
    encoder.finish()?.flush()
}
