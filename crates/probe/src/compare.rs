//! Whether a report is as expected.
//!
//! An expectation is a part of a report: what it does not name may be anything. In place of a value
//! may stand `{"any": [...]}` (one of these), `{"superset": "hex"}` (at least these bits) or
//! `{"not": value}`.

use std::fs;

use serde_json::Value;

pub(crate) fn files(golden: &str, report: &str) -> Result<Vec<String>, String> {
    let read = |path: &str| {
        let text = fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("parse {path}: {error}"))
    };
    let mut differences = Vec::new();
    compare("", &read(golden)?, &read(report)?, &mut differences);
    Ok(differences)
}

fn compare(path: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    let holds = match expected {
        Value::Object(members) if is_choice(members) => choice(members, found),
        Value::Object(members) => {
            for (name, expected) in members {
                let found = found.get(name).unwrap_or(&Value::Null);
                compare(&format!("{path}/{name}"), expected, found, differences);
            }
            true
        }
        other => other == found,
    };
    if !holds {
        differences.push(format!("{path}: expected {expected}, found {found}"));
    }
}

fn is_choice(members: &serde_json::Map<String, Value>) -> bool {
    members.len() == 1
        && ["any", "superset", "not"]
            .iter()
            .any(|name| members.contains_key(*name))
}

fn choice(members: &serde_json::Map<String, Value>, found: &Value) -> bool {
    let bits = |value: &Value| u64::from_str_radix(value.as_str()?, 16).ok();
    members.iter().all(|(name, value)| match name.as_str() {
        "any" => value.as_array().is_some_and(|all| all.contains(found)),
        "not" => value != found,
        _ => match (bits(value), bits(found)) {
            (Some(least), Some(found)) => least & !found == 0,
            _ => false,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expectation_is_a_part_of_a_report() {
        let found = json!({"a": {"b": 1, "c": "00f1"}, "d": [1, 2], "e": "EPERM"});
        for (expected, count) in [
            (json!({"a": {"b": 1}}), 0),
            (
                json!({"a": {"c": {"superset": "0001"}}, "e": {"any": ["EPERM", "ENOSYS"]}}),
                0,
            ),
            (json!({"d": [1, 2], "e": {"not": "ok"}}), 0),
            (
                json!({"d": [1], "a": {"c": {"superset": "0002"}}, "x": 1}),
                3,
            ),
            (json!({"e": {"any": ["ok"]}}), 1),
        ] {
            let mut differences = Vec::new();
            compare("", &expected, &found, &mut differences);
            assert_eq!(differences.len(), count, "{expected}: {differences:?}");
        }
    }

    #[test]
    fn the_golden_files_are_well_formed() {
        for text in [
            include_str!("../golden/run.json"),
            include_str!("../golden/exec.json"),
            include_str!("../golden/privileged.json"),
        ] {
            assert!(serde_json::from_str::<Value>(text).unwrap().is_object());
        }
    }
}
