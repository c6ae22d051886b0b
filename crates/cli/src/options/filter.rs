//! `--filter key=value`, and operands kept lowercase as Docker does.

use crate::flags::Item;

/// One condition; an empty one asks for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Condition {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl Item for Condition {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Some((key, value)) = text.split_once('=') else {
            return Err("bad format of filter (expected name=value)".to_owned());
        };
        Ok(Self {
            key: key.trim().to_lowercase(),
            value: value.trim().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lowercase_and_values_may_hold_equals_signs() {
        let condition = Condition::parse("Label=a=b").unwrap();
        assert_eq!(
            (condition.key.as_str(), condition.value.as_str()),
            ("label", "a=b")
        );
        assert!(Condition::parse("foo").is_err());
    }
}
