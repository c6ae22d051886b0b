//! `--security-opt`: profiles are read here, the rest is the daemon's.

use super::environment::plain;

/// What the options come to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Security {
    pub(crate) options: Vec<String>,
    /// `systempaths=unconfined`: nothing of `/proc` is masked.
    pub(crate) unmasked: bool,
}

/// Reads all `--security-opt` values.
///
/// # Errors
/// An option without a value, or a seccomp profile that cannot be read.
pub(crate) fn read(values: &[String]) -> Result<Security, String> {
    let mut security = Security::default();
    for text in values {
        if text == "systempaths=unconfined" {
            security.unmasked = true;
            continue;
        }
        let (key, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
            Some(pair) => pair,
            None if matches!(text.as_str(), "no-new-privileges" | "writable-cgroups") => {
                security.options.push(text.clone());
                continue;
            }
            None => return Err(format!("Invalid --security-opt: {text:?}")),
        };
        security.options.push(match (key, value) {
            ("seccomp", value) if value != "unconfined" && value != "builtin" => {
                format!("seccomp={}", profile(value)?)
            }
            _ => text.clone(),
        });
    }
    Ok(security)
}

/// A profile's JSON without its blanks.
fn profile(path: &str) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "opening seccomp profile ({path}) failed: open {path}: {}",
            plain(&error)
        )
    })?;
    let profile: &serde_json::value::RawValue = serde_json::from_str(&text)
        .map_err(|error| format!("compacting json for seccomp profile ({path}) failed: {error}"))?;
    Ok(compact(profile.get()))
}

fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut escaped = false;
    json.chars()
        .filter(|character| {
            if in_text {
                match character {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => in_text = false,
                    _ => {}
                }
                return true;
            }
            in_text = *character == '"';
            !character.is_ascii_whitespace()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_travel_with_the_request() {
        let path = std::env::temp_dir().join(format!("hull-seccomp-{}.json", std::process::id()));
        std::fs::write(&path, "{ \"defaultAction\": \"A B\\\" C\",\n \"x\": [ ] }").unwrap();
        let option = format!("seccomp={}", path.display());
        let security = read(&[option, "no-new-privileges".into(), "label=disable".into()]);
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            security.unwrap().options,
            [
                "seccomp={\"defaultAction\":\"A B\\\" C\",\"x\":[]}",
                "no-new-privileges",
                "label=disable"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(
            read(&["foo".into()]).unwrap_err(),
            "Invalid --security-opt: \"foo\""
        );
        assert!(read(&["systempaths=unconfined".into()]).unwrap().unmasked);
        assert_eq!(
            read(&["seccomp=unconfined".into()]).unwrap().options,
            ["seccomp=unconfined"]
        );
        assert!(
            read(&["seccomp=/nonexistent".into()])
                .unwrap_err()
                .starts_with(
                    "opening seccomp profile (/nonexistent) failed: open /nonexistent: no such file"
                )
        );
    }
}
