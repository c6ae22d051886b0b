//! Bytes between a thread that blocks and the connection: pieces in memory, and few of them.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::sync::mpsc;

/// Pieces that wait for the other side.
const WAITING: usize = 4;
/// What is written is gathered to pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// What a thread writes comes out as pieces. Writing fails when nobody takes them any more.
pub(super) struct Writer {
    pieces: mpsc::Sender<Bytes>,
    gathered: BytesMut,
}

/// What a thread reads comes in as pieces. Their end is the end.
pub(super) struct Reader {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

/// For a thread that writes.
pub(super) fn written() -> (Writer, mpsc::Receiver<Bytes>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let writer = Writer {
        pieces: sender,
        gathered: BytesMut::new(),
    };
    (writer, receiver)
}

/// For a thread that reads.
pub(super) fn read() -> (mpsc::Sender<Bytes>, Reader) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let reader = Reader {
        pieces: receiver,
        current: Bytes::new(),
    };
    (sender, reader)
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.capacity() == 0 {
            self.gathered.reserve(PIECE_BYTES);
        }
        let room = PIECE_BYTES.saturating_sub(self.gathered.len()).max(1);
        let taken = bytes.len().min(room);
        self.gathered.extend_from_slice(&bytes[..taken]);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.gathered).freeze();
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(piece).map_err(gone)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..taken]);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_few_pieces() {
        let (mut writer, mut pieces) = written();
        let all = vec![7; 3 * PIECE_BYTES + 5];
        let expected = all.len();
        let thread = std::thread::spawn(move || {
            for piece in all.chunks(1000) {
                writer.write_all(piece).unwrap();
            }
            writer.flush().unwrap();
        });
        let (sender, mut reader) = read();
        let mut count = 0;
        while let Some(piece) = pieces.blocking_recv() {
            sender.blocking_send(piece).unwrap();
            count += 1;
            let mut some = vec![0; PIECE_BYTES];
            let wanted = PIECE_BYTES.min(expected - (count - 1) * PIECE_BYTES);
            reader.read_exact(&mut some[..wanted]).unwrap();
            assert!(some[..wanted].iter().all(|&byte| byte == 7));
        }
        thread.join().unwrap();
        assert_eq!(count, 4);
        drop(sender);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        let (mut writer, pieces) = written();
        drop(pieces);
        writer.write_all(b"x").unwrap();
        assert_eq!(
            writer.flush().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
