//! Numbers as Go's `text/template` reads them: `7`, `1_000`, `0x1F`, `0b11`, `0o7`, `017`, `1.5e3`, `0x1p-2`.

use super::lex::Token;

/// How many bytes at the beginning of a text are a number.
///
/// # Errors
/// The bytes that are none, as Go shows them.
pub(super) fn length(text: &str) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let run = |from: usize, allowed: &[u8]| {
        let count = bytes[from..]
            .iter()
            .take_while(|byte| allowed.contains(byte));
        from + count.count()
    };
    let one = |from: usize, allowed: &[u8]| {
        from + usize::from(bytes.get(from).is_some_and(|byte| allowed.contains(byte)))
    };
    let mut at = one(0, b"+-");
    let mut digits: &[u8] = b"0123456789_";
    let mut exponent: &[u8] = b"eE";
    let prefix = bytes.get(at..at + 2).unwrap_or_default();
    for (letters, others, power) in [
        (b"xX", &b"0123456789abcdefABCDEF_"[..], &b"pP"[..]),
        (b"oO", b"01234567_", b""),
        (b"bB", b"01_", b""),
    ] {
        if prefix.first() == Some(&b'0') && prefix.get(1).is_some_and(|c| letters.contains(c)) {
            (digits, exponent) = (others, power);
            at += 2;
        }
    }
    at = run(at, digits);
    if one(at, b".") > at {
        at = run(at + 1, digits);
    }
    if one(at, exponent) > at {
        at = run(one(at + 1, b"+-"), b"0123456789_");
    }
    at = one(at, b"i");
    match text[at..].chars().next() {
        Some(next) if next.is_alphanumeric() || next == '_' => Err(at + next.len_utf8()),
        _ => Ok(at),
    }
}

/// What a number that was found so is.
///
/// # Errors
/// What is wrong with it, in Go's words.
pub(super) fn read(text: &str) -> Result<Token, String> {
    let illegal = || format!("illegal number syntax: {text:?}");
    if let Some(size) = text.strip_suffix('i') {
        let imaginary = Some(size).filter(|size| are_separators(size));
        let imaginary = imaginary.and_then(float).ok_or_else(illegal)?;
        return Ok(Token::Complex(0.0, imaginary));
    }
    if let Some(token) = integer(text) {
        return Ok(token);
    }
    let is_float = text.contains(['.', 'e', 'E', 'p', 'P']);
    match float(text).filter(|_| are_separators(text)) {
        Some(_) if !is_float => Err(format!("integer overflow: {text:?}")),
        Some(number) => Ok(Token::Float(number)),
        None => Err(illegal()),
    }
}

/// A complex number of its two parts, the second with its sign and its `i`.
pub(super) fn complex(real: &str, imaginary: &str) -> Option<Token> {
    let real = float(real)?;
    let imaginary = float(imaginary.strip_suffix('i')?)?;
    Some(Token::Complex(real, imaginary))
}

/// The number as an integer, if it is one. What is too large for Go's `int` and not for its `uint64` is one.
fn integer(text: &str) -> Option<Token> {
    if !are_separators(text) {
        return None;
    }
    let plain = text.replace('_', "");
    let (sign, digits) = signed(&plain);
    let (base, digits) = match digits.get(..2).unwrap_or_default() {
        "0x" | "0X" => (16, &digits[2..]),
        "0o" | "0O" => (8, &digits[2..]),
        "0b" | "0B" => (2, &digits[2..]),
        two if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    match i64::try_from(i128::from(sign) * i128::from(magnitude)) {
        Ok(number) => Some(Token::Int(number)),
        Err(_) if plain.starts_with(['+', '-']) => None,
        Err(_) => Some(Token::TooLarge),
    }
}

/// The number as one with a fraction or an exponent, if it is one.
fn float(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    let (sign, digits) = signed(&plain);
    let hex = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let Some(hex) = hex else {
        return plain
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite());
    };
    let (mantissa, exponent) = hex.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()?;
    let places = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let shift = exponent.parse::<i32>().ok()?.checked_sub(places)?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "more digits than a float has are rounded"
    )]
    let number = digits as f64 * f64::from(sign) * 2_f64.powi(shift);
    Some(number).filter(|number| number.is_finite())
}

fn signed(text: &str) -> (i8, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Whether each `_` stands between digits, or between the mark of a base and a digit.
fn are_separators(text: &str) -> bool {
    let (_, digits) = signed(text);
    let bytes = digits.as_bytes();
    let is_marked =
        bytes.first() == Some(&b'0') && bytes.get(1).is_some_and(|mark| b"xXoObB".contains(mark));
    let is_hex = is_marked && matches!(bytes[1], b'x' | b'X');
    let is_digit = |at: usize| {
        let is_mark = is_marked && at == 1;
        bytes.get(at).is_some_and(|byte| {
            is_mark || byte.is_ascii_digit() || (is_hex && byte.is_ascii_hexdigit())
        })
    };
    (0..bytes.len())
        .filter(|at| bytes[*at] == b'_')
        .all(|at| at > 0 && is_digit(at - 1) && is_digit(at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Token, String> {
        match length(text) {
            Ok(end) if end == text.len() => read(text),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn integers_in_all_bases() {
        for (text, number) in [
            ("7", 7),
            ("-7", -7),
            ("+7", 7),
            ("0b11", 3),
            ("0B_11", 3),
            ("0x1F", 31),
            ("0X1f", 31),
            ("0x1E", 30),
            ("0o7", 7),
            ("017", 15),
            ("0_17", 15),
            ("0", 0),
            ("1_000", 1000),
            ("0xdead_beef", 0xdead_beef),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(whole(text), Ok(Token::Int(number)), "{text}");
        }
    }

    #[test]
    fn numbers_with_a_fraction_or_an_exponent() {
        for (text, number) in [
            ("1.5e3", 1500.0),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("1_000.5", 1000.5),
            ("0x1p-2", 0.25),
            ("0x1.8p1", 3.0),
            ("-2.", -2.0),
        ] {
            assert_eq!(whole(text), Ok(Token::Float(number)), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_in_gos_words() {
        for (text, why) in [
            ("1__0", "illegal number syntax: \"1__0\""),
            ("1_", "illegal number syntax: \"1_\""),
            ("0x", "illegal number syntax: \"0x\""),
            ("08", "integer overflow: \"08\""),
            (
                "-9223372036854775809",
                "integer overflow: \"-9223372036854775809\"",
            ),
            (
                "99999999999999999999",
                "integer overflow: \"99999999999999999999\"",
            ),
            ("1__0i", "illegal number syntax: \"1__0i\""),
        ] {
            assert_eq!(whole(text), Err(why.to_owned()), "{text}");
        }
        assert_eq!(whole("9223372036854775808"), Ok(Token::TooLarge));
        assert_eq!(whole("0x1p4i"), Ok(Token::Complex(0.0, 16.0)));
        assert_eq!(complex("1.5", "-2i"), Some(Token::Complex(1.5, -2.0)));
        assert_eq!(length("0b12"), Err(4));
        assert_eq!(length("12abc"), Err(3));
        assert_eq!(length("12)"), Ok(2));
    }
}
