//! `--restart name[:attempts]`.

use hull_api::types::RestartPolicy;

/// Reads a restart policy; the daemon judges its name.
///
/// # Errors
/// A count that is no number.
pub(crate) fn parse(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        None => (text, 0),
        Some(("", _)) => {
            return Err(
                "invalid restart policy format: no policy provided before colon".to_owned(),
            );
        }
        Some((name, count)) => {
            let count = count.parse().map_err(|_| {
                "invalid restart policy format: maximum retry count must be an integer".to_owned()
            })?;
            (name, count)
        }
    };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let policy = parse("on-failure:3").unwrap();
        assert_eq!(
            (policy.name.as_str(), policy.maximum_retry_count),
            ("on-failure", 3)
        );
        assert_eq!(parse("always").unwrap().maximum_retry_count, 0);
        assert!(
            parse("on-failure:x")
                .unwrap_err()
                .contains("must be an integer")
        );
        assert!(parse("a:1:2").unwrap_err().contains("must be an integer"));
    }
}
