//! Cuts a stream into lines, and long lines into pieces, where Docker cuts them.

use super::line::Time;

/// A longer line is cut into pieces of this length. Docker's number: readers put the pieces
/// together again and expect no longer ones.
const LINE_BYTES_MAX: usize = 16 << 10;

/// What has come of a line that is not over.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pending: Vec<u8>,
    /// When the first piece of the present line was written: its other pieces bear that time too.
    piece_time: Option<Time>,
}

impl Lines {
    /// Hands each line, or piece of one, to `emit`, with whether the line ends there.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        now: &Time,
        mut emit: impl FnMut((&[u8], bool), &Time),
    ) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.pending.len();
            let window = &bytes[..bytes.len().min(room)];
            let newline = window.iter().position(|&byte| byte == b'\n');
            if newline.is_none() && window.len() < room {
                self.pending.extend_from_slice(window);
                return;
            }
            let piece = &window[..newline.unwrap_or(room)];
            bytes = &bytes[newline.map_or(room, |at| at + 1)..];
            self.emit(piece, newline.is_some(), now, &mut emit);
        }
    }

    /// The stream is over: what is left is a piece, for no newline ended it.
    pub(crate) fn finish(&mut self, now: &Time, mut emit: impl FnMut((&[u8], bool), &Time)) {
        if !self.pending.is_empty() {
            self.emit(&[], false, now, &mut emit);
        }
    }

    fn emit(
        &mut self,
        piece: &[u8],
        end: bool,
        now: &Time,
        emit: &mut impl FnMut((&[u8], bool), &Time),
    ) {
        let first_time = self.piece_time.take();
        let time = first_time.as_ref().unwrap_or(now);
        if self.pending.is_empty() {
            emit((piece, end), time);
        } else {
            self.pending.extend_from_slice(piece);
            emit((&self.pending, end), time);
            self.pending.clear();
        }
        if !end {
            self.piece_time = Some(first_time.unwrap_or_else(|| now.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[&[u8]]) -> Vec<(usize, bool)> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let now = Time::new(0);
        for part in parts {
            lines.push(part, &now, |(line, end), _| seen.push((line.len(), end)));
        }
        lines.finish(&now, |(line, end), _| seen.push((line.len(), end)));
        seen
    }

    #[test]
    fn lines_end_at_newlines_wherever_the_reads_end() {
        assert_eq!(
            cut(&[b"ab\nc", b"d\n\n", b"e"]),
            [(2, true), (2, true), (0, true), (1, false)]
        );
    }

    #[test]
    fn a_long_line_is_cut_into_pieces() {
        let long = vec![b'x'; 40_000];
        let pieces = [(16_384, false), (16_384, false), (7232, true)];
        assert_eq!(cut(&[&long, b"\n"]), pieces);
        assert_eq!(cut(&[&long[..5], &long[5..], b"\nz\n"])[..3], pieces);
    }

    #[test]
    fn a_line_of_exactly_one_piece_ends_with_an_empty_one() {
        let full = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(cut(&[&full, b"\n"]), [(16_384, false), (0, true)]);
    }
}
