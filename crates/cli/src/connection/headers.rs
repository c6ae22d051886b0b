//! What is sent along with each request: what the environment says, else what the settings do.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result};
use crate::options::csv;
use crate::settings::Settings;

/// Names headers as `name=value,…`; those of the settings do not count then.
const VARIABLE: &str = "DOCKER_CUSTOM_HEADERS";

/// The headers of the environment, if it names any.
///
/// # Errors
/// What is no list of headers.
pub(super) fn of_environment() -> Result<Option<HeaderMap>> {
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => told(&text).map(Some),
        _ => Ok(None),
    }
}

fn told(text: &str) -> Result<HeaderMap> {
    let failed = |what: &str, why: &str| {
        Error::new(format!(
            "Failed to initialize: failed to {what} custom headers from {VARIABLE} environment variable: {why}"
        ))
    };
    let fields = csv::fields(text).map_err(|_| {
        failed(
            "parse",
            "value must be formatted as comma-separated key=value pairs",
        )
    })?;
    let mut headers = HeaderMap::new();
    for field in fields {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value)),
            None => (field.trim(), None),
        };
        if name.is_empty() {
            let why = format!("value contains a key=value pair with an empty key: '{field}'");
            return Err(failed("set", &why));
        }
        let Some(value) = value else {
            return Err(failed(
                "set",
                &format!("missing \"=\" in key=value pair: '{field}'"),
            ));
        };
        put(&mut headers, name, value)
            .ok_or_else(|| failed("set", &format!("{name:?} is no header")))?;
    }
    Ok(headers)
}

/// The headers of the settings.
///
/// # Errors
/// What is no header.
pub(super) fn of_settings(settings: &Settings) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.http_headers {
        // The program names itself.
        if name.eq_ignore_ascii_case("user-agent") {
            continue;
        }
        put(&mut headers, name, value).ok_or_else(|| {
            Error::new(format!(
                "HttpHeaders of the settings: {name:?} is no header"
            ))
        })?;
    }
    Ok(headers)
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Option<()> {
    let key: HeaderName = name.parse().ok()?;
    let value: HeaderValue = value.parse().ok()?;
    headers.insert(key, value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_header_of_a_name_counts_and_mistakes_are_told() {
        let headers = told("X-A=1,\"x-b=2,3\",x-a=4").unwrap();
        assert_eq!(
            (&headers["x-a"], &headers["x-b"]),
            (&"4".parse().unwrap(), &"2,3".parse().unwrap())
        );
        for (text, why) in [
            ("bogus", "missing \"=\" in key=value pair: 'bogus'"),
            (" =b", "with an empty key: ' =b'"),
            ("\"A=b", "must be formatted as comma-separated"),
            ("a b=c", "\"a b\" is no header"),
        ] {
            let error = told(text).unwrap_err();
            assert!(
                error.message().ends_with(why) || error.message().contains(why),
                "{}",
                error.message()
            );
        }
    }
}
