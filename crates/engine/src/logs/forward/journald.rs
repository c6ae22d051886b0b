//! journald, by its own protocol: one datagram of fields a record.

use super::{plan::Subject, syslog::severity};
use crate::logs::LogRecord;

/// Where it listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

pub(super) fn encode(subject: &Subject, record: &LogRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.bytes.len() + 512);
    let whole = record.bytes.strip_suffix(b"\n");
    field(&mut out, "MESSAGE", whole.unwrap_or(&record.bytes));
    let priority = severity(record.stream).to_string();
    field(&mut out, "PRIORITY", priority.as_bytes());
    for (name, value) in [
        ("CONTAINER_ID", &subject.short_id),
        ("CONTAINER_ID_FULL", &subject.id),
        ("CONTAINER_NAME", &subject.name),
        ("CONTAINER_TAG", &subject.tag),
        ("IMAGE_NAME", &subject.image),
        ("SYSLOG_IDENTIFIER", &subject.tag),
    ] {
        field(&mut out, name, value.as_bytes());
    }
    if whole.is_none() {
        field(&mut out, "CONTAINER_PARTIAL_MESSAGE", b"true");
    }
    for (name, value) in &subject.extra {
        field(&mut out, &sanitized(name), value.as_bytes());
    }
    out
}

/// `NAME=value`, or with the length before a value of several lines.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The journal's names: capitals, digits, underscores, no underscore in front.
fn sanitized(name: &str) -> String {
    let clean: String = name
        .chars()
        .map(|c| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_uppercase(),
            false => '_',
        })
        .collect();
    clean.trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{
        LogStream,
        forward::plan::tests::{record, subject},
    };

    #[test]
    fn a_record_is_a_list_of_fields() {
        let bytes = encode(&subject(), &record(LogStream::Stderr, "bad\n"));
        let text = String::from_utf8(bytes).unwrap();
        for line in [
            "MESSAGE=bad",
            "PRIORITY=3",
            "CONTAINER_NAME=web",
            "SYSLOG_IDENTIFIER=web",
            "COM_SHOP_TIER=front",
        ] {
            assert!(text.lines().any(|known| known == line), "{text}");
        }
        assert!(!text.contains("PARTIAL"));
        let piece = encode(&subject(), &record(LogStream::Stdout, "half"));
        assert!(String::from_utf8(piece).unwrap().contains("PARTIAL"));
    }

    #[test]
    fn a_value_of_several_lines_says_its_length() {
        let mut out = Vec::new();
        field(&mut out, "A", b"x\ny");
        assert_eq!(out, b"A\n\x03\0\0\0\0\0\0\0x\ny\n");
    }
}
