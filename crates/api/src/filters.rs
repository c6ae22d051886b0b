//! `filters=`: which objects a list, a prune or an event stream is about.
//!
//! On the wire it is JSON in one of two shapes: `{"label":{"a=b":true}}` from newer clients and
//! `{"label":["a=b"]}` from older ones. Values of one key are alternatives (labels are not: all
//! must match), keys are conditions that must all hold; that is for the reader to apply.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Key to values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

/// A filter that cannot be applied. The texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text is not JSON of either shape.
    #[error("invalid filter")]
    Malformed,
    /// The key means nothing here.
    #[error("invalid filter '{0}'")]
    UnknownKey(String),
    /// The value means nothing for this key.
    #[error("invalid filter '{key}={value}'")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl Filters {
    /// Reads the parameter's text; an empty text is no filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_str(text) {
            Ok(Value::Null) => Ok(Self::default()),
            Ok(Value::Object(keys)) => keys
                .into_iter()
                .map(|(key, values)| Ok((key, values_of(values)?)))
                .collect::<Result<_, _>>()
                .map(Self),
            _ => Err(FilterError::Malformed),
        }
    }

    /// Refuses keys that are not in `known`.
    pub fn accept(&self, known: &[&str]) -> Result<(), FilterError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(FilterError::UnknownKey(key.clone())),
            None => Ok(()),
        }
    }

    /// Whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The values of a key; none when the key is absent.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Every key with its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.0.iter().map(|(key, values)| (key.as_str(), values))
    }

    /// Whether the key is absent or one of its values is exactly `text`.
    pub fn matches(&self, key: &str, text: &str) -> bool {
        self.0.get(key).is_none_or(|values| values.contains(text))
    }

    /// A key whose one value says yes or no; `default` when it is absent.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, FilterError> {
        let Some(values) = self.0.get(key) else {
            return Ok(default);
        };
        let said: BTreeSet<Option<bool>> = values.iter().map(|value| yes_or_no(value)).collect();
        match said.into_iter().collect::<Vec<_>>()[..] {
            [Some(answer)] => Ok(answer),
            _ => Err(FilterError::InvalidValue {
                key: key.to_owned(),
                value: format!("{:?}", values.iter().collect::<Vec<_>>()),
            }),
        }
    }

    /// Adds a value to a key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0
            .entry(key.to_owned())
            .or_default()
            .insert(value.into());
    }

    /// Takes a key away.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// The newer shape, as clients send it.
    pub fn to_json(&self) -> String {
        let object: BTreeMap<&str, BTreeMap<&str, bool>> = self
            .0
            .iter()
            .map(|(key, values)| {
                (
                    key.as_str(),
                    values.iter().map(|v| (v.as_str(), true)).collect(),
                )
            })
            .collect();
        serde_json::to_string(&object).expect("maps with text keys always have a JSON form")
    }
}

fn values_of(values: Value) -> Result<BTreeSet<String>, FilterError> {
    match values {
        Value::Object(set) => Ok(set.into_iter().map(|(value, _)| value).collect()),
        Value::Array(list) => list
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Ok(text),
                _ => Err(FilterError::Malformed),
            })
            .collect(),
        _ => Err(FilterError::Malformed),
    }
}

fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "1" | "true" | "t" | "T" | "TRUE" | "True" => Some(true),
        "0" | "false" | "f" | "F" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_mean_the_same() {
        let new = Filters::parse(r#"{"label":{"a=b":true,"c":true},"name":{"x":true}}"#).unwrap();
        let old = Filters::parse(r#"{"label":["a=b","c"],"name":["x"]}"#).unwrap();
        assert_eq!(new, old);
        assert_eq!(Filters::parse(&new.to_json()).unwrap(), new);
        assert!(Filters::parse("").unwrap().is_empty());
        assert!(Filters::parse("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let filters = Filters::parse(r#"{"colour":["red"]}"#).unwrap();
        let refused = filters.accept(&["label", "name"]).unwrap_err();
        assert_eq!(refused.to_string(), "invalid filter 'colour'");
        for bad in ["x", "[]", r#"{"a":1}"#, r#"{"a":[1]}"#] {
            assert_eq!(Filters::parse(bad), Err(FilterError::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_flag_takes_the_usual_spellings_and_nothing_else() {
        let flag = |text: &str| Filters::parse(text).unwrap().flag("dangling", true);
        assert_eq!(flag("{}"), Ok(true));
        assert_eq!(flag(r#"{"dangling":["0"]}"#), Ok(false));
        assert_eq!(flag(r#"{"dangling":{"true":true}}"#), Ok(true));
        assert!(flag(r#"{"dangling":["maybe"]}"#).is_err());
        assert!(flag(r#"{"dangling":["0","1"]}"#).is_err());
    }
}
