//! Amounts: bytes, and parts of processors.

use crate::flags::Item;
use crate::format::size;

/// A number of bytes: `512m`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bytes(pub(crate) i64);

impl Item for Bytes {
    fn parse(text: &str) -> Result<Self, String> {
        size::parse(text).map(Self)
    }
}

/// A number of bytes, or -1 for no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SwapBytes(pub(crate) i64);

impl Item for SwapBytes {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "-1" => Ok(Self(-1)),
            _ => size::parse(text).map(Self),
        }
    }
}

/// Billionths of a processor, from `1.5`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NanoCpus(pub(crate) i64);

impl Item for NanoCpus {
    fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("failed to parse {text} as a rational number");
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !is_number(whole) || !is_number(part) {
            return Err(invalid());
        }
        let part = part.trim_end_matches('0');
        if part.len() > 9 {
            return Err("value is too precise".to_owned());
        }
        let whole: i64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        let part: i64 = format!("{part:0<9}").parse().map_err(|_| invalid())?;
        let nano = whole
            .checked_mul(1_000_000_000)
            .and_then(|w| w.checked_add(part))
            .ok_or_else(invalid)?;
        Ok(Self(if text.starts_with('-') { -nano } else { nano }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_exact() {
        assert_eq!(NanoCpus::parse("1.5"), Ok(NanoCpus(1_500_000_000)));
        assert_eq!(NanoCpus::parse(".000000001"), Ok(NanoCpus(1)));
        assert_eq!(
            NanoCpus::parse("x"),
            Err("failed to parse x as a rational number".to_owned())
        );
        assert_eq!(
            NanoCpus::parse("0.0000000001"),
            Err("value is too precise".to_owned())
        );
    }

    #[test]
    fn swap_may_be_unlimited() {
        assert_eq!(SwapBytes::parse("-1"), Ok(SwapBytes(-1)));
        assert_eq!(SwapBytes::parse("1g"), Ok(SwapBytes(1 << 30)));
    }
}
