//! Several streams in one: eight bytes before each piece say which stream it belongs to.
//!
//! ```text
//! [stream, 0, 0, 0, length (u32, big endian)] piece
//! ```
//! Used by attach, exec and logs of containers without a terminal.

use bytes::{Buf, Bytes, BytesMut};

/// The media type of framed streams.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// The media type of bytes as they are.
pub const RAW: &str = "application/vnd.docker.raw-stream";

/// Bytes before each piece.
pub const HEADER_BYTES: usize = 8;

/// The largest piece a reader takes. Daemons send a few kilobytes; more means that the bytes are
/// no frames at all.
const PIECE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which stream a piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Input (echoed by some daemons).
    Stdin,
    /// Output.
    Stdout,
    /// Errors.
    Stderr,
    /// A message of the daemon that ends the stream.
    SystemError,
}

/// A piece of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Which.
    pub stream: Stream,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The bytes are no frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte names no stream.
    #[error("unrecognized stream: {0}")]
    UnknownStream(u8),
    /// The length is beyond reason.
    #[error("frame of {0} bytes is too large")]
    TooLarge(usize),
}

impl Stream {
    fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::SystemError => 3,
        }
    }

    fn from_number(number: u8) -> Result<Self, FrameError> {
        [Self::Stdin, Self::Stdout, Self::Stderr, Self::SystemError]
            .into_iter()
            .find(|stream| stream.number() == number)
            .ok_or(FrameError::UnknownStream(number))
    }
}

/// The eight bytes before a piece of `length` bytes.
pub fn header(stream: Stream, length: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream.number(), 0, 0, 0, a, b, c, d]
}

/// A piece with its header.
pub fn frame(stream: Stream, piece: &[u8]) -> Bytes {
    let length = u32::try_from(piece.len()).expect("pieces are a few kilobytes");
    let mut framed = BytesMut::with_capacity(HEADER_BYTES + piece.len());
    framed.extend_from_slice(&header(stream, length));
    framed.extend_from_slice(piece);
    framed.freeze()
}

/// Takes frames out of bytes that arrive in any portions.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None`: more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let stream = Stream::from_number(head[0])?;
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > PIECE_BYTES_MAX {
            return Err(FrameError::TooLarge(length));
        }
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        Ok(Some(Frame {
            stream,
            bytes: self.buffer.split_to(length).freeze(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting() {
        let mut wire = frame(Stream::Stdout, b"hello").to_vec();
        wire.extend_from_slice(&frame(Stream::Stderr, b""));
        wire.extend_from_slice(&frame(Stream::Stderr, b"oops"));
        assert_eq!(&wire[..8], [1, 0, 0, 0, 0, 0, 0, 5]);
        for portion in 1..wire.len() {
            let mut reader = FrameReader::new();
            let mut got = Vec::new();
            for piece in wire.chunks(portion) {
                reader.push(piece);
                while let Some(frame) = reader.next_frame().unwrap() {
                    got.push((frame.stream, frame.bytes.to_vec()));
                }
            }
            assert_eq!(
                got,
                [
                    (Stream::Stdout, b"hello".to_vec()),
                    (Stream::Stderr, Vec::new()),
                    (Stream::Stderr, b"oops".to_vec()),
                ]
            );
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let mut reader = FrameReader::new();
        reader.push(b"plain text");
        assert_eq!(reader.next_frame(), Err(FrameError::UnknownStream(b'p')));
        let mut reader = FrameReader::new();
        reader.push(&[1, 0, 0, 0, 0xff, 0, 0, 0]);
        assert!(matches!(reader.next_frame(), Err(FrameError::TooLarge(_))));
    }
}
