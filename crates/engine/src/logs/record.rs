//! One record of a log.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line, or a piece of a long one (then without a newline at its end).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it came from.
    pub stream: LogStream,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
    /// The text, its newline included.
    pub bytes: Vec<u8>,
    /// What the container's log options add (`--details`).
    pub attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// `None`: it is not a record, but what a crash or a full disk left of one.
pub(super) fn parse(line: &[u8]) -> Option<LogRecord> {
    let raw: Raw<'_> = serde_json::from_slice(line).ok()?;
    let time: jiff::Timestamp = raw.time.parse().ok()?;
    Some(LogRecord {
        stream: if raw.stream == "stderr" {
            LogStream::Stderr
        } else {
            LogStream::Stdout
        },
        time_ns: i64::try_from(time.as_nanosecond()).ok()?,
        bytes: raw.log.into_owned().into_bytes(),
        attributes: raw.attrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_what_docker_writes() {
        let line = br#"{"log":"a\u003cb\u2028\n","stream":"stderr","attrs":{"tag":"t"},"time":"2026-11-21T10:29:59.123456789Z"}"#;
        let record = parse(line).unwrap();
        assert_eq!(record.bytes, "a<b\u{2028}\n".as_bytes());
        assert_eq!(record.stream, LogStream::Stderr);
        assert_eq!(record.time_ns % 1_000_000_000, 123_456_789);
        assert_eq!(record.attributes["tag"], "t");
    }

    #[test]
    fn a_torn_line_is_no_record() {
        assert!(parse(br#"{"log":"a","stream":"std"#).is_none());
        assert!(parse(b"").is_none());
    }
}
