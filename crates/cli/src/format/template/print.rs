//! Go's way of writing values: `fmt.Print` and `fmt.Printf`.

use super::value::{Kind, Object, Value};

/// Numbers of more digits than this have an exponent.
const SHORT_MAX: i32 = 6;
/// The same in JSON.
const JSON_MAX: i32 = 21;

/// What an action leaves in the output.
pub(super) fn top(value: &Value) -> String {
    match value {
        Value::Missing => "<no value>".to_owned(),
        other => self::value(other),
    }
}

/// `%v`
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Missing | Value::Nil => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => float(*value, SHORT_MAX),
        Value::Complex(real, imaginary) => {
            let imaginary = float(*imaginary, SHORT_MAX);
            let sign = if imaginary.starts_with(['-', '+']) {
                ""
            } else {
                "+"
            };
            format!("({}{sign}{imaginary}i)", float(*real, SHORT_MAX))
        }
        Value::Text(text) => text.to_string(),
        Value::List(None) => "[]".to_owned(),
        Value::List(Some(values)) => {
            let parts: Vec<String> = values.iter().map(self::value).collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Object(object) => {
            let mut fields: Vec<_> = object.fields.iter().collect();
            if matches!(object.kind, Kind::Map | Kind::NilMap | Kind::Raw) {
                fields.sort_by(|left, right| left.0.cmp(&right.0));
                let parts: Vec<String> = fields
                    .iter()
                    .map(|(k, v)| format!("{k}:{}", self::value(v)))
                    .collect();
                return format!("map[{}]", parts.join(" "));
            }
            let parts: Vec<String> = fields.iter().map(|(_, v)| self::value(v)).collect();
            format!("{{{}}}", parts.join(" "))
        }
    }
}

/// The shortest digits that read back as `value`, with an exponent from `exponent_max` on.
fn float(value: f64, exponent_max: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "+Inf".into()
        } else {
            "-Inf".into()
        };
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && (exponent < -4 || exponent >= exponent_max) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// A float as Go's JSON encoder writes it.
pub(super) fn float_json(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = float(value, JSON_MAX);
        return match text.split_once("e-0") {
            Some((mantissa, exponent)) => format!("{mantissa}e-{exponent}"),
            None => text,
        };
    }
    format!("{value}")
}

/// A verb of a format, such as `%-10s`.
#[derive(Debug, Default)]
struct Verb {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
    letter: char,
}

/// The arguments of a format, and which of them is next: `%[2]v` says so itself.
struct Arguments<'a> {
    all: &'a [Value],
    at: usize,
    /// Whether some were chosen by their number: then none are too many.
    are_chosen: bool,
    /// Whether the number of the present verb is none.
    is_bad: bool,
}

impl<'a> Arguments<'a> {
    fn next(&mut self) -> Option<&'a Value> {
        let argument = self.all.get(self.at)?;
        self.at += 1;
        Some(argument)
    }

    /// Reads `[2]`, if it stands there.
    fn choose(&mut self, characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        if characters.next_if_eq(&'[').is_none() {
            return;
        }
        let digits: String = characters.by_ref().take_while(|c| *c != ']').collect();
        self.are_chosen = true;
        match digits.parse::<usize>() {
            Ok(number) if (1..=self.all.len()).contains(&number) => self.at = number - 1,
            _ => self.is_bad = true,
        }
    }
}

