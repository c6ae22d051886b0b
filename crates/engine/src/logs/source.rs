//! One file of a log, plain or compressed, read record by record.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use super::record::{LogRecord, parse};

/// What is read at a time.
const READ_BYTES: usize = 64 << 10;

/// A longer line is no record: one of 16 KiB, all escaped, with attributes, stays far below.
const LINE_BYTES_MAX: usize = 1 << 20;

/// So many bytes of the beginning tell one file of a log from another: its first record's time,
/// mostly.
const BEGINNING_BYTES: u64 = 256;

#[derive(Debug)]
pub(super) struct Source {
    content: Content,
    identity: (u64, u64),
    /// The line that has begun.
    pending: Vec<u8>,
    /// The line that has begun is too long: it is passed over.
    is_passing_over: bool,
    /// Lines still to be passed over.
    skip: u64,
    is_final: bool,
}

#[derive(Debug)]
enum Content {
    Plain {
        file: File,
        position: u64,
    },
    Compressed {
        decoder: Box<MultiGzDecoder<File>>,
        file: File,
    },
}

impl Source {
    pub(super) fn plain(file: File) -> io::Result<Self> {
        Self::new(file, |file| Ok(Content::Plain { file, position: 0 }))
    }

    pub(super) fn compressed(file: File) -> io::Result<Self> {
        Self::new(file, |file| {
            let decoder = Box::new(MultiGzDecoder::new(file.try_clone()?));
            Ok(Content::Compressed { decoder, file })
        })
    }

    fn new(file: File, content: impl FnOnce(File) -> io::Result<Content>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            content: content(file)?,
            identity: (metadata.dev(), metadata.ino()),
            pending: Vec::new(),
            is_passing_over: false,
            skip: 0,
            is_final: false,
        })
    }

    /// Reads some records. False: it is at its end, for now.
    pub(super) fn read(&mut self, records: &mut Vec<LogRecord>) -> io::Result<bool> {
        let mut buffer = vec![0; READ_BYTES];
        let count = self.read_bytes(&mut buffer)?;
        for part in buffer[..count].split_inclusive(|&byte| byte == b'\n') {
            self.take(part, records);
        }
        Ok(count > 0)
    }

    fn take(&mut self, part: &[u8], records: &mut Vec<LogRecord>) {
        let is_end = part.ends_with(b"\n");
        if self.pending.len() + part.len() > LINE_BYTES_MAX {
            self.is_passing_over = true;
            self.pending = Vec::new();
        }
        if !is_end {
            if !self.is_passing_over {
                self.pending.extend_from_slice(part);
            }
            return;
        }
        let is_whole = !std::mem::take(&mut self.is_passing_over);
        let record = match (is_whole, self.pending.is_empty()) {
            (false, _) => None,
            (true, true) => parse(part),
            (true, false) => {
                self.pending.extend_from_slice(part);
                parse(&self.pending)
            }
        };
        self.pending.clear();
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            records.extend(record);
        }
    }

    fn read_bytes(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (file, position) = match &mut self.content {
            Content::Plain { file, position } => (file, position),
            // What is damaged ends there; the files after it are whole.
            Content::Compressed { decoder, .. } => return Ok(decoder.read(buffer).unwrap_or(0)),
        };
        let count = file.read_at(buffer, *position)?;
        *position += count as u64;
        if count == 0 && file.metadata()?.len() < *position {
            // Truncated from outside: what is written now begins anew.
            *position = 0;
            self.pending.clear();
            self.is_passing_over = false;
            return self.read_bytes(buffer);
        }
        Ok(count)
    }

    /// How many lines it has, and where it stands is forgotten.
    pub(super) fn count_lines(&mut self) -> io::Result<u64> {
        let mut buffer = vec![0; READ_BYTES];
        let mut lines = 0;
        loop {
            let count = self.read_bytes(&mut buffer)?;
            if count == 0 {
                break;
            }
            lines += buffer[..count]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count() as u64;
        }
        self.rewind()?;
        Ok(lines)
    }

    fn rewind(&mut self) -> io::Result<()> {
        match &mut self.content {
            Content::Plain { position, .. } => *position = 0,
            Content::Compressed { decoder, file } => {
                file.seek(SeekFrom::Start(0))?;
                **decoder = MultiGzDecoder::new(file.try_clone()?);
            }
        }
        Ok(())
    }

    /// Passes over so many lines from here.
    pub(super) fn skip_lines(&mut self, count: u64) {
        self.skip = count;
    }

    /// The file itself, if it can be read at any place.
    pub(super) fn plain_file(&self) -> Option<&File> {
        match &self.content {
            Content::Plain { file, .. } => Some(file),
            Content::Compressed { .. } => None,
        }
    }

    /// Reads from there on.
    pub(super) fn set_position(&mut self, to: u64) {
        if let Content::Plain { position, .. } = &mut self.content {
            *position = to;
        }
    }

    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Whether what lies at `path` is this very file.
    pub(super) fn is_still_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == self.identity)
    }

    /// Nobody writes to it any more.
    pub(super) fn set_final(&mut self) {
        self.is_final = true;
    }

    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    /// Whether this is the same file as `other`, or the same one compressed since.
    pub(super) fn is_same_log(&self, other: &Self) -> bool {
        if self.identity == other.identity {
            return true;
        }
        match (self.beginning(), other.beginning()) {
            (Ok(ours), Ok(theirs)) => !ours.is_empty() && ours == theirs,
            _ => false,
        }
    }

    fn beginning(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match &self.content {
            Content::Plain { file, .. } => {
                bytes.resize(BEGINNING_BYTES as usize, 0);
                let count = file.read_at(&mut bytes, 0)?;
                bytes.truncate(count);
            }
            Content::Compressed { file, .. } => {
                let from_start = Positioned { file, position: 0 };
                MultiGzDecoder::new(from_start)
                    .take(BEGINNING_BYTES)
                    .read_to_end(&mut bytes)?;
            }
        }
        Ok(bytes)
    }
}

/// Reads a file that another reader stands in, without moving that.
struct Positioned<'a> {
    file: &'a File,
    position: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
