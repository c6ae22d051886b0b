//! Fluentd's forward protocol: MessagePack, one `[tag, time, record]` after the other.

use super::plan::Subject;
use crate::logs::{LogRecord, LogStream};

/// Writes Fluentd messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fluentd {
    /// Times with nanoseconds (`EventTime`), which old collectors do not know.
    pub(super) sub_second: bool,
}

impl Fluentd {
    pub(super) fn encode(self, subject: &Subject, record: &LogRecord) -> Vec<u8> {
        let mut out = Vec::with_capacity(record.bytes.len() + 256);
        array(&mut out, 3);
        text(&mut out, subject.tag.as_bytes());
        self.time(&mut out, record.time_ns);
        let whole = record.bytes.strip_suffix(b"\n");
        let source = match record.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        let mut pairs: Vec<(&str, &[u8])> = vec![
            ("container_id", subject.id.as_bytes()),
            ("container_name", subject.name.as_bytes()),
            ("source", source.as_bytes()),
            ("log", whole.unwrap_or(&record.bytes)),
        ];
        for (name, value) in &subject.extra {
            pairs.push((name, value.as_bytes()));
        }
        if whole.is_none() {
            pairs.push(("partial_message", b"true"));
        }
        map(&mut out, pairs.len());
        for (name, value) in pairs {
            text(&mut out, name.as_bytes());
            text(&mut out, value);
        }
        out
    }

    fn time(self, out: &mut Vec<u8>, time_ns: i64) {
        let seconds = u32::try_from(time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        let nanoseconds = u32::try_from(time_ns.rem_euclid(1_000_000_000)).unwrap_or(0);
        if self.sub_second {
            out.extend_from_slice(&[0xd7, 0x00]);
            out.extend_from_slice(&seconds.to_be_bytes());
            out.extend_from_slice(&nanoseconds.to_be_bytes());
        } else {
            out.push(0xce);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
    }
}

// The few forms of MessagePack that the protocol needs.

fn array(out: &mut Vec<u8>, length: u8) {
    out.push(0x90 | (length & 0x0f));
}

fn map(out: &mut Vec<u8>, length: usize) {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    out.push(0xde);
    out.extend_from_slice(&length.to_be_bytes());
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 32 => out.push(0xa0 | short),
        (Ok(length), _) => out.extend_from_slice(&[0xd9, length]),
        (_, Ok(length)) => {
            out.push(0xda);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::forward::plan::tests::{record, subject};

    #[test]
    fn a_message_is_a_tag_a_time_and_a_map() {
        let fluentd = Fluentd { sub_second: false };
        let bytes = fluentd.encode(&subject(), &record(LogStream::Stdout, "hi\n"));
        assert_eq!(bytes[..5], [0x93, 0xa3, b'w', b'e', b'b']);
        assert_eq!(bytes[5..10], [0xce, 0x65, 0x53, 0xf1, 0x00]);
        assert_eq!(bytes[10..13], [0xde, 0x00, 0x05]);
        let log = b"\xa3log\xa2hi";
        assert!(bytes.windows(log.len()).any(|window| window == log));
    }

    #[test]
    fn a_time_may_have_nanoseconds() {
        let fluentd = Fluentd { sub_second: true };
        let bytes = fluentd.encode(&subject(), &record(LogStream::Stdout, "hi\n"));
        assert_eq!(bytes[5..11], [0xd7, 0x00, 0x65, 0x53, 0xf1, 0x00]);
        assert_eq!(bytes[11..15], 123_000_000_u32.to_be_bytes());
    }

    #[test]
    fn long_texts_say_their_length_in_more_bytes() {
        let mut out = Vec::new();
        text(&mut out, &[b'x'; 300]);
        assert_eq!(out[..3], [0xda, 0x01, 0x2c]);
    }
}
