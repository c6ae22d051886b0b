//! YAML in blocks, quoted where Go's encoder quotes.

use super::Out;
use crate::load::plain_scalar;
use crate::node::Value;
use crate::node::float_text;

/// The document.
pub(super) fn print(out: &Out) -> String {
    let mut text = String::new();
    match out {
        Out::Map(entries) if !entries.is_empty() => map(entries, &mut text, 0, false),
        Out::List(items) if !items.is_empty() => list(items, &mut text, 0, false),
        scalar => {
            text.push_str(&inline(scalar, 0));
            text.push('\n');
        }
    }
    text
}

fn indent(text: &mut String, level: usize) {
    text.push_str(&"  ".repeat(level));
}

/// `continues`: the first line goes on after `- `.
fn map(entries: &[(String, Out)], text: &mut String, level: usize, continues: bool) {
    for (number, (key, value)) in entries.iter().enumerate() {
        if number > 0 || !continues {
            indent(text, level);
        }
        text.push_str(&key_text(key));
        text.push(':');
        match value {
            Out::Map(entries) if !entries.is_empty() => {
                text.push('\n');
                map(entries, text, level + 1, false);
            }
            Out::List(items) if !items.is_empty() => {
                text.push('\n');
                list(items, text, level + 1, false);
            }
            scalar => {
                text.push(' ');
                text.push_str(&inline(scalar, level + 1));
                text.push('\n');
            }
        }
    }
}

fn list(items: &[Out], text: &mut String, level: usize, continues: bool) {
    for (number, item) in items.iter().enumerate() {
        if number > 0 || !continues {
            indent(text, level);
        }
        text.push_str("- ");
        match item {
            Out::Map(entries) if !entries.is_empty() => map(entries, text, level + 1, true),
            Out::List(items) if !items.is_empty() => list(items, text, level + 1, true),
            scalar => {
                text.push_str(&inline(scalar, level + 1));
                text.push('\n');
            }
        }
    }
}

/// A scalar or an empty collection; `level` is that of a text on lines of its own.
fn inline(out: &Out, level: usize) -> String {
    match out {
        Out::Null => "null".into(),
        Out::Bool(yes) => yes.to_string(),
        Out::Int(number) => number.to_string(),
        Out::Float(number) => float_text(*number),
        Out::Text(text) => scalar(text, level),
        Out::List(_) => "[]".into(),
        Out::Map(_) => "{}".into(),
    }
}

fn key_text(key: &str) -> String {
    if key.contains('\n') {
        return double_quoted(key);
    }
    scalar(key, 0)
}

fn scalar(text: &str, level: usize) -> String {
    let marks = Marks::of(text);
    if text.contains('\n') {
        return match marks.can_be_block() {
            true => literal(text, level),
            false => double_quoted(text),
        };
    }
    if !stays_text(text) {
        return double_quoted(text);
    }
    if marks.can_be_plain() {
        return text.to_owned();
    }
    match marks.can_be_single_quoted() {
        true => format!("'{}'", text.replace('\'', "''")),
        false => double_quoted(text),
    }
}

/// Whether it would be read back as a text if it stood without quotes.
fn stays_text(text: &str) -> bool {
    let is_old_bool = matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "off"
            | "Off"
            | "OFF"
    );
    matches!(plain_scalar(text), Value::Text(_))
        && !is_old_bool
        && !is_base_60(text)
        && !is_date(text)
}

/// `1:20`, which once was a number.
fn is_base_60(text: &str) -> bool {
    let body = text.trim_start_matches(['+', '-']);
    let mut parts = body.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let digits =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '_');
    let is_sixtieth = |text: &str| {
        text.len() <= 2
            && text.chars().all(|c| c.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number < 60)
    };
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let last = last.split_once('.').map_or(*last, |(whole, _)| whole);
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && middle.iter().all(|part| is_sixtieth(part))
        && is_sixtieth(last)
}

