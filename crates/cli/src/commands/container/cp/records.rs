//! A tar whose records about files cannot be mistaken for others.
//!
//! What is said of a file beside its header is a list of records, each with its length. The reader of
//! tars that is used here parts them at line ends instead: an attribute's value, which whoever is in a
//! container chooses, could pass for a file's name or size. So they are read by their lengths before it
//! sees them, and values become digits.

use std::io::{self, Read};

const BLOCK: usize = 512;

/// As much as attributes may take, and then some.
const RECORDS_MAX: u64 = 1 << 20;

/// Where attributes stand, as all tars have it, and as they are handed on.
const ATTRIBUTE: &str = "SCHILY.xattr.";
const HANDED_ON: &str = "HULL.xattr.";

/// Where a header has its size and its kind, and a sparse one whether more follows.
const SIZE: std::ops::Range<usize> = 124..136;
const KIND: usize = 156;
const IS_EXTENDED: usize = 482;
const GOES_ON: usize = 504;

/// Hands a tar on, with records that part at line ends.
pub(super) struct Plain<R> {
    inner: R,
    ready: Vec<u8>,
    at: usize,
    /// Bytes of content, and what fills their last block.
    left: u64,
    /// What the next header is told of its size.
    size: Option<u64>,
}

impl<R: Read> Plain<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            ready: Vec::new(),
            at: 0,
            left: 0,
            size: None,
        }
    }

    /// Reads the next header, with what belongs to it.
    fn header(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.at = 0;
        let mut block = [0; BLOCK];
        if !fill(&mut self.inner, &mut block)? {
            return Ok(());
        }
        let size = number(&block[SIZE]);
        match block[KIND] {
            _ if block.iter().all(|byte| *byte == 0) => self.ready.extend_from_slice(&block),
            b'x' | b'g' => {
                let size = size.filter(|size| *size <= RECORDS_MAX);
                let size = size.ok_or_else(|| damaged("a file has too many attributes"))?;
                let mut bytes = vec![0; usize::try_from(padded(size)).unwrap_or(0)];
                self.inner.read_exact(&mut bytes)?;
                let records = parse(&bytes[..usize::try_from(size).unwrap_or(0)])?;
                if block[KIND] == b'x' {
                    let own = records.iter().rfind(|(key, _)| *key == "size");
                    let text = own.and_then(|(_, value)| std::str::from_utf8(value).ok());
                    self.size = text.and_then(|text| text.parse().ok());
                }
                self.hand_on(block, &records);
            }
            kind => {
                self.ready.extend_from_slice(&block);
                let mut goes_on = kind == b'S' && block[IS_EXTENDED] != 0;
                while goes_on {
                    if !fill(&mut self.inner, &mut block)? {
                        return Err(damaged("a sparse file breaks off"));
                    }
                    self.ready.extend_from_slice(&block);
                    goes_on = block[GOES_ON] != 0;
                }
                let size = match kind {
                    // Longer names are no files.
                    b'L' | b'K' => size,
                    _ => self.size.take().or(size),
                };
                self.left = padded(size.ok_or_else(|| damaged("a file's size is no number"))?);
            }
        }
        Ok(())
    }

    /// Puts records where they were.
    fn hand_on(&mut self, mut header: [u8; BLOCK], records: &[(&str, &[u8])]) {
        let mut bytes = Vec::new();
        for (key, value) in records {
            match key.strip_prefix(ATTRIBUTE) {
                Some(name) if !name.contains(['\n', '=']) => {
                    let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                    record(&mut bytes, &format!("{HANDED_ON}{name}"), digits.as_bytes());
                }
                Some(_) => {}
                None if value.contains(&b'\n') || key.contains('\n') => {}
                None => record(&mut bytes, key, value),
            }
        }
        let size = bytes.len();
        header[SIZE].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.ready.extend_from_slice(&header);
        self.ready.extend_from_slice(&bytes);
        self.ready.resize(BLOCK + size.next_multiple_of(BLOCK), 0);
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            if self.left > 0 {
                let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
                let wanted = wanted.min(buffer.len());
                let read = self.inner.read(&mut buffer[..wanted])?;
                self.left -= read as u64;
                return Ok(read);
            }
            self.header()?;
        }
        let ready = &self.ready[self.at..];
        let taken = ready.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&ready[..taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// The attribute that a record handed on is of, and its value.
pub(super) fn attribute(key: &str, value: &[u8]) -> Option<(String, Vec<u8>)> {
    let name = key.strip_prefix(HANDED_ON)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    let pairs = value.chunks_exact(2);
    let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
    Some((name.to_owned(), bytes?))
}

/// Parts records by their lengths.
fn parse(mut bytes: &[u8]) -> io::Result<Vec<(&str, &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let wrong = || damaged("a file's attributes are damaged");
        let space = bytes
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(wrong)?;
        let length = std::str::from_utf8(&bytes[..space]).ok();
        let length = length.and_then(|text| text.parse::<usize>().ok());
        let length = length.filter(|length| *length > space + 1 && *length <= bytes.len());
        let (record, rest) = bytes.split_at(length.ok_or_else(wrong)?);
        let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(wrong)?;
        let equals = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(wrong)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| wrong())?;
        records.push((key, &record[equals + 1..]));
        bytes = rest;
    }
    Ok(records)
}

/// Its length counts itself.
fn record(bytes: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
    bytes.extend_from_slice(value);
    bytes.push(b'\n');
}

/// Octal digits, or the bytes of a large number.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let bytes = field[field.len() - 8..].try_into().ok()?;
        return Some(u64::from_be_bytes(bytes));
    }
    let text = std::str::from_utf8(field).ok()?;
    match text.trim_matches(['\0', ' ']) {
        "" => Some(0),
        text => u64::from_str_radix(text, 8).ok(),
    }
}

fn padded(size: u64) -> u64 {
    size.saturating_add(BLOCK as u64 - 1) / BLOCK as u64 * BLOCK as u64
}

/// Whether there was one more block.
fn fill(input: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<bool> {
    let mut length = 0;
    while length < BLOCK {
        match input.read(&mut block[length..]) {
            Ok(0) if length == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn damaged(what: &str) -> io::Error {
    io::Error::other(format!("the archive is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use tar::{Archive, Builder, Header};

    use super::*;

    #[test]
    fn an_attribute_chooses_neither_name_nor_size() {
        let mut builder = Builder::new(Vec::new());
        let bad: [(&str, &[u8]); 3] = [
            ("SCHILY.xattr.user.x", b"\n16 path=chosen\n"),
            ("SCHILY.xattr.user.y", b"\n9 size=0\n\n"),
            ("SCHILY.xattr.user.z", b"kept\nwhole"),
        ];
        builder.append_pax_extensions(bad).unwrap();
        let mut header = Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "name", &b"01234"[..])
            .unwrap();
        let long = "n".repeat(200);
        header.set_size(1);
        builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
        let tar = builder.into_inner().unwrap();
        let mut archive = Archive::new(Plain::new(tar.as_slice()));
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut found = Vec::new();
            for one in entry.pax_extensions().unwrap().into_iter().flatten() {
                let one = one.unwrap();
                found.extend(attribute(one.key().unwrap(), one.value_bytes()));
            }
            seen.push((path, entry.size(), found));
        }
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].0.as_str(), seen[0].1), ("name", 5));
        assert_eq!(seen[0].2[2], ("user.z".to_owned(), b"kept\nwhole".to_vec()));
        assert_eq!((seen[1].0.as_str(), seen[1].1), (long.as_str(), 1));
    }
}
