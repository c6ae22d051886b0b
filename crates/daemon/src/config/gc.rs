//! `builder.gc` of the daemon's file: what of the build cache goes by itself.

use std::time::Duration;

use hull_engine::config::{CachePolicy, CacheSpace};
use serde_json::{Map, Value};

use super::settings::bytes;

/// The rules that the file gives.
///
/// # Errors
/// The key that makes no sense.
pub(super) fn policies(builder: Option<&Value>) -> Result<Vec<CachePolicy>, String> {
    let gc = builder.and_then(|builder| builder.get("gc"));
    let Some(gc) = gc.filter(|gc| !gc.is_null()) else {
        return Ok(CachePolicy::by_default());
    };
    let gc = object(gc, "builder.gc")?;
    known(gc, "builder.gc", &TOP)?;
    match gc.get("enabled") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Vec::new()),
        Some(other) => {
            return Err(format!(
                "builder.gc.enabled is neither true nor false: {other}"
            ));
        }
    }
    let own = gc.get("policy").map(list).transpose()?.unwrap_or_default();
    if !own.is_empty() {
        return own.iter().map(policy).collect();
    }
    let space = |names: &[&str]| space(gc, names);
    let reserved = space(&["defaultReservedSpace", "defaultKeepStorage"])?;
    let used_max = space(&["defaultMaxUsedSpace"])?;
    let free_min = space(&["defaultMinFreeSpace"])?;
    if (reserved, used_max, free_min) == (None, None, None) {
        return Ok(CachePolicy::by_default());
    }
    Ok(vec![CachePolicy {
        all: true,
        used_max: used_max.unwrap_or_default(),
        free_min: free_min.unwrap_or_default(),
        reserved: reserved.unwrap_or_default(),
        ..CachePolicy::default()
    }])
}

const TOP: [&str; 6] = [
    "enabled",
    "policy",
    "defaultKeepStorage",
    "defaultReservedSpace",
    "defaultMaxUsedSpace",
    "defaultMinFreeSpace",
];
const RULE: [&str; 6] = [
    "all",
    "filter",
    "keepStorage",
    "reservedSpace",
    "maxUsedSpace",
    "minFreeSpace",
];

fn policy(value: &Value) -> Result<CachePolicy, String> {
    let rule = object(value, "a rule of builder.gc.policy")?;
    known(rule, "builder.gc.policy", &RULE)?;
    let space = |names: &[&str]| Ok::<_, String>(space(rule, names)?.unwrap_or_default());
    let all = match rule.get("all") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(all)) => *all,
        Some(other) => {
            return Err(format!(
                "builder.gc.policy: all is neither true nor false: {other}"
            ));
        }
    };
    let mut policy = CachePolicy {
        all,
        used_max: space(&["maxUsedSpace"])?,
        free_min: space(&["minFreeSpace"])?,
        reserved: space(&["reservedSpace", "keepStorage"])?,
        ..CachePolicy::default()
    };
    for filter in rule
        .get("filter")
        .map(list)
        .transpose()?
        .unwrap_or_default()
    {
        let text = filter
            .as_str()
            .ok_or_else(|| format!("builder.gc.policy: a filter is a text, not {filter}"))?;
        match text.split_once('=') {
            Some(("unused-for" | "until" | "keep-duration", age)) => {
                policy.unused_for = Some(duration(age.trim_start_matches('='))?);
            }
            _ => policy.add_condition(text)?,
        }
    }
    Ok(policy)
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("{what} is no object: {value}"))
}

fn list(value: &Value) -> Result<Vec<Value>, String> {
    let list = value.as_array().cloned();
    list.ok_or_else(|| format!("builder.gc: a list is expected, not {value}"))
}

fn known(given: &Map<String, Value>, whose: &str, names: &[&str]) -> Result<(), String> {
    match given.keys().find(|key| !names.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!(
            "{whose} has no {key}: there are {}",
            names.join(", ")
        )),
    }
}

/// The first of these keys that says something.
fn space(given: &Map<String, Value>, names: &[&str]) -> Result<Option<CacheSpace>, String> {
    let value = names.iter().find_map(|name| given.get(*name));
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(number) => Ok(Some(CacheSpace::Bytes(number))),
            None => Err(format!("builder.gc: invalid size: {number}")),
        },
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => match text.strip_suffix('%') {
            None => {
                let bytes = bytes(text).map_err(|why| format!("builder.gc: {why}"))?;
                Ok(Some(CacheSpace::Bytes(u64::try_from(bytes).unwrap_or(0))))
            }
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 0..=100) => Ok(Some(CacheSpace::Percent(percent))),
                _ => Err(format!("builder.gc: invalid part of the disk: {text}")),
            },
        },
        Some(other) => Err(format!("builder.gc: a size is expected, not {other}")),
    }
}

/// `48h`, `1h30m`, `90s`.
fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("builder.gc: invalid duration {text:?}: 48h, for example");
    let mut seconds = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit());
        let (number, unit) = rest.split_at(digits.ok_or_else(invalid)?);
        let factor = match unit.chars().next() {
            Some('h') => 3600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(invalid()),
        };
        let number: u64 = number.parse().map_err(|_| invalid())?;
        seconds = seconds.saturating_add(number.saturating_mul(factor));
        rest = &unit[1..];
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(gc: Value) -> Result<Vec<CachePolicy>, String> {
        policies(Some(&json!({ "gc": gc })))
    }

    #[test]
    fn a_budget_is_given_in_short() {
        let [policy] = &read(json!({"enabled": true, "defaultKeepStorage": "20GB"})).unwrap()[..]
        else {
            panic!("one rule");
        };
        assert!(policy.all);
        assert_eq!(policy.reserved, CacheSpace::Bytes(20 << 30));
        assert_eq!(policy.used_max, CacheSpace::Bytes(0));
        let policy = &read(json!({"defaultMaxUsedSpace": "30%"})).unwrap()[0];
        assert_eq!(policy.used_max, CacheSpace::Percent(30));
        assert_eq!(read(json!({})).unwrap().len(), 1);
        assert_eq!(policies(None).unwrap().len(), 1);
        assert!(read(json!({"enabled": false})).unwrap().is_empty());
    }

    #[test]
    fn rules_are_read() {
        let rules = json!({"policy": [
            {"keepStorage": "512MB", "filter": ["unused-for=2h30m", "type==source.local"]},
            {"reservedSpace": 10, "maxUsedSpace": "2g", "minFreeSpace": "10%", "all": true},
        ]});
        let rules = read(rules).unwrap();
        assert_eq!(rules[0].unused_for, Some(Duration::from_secs(9000)));
        assert_eq!(rules[0].reserved, CacheSpace::Bytes(512 << 20));
        assert_eq!(rules[0].conditions.len(), 1);
        assert_eq!(rules[1].free_min, CacheSpace::Percent(10));
        assert!(rules[1].all && !rules[0].all);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (gc, words) in [
            (json!({"keepStorage": "1g"}), "has no keepStorage"),
            (
                json!({"defaultKeepStorage": "much"}),
                "invalid size: 'much'",
            ),
            (json!({"defaultMaxUsedSpace": "101%"}), "101%"),
            (
                json!({"policy": [{"filter": ["unused-for=soon"]}]}),
                "\"soon\"",
            ),
            (json!({"policy": [{"filter": ["what==x"]}]}), "what"),
            (json!({"enabled": "yes"}), "neither true nor false"),
            (json!([]), "no object"),
        ] {
            let why = read(gc.clone()).unwrap_err();
            assert!(why.contains(words), "{gc}: {why}");
        }
    }
}
