//! Points in time: ages, Docker's printed forms, and what `--since` and `--until` accept.

use std::path::Path;
use std::sync::OnceLock;

use jiff::{Timestamp, Zoned, civil::DateTime, tz::TimeZone};

use super::duration;

/// The rules of the machine's own zone.
const LOCAL_ZONE: &str = "/etc/localtime";
/// The rules of all zones, by their name.
const ZONES: &str = "/usr/share/zoneinfo";

/// The zone the user lives in.
///
/// Its one file is read. Asking for the system's zone by the library's own means would list all there are, which takes
/// longer than anything else a command does.
pub(crate) fn zone() -> TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    let told = || std::env::var("TZ").ok();
    ZONE.get_or_init(|| {
        told()
            .map_or_else(|| rules(Path::new(LOCAL_ZONE)), |told| named(&told))
            .unwrap_or(TimeZone::UTC)
    })
    .clone()
}

/// What `$TZ` may be: a name, a file, or the rules themselves.
fn named(told: &str) -> Option<TimeZone> {
    let name = told.strip_prefix(':').unwrap_or(told);
    if name.is_empty() || name.split('/').any(|part| part == "..") {
        return None;
    }
    rules(&Path::new(ZONES).join(name)).or_else(|| TimeZone::posix(name).ok())
}

fn rules(path: &Path) -> Option<TimeZone> {
    TimeZone::tzif("Local", &std::fs::read(path).ok()?).ok()
}

/// Seconds since the epoch, now.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// `2 minutes ago`; nothing for the never that Docker writes as the year 1.
pub(crate) fn ago(unix_seconds: i64) -> String {
    if unix_seconds <= 0 {
        return "N/A".to_owned();
    }
    format!("{} ago", duration::human(now() - unix_seconds))
}

/// Reads the API's RFC 3339 times.
pub(crate) fn unix_seconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|time| time.as_second())
}

/// The same to the millisecond.
pub(crate) fn unix_milliseconds(text: &str) -> Option<i64> {
    text.parse::<Timestamp>()
        .ok()
        .map(|time| time.as_millisecond())
}

/// `2024-05-30 12:07:14 +0000 UTC`, in local time.
pub(crate) fn local(unix_seconds: i64) -> String {
    let Ok(time) = Timestamp::from_second(unix_seconds) else {
        return String::new();
    };
    time.to_zoned(zone())
        .strftime("%Y-%m-%d %H:%M:%S %z %Z")
        .to_string()
}

/// An RFC 3339 local time of whole seconds, as `docker history` prints them.
pub(crate) fn local_rfc3339(unix_seconds: i64) -> String {
    let Ok(time) = Timestamp::from_second(unix_seconds) else {
        return String::new();
    };
    let zoned = time.to_zoned(zone());
    if zoned.offset().is_zero() {
        zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }
}

/// An RFC 3339 local time with nine digits of a second, as `docker events` prints them.
pub(crate) fn local_nanoseconds(unix_nanoseconds: i64) -> String {
    let Ok(time) = Timestamp::from_nanosecond(i128::from(unix_nanoseconds)) else {
        return String::new();
    };
    let zoned = time.to_zoned(zone());
    let zone = if zoned.offset().is_zero() {
        "Z".into()
    } else {
        zoned.strftime("%:z").to_string()
    };
    format!("{}{zone}", zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f"))
}

/// A local time with six digits of a second and no zone, as Compose's events have it.
pub(crate) fn local_microseconds(unix_nanoseconds: i64) -> String {
    let Ok(time) = Timestamp::from_nanosecond(i128::from(unix_nanoseconds)) else {
        return String::new();
    };
    let zoned = time.to_zoned(zone());
    zoned.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// What `--since` and `--until` accept, as the API wants it: Unix seconds with nanoseconds.
///
/// Accepts a Go duration (so long ago), RFC 3339 with parts left out, and Unix seconds.
pub(crate) fn api_timestamp(text: &str) -> String {
    // A duration has a unit: `0` alone is the beginning of all time.
    if text != "0"
        && let Ok(past) = duration::parse(text)
        && let Ok(time) = Timestamp::now().checked_sub(past)
    {
        return seconds_and_nanoseconds(time);
    }
    match date(text) {
        Some(time) => seconds_and_nanoseconds(time),
        None => text.to_owned(),
    }
}

fn seconds_and_nanoseconds(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

fn date(text: &str) -> Option<Timestamp> {
    if !text.contains('-') {
        return None;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let padded = match text.len() {
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        _ => text.to_owned(),
    };
    let civil: DateTime = padded.parse().ok()?;
    let zoned: Zoned = civil.to_zoned(zone()).ok()?;
    Some(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_the_api_understands() {
        assert_eq!(api_timestamp("1700000000"), "1700000000");
        assert_eq!(api_timestamp("0"), "0");
        assert_eq!(
            api_timestamp("2024-05-30T12:07:14Z"),
            "1717070834.000000000"
        );
        assert_eq!(
            api_timestamp("2024-05-30T12:07:14.5Z"),
            "1717070834.500000000"
        );
        let past: f64 = api_timestamp("10m").parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a test")]
        let age = now() as f64 - past;
        assert!((598.0..603.0).contains(&age), "{age}");
    }

    #[test]
    fn zones_are_names_files_or_rules() {
        let summer: Timestamp = "2024-07-01T12:00:00Z".parse().unwrap();
        let shown = |told: &str| {
            let zone = named(told)?;
            Some(summer.to_zoned(zone).strftime("%H %z %Z").to_string())
        };
        assert_eq!(
            shown("CET-1CEST,M3.5.0,M10.5.0/3").as_deref(),
            Some("14 +0200 CEST")
        );
        assert_eq!(
            shown("")
                .or(shown("../etc/passwd"))
                .or(shown("Nowhere/Nosuch")),
            None
        );
        if Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
            for told in [
                "Europe/Berlin",
                ":Europe/Berlin",
                "/usr/share/zoneinfo/Europe/Berlin",
            ] {
                assert_eq!(shown(told).as_deref(), Some("14 +0200 CEST"), "{told}");
            }
        }
    }

    #[test]
    fn times_from_the_api() {
        assert_eq!(
            unix_seconds("2024-05-30T12:07:14.123456789Z"),
            Some(1_717_070_834)
        );
        assert_eq!(unix_seconds("0001-01-01T00:00:00Z"), Some(-62_135_596_800));
        assert_eq!(ago(0), "N/A");
    }
}