/// `2001-12-14`, with or without a time.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let day_end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (day, time) = rest.split_at(day_end);
    let time_fits = time.is_empty()
        || (time.starts_with(['T', 't', ' '])
            && time.get(1..).is_some_and(|time| {
                time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':')
            }));
    year.len() == 4
        && digits(year)
        && digits(month)
        && month.len() <= 2
        && digits(day)
        && day.len() <= 2
        && time_fits
}

/// What stands in a text that some styles cannot show.
#[derive(Default)]
struct Marks {
    empty: bool,
    indicator: bool,
    special: bool,
    tab: bool,
    leading_blank: bool,
    trailing_space: bool,
    trailing_break: bool,
    break_space: bool,
    space_break: bool,
    has_break: bool,
}

impl Marks {
    fn of(text: &str) -> Self {
        let letters: Vec<char> = text.chars().collect();
        let blank_or_end = |at: usize| letters.get(at).is_none_or(|c| c.is_ascii_whitespace());
        let mut marks = Self {
            empty: text.is_empty(),
            indicator: text.starts_with("---") || text.starts_with("..."),
            leading_blank: text.starts_with([' ', '\n']),
            trailing_space: text.ends_with(' '),
            trailing_break: text.ends_with('\n'),
            ..Self::default()
        };
        for (at, letter) in letters.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| letters.get(at));
            marks.indicator |= match letter {
                '#' if at == 0 => true,
                '#' => before.is_some_and(|c| c.is_ascii_whitespace()),
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => at == 0,
                '?' | '-' => at == 0 && blank_or_end(1),
                ':' => blank_or_end(at + 1),
                _ => false,
            };
            match letter {
                '\t' => marks.tab = true,
                '\n' => {
                    marks.has_break = true;
                    marks.space_break |= before == Some(&' ');
                }
                ' ' => marks.break_space |= before == Some(&'\n'),
                letter => marks.special |= !is_printable(*letter),
            }
        }
        marks
    }

    fn can_be_plain(&self) -> bool {
        !(self.empty
            || self.indicator
            || self.special
            || self.tab
            || self.leading_blank
            || self.trailing_space
            || self.trailing_break
            || self.has_break)
    }

    fn can_be_single_quoted(&self) -> bool {
        !(self.special || self.tab || self.space_break || self.break_space)
    }

    fn can_be_block(&self) -> bool {
        !(self.special || self.space_break || self.trailing_space)
    }
}

fn is_printable(letter: char) -> bool {
    matches!(letter,
        '\u{20}'..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
}

fn literal(text: &str, level: usize) -> String {
    let hint = if text.starts_with([' ', '\n']) {
        "2"
    } else {
        ""
    };
    let chomp = match text.strip_suffix('\n') {
        None => "-",
        Some(rest) if rest.ends_with('\n') || rest.is_empty() => "+",
        Some(_) => "",
    };
    let mut out = format!("|{hint}{chomp}");
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(&mut out, level);
            out.push_str(line);
        }
    }
    out
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            letter if is_printable(letter) => out.push(letter),
            letter if u32::from(letter) <= 0xff => {
                out.push_str(&format!("\\x{:02X}", u32::from(letter)))
            }
            letter => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        for (text, written) in [
            ("a b", "a b"),
            ("80", "\"80\""),
            ("true", "\"true\""),
            ("n", "\"n\""),
            ("", "\"\""),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("a#b", "a#b"),
            ("- a", "'- a'"),
            ("-a", "-a"),
            ("it's", "it's"),
            ("'x'", "'''x'''"),
            ("a\tb", "\"a\\tb\""),
            (" a", "' a'"),
            ("1:20", "\"1:20\""),
            ("80:80", "80:80"),
            ("2001-01-01", "\"2001-01-01\""),
            ("*", "'*'"),
            ("a\nb\n", "|\n  a\n  b"),
            ("a\nb", "|-\n  a\n  b"),
        ] {
            assert_eq!(scalar(text, 1), written, "{text:?}");
        }
    }
}
