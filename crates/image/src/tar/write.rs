//! Writes an archive: ustar headers, with pax records for what does not fit. The same entries
//! give the same bytes.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;

use super::{BLOCK, Entry, EntryKind};
use crate::error::{Context as _, Error, Result};

/// Files beyond this size are copied in large pieces.
const LARGE_BYTES: u64 = 64 << 10;
const PIECE_BYTES: usize = 256 << 10;
const NAME_BYTES: usize = 100;
/// Pieces of a sparse file that a header has room for, and a block after it.
const HEADER_PIECES: usize = 4;
const BLOCK_PIECES: usize = 21;

/// An archive being written.
pub(crate) struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner }
    }

    /// An entry without content.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<()> {
        self.append_file(entry, io::empty())
    }

    /// A file with the bytes given.
    pub(crate) fn append_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.append_file(&Entry::file(path, bytes.len() as u64), bytes)
    }

    /// An entry with `entry.size` bytes of `content`; a file that shrinks meanwhile is filled up.
    pub(crate) fn append_file(&mut self, entry: &Entry, content: impl Read) -> Result<()> {
        let write = |this: &mut Self| -> Result<()> {
            this.headers(entry)?;
            let content = content.take(entry.size);
            let copied = if entry.size > LARGE_BYTES {
                let mut pieces = BufReader::with_capacity(PIECE_BYTES, content);
                io::copy(&mut pieces, &mut this.inner)
            } else {
                let mut content = content;
                io::copy(&mut content, &mut this.inner)
            };
            let copied = copied.context(|| "write the archive")?;
            let padding = entry.size.next_multiple_of(BLOCK as u64) - copied;
            io::copy(&mut io::repeat(0).take(padding), &mut this.inner)
                .context(|| "write the archive")?;
            Ok(())
        };
        write(self)
    }

    /// A file with holes, in the form GNU tar has had for longest: `entry.segments` say where its
    /// bytes are.
    pub(crate) fn append_sparse(&mut self, entry: &Entry, file: &File) -> Result<()> {
        let segments = entry.segments.as_deref().unwrap_or_default();
        let what = || "write the archive";
        self.special(entry)?;
        let (head, rest) = segments.split_at(segments.len().min(HEADER_PIECES));
        self.block(&sparse_header(entry, head, !rest.is_empty())?)?;
        let mut blocks = rest.chunks(BLOCK_PIECES).peekable();
        while let Some(pieces) = blocks.next() {
            let mut block = [0u8; BLOCK];
            put_pieces(&mut block, 0, pieces);
            block[504] = u8::from(blocks.peek().is_some());
            self.block(&block)?;
        }
        let mut stored = 0;
        for &(offset, length) in segments {
            let mut piece = file;
            piece.seek(SeekFrom::Start(offset)).context(what)?;
            let copied = io::copy(&mut piece.take(length), &mut self.inner).context(what)?;
            // A file that shrinks meanwhile is filled up.
            io::copy(&mut io::repeat(0).take(length - copied), &mut self.inner).context(what)?;
            stored += length;
        }
        let padding = stored.next_multiple_of(BLOCK as u64) - stored;
        io::copy(&mut io::repeat(0).take(padding), &mut self.inner).context(what)?;
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.inner
            .write_all(&[0u8; 2 * BLOCK])
            .context(|| "write the archive")?;
        self.inner.flush().context(|| "write the archive")?;
        Ok(self.inner)
    }

    fn headers(&mut self, entry: &Entry) -> Result<()> {
        self.special(entry)?;
        self.block(&header(entry, type_flag(entry.kind)?)?)
    }

    /// The records of what a header has no room for.
    fn special(&mut self, entry: &Entry) -> Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let mut special = Entry::file("PaxHeaders.0/entry", records.len() as u64);
            special.mtime = (entry.mtime.0.max(0), 0);
            self.block(&header(&special, b'x')?)?;
            self.block(&records)?;
            let padding = records.len().next_multiple_of(BLOCK) - records.len();
            self.block(&[0u8; BLOCK][..padding])?;
        }
        Ok(())
    }

    fn block(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write_all(bytes).context(|| "write the archive")
    }
}

