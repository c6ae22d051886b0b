//! What stands behind the `?` of a request, read as Docker reads it and written as its clients do.

use jiff::{SignedDuration, Timestamp, civil};

/// Parameters in their order. A name may occur several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

/// A parameter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not a whole number.
    #[error("strconv.Atoi: parsing {text:?}: invalid syntax")]
    Number {
        /// What was given.
        text: String,
    },
    /// Neither a moment nor a duration.
    #[error("failed to parse value as time or duration: {text:?}")]
    Time {
        /// What was given.
        text: String,
    },
}

impl Query {
    /// Reads the text between `?` and the end.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name), decoded(value))
                })
                .collect(),
        )
    }

    /// The first value of a name; empty when absent.
    pub fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// Every value of a name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Yes or no: empty, `0`, `no`, `false` and `none` are no, any other text is yes.
    pub fn flag(&self, name: &str) -> bool {
        is_yes(self.text(name))
    }

    /// As [`flag`](Self::flag), with an answer for an absent name.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.contains(name) {
            self.flag(name)
        } else {
            default
        }
    }

    /// A whole number; `None` when absent or empty.
    pub fn number(&self, name: &str) -> Result<Option<i64>, QueryError> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| QueryError::Number {
                text: text.to_owned(),
            }),
        }
    }

    /// A moment (see [`parse_moment`]); `None` when absent or empty.
    pub fn moment(&self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, QueryError> {
        match self.text(name) {
            "" => Ok(None),
            text => parse_moment(text, now).map(Some),
        }
    }

    /// Adds a parameter.
    pub fn add(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a parameter unless the value is empty.
    pub fn add_some(&mut self, name: &str, value: &str) -> &mut Self {
        if value.is_empty() {
            self
        } else {
            self.add(name, value)
        }
    }

    /// Adds `name=1` if the answer is yes.
    pub fn add_flag(&mut self, name: &str, yes: bool) -> &mut Self {
        if yes { self.add(name, "1") } else { self }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text between `?` and the end.
    pub fn encode(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        pairs.join("&")
    }
}

/// Docker's idea of yes: see [`Query::flag`].
pub fn is_yes(text: &str) -> bool {
    !matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "" | "0" | "no" | "false" | "none"
    )
}

/// A moment as `since` and `until` take it: Unix seconds with optional nanoseconds
/// (`1700000000.5`), RFC 3339 in full or cut short (UTC where no zone is named), or a duration
/// before `now` (`10m`, `1h30m`).
pub fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, QueryError> {
    let refused = || QueryError::Time {
        text: text.to_owned(),
    };
    if let Some(duration) = parse_duration(text) {
        return now.checked_sub(duration).map_err(|_| refused());
    }
    unix_seconds(text)
        .or_else(|| rfc3339(text))
        .ok_or_else(refused)
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `300ms`, `-5m`. A bare number is none.
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        nanos = nanos.checked_add(scaled(number, unit_nanos(unit)?)?)?;
        rest = tail;
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
    Some(SignedDuration::from_nanos(nanos))
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (with an optional fraction) times `unit`.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction = &fraction[..fraction.len().min(18)];
    let places = u32::try_from(fraction.len()).expect("cut to 18 above");
    let fraction: i128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    Some(whole * unit + fraction * unit / 10i128.pow(places))
}

fn unix_seconds(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds, nanos).ok()
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let utc = |local: civil::DateTime| {
        local
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    };
    let bare = text.strip_suffix('Z').unwrap_or(text);
    if let Ok(local) = bare.parse::<civil::DateTime>() {
        return utc(local);
    }
    bare.parse::<civil::Date>()
        .ok()
        .and_then(|date| utc(date.to_datetime(civil::Time::midnight())))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(u8::try_from(value).expect("two hex digits are one byte"));
                after
            }
            (b'+', tail) => {
                bytes.push(b' ');
                tail
            }
            (other, tail) => {
                bytes.push(*other);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Escapes a path's segment or a parameter: everything but letters, digits and `-_.~`.
pub fn encoded(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Undoes `%XX` in a path, where `+` is a plus.
pub fn decoded_path(text: &str) -> String {
    decoded(&text.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_but_five_is_yes() {
        for no in ["", "0", "no", "false", "none", " False ", "NONE"] {
            assert!(!is_yes(no), "{no}");
        }
        for yes in ["1", "true", "t", "yes", "y", "2", "off"] {
            assert!(is_yes(yes), "{yes}");
        }
        let query = Query::parse("stream&all=1");
        assert!(!query.flag_or("stream", true));
        assert!(query.flag_or("other", true));
        assert!(query.flag("all"));
    }

    #[test]
    fn escapes_are_undone_and_made() {
        let query = Query::parse("filters=%7B%22a%22%3Atrue%7D&names=a&names=b+c&path=/x%2");
        assert_eq!(query.text("filters"), r#"{"a":true}"#);
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(query.text("path"), "/x%2");
        let mut made = Query::default();
        made.add("filters", r#"{"a b":"ü"}"#)
            .add_flag("all", true)
            .add_some("none", "");
        assert_eq!(
            made.encode(),
            "filters=%7B%22a%20b%22%3A%22%C3%BC%22%7D&all=1"
        );
        assert_eq!(Query::parse(&made.encode()), made);
    }

    #[test]
    fn numbers_are_read_or_refused() {
        let query = Query::parse("t=-1&h=x&w=");
        assert_eq!(query.number("t"), Ok(Some(-1)));
        assert_eq!(query.number("w"), Ok(None));
        assert!(query.number("h").is_err());
    }

    #[test]
    fn moments_come_in_many_spellings() {
        let now: Timestamp = "2025-01-02T03:04:05Z".parse().unwrap();
        let moment = |text: &str| parse_moment(text, now).unwrap().to_string();
        assert_eq!(moment("1700000000"), "2023-11-14T22:13:20Z");
        assert_eq!(moment("1700000000.5"), "2023-11-14T22:13:20.5Z");
        assert_eq!(
            moment("1700000000.000000001"),
            "2023-11-14T22:13:20.000000001Z"
        );
        assert_eq!(moment("10m"), "2025-01-02T02:54:05Z");
        assert_eq!(moment("1h30m0.5s"), "2025-01-02T01:34:04.5Z");
        assert_eq!(moment("2024-05-06"), "2024-05-06T00:00:00Z");
        assert_eq!(moment("2024-05-06T07:08:09"), "2024-05-06T07:08:09Z");
        assert_eq!(
            moment("2024-05-06T07:08:09.25+02:00"),
            "2024-05-06T05:08:09.25Z"
        );
        assert!(parse_moment("yesterday", now).is_err());
    }

    #[test]
    fn durations_are_gos() {
        let nanos = |text: &str| parse_duration(text).map(|duration| duration.as_nanos());
        assert_eq!(nanos("1.5s"), Some(1_500_000_000));
        assert_eq!(nanos("-2ms"), Some(-2_000_000));
        assert_eq!(nanos("1h1us"), Some(3_600_000_001_000));
        for bad in ["", "5", "s", "1x", "1..5s", "-"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }
}
