//! The file that is written, and the older ones beside it.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use hull_sys::process::Ended;

use super::{Options, compress::Compression};

/// Owner writes, group reads: as Docker's.
pub(super) const MODE: u32 = 0o640;

#[derive(Debug)]
pub(super) struct LogFile {
    options: Options,
    file: File,
    size: u64,
    /// The size at which the next rotation is due.
    full_at: u64,
    compression: Option<Compression>,
}

impl LogFile {
    pub(super) fn open(options: Options) -> io::Result<Self> {
        let file = open(&options.path)?;
        let size = file.metadata()?.len();
        let full_at = if options.size_max == 0 {
            u64::MAX
        } else {
            options.size_max
        };
        let mut this = Self {
            options,
            file,
            size,
            full_at,
            compression: None,
        };
        if size > 0 && !is_whole(&this.options.path, size) {
            // A torn record takes no other one along.
            let _ = this.write(b"\n");
        }
        this.compress_next();
        Ok(this)
    }

    /// Whether the file is to be rotated before more than `pending` bytes are added.
    pub(super) fn is_full(&self, pending: usize) -> bool {
        self.size + pending as u64 >= self.full_at
    }

    /// All of it or nothing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return self.take_back(written, io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.take_back(written, error),
            }
        }
        self.size += written as u64;
        Ok(())
    }

    /// Looks whether somebody removed, replaced or truncated the file.
    pub(super) fn look(&mut self) {
        let ours = self.file.metadata();
        let there = std::fs::metadata(&self.options.path);
        if let (Ok(ours), Ok(there)) = (&ours, &there)
            && (ours.dev(), ours.ino()) == (there.dev(), there.ino())
        {
            self.size = ours.len();
        } else if let Ok(file) = open(&self.options.path) {
            self.size = file.metadata().map_or(0, |metadata| metadata.len());
            self.file = file;
        }
    }

    /// Moves every file one further and begins a new one. If that fails, the present one is
    /// written on, and the next attempt is made when it has grown by as much again.
    pub(super) fn rotate(&mut self) {
        match self.try_rotate() {
            Ok(()) => self.full_at = self.options.size_max,
            Err(_) => self.full_at = self.size + self.options.size_max,
        }
        self.compress_next();
    }

    fn try_rotate(&mut self) -> io::Result<()> {
        if self.options.files_max < 2 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        self.shift()?;
        self.file = open(&self.options.path)?;
        self.size = 0;
        Ok(())
    }

    fn shift(&mut self) -> io::Result<()> {
        let last = self.options.files_max - 1;
        if let Some(compression) = &mut self.compression {
            compression.index += 1;
            if compression.index > last {
                self.compression = None;
            }
        }
        for index in (1..=last).rev() {
            for suffix in ["", ".gz"] {
                let from = older(&self.options.path, index, suffix);
                let moved = match index == last {
                    true => std::fs::remove_file(from),
                    false => std::fs::rename(from, older(&self.options.path, index + 1, suffix)),
                };
                ignore_missing(moved)?;
            }
        }
        std::fs::rename(&self.options.path, older(&self.options.path, 1, ""))
    }

    /// Starts to compress the oldest file that is not yet.
    fn compress_next(&mut self) {
        if !self.options.compress || self.compression.is_some() {
            return;
        }
        let is_plain = |index: &u32| older(&self.options.path, *index, "").exists();
        let Some(index) = (1..self.options.files_max).rev().find(is_plain) else {
            return;
        };
        self.compression = Compression::start(&self.options.path, index).ok();
    }

    pub(super) fn child_ended(&mut self, pid: i32, ended: Ended) {
        let Some(compression) = self.compression.take_if(|it| it.pid == pid) else {
            return;
        };
        let index = compression.index;
        // A failed compression is tried again with the next rotation, not at once and for ever.
        let done = compression.finish(
            ended,
            &older(&self.options.path, index, ""),
            &older(&self.options.path, index, ".gz"),
        );
        if done.is_ok() {
            self.compress_next();
        }
    }

    /// A record that is half there would spoil the one after it.
    fn take_back(&mut self, written: usize, error: io::Error) -> io::Result<()> {
        if written > 0
            && let Ok(metadata) = self.file.metadata()
        {
            let whole = metadata.len().saturating_sub(written as u64);
            if self.file.set_len(whole).is_ok() {
                self.size = whole;
            }
        }
        Err(error)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
}

/// `PATH.INDEX` with a suffix.
pub(super) fn older(path: &Path, index: u32, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{index}{suffix}"));
    name.into()
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
/// Whether the last record has its end.
fn is_whole(path: &Path, size: u64) -> bool {
    use std::os::unix::fs::FileExt;
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut last, size - 1));
    read.is_err() || last == *b"\n"
}
