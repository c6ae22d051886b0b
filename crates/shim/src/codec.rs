//! Frames: a 4-byte big-endian length and that many bytes of JSON.
//!
//! Pure, so that blocking and asynchronous streams use the same code.

use serde::{Serialize, de::DeserializeOwned};

use crate::protocol::FRAME_BYTES_MAX;

/// The length field's size.
pub const HEADER_BYTES: usize = 4;

/// Why a frame could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("a frame of {bytes} bytes is longer than {FRAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not what was expected.
    #[error("a frame cannot be understood")]
    Json(#[from] serde_json::Error),
}

/// One frame with `value` in it.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut frame = vec![0; HEADER_BYTES];
    serde_json::to_writer(&mut frame, value)?;
    let bytes = frame.len() - HEADER_BYTES;
    let length = checked_length(bytes)?;
    frame[..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The number of bytes that follow a frame's header.
pub fn length(header: [u8; HEADER_BYTES]) -> Result<usize, CodecError> {
    let bytes = u32::from_be_bytes(header) as usize;
    checked_length(bytes)?;
    Ok(bytes)
}

fn checked_length(bytes: usize) -> Result<u32, CodecError> {
    match u32::try_from(bytes) {
        Ok(length) if bytes <= FRAME_BYTES_MAX => Ok(length),
        _ => Err(CodecError::TooLong { bytes }),
    }
}

/// Takes bytes as they come and gives frames as they are complete.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    #[expect(
        clippy::should_implement_trait,
        reason = "gives values of any type, and errors"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CodecError> {
        let Some(header) = self.bytes.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let end = HEADER_BYTES + length(*header)?;
        let Some(body) = self.bytes.get(HEADER_BYTES..end) else {
            return Ok(None);
        };
        let value = serde_json::from_slice(body)?;
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(value))
    }

    /// What was received after the last frame: the first bytes of what the stream became.
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Reply, Request};

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = encode(&Request::Start).unwrap();
        stream.extend(encode(&Request::PauseHealth(true)).unwrap());
        stream.extend(b"raw");
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for byte in stream {
            decoder.push(&[byte]);
            if seen.len() < 2
                && let Some(request) = decoder.next::<Request>().unwrap()
            {
                seen.push(request);
            }
        }
        assert!(matches!(
            seen[..],
            [Request::Start, Request::PauseHealth(true)]
        ));
        assert_eq!(decoder.into_rest(), b"raw");
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_kept() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xff; 4]);
        assert!(matches!(
            decoder.next::<Reply>(),
            Err(CodecError::TooLong { .. })
        ));
    }

    #[test]
    fn nonsense_is_an_error() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 2, b'{', b'{']);
        assert!(matches!(decoder.next::<Reply>(), Err(CodecError::Json(_))));
    }
}
