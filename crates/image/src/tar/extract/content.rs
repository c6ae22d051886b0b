//! The bytes of an archive's file, on their way to the disk.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

/// Fewer zeros are written as they are.
const HOLE_BYTES_MIN: usize = 4 << 10;

/// Writes all that comes.
pub(super) fn copy(reader: &mut impl Read, file: &mut File, buffer: &mut [u8]) -> io::Result<()> {
    let mut ends_in_hole = false;
    loop {
        let got = reader.read(buffer)?;
        if got == 0 {
            break;
        }
        let piece = &buffer[..got];
        // Archives of most tools write holes out as zeros: they are holes again on the disk.
        ends_in_hole = got >= HOLE_BYTES_MIN && piece.iter().all(|&byte| byte == 0);
        if ends_in_hole {
            file.seek(SeekFrom::Current(i64::try_from(got).unwrap_or(0)))?;
        } else {
            file.write_all(piece)?;
        }
    }
    if ends_in_hole {
        let end = file.stream_position()?;
        file.set_len(end)?;
    }
    Ok(())
}

/// Writes a file of `size` bytes of which only some are there.
pub(super) fn copy_segments(
    reader: &mut impl Read,
    file: &File,
    segments: &[(u64, u64)],
    size: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    file.set_len(size)?;
    for &(offset, length) in segments {
        let mut at = offset;
        while at < offset + length {
            let want = usize::try_from(offset + length - at).unwrap_or(usize::MAX);
            let limit = want.min(buffer.len());
            let got = reader.read(&mut buffer[..limit])?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.write_all_at(&buffer[..got], at)?;
            at += got as u64;
        }
    }
    Ok(())
}
