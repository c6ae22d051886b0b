//! Reads a container's log: Docker's json-file form, over all its rotated files.
//!
//! ```text
//! PATH.2.gz ──▶ PATH.1 ──▶ PATH ──▶ (following) whatever PATH is next
//! ```
//!
//! Made for callers that wait elsewhere: [`LogReader::read_batch`] does a bounded piece of work,
//! and with [`Batch::next`] says whether to call again, to wait for
//! [`changed_fd`](LogReader::changed_fd), or to stop. Files are opened before anything is read, so
//! that a rotation takes nothing away; a file truncated, replaced or torn from outside is read on.
//! Memory is bounded whatever the files hold.

mod files;
pub(crate) mod forward;
mod record;
mod source;
mod tail;
mod watch;

use std::{
    collections::VecDeque,
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use files::{Chain, open_chain, open_newest};
pub use record::{LogRecord, LogStream};
use source::Source;
use watch::Watch;

/// Which records to read.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// The last this many records only, of both streams together.
    pub tail: Option<u64>,
    /// Not older than this: nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// Not younger than this: nanoseconds since 1970.
    pub until_ns: Option<i64>,
    /// Go on with what is written later.
    pub follow: bool,
}

/// Some records, and what to do next.
#[derive(Debug)]
pub struct Batch {
    /// In the order they were written.
    pub records: Vec<LogRecord>,
    /// What to do next.
    pub next: Next,
}

/// What to do after a [`Batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There may be more at once.
    Read,
    /// There is no more now: wait for [`LogReader::changed_fd`].
    Wait,
    /// There will be no more.
    Stop,
}

/// A log that is being read.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    query: LogQuery,
    watch: Option<Watch>,
    /// Still to be read, oldest first. The one in front is being read.
    sources: VecDeque<Source>,
    is_over: bool,
}

impl LogReader {
    /// Opens all files of the log at `path`. That there are none yet is no error.
    pub fn open(path: &Path, query: LogQuery) -> io::Result<Self> {
        // Watched before it is read: nothing is missed in between.
        let watch = query.follow.then(|| Watch::new(path)).transpose()?;
        let Chain { mut sources } = open_chain(path)?;
        if let Some(count) = query.tail {
            tail::keep_last(&mut sources, count)?;
        }
        Ok(Self {
            path: path.to_owned(),
            query,
            watch,
            sources: sources.into(),
            is_over: false,
        })
    }

    /// Reads some more. Blocks for the disk only.
    pub fn read_batch(&mut self) -> io::Result<Batch> {
        let mut records = Vec::new();
        let next = self.fill(&mut records)?;
        Ok(Batch { records, next })
    }

