//! Which records of the cache are meant, as clients say it: `id==x`, `type~=exec.*`, `shared`.

use regex_lite::Regex;

use super::CacheRecord;

/// Something that a record must be.
#[derive(Debug, Clone)]
pub struct Condition {
    field: Field,
    /// One of them must hold; none: there must be something at all.
    values: Vec<Value>,
    /// The opposite is meant.
    is_negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Kind,
    Description,
    Parents,
    InUse,
    Shared,
    Private,
    Mutable,
    Immutable,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Pattern(Regex),
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("type", Field::Kind),
    ("description", Field::Description),
    ("parents", Field::Parents),
    ("parent", Field::Parents),
    ("inuse", Field::InUse),
    ("shared", Field::Shared),
    ("private", Field::Private),
    ("mutable", Field::Mutable),
    ("immutable", Field::Immutable),
];

impl Condition {
    /// A field alone, or with one of `==`, `!=` and `~=` (a regular expression) and a value. The
    /// error is for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let operators = ["==", "!=", "~=", "="];
        let found = operators
            .iter()
            .filter_map(|operator| Some((text.find(operator)?, *operator)))
            .min_by_key(|(at, operator)| (*at, std::cmp::Reverse(operator.len())));
        let Some((at, operator)) = found else {
            return Self::is(text, &[]);
        };
        let (name, value) = (&text[..at], &text[at + operator.len()..]);
        let mut condition = Self::is(name, &[value])?;
        condition.is_negated = operator == "!=";
        if operator == "~=" {
            let pattern = Regex::new(value)
                .map_err(|error| format!("invalid pattern {value:?} in the filter: {error}"))?;
            condition.values = vec![Value::Pattern(pattern)];
        }
        Ok(condition)
    }

    /// The field has one of these values; none: it has any.
    pub fn is(name: &str, values: &[&str]) -> Result<Self, String> {
        let known = FIELDS.iter().find(|(known, _)| *known == name.trim());
        let (_, field) = known.ok_or_else(|| {
            let mut names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
            names.retain(|name| *name != "parent");
            format!("unknown filter {name:?}: there are {}", names.join(", "))
        })?;
        let text = |value: &&str| Value::Text((*value).to_owned());
        Ok(Self {
            field: *field,
            values: values.iter().map(text).collect(),
            is_negated: false,
        })
    }

    /// Whether a record is so.
    pub fn is_met(&self, record: &CacheRecord) -> bool {
        let is_mutable = record.kind != "regular";
        let flag = |is_set: bool| {
            let is_true = |value: &Value| match value {
                Value::Text(text) => is_set == matches!(text.as_str(), "1" | "t" | "true"),
                Value::Pattern(_) => false,
            };
            match self.values.is_empty() {
                true => is_set,
                false => self.values.iter().any(is_true),
            }
        };
        let holds = match self.field {
            Field::Id => self.names(&record.id),
            Field::Kind => self.says(record.kind),
            Field::Description => self.says(&record.description),
            Field::Parents => record.parents.iter().any(|parent| self.names(parent)),
            Field::InUse => flag(record.in_use),
            Field::Shared => flag(record.shared),
            Field::Private => flag(!record.shared),
            Field::Mutable => flag(is_mutable),
            Field::Immutable => flag(!is_mutable),
        };
        holds != self.is_negated
    }

    fn says(&self, has: &str) -> bool {
        let fits = |value: &Value| match value {
            Value::Text(text) => text == has,
            Value::Pattern(pattern) => pattern.is_match(has),
        };
        self.fits(has, fits)
    }

    /// As [`says`](Self::says), for ids: their beginning will do.
    fn names(&self, id: &str) -> bool {
        let fits = |value: &Value| match value {
            Value::Text(text) => !text.is_empty() && id.starts_with(text.as_str()),
            Value::Pattern(pattern) => pattern.is_match(id),
        };
        self.fits(id, fits)
    }

    fn fits(&self, has: &str, fits: impl Fn(&Value) -> bool) -> bool {
        match self.values.is_empty() {
            true => !has.is_empty(),
            false => self.values.iter().any(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> CacheRecord {
        CacheRecord {
            id: "mount-abcdef".to_owned(),
            kind: "exec.cachemount",
            description: "cached mount /root/.cache".to_owned(),
            parents: vec!["sha256:11".to_owned()],
            bytes: 1,
            created: 0,
            used: 0,
            uses: 0,
            in_use: false,
            shared: true,
        }
    }

    #[test]
    fn conditions_are_what_clients_write() {
        for (text, expected) in [
            ("id==mount-ab", true),
            ("id~=abc", true),
            ("id==", false),
            ("type==exec.cachemount", true),
            ("type=regular", false),
            ("type!=regular", true),
            ("type~=^exec[.]", true),
            ("description~=/root", true),
            ("description==/root", false),
            ("parents==sha256:11", true),
            ("parent==sha256:22", false),
            ("inuse", false),
            ("inuse==false", true),
            ("shared", true),
            ("private==true", false),
            ("mutable", true),
            ("immutable", false),
        ] {
            let condition = Condition::parse(text).unwrap();
            assert_eq!(condition.is_met(&record()), expected, "{text}");
        }
        assert!(Condition::parse("colour==red").is_err());
        assert!(Condition::parse("id~=(").is_err());
    }
}
