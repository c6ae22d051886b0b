//! One line of a json-file log, byte for byte as Docker writes it.
//!
//! Docker's encoder escapes what HTML would mind (`<`, `>`, `&`), the two line separators that
//! JavaScript minds, and replaces what is not UTF-8 by U+FFFD, one for each byte.

use std::io::Write;

/// Appends one record. `end`: this is the end of a line and not a piece of a long one.
/// `attributes` is JSON or empty.
pub(crate) fn write(
    out: &mut Vec<u8>,
    (line, end): (&[u8], bool),
    stream: &str,
    attributes: &[u8],
    time: &Time,
) {
    out.push(b'{');
    if end || !line.is_empty() {
        out.extend_from_slice(b"\"log\":\"");
        escape(out, line);
        out.extend_from_slice(if end { b"\\n\"," } else { b"\"," });
    }
    out.extend_from_slice(b"\"stream\":\"");
    out.extend_from_slice(stream.as_bytes());
    if !attributes.is_empty() {
        out.extend_from_slice(b"\",\"attrs\":");
        out.extend_from_slice(attributes);
        out.extend_from_slice(b",\"time\":\"");
    } else {
        out.extend_from_slice(b"\",\"time\":\"");
    }
    out.extend_from_slice(&time.text);
    out.extend_from_slice(b"\"}\n");
}

/// Appends `bytes` as the inside of a JSON string.
fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        escape_text(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn escape_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let (length, escaped): (usize, &[u8]) = match byte {
            b'"' => (1, b"\\\""),
            b'\\' => (1, b"\\\\"),
            b'\n' => (1, b"\\n"),
            b'\r' => (1, b"\\r"),
            b'<' => (1, b"\\u003c"),
            b'>' => (1, b"\\u003e"),
            b'&' => (1, b"\\u0026"),
            0..0x20 => (1, &control(byte)),
            // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa8") => (3, b"\\u2028"),
            0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa9") => (3, b"\\u2029"),
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(escaped);
        copied = at + length;
    }
    out.extend_from_slice(&bytes[copied..]);
}

fn control(byte: u8) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| HEX[usize::from(value & 15)];
    [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]
}

/// A moment, written as Go's `RFC3339Nano` does: UTC, no zeros at the end of the fraction.
#[derive(Debug, Clone)]
pub(crate) struct Time {
    text: Vec<u8>,
}

impl Time {
    /// From nanoseconds since 1970.
    pub(crate) fn new(since_1970_ns: i64) -> Self {
        const SECOND: i64 = 1_000_000_000;
        let (seconds, nanoseconds) = (
            since_1970_ns.div_euclid(SECOND),
            since_1970_ns.rem_euclid(SECOND),
        );
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let mut text = Vec::with_capacity(30);
        // Writing to a vector cannot fail.
        let _ = write!(
            text,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        );
        if nanoseconds != 0 {
            let _ = write!(text, ".{nanoseconds:09}");
            while text.last() == Some(&b'0') {
                text.pop();
            }
        }
        text.push(b'Z');
        Self { text }
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted from 0000-03-01, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(line: &[u8], end: bool, attributes: &[u8]) -> String {
        let mut out = Vec::new();
        write(
            &mut out,
            (line, end),
            "stdout",
            attributes,
            &Time::new(1_500_000_000),
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_has_dockers_fields_in_dockers_order() {
        assert_eq!(
            record(b"hello", true, b""),
            "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:01.5Z\"}\n"
        );
        assert_eq!(
            record(b"piece", false, br#"{"a":"b"}"#),
            "{\"log\":\"piece\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\
             \"time\":\"1970-01-01T00:00:01.5Z\"}\n"
        );
    }

    #[test]
    fn what_json_html_and_javascript_mind_is_escaped_as_go_does() {
        let text = "q\"b\\t\tr\re\x1b<&>\u{2028}\u{2029}é\u{20ac}\x7f";
        let json = r#"q\"b\\t\u0009r\re\u001b\u003c\u0026\u003e\u2028\u2029é€"#;
        assert!(record(text.as_bytes(), true, b"").contains(&format!("\"{json}\x7f\\n\"")));
    }

    #[test]
    fn each_byte_that_is_not_utf8_is_replaced() {
        assert!(record(b"a\xff\xfeb\xe2\x80", true, b"").contains(r"a\ufffd\ufffdb\ufffd\ufffd\n"));
    }

    #[test]
    fn what_was_escaped_is_valid_json_again() {
        let all: Vec<u8> = (0..=255).collect();
        let value: serde_json::Value = serde_json::from_str(&record(&all, true, b"")).unwrap();
        assert!(value["log"].as_str().unwrap().starts_with('\0'));
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        let text = |ns| String::from_utf8(Time::new(ns).text).unwrap();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400_000_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(
            text(1_795_256_999_123_456_780),
            "2026-11-21T10:29:59.12345678Z"
        );
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
    }
}
