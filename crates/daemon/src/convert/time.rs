//! Times as Docker writes them.

use hull_api::types::ZERO_TIME;
use jiff::Timestamp;

/// RFC 3339 with as many digits as needed; zero is Docker's "never".
pub(crate) fn text(time_ns: i64) -> String {
    if time_ns == 0 {
        return ZERO_TIME.to_owned();
    }
    moment(time_ns).to_string()
}

/// The moment a number of nanoseconds since 1970 means.
pub(crate) fn moment(time_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(time_ns)).expect("an i64 of nanoseconds ends in 2262")
}

/// Whole seconds since 1970.
pub(crate) fn seconds(time_ns: i64) -> i64 {
    time_ns.div_euclid(1_000_000_000)
}

/// Nanoseconds since 1970.
pub(crate) fn nanos(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_nanosecond()).unwrap_or(if moment < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_only_the_digits_they_need() {
        assert_eq!(text(0), "0001-01-01T00:00:00Z");
        assert_eq!(text(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(text(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(
            text(1_700_000_000_000_000_001),
            "2023-11-14T22:13:20.000000001Z"
        );
        assert_eq!(
            nanos(moment(1_700_000_000_000_000_001)),
            1_700_000_000_000_000_001
        );
    }
}
