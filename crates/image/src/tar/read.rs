//! Reads an archive as a stream: ustar, GNU (long names, sparse) and pax.
//!
//! The input is hostile: every length is bounded before it is believed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt as _;

use super::{BLOCK, Entry, EntryKind, sparse};
use crate::error::{Context as _, Error, Result};

/// The longest pax header or GNU long name: Go's limit.
const SPECIAL_BYTES_MAX: u64 = 1 << 20;
/// Headers that only describe the next one, in a row.
const SPECIALS_MAX: usize = 16;

/// An archive being read. As a [`Read`], it gives the stored bytes of the current entry.
pub(crate) struct Reader<R> {
    inner: R,
    /// Stored bytes of the current entry not read yet, then bytes up to the next block.
    remaining: u64,
    padding: u64,
    /// The blocks were met that end an archive.
    pub(crate) has_end: bool,
    globals: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What the headers before an entry say about it.
#[derive(Default)]
struct Specials {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

type Header = [u8; BLOCK];

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            remaining: 0,
            padding: 0,
            has_end: false,
            globals: BTreeMap::new(),
        }
    }

    /// The next entry; what is left of the current one is skipped. `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut specials = Specials::default();
        for _ in 0..SPECIALS_MAX {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = number(&header[124..136])?;
            match header[156] {
                b'x' => specials.records = parse_records(&self.special(size)?)?,
                b'g' => {
                    let records = parse_records(&self.special(size)?)?;
                    self.globals.extend(records);
                    let held = self.globals.iter();
                    let held: usize = held.map(|(key, value)| key.len() + value.len()).sum();
                    if held as u64 > SPECIAL_BYTES_MAX {
                        return Err(Error::Tar("the global headers are too long".into()));
                    }
                }
                b'L' => specials.path = Some(text(&self.special(size)?)),
                b'K' => specials.link = Some(text(&self.special(size)?)),
                _ => return self.entry(&header, size, specials).map(Some),
            }
        }
        Err(Error::Tar("too many headers for one entry".into()))
    }

    /// Reads what follows the last entry, to its end: a digest covers that too.
    pub(crate) fn drain(&mut self) -> Result<()> {
        self.skip_rest()?;
        io::copy(&mut self.inner, &mut io::sink()).context(|| "read the archive")?;
        Ok(())
    }

    fn entry(&mut self, header: &Header, stored: u64, specials: Specials) -> Result<Entry> {
        let mut entry = from_header(header)?;
        entry.size = stored;
        self.remaining = stored;
        if let Some(path) = specials.path {
            entry.path = path;
        }
        if let Some(link) = specials.link {
            entry.link = link;
        }
        let globals = self
            .globals
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()));
        let records: Vec<_> = globals.chain(specials.records).collect();
        apply_records(&mut entry, &records)?;
        // The oldest format has no flag for directories. Only the final name tells: the one in the
        // header may be the beginning of a longer one.
        if header[156] == 0 && entry.path.ends_with(b"/") {
            entry.kind = EntryKind::Directory;
        }
        // Only regular files carry content, whatever the size field of others says; but its bytes
        // are there to be skipped, except for links and the like, where the field means nothing.
        if matches!(entry.kind, EntryKind::File | EntryKind::Unknown(_)) {
            self.remaining = entry.size;
        } else {
            (self.remaining, entry.size) = (0, 0);
        }
        self.padding = self.remaining.next_multiple_of(BLOCK as u64) - self.remaining;
        if header[156] == b'S' {
            entry.segments = Some(sparse::from_gnu_header(header, &mut self.inner)?);
            entry.size = number(&header[483..495])?;
        } else {
            sparse::from_records(&mut entry, &records, self)?;
        }
        if let Some(segments) = &entry.segments {
            sparse::check(segments, self.remaining, entry.size)?;
        }
        Ok(entry)
    }

    /// The next header, its checksum verified. `None` at the end of the archive: two empty blocks,
    /// or no bytes at all.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut empty_blocks = 0;
        loop {
            let mut header = [0u8; BLOCK];
            let got = read_full(&mut self.inner, &mut header).context(|| "read the archive")?;
            if got == 0 {
                return Ok(None);
            }
            if got < BLOCK {
                return Err(Error::Tar("unexpected EOF".into()));
            }
            if header.iter().all(|&b| b == 0) {
                empty_blocks += 1;
                self.has_end = true;
                if empty_blocks == 2 {
                    return Ok(None);
                }
                continue;
            }
            verify_checksum(&header)?;
            return Ok(Some(header));
        }
    }

    /// The content of a header that describes the next one.
    fn special(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > SPECIAL_BYTES_MAX {
            return Err(Error::Tar("a header is too long".into()));
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)
            .context(|| "read the archive")?;
        Ok(bytes)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let (rest, padding) = (self.remaining, self.padding);
        (self.remaining, self.padding) = (0, 0);
        if self.skip(rest)? < rest {
            return Err(Error::Tar("unexpected EOF".into()));
        }
        // An archive may end right behind the bytes of its last file: so Docker's client leaves it
        // when it adds a Dockerfile from elsewhere to a context.
        let skipped = self.skip(padding)?;
        if skipped != 0 && skipped < padding {
            return Err(Error::Tar("unexpected EOF".into()));
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<u64> {
        io::copy(&mut self.inner.by_ref().take(bytes), &mut io::sink())
            .context(|| "read the archive")
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let limit = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let got = self.inner.read(&mut buffer[..limit])?;
        if got == 0 {
            return Err(Error::Tar("unexpected EOF".into()).into());
        }
        self.remaining -= got as u64;
        Ok(got)
    }
}

fn from_header(header: &Header) -> Result<Entry> {
    let mut path = text(&header[0..100]);
    // GNU uses the prefix's place for other things.
    if &header[257..263] == b"ustar\0" {
        let prefix = text(&header[345..500]);
        if !prefix.is_empty() {
            path = [prefix.as_slice(), b"/", &path].concat();
        }
    }
    let kind = match header[156] {
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => EntryKind::Unknown(other),
    };
    Ok(Entry {
        mode: (number(&header[100..108])? & 0o7777) as u32,
        uid: id(number(&header[108..116])?)?,
        gid: id(number(&header[116..124])?)?,
        mtime: (signed(&header[136..148])?, 0),
        link: text(&header[157..257]),
        device: (device(&header[329..337]), device(&header[337..345])),
        ..Entry::new(path, kind)
    })
}

fn apply_records(entry: &mut Entry, records: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    const XATTR: &[u8] = b"SCHILY.xattr.";
    for (key, value) in records {
        match key.as_slice() {
            b"path" => entry.path = value.clone(),
            b"linkpath" => entry.link = value.clone(),
            b"size" => entry.size = decimal(value)?,
            b"uid" => entry.uid = id(decimal(value)?)?,
            b"gid" => entry.gid = id(decimal(value)?)?,
            b"mtime" => entry.mtime = time(value)?,
            key if key.starts_with(XATTR) => {
                let name = OsString::from_vec(key[XATTR.len()..].to_vec());
                entry.xattrs.retain(|(known, _)| *known != name);
                entry.xattrs.push((name, value.clone()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `LENGTH KEY=VALUE\n`, each; the length counts itself.
fn parse_records(mut bytes: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let damaged = || Error::Tar("damaged pax header".into());
    let mut records = Vec::new();
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().position(|&b| b == b' ').ok_or_else(damaged)?;
        let length = usize::try_from(decimal(&bytes[..space])?).map_err(|_| damaged())?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(damaged());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|&b| b == b'=').ok_or_else(damaged)?;
        let (key, value) = (record[..equals].to_vec(), record[equals + 1..].to_vec());
        let is_path = matches!(key.as_slice(), b"path" | b"linkpath");
        if is_path && value.contains(&0) {
            return Err(damaged());
        }
        records.push((key, value));
        bytes = &bytes[length..];
    }
    Ok(records)
}

/// Up to the first NUL.
fn text(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|&b| b == 0).next().unwrap_or_default().to_vec()
}

pub(super) fn decimal(bytes: &[u8]) -> Result<u64> {
    let digits = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.starts_with('+'));
    digits
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::Tar("damaged number in a pax header".into()))
}

/// An octal or (for large ones) binary number.
pub(super) fn number(field: &[u8]) -> Result<u64> {
    u64::try_from(signed(field)?).map_err(|_| Error::Tar("negative number in a header".into()))
}

fn signed(field: &[u8]) -> Result<i64> {
    let damaged = || Error::Tar("damaged number in a header".into());
    if field[0] & 0x80 != 0 {
        // Two's complement, big endian; the top bit only marks the form.
        let negative = field[0] & 0x40 != 0;
        let first = if negative { field[0] } else { field[0] & 0x7f };
        let mut value: i128 = if negative {
            i128::from(first as i8)
        } else {
            i128::from(first)
        };
        for &byte in &field[1..] {
            value = (value << 8) | i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| damaged());
    }
    let digits = field.iter().skip_while(|&&b| b == b' ' || b == 0);
    let mut value: i64 = 0;
    for &byte in digits.take_while(|&&b| b != b' ' && b != 0) {
        if !(b'0'..=b'7').contains(&byte) {
            return Err(damaged());
        }
        let shifted = value.checked_mul(8).ok_or_else(damaged)?;
        value = shifted + i64::from(byte - b'0');
    }
    Ok(value)
}

fn id(value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Tar("a user or group id is too large".into()))
}

/// Rubbish here is common in archives without devices.
fn device(field: &[u8]) -> u32 {
    number(field)
        .ok()
        .and_then(|value| u32::try_from(value).ok())
        .unwrap_or(0)
}

/// `SECONDS[.FRACTION]`, perhaps negative.
fn time(value: &[u8]) -> Result<(i64, u32)> {
    let damaged = || Error::Tar("damaged time in a pax header".into());
    let text = std::str::from_utf8(value).map_err(|_| damaged())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| damaged())?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(damaged());
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().map_err(|_| damaged())?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Ok((seconds.saturating_sub(1), 1_000_000_000 - nanoseconds));
    }
    Ok((seconds, nanoseconds))
}

fn verify_checksum(header: &Header) -> Result<()> {
    let expected = number(&header[148..156])?;
    let byte = |(at, &byte): (usize, &u8)| if (148..156).contains(&at) { b' ' } else { byte };
    let unsigned: u64 = header.iter().enumerate().map(byte).map(u64::from).sum();
    // Ancient archives sum signed bytes.
    let signed: i64 = header
        .iter()
        .enumerate()
        .map(byte)
        .map(|b| i64::from(b as i8))
        .sum();
    if expected == unsigned || i64::try_from(expected) == Ok(signed) {
        return Ok(());
    }
    Err(Error::Tar("invalid tar header".into()))
}

/// Fills the buffer, or as much of it as there is.
pub(crate) fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
