//! `--ulimit name=soft[:hard]`.

use std::collections::BTreeMap;

use hull_api::types::Ulimit;

use crate::flags::Item;

/// The limits Linux knows by Docker's names.
const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit(pub(crate) Ulimit);

impl Item for Limit {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!("invalid ulimit argument: {text}"));
        };
        if !NAMES.contains(&name) {
            return Err(format!("invalid ulimit type: {name}"));
        }
        if value.matches(':').count() > 1 {
            return Err(format!(
                "too many limit value arguments - {value}, can only have up to two, `soft[:hard]`"
            ));
        }
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        let (soft, hard) = (number(soft)?, number(hard)?);
        let exceeds = hard != -1 && (soft == -1 || soft > hard);
        if exceeds {
            let soft = if soft == -1 {
                "-1 (unlimited)".to_owned()
            } else {
                soft.to_string()
            };
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            ));
        }
        Ok(Self(Ulimit {
            name: name.to_owned(),
            hard,
            soft,
        }))
    }
}

/// All limits, by name; the last of a name counts.
pub(crate) fn settled(limits: &[Limit]) -> Vec<Ulimit> {
    let named = limits.iter().map(|limit| (limit.0.name.as_str(), &limit.0));
    let by_name: BTreeMap<_, _> = named.collect();
    by_name.into_values().cloned().collect()
}

fn number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_limit_of_a_name_counts() {
        let limits = ["nofile=20", "core=0", "nofile=10"].map(|text| Limit::parse(text).unwrap());
        let settled = settled(&limits);
        let told: Vec<_> = settled
            .iter()
            .map(|limit| (limit.name.as_str(), limit.soft))
            .collect();
        assert_eq!(told, [("core", 0), ("nofile", 10)]);
    }

    #[test]
    fn one_number_is_both_limits() {
        let limit = Limit::parse("nofile=1024").unwrap().0;
        assert_eq!((limit.soft, limit.hard), (1024, 1024));
        let limit = Limit::parse("nofile=512:-1").unwrap().0;
        assert_eq!((limit.soft, limit.hard), (512, -1));
    }

    #[test]
    fn errors_are_in_dockers_words() {
        let error = |text| Limit::parse(text).unwrap_err();
        assert_eq!(error("nofile"), "invalid ulimit argument: nofile");
        assert_eq!(error("files=1"), "invalid ulimit type: files");
        assert_eq!(
            error("nofile=2:1"),
            "ulimit soft limit must be less than or equal to hard limit: 2 > 1"
        );
        assert!(error("nofile=1:2:3").starts_with("too many limit value arguments"));
    }
}
