//! Files with holes, in GNU tar's four ways of writing them.

use std::io::Read;

use super::read::{Reader, decimal, number, read_full};
use super::{BLOCK, Entry};
use crate::error::{Context as _, Error, Result};

/// More pieces than any real file has; each takes 16 bytes of memory.
const SEGMENTS_MAX: usize = 1 << 20;

type Segments = Vec<(u64, u64)>;

/// The old way: four pieces in the header, more in blocks after it.
pub(super) fn from_gnu_header(header: &[u8; BLOCK], reader: &mut impl Read) -> Result<Segments> {
    let mut segments = Segments::new();
    gnu_pieces(&header[386..482], &mut segments)?;
    let mut more = header[482] != 0;
    while more {
        let mut block = [0u8; BLOCK];
        if read_full(reader, &mut block).context(|| "read the archive")? < BLOCK {
            return Err(Error::Tar("unexpected EOF".into()));
        }
        gnu_pieces(&block[..504], &mut segments)?;
        more = block[504] != 0;
    }
    Ok(segments)
}

/// The pax ways: versions 0.0 and 0.1 list the pieces in records, 1.0 before the content.
pub(super) fn from_records<R: Read>(
    entry: &mut Entry,
    records: &[(Vec<u8>, Vec<u8>)],
    reader: &mut Reader<R>,
) -> Result<()> {
    let (mut major, mut map, mut numbers) = (0, None, Vec::new());
    let (mut real_size, mut real_name) = (None, None);
    for (key, value) in records {
        match key.as_slice() {
            b"GNU.sparse.major" => major = decimal(value)?,
            b"GNU.sparse.map" => map = Some(value),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => numbers.push(decimal(value)?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => real_size = Some(decimal(value)?),
            b"GNU.sparse.name" => real_name = Some(value.clone()),
            _ => {}
        }
    }
    let Some(size) = real_size else { return Ok(()) };
    if major == 1 {
        numbers = leading_numbers(reader)?;
    } else if let Some(map) = map {
        let parts = map.split(|&b| b == b',').filter(|part| !part.is_empty());
        numbers = parts.map(decimal).collect::<Result<_>>()?;
    }
    entry.segments = Some(pairs(&numbers)?);
    entry.size = size;
    if let Some(name) = real_name {
        entry.path = name;
    }
    Ok(())
}

/// Pieces must ascend, fit the file, and together be what is stored.
pub(super) fn check(segments: &[(u64, u64)], stored: u64, size: u64) -> Result<()> {
    let damaged = || Error::Tar("damaged sparse map".into());
    let (mut end, mut total) = (0u64, 0u64);
    for &(offset, length) in segments {
        if offset < end {
            return Err(damaged());
        }
        end = offset.checked_add(length).ok_or_else(damaged)?;
        total += length;
    }
    if end > size || total != stored || i64::try_from(size).is_err() {
        return Err(damaged());
    }
    Ok(())
}

fn gnu_pieces(field: &[u8], segments: &mut Segments) -> Result<()> {
    for piece in field.chunks_exact(24) {
        if piece[0] == 0 {
            break;
        }
        if segments.len() >= SEGMENTS_MAX {
            return Err(Error::Tar("too many pieces in a sparse file".into()));
        }
        segments.push((number(&piece[..12])?, number(&piece[12..])?));
    }
    Ok(())
}

/// A count of pairs and the pairs, one number a line, padded to whole blocks.
fn leading_numbers<R: Read>(reader: &mut Reader<R>) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut digits = Vec::new();
    loop {
        let mut block = [0u8; BLOCK];
        if read_full(reader, &mut block).context(|| "read the archive")? < BLOCK {
            return Err(Error::Tar("unexpected EOF".into()));
        }
        for &byte in &block {
            if byte != b'\n' {
                digits.push(byte);
                continue;
            }
            numbers.push(decimal(&digits)?);
            digits.clear();
            let count = usize::try_from(numbers[0]).unwrap_or(usize::MAX);
            if count > SEGMENTS_MAX {
                return Err(Error::Tar("too many pieces in a sparse file".into()));
            }
            if numbers.len() == 1 + 2 * count {
                numbers.remove(0);
                return Ok(numbers);
            }
        }
        if digits.len() > BLOCK {
            return Err(Error::Tar("damaged sparse map".into()));
        }
    }
}

fn pairs(numbers: &[u64]) -> Result<Segments> {
    if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > SEGMENTS_MAX {
        return Err(Error::Tar("damaged sparse map".into()));
    }
    Ok(numbers
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect())
}
