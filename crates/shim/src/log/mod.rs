//! What a container writes, kept in Docker's json-file form.
//!
//! ```text
//! PATH         being written
//! PATH.1       the one before, until it is compressed …
//! PATH.1.gz    … and from then on
//! PATH.2.gz    …
//! ```
//!
//! The container never waits for its log: what the disk does not take is dropped and counted, and
//! the log says so once it can. Compression is another process's work ([`compress`]).

mod compress;
mod file;
mod line;
mod lines;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

pub(crate) use compress::run as compress_standard_input;
use file::LogFile;
use hull_sys::process::Ended;
use line::Time;
use lines::Lines;

use crate::clock;

/// How often the path is looked at: is it still the file we write?
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// More than this is not kept allocated between two writes.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How a log is kept.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) path: PathBuf,
    pub(crate) size_max: u64,
    pub(crate) files_max: u32,
    pub(crate) compress: bool,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct Log {
    file: LogFile,
    attributes: Vec<u8>,
    lines: [Lines; 2],
    /// Records that are to be written: whole ones only.
    buffer: Vec<u8>,
    looked_at: Instant,
    dropped: Dropped,
}

/// Records that the disk did not take.
#[derive(Debug, Default)]
struct Dropped {
    total: u64,
    /// Not yet told in the log.
    untold: u64,
    reason: String,
}

impl Log {
    pub(crate) fn open(options: Options) -> io::Result<Self> {
        let attributes = match options.attributes.is_empty() {
            true => Vec::new(),
            false => serde_json::to_vec(&options.attributes)?,
        };
        Ok(Self {
            attributes,
            file: LogFile::open(options)?,
            lines: Default::default(),
            buffer: Vec::new(),
            looked_at: Instant::now(),
            dropped: Dropped::default(),
        })
    }

    /// Takes what was read; [`flush`](Self::flush) writes it.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let now = Time::new(clock::since_1970_ns());
        let mut lines = std::mem::take(&mut self.lines[stream as usize]);
        lines.push(bytes, &now, |piece, time| self.record(piece, stream, time));
        self.lines[stream as usize] = lines;
    }

    /// The stream is over.
    pub(crate) fn finish(&mut self, stream: Stream) {
        let now = Time::new(clock::since_1970_ns());
        let mut lines = std::mem::take(&mut self.lines[stream as usize]);
        lines.finish(&now, |piece, time| self.record(piece, stream, time));
    }

    /// Writes what was taken: one system call, as a rule.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if self.looked_at.elapsed() >= LOOK_INTERVAL {
            self.looked_at = Instant::now();
            self.file.look();
        }
        self.tell_dropped();
        match self.file.write(&self.buffer) {
            Ok(()) => self.dropped.untold = 0,
            Err(error) => self.dropped.add(&self.buffer, &error),
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
    }

    /// How many records the disk did not take.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.total
    }

    /// A child of this process ended: was it the compression?
    pub(crate) fn child_ended(&mut self, pid: i32, ended: Ended) {
        self.file.child_ended(pid, ended);
    }

    fn record(&mut self, piece: (&[u8], bool), stream: Stream, time: &Time) {
        if self.file.is_full(self.buffer.len()) {
            self.flush();
            self.file.rotate();
        }
        line::write(
            &mut self.buffer,
            piece,
            stream.name(),
            &self.attributes,
            time,
        );
    }

    /// Puts a record before the others that says how many are missing.
    fn tell_dropped(&mut self) {
        if self.dropped.untold == 0 {
            return;
        }
        let text = format!(
            "hull: {} lines lost: {}",
            self.dropped.untold, self.dropped.reason
        );
        let now = Time::new(clock::since_1970_ns());
        let mut buffer = Vec::with_capacity(self.buffer.len() + 256);
        line::write(
            &mut buffer,
            (text.as_bytes(), true),
            "stderr",
            &self.attributes,
            &now,
        );
        buffer.append(&mut self.buffer);
        self.buffer = buffer;
    }
}

impl Dropped {
    fn add(&mut self, buffer: &[u8], error: &io::Error) {
        let records = buffer.iter().filter(|&&byte| byte == b'\n').count() as u64;
        // The record that tells of the loss is none of the container's.
        let own = u64::from(self.untold > 0);
        self.total += records - own;
        self.untold += records - own;
        self.reason = error.to_string();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn open(path: &Path, size_max: u64, files_max: u32) -> Log {
        Log::open(Options {
            path: path.to_owned(),
            size_max,
            files_max,
            compress: false,
            attributes: BTreeMap::new(),
        })
        .unwrap()
    }

    fn messages(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let parse = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines()
            .map(|line| parse(line)["log"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_full_file_is_rotated_between_two_lines_and_none_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = open(&path, 300, 3);
        for n in 0..12 {
            log.push(Stream::Stdout, format!("{n}\n").as_bytes());
        }
        log.flush();
        let kept: Vec<_> = ["log.2", "log.1", "log"]
            .iter()
            .flat_map(|name| messages(&directory.path().join(name)))
            .collect();
        assert_eq!(kept.last().unwrap(), "11\n");
        assert_eq!(kept.len(), 12, "{kept:?}");
        assert!(path.with_extension("1").metadata().unwrap().len() < 400);
    }

    #[test]
    fn no_more_files_are_kept_than_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for files_max in [1, 2] {
            let mut log = open(&path, 100, files_max);
            for n in 0..12 {
                log.push(Stream::Stdout, format!("{n}\n").as_bytes());
                log.flush();
            }
            let count = std::fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(count, files_max as usize);
            assert_eq!(messages(&path).last().unwrap(), "11\n");
        }
    }

    #[test]
    fn a_file_truncated_or_removed_from_outside_is_written_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = open(&path, 0, 1);
        log.push(Stream::Stdout, b"one\n");
        log.flush();
        std::fs::write(&path, b"").unwrap();
        log.push(Stream::Stdout, b"two\n");
        log.flush();
        assert_eq!(messages(&path), ["two\n"]);
        std::fs::remove_file(&path).unwrap();
        log.looked_at = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
        log.push(Stream::Stdout, b"three\n");
        log.flush();
        assert_eq!(messages(&path), ["three\n"]);
    }

    #[test]
    fn what_a_full_disk_refused_is_counted_and_told_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = open(&path, 0, 1);
        for _ in 0..2 {
            log.push(Stream::Stdout, b"lost\nlost\n");
            log.flush();
        }
        assert_eq!(log.dropped_total(), 4);
        std::fs::remove_file(&path).unwrap();
        log.looked_at = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
        log.push(Stream::Stderr, b"kept\n");
        log.flush();
        let told = messages(&path);
        assert!(told[0].starts_with("hull: 4 lines lost: "), "{told:?}");
        assert_eq!(told[1], "kept\n");
    }
}
