//! Sizes: for people (`1.23MB`, `1.5GiB`) and from them (`512m`).

/// A size in powers of 1000 with three significant digits: `7.05MB`.
pub(crate) fn decimal(bytes: f64) -> String {
    scaled(
        bytes,
        1000.0,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"],
        3,
    )
}

/// A size in powers of 1000 with four significant digits: `7.051MB`.
pub(crate) fn decimal_long(bytes: f64) -> String {
    scaled(
        bytes,
        1000.0,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"],
        4,
    )
}

/// A size in powers of 1024 with four significant digits: `15.57GiB`.
pub(crate) fn binary(bytes: f64) -> String {
    scaled(
        bytes,
        1024.0,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"],
        4,
    )
}

fn scaled(mut size: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", general(size, digits), units[unit])
}

/// C's and Go's `%.<digits>g`: that many significant digits, trailing zeros dropped, an exponent
/// where the number is too large for its digits.
pub(crate) fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{:.*e}", digits - 1, value);
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(digits - 1 - exponent).unwrap_or(0);
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// Reads a size such as `64m`, `1.5gb` or `2GiB`; units are powers of 1024.
///
/// # Errors
/// What is wrong with it, in Docker's words.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == ' ';
    let last = text.rfind(is_number).ok_or_else(invalid)?;
    let (number, suffix) = (
        text[..=last].strip_suffix(' ').unwrap_or(&text[..=last]),
        &text[last + 1..],
    );
    let size: f64 = number
        .parse()
        .map_err(|_| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if size < 0.0 {
        return Err(invalid());
    }
    let factor = factor(suffix).ok_or_else(|| format!("invalid suffix: '{suffix}'"))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sizes beyond i64 saturate, as in Docker"
    )]
    Ok((size * factor) as i64)
}

fn factor(suffix: &str) -> Option<f64> {
    let suffix = suffix.to_ascii_lowercase();
    let mut letters = suffix.chars();
    let exponent = match letters.next() {
        None => return Some(1.0),
        Some('b') => return letters.next().is_none().then_some(1.0),
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return None,
    };
    matches!(letters.as_str(), "" | "b" | "ib").then(|| 1024_f64.powi(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(decimal(0.0), "0B");
        assert_eq!(decimal(999.0), "999B");
        assert_eq!(decimal(1000.0), "1kB");
        assert_eq!(decimal(7_051_776.0), "7.05MB");
        assert_eq!(decimal_long(7_051_776.0), "7.052MB");
        assert_eq!(decimal(999_999.0), "1e+03kB");
        assert_eq!(binary(0.0), "0B");
        assert_eq!(binary(16_720_000_000.0), "15.57GiB");
        assert_eq!(binary(1024.0 * 1024.0), "1MiB");
    }

    #[test]
    fn sizes_from_people() {
        assert_eq!(parse("64"), Ok(64));
        assert_eq!(parse("64b"), Ok(64));
        assert_eq!(parse("64k"), Ok(65_536));
        assert_eq!(parse("1.5gb"), Ok(1_610_612_736));
        assert_eq!(parse("2 MiB"), Ok(2_097_152));
        assert_eq!(parse("5q"), Err("invalid suffix: 'q'".into()));
        assert_eq!(parse("m"), Err("invalid size: 'm'".into()));
        assert_eq!(parse("1mm"), Err("invalid suffix: 'mm'".into()));
    }
}
