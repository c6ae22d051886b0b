//! Finds the last records of a log, from its end, in bounded memory.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::source::Source;

/// What is looked through at a time.
const BLOCK_BYTES: u64 = 64 << 10;

/// Leaves the last `count` lines of all the files together. A line that has no end yet is none.
pub(super) fn keep_last(sources: &mut Vec<Source>, count: u64) -> io::Result<()> {
    let mut wanted = count;
    let mut kept = 0;
    for source in sources.iter_mut().rev() {
        kept += 1;
        let found = match source.plain_file() {
            Some(file) => {
                let (start, found) = last_lines(file, wanted)?;
                source.set_position(start);
                found
            }
            None => {
                let lines = source.count_lines()?;
                source.skip_lines(lines.saturating_sub(wanted));
                lines.min(wanted)
            }
        };
        wanted -= found;
        if wanted == 0 {
            break;
        }
    }
    let excess = sources.len() - kept;
    sources.drain(..excess);
    Ok(())
}

/// Where the last `wanted` lines begin, and how many there are.
fn last_lines(file: &File, wanted: u64) -> io::Result<(u64, u64)> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK_BYTES as usize];
    let mut newlines = 0;
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        // At most a block.
        let length = (end - start) as usize;
        let read = file.read_exact_at(&mut block[..length], start);
        match read {
            // Truncated meanwhile: from its new beginning.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok((0, 0)),
            read => read?,
        }
        for at in (0..length).rev().filter(|&at| block[at] == b'\n') {
            // The newline before the first wanted line.
            if newlines == wanted {
                return Ok((start + at as u64 + 1, wanted));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok((0, newlines))
}
