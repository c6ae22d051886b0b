//! Go's way of writing values: `fmt.Print` and `fmt.Printf`.

use super::value::{Kind, Object, Value};

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
        Value::Float(value) => float(*value, 21),
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
        let text = float(value, 21);
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
            Some(argument) => out.push_str(&pad(&verb, formatted(&verb, argument))),
            None => out.push_str(&format!("%!{}(MISSING)", verb.letter)),
        }
    }
    let extra: Vec<String> = arguments[rest.at..]
        .iter()
        .map(|argument| format!("{}={}", argument.type_name(), value(argument)))
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

fn number(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut Arguments<'_>,
) -> Option<usize> {
    if characters.next_if_eq(&'*').is_some() {
        return match arguments.next() {
            Some(Value::Int(width)) => usize::try_from(*width).ok(),
            _ => None,
        };
    }
    let mut digits = String::new();
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok()
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

fn formatted(verb: &Verb, argument: &Value) -> String {
    if let Value::List(Some(values)) = argument
        && verb.letter != 'v'
        && verb.letter != 'T'
    {
        let parts: Vec<String> = values.iter().map(|value| formatted(verb, value)).collect();
        return format!("[{}]", parts.join(" "));
    }
    if let Value::Object(object) = argument
        && verb.letter != 'v'
        && verb.letter != 'T'
    {
        return members(verb, object);
    }
    match (verb.letter, argument) {
        ('v', Value::Float(_)) if verb.precision.is_some() => float_verb(verb, argument),
        ('v', Value::Text(text)) if verb.sharp => quote(text),
        ('v', other) => signed(verb, value(other)),
        ('T', other) => other.type_name().to_owned(),
        ('s', Value::Text(text)) => match verb.precision {
            Some(length) => text.chars().take(length).collect(),
            None => text.to_string(),
        },
        ('q', Value::Text(text)) => quote(text),
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

/// Each member of a map or a struct by the verb.
fn members(verb: &Verb, object: &Object) -> String {
    let mut fields: Vec<_> = object.fields.iter().collect();
    let is_map = matches!(object.kind, Kind::Map | Kind::NilMap | Kind::Raw);
    if is_map {
        fields.sort_by(|left, right| left.0.cmp(&right.0));
    }
    let member = |(key, value): &&(String, Value)| match is_map {
        true => {
            let key = formatted(verb, &Value::text(key.as_str()));
            format!("{key}:{}", formatted(verb, value))
        }
        false => formatted(verb, value),
    };
    let parts: Vec<String> = fields.iter().map(member).collect();
    match is_map {
        true => format!("map[{}]", parts.join(" ")),
        false => format!("{{{}}}", parts.join(" ")),
    }
}

fn signed(verb: &Verb, text: String) -> String {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit());
    match numeric {
        true if verb.plus => format!("+{text}"),
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
            None => float(number, 21),
        },
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

/// A Go string literal.
pub(super) fn quote(text: &str) -> String {
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
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