/// `fmt.Sprintf`
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut rest = Arguments {
        all: arguments,
        at: 0,
        are_chosen: false,
        is_bad: false,
    };
    let mut characters = format.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        rest.is_bad = false;
        let Some(verb) = verb(&mut characters, &mut rest) else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb.letter == '%' {
            out.push('%');
            continue;
        }
        if rest.is_bad {
            out.push_str(&format!("%!{}(BADINDEX)", verb.letter));
            continue;
        }
        match rest.next() {
            Some(argument) => out.push_str(&formatted(&verb, argument)),
            None => out.push_str(&format!("%!{}(MISSING)", verb.letter)),
        }
    }
    let extra: Vec<String> = arguments[rest.at..]
        .iter()
        .map(|argument| match argument {
            Value::Missing | Value::Nil => "<nil>".to_owned(),
            argument => format!("{}={}", argument.type_name(), value(argument)),
        })
        .collect();
    if !extra.is_empty() && !rest.are_chosen {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn verb(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut Arguments<'_>,
) -> Option<Verb> {
    let mut verb = Verb::default();
    while let Some(flag) = characters.next_if(|c| "-+# 0".contains(*c)) {
        match flag {
            '-' => verb.minus = true,
            '+' => verb.plus = true,
            '#' => verb.sharp = true,
            ' ' => verb.space = true,
            _ => verb.zero = true,
        }
    }
    arguments.choose(characters);
    verb.width = number(characters, arguments);
    if characters.next_if_eq(&'.').is_some() {
        arguments.choose(characters);
        verb.precision = Some(number(characters, arguments).unwrap_or(0));
    }
    arguments.choose(characters);
    verb.letter = characters.next()?;
    Some(verb)
}

/// Rust writes no more digits than this.
const COUNT_MAX: usize = 65_535;

fn number(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut Arguments<'_>,
) -> Option<usize> {
    if characters.next_if_eq(&'*').is_some() {
        return match arguments.next() {
            Some(Value::Int(width)) => usize::try_from(*width)
                .ok()
                .filter(|count| *count <= COUNT_MAX),
            _ => None,
        };
    }
    let mut digits = String::new();
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok().filter(|count| *count <= COUNT_MAX)
}

fn pad(verb: &Verb, text: String) -> String {
    let missing = verb.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if verb.minus {
        return text + &" ".repeat(missing);
    }
    if verb.zero {
        let signed = text.starts_with(['+', '-']);
        let (sign, digits) = text.split_at(usize::from(signed));
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    " ".repeat(missing) + &text
}

/// An argument by a verb; the width is of each part.
fn formatted(verb: &Verb, argument: &Value) -> String {
    let is_source = verb.letter == 'v' && verb.sharp;
    match argument {
        _ if verb.letter == 'T' => pad(verb, argument.type_name().to_owned()),
        Value::List(values) if is_source => {
            let values = values.iter().flat_map(|values| values.iter());
            let parts: Vec<String> = values.map(|value| formatted(verb, value)).collect();
            format!("{}{{{}}}", argument.type_name(), parts.join(", "))
        }
        Value::List(values) => {
            let values = values.iter().flat_map(|values| values.iter());
            let parts: Vec<String> = values.map(|value| formatted(verb, value)).collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Object(object) => members(verb, object, argument.type_name()),
        Value::Complex(real, imaginary) if "vgGfFeE".contains(verb.letter) => {
            let letter = if verb.letter == 'v' { 'g' } else { verb.letter };
            let real = formatted(&Verb { letter, ..*verb }, &Value::Float(*real));
            let signed = Verb {
                plus: true,
                letter,
                ..*verb
            };
            format!("({real}{}i)", formatted(&signed, &Value::Float(*imaginary)))
        }
        _ => pad(verb, plain(verb, argument)),
    }
}

/// What has no parts, by a verb and without its width.
fn plain(verb: &Verb, argument: &Value) -> String {
    match (verb.letter, argument) {
        ('v', Value::Float(_)) if verb.precision.is_some() => float_verb(verb, argument),
        ('v', Value::Text(text)) if verb.sharp => quote(text),
        ('v', other) => signed(verb, value(other)),
        ('s', Value::Text(text)) => cut(verb, text),
        ('q', Value::Text(text)) => quoted(verb, &cut(verb, text)),
        ('x' | 'X', Value::Text(text)) => hex(verb, text),
        ('t', Value::Bool(value)) => value.to_string(),
        ('d', Value::Int(value)) => signed(verb, value.to_string()),
        ('b' | 'o' | 'O' | 'x' | 'X', Value::Int(value)) => to_base(verb, *value),
        ('c', Value::Int(value)) => character(*value).to_string(),
        ('q', Value::Int(value)) => {
            let quoted = quote(&character(*value).to_string());
            let inner = quoted.trim_start_matches('"');
            let inner = inner.strip_suffix('"').unwrap_or(inner);
            format!("'{}'", inner.replace("\\\"", "\"").replace('\'', "\\'"))
        }
        ('U', Value::Int(value)) => format!("U+{value:04X}"),
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(_)) => float_verb(verb, argument),
        (letter, Value::Missing | Value::Nil) => format!("%!{letter}(<nil>)"),
        (letter, other) => format!("%!{letter}({}={})", other.type_name(), value(other)),
    }
}

/// As many characters of a text as the verb wants.
fn cut(verb: &Verb, text: &str) -> String {
    match verb.precision {
        Some(length) => text.chars().take(length).collect(),
        None => text.to_owned(),
    }
}

/// A text in quotes, raw ones if they are wished and possible.
fn quoted(verb: &Verb, text: &str) -> String {
    let is_bare = |c: char| c == '\t' || (c != '`' && c != '\u{feff}' && !c.is_control());
    if verb.sharp && text.chars().all(is_bare) {
        return format!("`{text}`");
    }
    let quoted = quote(text);
    match verb.plus {
        true => quoted.chars().map(ascii).collect(),
        false => quoted,
    }
}

/// A character of a literal in ASCII.
fn ascii(character: char) -> String {
    match u32::from(character) {
        0..=0x7f => character.to_string(),
        code @ 0x80..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// Each member of a map or a struct by the verb.
fn members(verb: &Verb, object: &Object, type_name: &str) -> String {
    let mut fields: Vec<_> = object.fields.iter().collect();
    let is_map = matches!(object.kind, Kind::Map | Kind::NilMap | Kind::Raw);
    if is_map {
        fields.sort_by(|left, right| left.0.cmp(&right.0));
    }
    let is_plain = verb.letter == 'v';
    let member = |(key, value): &&(String, Value)| match is_map {
        true => {
            let key = formatted(verb, &Value::text(key.as_str()));
            format!("{key}:{}", formatted(verb, value))
        }
        false if is_plain && (verb.plus || verb.sharp) => {
            format!("{key}:{}", formatted(verb, value))
        }
        false => formatted(verb, value),
    };
    let parts: Vec<String> = fields.iter().map(member).collect();
    match is_map {
        _ if is_plain && verb.sharp => format!("{type_name}{{{}}}", parts.join(", ")),
        true => format!("map[{}]", parts.join(" ")),
        false => format!("{{{}}}", parts.join(" ")),
    }
}

fn signed(verb: &Verb, text: String) -> String {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit());
    match numeric {
        // With this letter it is names of fields that are wished.
        true if verb.plus && verb.letter != 'v' => format!("+{text}"),
        true if verb.space => format!(" {text}"),
        _ => text,
    }
}

fn float_verb(verb: &Verb, argument: &Value) -> String {
    let Value::Float(number) = *argument else {
        return value(argument);
    };
    let precision = verb.precision.unwrap_or(6);
    let text = match verb.letter {
        'f' | 'F' => format!("{number:.precision$}"),
        'e' | 'E' => {
            let text = format!("{number:.precision$e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            let letter = verb.letter;
            format!("{mantissa}{letter}{sign}{:02}", exponent.abs())
        }
        _ => match verb.precision {
            Some(digits) => crate::format::size::general(number, digits),
            None => float(number, SHORT_MAX),
        },
    };
    let text = match verb.letter {
        'G' => text.to_uppercase(),
        _ => text,
    };
    signed(verb, text)
}

fn character(code: i64) -> char {
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or('\u{fffd}')
}

/// A number to base two, eight or sixteen: its sign, what tells the base, its digits.
fn to_base(verb: &Verb, value: i64) -> String {
    let size = value.unsigned_abs();
    let (prefix, digits) = match verb.letter {
        'b' => ("0b", format!("{size:b}")),
        'o' | 'O' => ("0", format!("{size:o}")),
        'x' => ("0x", format!("{size:x}")),
        _ => ("0X", format!("{size:X}")),
    };
    let prefix = match (verb.letter, verb.sharp) {
        ('O', _) => "0o",
        ('o', true) if digits.starts_with('0') => "",
        (_, true) => prefix,
        (_, false) => "",
    };
    match value < 0 {
        true => format!("-{prefix}{digits}"),
        false => signed(verb, format!("{prefix}{digits}")),
    }
}

/// The bytes of a text, apart where a blank is asked for.
fn hex(verb: &Verb, text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let prefix = if verb.sharp && !text.is_empty() {
        "0x"
    } else {
        ""
    };
    let shown = match verb.space {
        true => bytes
            .iter()
            .map(|byte| format!("{prefix}{byte}"))
            .collect::<Vec<_>>()
            .join(" "),
        false => format!("{prefix}{}", bytes.concat()),
    };
    match verb.letter {
        'X' => shown.to_uppercase(),
        _ => shown,
    }
}

/// Whether a character shows something, as Go sees it.
pub(super) fn is_printable(character: char) -> bool {
    // Behind a letter also marks are shown as they are.
    let shown = format!("a{character}");
    matches!(character, '"' | '\'' | '\\') || shown.escape_debug().eq(shown.chars())
}

/// A Go string literal.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if !is_printable(c) => out.push_str(&ascii(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