/// What the header has no room for.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.path.len() > NAME_BYTES {
        record(&mut records, b"path", &entry.path);
    }
    if entry.link.len() > NAME_BYTES {
        record(&mut records, b"linkpath", &entry.link);
    }
    if entry.size > octal_max(12) && entry.segments.is_none() {
        record(&mut records, b"size", entry.size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if u64::from(id) > octal_max(8) {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    let (seconds, nanoseconds) = entry.mtime;
    if nanoseconds != 0 && seconds >= 0 {
        let text = format!("{seconds}.{nanoseconds:09}");
        record(&mut records, b"mtime", text.as_bytes());
    } else if u64::try_from(seconds).map_or(true, |seconds| seconds > octal_max(12)) {
        record(&mut records, b"mtime", seconds.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        let key = [b"SCHILY.xattr.", name.as_bytes()].concat();
        record(&mut records, &key, value);
    }
    records
}

/// `LENGTH KEY=VALUE\n`; the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn header(entry: &Entry, flag: u8) -> Result<[u8; BLOCK]> {
    let mut header = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &entry.path[..entry.path.len().min(NAME_BYTES)]);
    put(100, &octal(u64::from(entry.mode & 0o7777), 8));
    put(108, &octal(u64::from(entry.uid), 8));
    put(116, &octal(u64::from(entry.gid), 8));
    put(124, &octal(entry.size, 12));
    put(136, &octal(u64::try_from(entry.mtime.0).unwrap_or(0), 12));
    put(148, b"        ");
    put(156, &[flag]);
    put(157, &entry.link[..entry.link.len().min(NAME_BYTES)]);
    put(257, b"ustar\x0000");
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        put(329, &octal(u64::from(entry.device.0), 8));
        put(337, &octal(u64::from(entry.device.1), 8));
    }
    seal(&mut header);
    if entry.path.contains(&0) || entry.link.contains(&0) {
        return Err(Error::Tar("a name contains NUL".into()));
    }
    Ok(header)
}

/// The header of a file with holes: some of its pieces, its stored size and its real one.
fn sparse_header(entry: &Entry, pieces: &[(u64, u64)], more: bool) -> Result<[u8; BLOCK]> {
    let segments = entry.segments.as_deref().unwrap_or_default();
    let stored = segments.iter().map(|(_, length)| length).sum();
    let stub = Entry {
        size: 0,
        ..entry.clone()
    };
    let mut header = header(&stub, b'S')?;
    header[124..136].copy_from_slice(&gnu_number(stored));
    header[257..265].copy_from_slice(b"ustar  \0");
    put_pieces(&mut header, 386, pieces);
    header[482] = u8::from(more);
    header[483..495].copy_from_slice(&gnu_number(entry.size));
    seal(&mut header);
    Ok(header)
}

fn put_pieces(block: &mut [u8; BLOCK], at: usize, pieces: &[(u64, u64)]) {
    for (index, (offset, length)) in pieces.iter().enumerate() {
        let at = at + 24 * index;
        block[at..at + 12].copy_from_slice(&gnu_number(*offset));
        block[at + 12..at + 24].copy_from_slice(&gnu_number(*length));
    }
}

/// Octal where it fits, GNU's binary form where it does not.
fn gnu_number(value: u64) -> [u8; 12] {
    let mut field = [0u8; 12];
    if value <= octal_max(12) {
        field.copy_from_slice(&octal(value, 12));
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

/// Writes the checksum in.
fn seal(header: &mut [u8; BLOCK]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn octal_max(width: usize) -> u64 {
    (1 << (3 * (width - 1))) - 1
}

/// Zero where it does not fit: a record says it then.
fn octal(value: u64, width: usize) -> Vec<u8> {
    let value = if value > octal_max(width) { 0 } else { value };
    format!("{value:0digits$o}\0", digits = width - 1).into_bytes()
}

fn type_flag(kind: EntryKind) -> Result<u8> {
    Ok(match kind {
        EntryKind::File => b'0',
        EntryKind::HardLink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::CharDevice => b'3',
        EntryKind::BlockDevice => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
        EntryKind::Unknown(flag) => {
            return Err(Error::Tar(format!("an entry of the unknown type {flag}")));
        }
    })
}
