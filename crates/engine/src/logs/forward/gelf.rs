//! GELF 1.1: JSON, over UDP compressed and in chunks, over TCP with a zero byte behind it.

use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::{Map, Value, json};

use super::{plan::Subject, syslog::severity};
use crate::logs::LogRecord;

/// What fits into a datagram on any network.
const CHUNK_MAX: usize = 1420;
/// A receiver drops messages of more chunks.
const CHUNKS_MAX: usize = 128;

/// How a message over UDP is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip(Compression),
    Zlib(Compression),
    /// Over TCP: never compressed.
    Stream,
}

/// Writes GELF messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gelf {
    pub(super) packing: Packing,
    pub(super) host: String,
}

impl Gelf {
    pub(super) fn encode(&self, subject: &Subject, record: &LogRecord) -> Vec<Vec<u8>> {
        let text = self.message(subject, record).to_string().into_bytes();
        match self.packing {
            Packing::Stream => vec![[text, vec![0]].concat()],
            Packing::Plain => chunks(text),
            Packing::Gzip(level) => chunks(packed(GzEncoder::new(Vec::new(), level), &text)),
            Packing::Zlib(level) => chunks(packed(ZlibEncoder::new(Vec::new(), level), &text)),
        }
    }

    fn message(&self, subject: &Subject, record: &LogRecord) -> Value {
        let line = record.bytes.strip_suffix(b"\n").unwrap_or(&record.bytes);
        let mut message = Map::new();
        // Milliseconds, as the format says.
        let timestamp = (record.time_ns / 1_000_000) as f64 / 1e3;
        for (key, value) in [
            ("version", json!("1.1")),
            ("host", json!(self.host)),
            ("short_message", json!(String::from_utf8_lossy(line))),
            ("timestamp", json!(timestamp)),
            ("level", json!(severity(record.stream))),
            ("_container_id", json!(subject.id)),
            ("_container_name", json!(subject.name)),
            ("_image_id", json!(subject.image_id)),
            ("_image_name", json!(subject.image)),
            ("_command", json!(subject.command)),
            ("_tag", json!(subject.tag)),
            ("_created", json!(subject.created)),
        ] {
            message.insert(key.to_owned(), value);
        }
        for (key, value) in &subject.extra {
            message.insert(format!("_{key}"), json!(value));
        }
        Value::Object(message)
    }
}

/// What is being packed.
trait Packer: std::io::Write {
    fn finished(self) -> std::io::Result<Vec<u8>>;
}

impl Packer for GzEncoder<Vec<u8>> {
    fn finished(self) -> std::io::Result<Vec<u8>> {
        self.finish()
    }
}

impl Packer for ZlibEncoder<Vec<u8>> {
    fn finished(self) -> std::io::Result<Vec<u8>> {
        self.finish()
    }
}

fn packed(mut packer: impl Packer, text: &[u8]) -> Vec<u8> {
    let written = packer.write_all(text).and_then(|()| packer.finished());
    written.expect("writing into memory does not fail")
}

/// One datagram, or numbered ones of one message. What is too long for the format loses its end.
fn chunks(message: Vec<u8>) -> Vec<Vec<u8>> {
    static MESSAGE: AtomicU64 = AtomicU64::new(0);
    if message.len() <= CHUNK_MAX {
        return vec![message];
    }
    let id = MESSAGE.fetch_add(1, Ordering::Relaxed) ^ (u64::from(std::process::id()) << 32);
    let room = CHUNK_MAX - 12;
    let parts: Vec<_> = message.chunks(room).take(CHUNKS_MAX).collect();
    let count = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    (0..)
        .zip(parts)
        .map(|(number, part): (u8, _)| {
            let mut chunk = vec![0x1e, 0x0f];
            chunk.extend_from_slice(&id.to_be_bytes());
            chunk.extend_from_slice(&[number, count]);
            chunk.extend_from_slice(part);
            chunk
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{
        LogStream,
        forward::plan::tests::{record, subject},
    };

    fn gelf(packing: Packing) -> Gelf {
        Gelf {
            packing,
            host: "box".to_owned(),
        }
    }

    #[test]
    fn over_a_stream_a_zero_ends_the_message() {
        let packets = gelf(Packing::Stream).encode(&subject(), &record(LogStream::Stderr, "bad\n"));
        let text = packets[0].strip_suffix(b"\0").unwrap();
        let message: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(message["short_message"], "bad");
        assert_eq!(message["level"], 3);
        assert_eq!(message["timestamp"], 1_700_000_000.123);
        assert_eq!(message["_com.shop.tier"], "front");
    }

    #[test]
    fn a_long_message_goes_in_numbered_chunks() {
        let long = "x".repeat(5000);
        let packets = gelf(Packing::Plain).encode(&subject(), &record(LogStream::Stdout, &long));
        assert!(packets.len() > 3 && packets.iter().all(|packet| packet.len() <= CHUNK_MAX));
        for (number, packet) in packets.iter().enumerate() {
            assert_eq!(packet[..2], [0x1e, 0x0f]);
            assert_eq!(packet[2..10], packets[0][2..10]);
            assert_eq!(usize::from(packet[10]), number);
            assert_eq!(usize::from(packet[11]), packets.len());
        }
    }

    #[test]
    fn a_compressed_message_opens_again() {
        let packets = gelf(Packing::Gzip(Compression::fast()))
            .encode(&subject(), &record(LogStream::Stdout, "hello"));
        let reader = flate2::read::GzDecoder::new(&packets[0][..]);
        let message: Value = serde_json::from_reader(reader).unwrap();
        assert_eq!(message["short_message"], "hello");
    }
}