    /// Readable when there may be more. `None`: it is not followed.
    pub fn changed_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::fd)
    }

    /// Takes what made [`changed_fd`](Self::changed_fd) readable, before the next read.
    pub fn clear_changed(&self) {
        if let Some(watch) = &self.watch {
            watch.clear();
        }
    }

    /// Nobody writes any more: what is there is read, and then it is over.
    pub fn stop_following(&mut self) {
        self.query.follow = false;
    }

    fn fill(&mut self, records: &mut Vec<LogRecord>) -> io::Result<Next> {
        if self.is_over {
            return Ok(Next::Stop);
        }
        let Some(source) = self.sources.front_mut() else {
            return self.wait_for_file();
        };
        if source.read(records)? {
            return Ok(self.filter(records));
        }
        self.after_end()
    }

    /// There is no file (any more, or yet).
    fn wait_for_file(&mut self) -> io::Result<Next> {
        match open_newest(&self.path)? {
            Some(source) => {
                self.sources.push_back(source);
                Ok(Next::Read)
            }
            None if self.query.follow => Ok(Next::Wait),
            None => Ok(Next::Stop),
        }
    }

    /// The file in front is read to its end, for now.
    fn after_end(&mut self) -> io::Result<Next> {
        if self.sources.len() > 1 {
            self.sources.pop_front();
            return Ok(Next::Read);
        }
        let Some(source) = self.sources.front_mut() else {
            return Ok(Next::Read);
        };
        if source.is_still_at(&self.path) || !self.path.exists() {
            return Ok(if self.query.follow {
                Next::Wait
            } else {
                Next::Stop
            });
        }
        // Rotated. What was written to it before that, and after our read, first.
        if !source.is_final() {
            source.set_final();
            return Ok(Next::Read);
        }
        let Chain { sources } = open_chain(&self.path)?;
        let successors = match sources.iter().position(|other| other.is_same_log(source)) {
            Some(at) => at + 1,
            None => 0,
        };
        self.sources = sources.into_iter().skip(successors).collect();
        Ok(Next::Read)
    }

    /// Leaves what was asked for; what comes after `until` is the end.
    fn filter(&mut self, records: &mut Vec<LogRecord>) -> Next {
        if let Some(until) = self.query.until_ns
            && let Some(first) = records.iter().position(|record| record.time_ns > until)
        {
            records.truncate(first);
            self.is_over = true;
        }
        if let Some(since) = self.query.since_ns {
            records.retain(|record| record.time_ns >= since);
        }
        if self.is_over { Next::Stop } else { Next::Read }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, OpenOptions},
        io::Write,
    };

    use super::*;

    /// A record number n, at n seconds.
    fn line(n: u64) -> String {
        format!(
            "{{\"log\":\"{n}\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:{:02}:{:02}Z\"}}\n",
            n / 60,
            n % 60
        )
    }

    fn write(path: &Path, numbers: std::ops::Range<u64>) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(numbers.map(line).collect::<String>().as_bytes())
            .unwrap();
    }

    fn compress(path: &Path) {
        let text = std::fs::read(path).unwrap();
        let file = File::create(path.with_extension("1.gz")).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    /// Reads until it would have to wait.
    fn read(reader: &mut LogReader) -> Vec<u64> {
        let mut numbers = Vec::new();
        loop {
            reader.clear_changed();
            let batch = reader.read_batch().unwrap();
            let text = batch
                .records
                .iter()
                .map(|it| String::from_utf8_lossy(&it.bytes).into_owned());
            numbers.extend(text.map(|text| text.trim().parse::<u64>().unwrap()));
            if batch.next != Next::Read {
                return numbers;
            }
        }
    }

    /// Three files: 0–9 compressed, 10–19, 20–29.
    fn rotated() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c-json.log");
        let older = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
        write(&older(".2"), 0..10);
        let text = std::fs::read(older(".2")).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(older(".2.gz")).unwrap(),
            flate2::Compression::fast(),
        );
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap();
        std::fs::remove_file(older(".2")).unwrap();
        write(&older(".1"), 10..20);
        write(&path, 20..30);
        (directory, path)
    }

    fn rotate(path: &Path) {
        let older = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
        for n in (1..5).rev() {
            let _ = std::fs::rename(older(n), older(n + 1));
        }
        std::fs::rename(path, older(1)).unwrap();
    }

    #[test]
    fn all_files_are_read_in_the_order_they_were_written() {
        let (_directory, path) = rotated();
        let mut reader = LogReader::open(&path, LogQuery::default()).unwrap();
        assert_eq!(read(&mut reader), (0..30).collect::<Vec<_>>());
        assert_eq!(reader.read_batch().unwrap().next, Next::Stop);
    }

    #[test]
    fn the_last_ones_may_lie_in_any_file() {
        let (_directory, path) = rotated();
        for count in [0, 1, 10, 11, 20, 25, 30, 99] {
            let query = LogQuery {
                tail: Some(count),
                ..LogQuery::default()
            };
            let mut reader = LogReader::open(&path, query).unwrap();
            let first = 30_u64.saturating_sub(count);
            assert_eq!(
                read(&mut reader),
                (first..30).collect::<Vec<_>>(),
                "tail {count}"
            );
        }
    }

    #[test]
    fn times_limit_both_ends() {
        let (_directory, path) = rotated();
        let second = 1_000_000_000;
        let query = LogQuery {
            since_ns: Some(8 * second),
            until_ns: Some(22 * second),
            ..LogQuery::default()
        };
        let mut reader = LogReader::open(&path, query).unwrap();
        assert_eq!(read(&mut reader), (8..=22).collect::<Vec<_>>());
        assert_eq!(reader.read_batch().unwrap().next, Next::Stop);
    }

    #[test]
    fn a_follower_survives_rotations_however_many() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c-json.log");
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let mut reader = LogReader::open(&path, query).unwrap();
        assert!(read(&mut reader).is_empty());
        write(&path, 0..3);
        assert_eq!(read(&mut reader), [0, 1, 2]);
        write(&path, 3..4);
        rotate(&path);
        write(&path, 4..5);
        assert_eq!(read(&mut reader), [3, 4]);
        write(&path, 5..6);
        rotate(&path);
        write(&path, 6..7);
        rotate(&path);
        write(&path, 7..8);
        assert_eq!(read(&mut reader), [5, 6, 7]);
        rotate(&path);
        assert!(read(&mut reader).is_empty());
        write(&path, 8..9);
        assert_eq!(read(&mut reader), [8]);
        reader.stop_following();
        assert_eq!(reader.read_batch().unwrap().next, Next::Stop);
    }

    #[test]
    fn a_follower_finds_its_place_when_its_file_was_compressed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, 0..3);
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let mut reader = LogReader::open(&path, query).unwrap();
        assert_eq!(read(&mut reader), [0, 1, 2]);
        std::fs::rename(&path, directory.path().join("plain")).unwrap();
        compress(&directory.path().join("plain"));
        std::fs::rename(
            directory.path().join("plain.1.gz"),
            directory.path().join("log.1.gz"),
        )
        .unwrap();
        write(&path, 3..5);
        assert_eq!(read(&mut reader), [3, 4]);
    }

    #[test]
    fn a_follower_survives_a_truncation_and_a_line_that_is_not_whole_yet() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, 0..3);
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let mut reader = LogReader::open(&path, query).unwrap();
        assert_eq!(read(&mut reader), [0, 1, 2]);
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        assert!(read(&mut reader).is_empty());
        let (begin, end) = (line(7), line(8));
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(begin.as_bytes()).unwrap();
        file.write_all(&end.as_bytes()[..9]).unwrap();
        assert_eq!(read(&mut reader), [7]);
        file.write_all(&end.as_bytes()[9..]).unwrap();
        assert_eq!(read(&mut reader), [8]);
    }

    #[test]
    fn a_change_is_announced() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let mut reader = LogReader::open(&path, query).unwrap();
        for n in 0..3 {
            write(&path, n..n + 1);
            let fd = reader.changed_fd().unwrap();
            let timeout = Timespec {
                tv_sec: 5,
                tv_nsec: 0,
            };
            let mut polled = [PollFd::new(&fd, PollFlags::IN)];
            assert_eq!(poll(&mut polled, Some(&timeout)).unwrap(), 1);
            assert_eq!(read(&mut reader), [n]);
        }
    }

    #[test]
    fn what_is_no_record_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, 0..1);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\0\0\0torn\n").unwrap();
        file.write_all(&vec![b'x'; 3 << 20]).unwrap();
        file.write_all(b"\n").unwrap();
        write(&path, 1..2);
        file.write_all(b"{\"log\":\"torn").unwrap();
        let mut reader = LogReader::open(&path, LogQuery::default()).unwrap();
        assert_eq!(read(&mut reader), [0, 1]);
    }
}
