//! Words both ends use: headers, and the form of errors.

use serde::{Deserialize, Serialize};

/// The digest of what an answer holds.
pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";
/// The largest manifest either end takes: the specification asks for at least 4 MiB.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// The body of an error.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    #[serde(default)]
    pub(crate) errors: Vec<ErrorItem>,
}

/// One reason.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ErrorItem {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<serde_json::Value>,
}

/// A range of bytes: `bytes=5-9`, `bytes=5-`, `bytes=-5` of `size` bytes. `None`: not one range that
/// can be served; `Ok` holds the first byte and how many.
pub(crate) fn parse_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = match (first, last) {
        ("", length) => (size.saturating_sub(length.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => {
            let last: u64 = last.parse().ok()?;
            (first.parse().ok()?, last.checked_add(1)?.min(size))
        }
    };
    (first < end).then(|| (first, end - first))
}

/// `0-9`, as uploads tell how far they are (both ends included).
pub(crate) fn parse_content_range(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let (first, last) = text.split('/').next()?.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last))
}

/// Pairs as forms and queries have them.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let encoded = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", percent(value)));
    encoded.collect::<Vec<_>>().join("&")
}

fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Undoes the encoding of one part of an address. What is no code stands for itself.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .filter(|two| first == b'%' && two.iter().all(u8::is_ascii_hexdigit))
            .and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(first));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_says() {
        for (text, expected) in [
            ("bytes=0-", Some((0, 10))),
            ("bytes=3-5", Some((3, 3))),
            ("bytes=3-99", Some((3, 7))),
            ("bytes=-4", Some((6, 4))),
            ("bytes=-40", Some((0, 10))),
            ("bytes=10-", None),
            ("bytes=5-3", None),
            ("bytes=1-2,4-5", None),
            ("items=0-1", None),
            ("bytes=0-18446744073709551615", None),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(parse_content_range("0-9"), Some((0, 9)));
        assert_eq!(parse_content_range("bytes 5-9/20"), Some((5, 9)));
        assert_eq!(parse_content_range("9-5"), None);
    }
}
