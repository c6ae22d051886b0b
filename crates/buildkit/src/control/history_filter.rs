//! Which builds a client asks for: `status==error`, `duration>30s`, `repository~=…`. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{attributes::list, grpc::Code, job::Job};

/// Several lists of conditions: all of one of them must be met; none: every build is meant.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filter(Vec<Vec<Condition>>);

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Text {
        field: Field,
        value: String,
        is_negated: bool,
    },
    Began(Order, Timestamp),
    Ended(Order, Timestamp),
    Took(Order, SignedDuration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Reference,
    Repository,
    Status,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is asked of a build.
#[derive(Debug, Clone)]
struct Facts {
    reference: String,
    repository: String,
    status: &'static str,
    began: Timestamp,
    ended: Option<Timestamp>,
}

/// The longer ones first: one is the beginning of another.
const OPERATORS: &[&str] = &["==", "!=", "<=", ">=", "=", "<", ">"];

impl Filter {
    /// Understands what a client writes. The error is for people.
    pub(super) fn parse(texts: &[String], now: Timestamp) -> Result<Self, String> {
        let conditions = |text: &String| {
            let conditions = list(text).into_iter().map(|one| condition(&one, now));
            conditions.collect::<Result<Vec<_>, _>>()
        };
        let lists: Result<Vec<_>, _> = texts.iter().map(conditions).collect();
        let mut lists = lists?;
        lists.retain(|list| !list.is_empty());
        Ok(Self(lists))
    }

    /// Whether a build is meant.
    pub(super) fn means(&self, job: &Job) -> bool {
        self.fits(&Facts::of(job), Timestamp::now())
    }

    fn fits(&self, facts: &Facts, now: Timestamp) -> bool {
        let all = |list: &Vec<Condition>| list.iter().all(|one| one.is_met(facts, now));
        self.0.is_empty() || self.0.iter().any(all)
    }
}

impl Facts {
    fn of(job: &Job) -> Self {
        let outcome = job.outcome();
        let status = match outcome.as_ref().map(|outcome| &outcome.error) {
            None => "running",
            Some(None) => "completed",
            Some(Some(error)) if error.code == Code::Cancelled => "canceled",
            Some(Some(_)) => "error",
        };
        let attributes = &crate::job::lock(&job.wishes).attributes;
        let repository = attributes.get("vcs:source").or(attributes.get("context"));
        Self {
            reference: job.reference.clone(),
            repository: repository.cloned().unwrap_or_default(),
            status,
            began: job.began,
            ended: outcome.map(|outcome| outcome.ended),
        }
    }
}

impl Condition {
    fn is_met(&self, facts: &Facts, now: Timestamp) -> bool {
        match self {
            Self::Text {
                field,
                value,
                is_negated,
            } => {
                let has = match field {
                    Field::Reference => facts.reference.as_str(),
                    Field::Repository => facts.repository.as_str(),
                    Field::Status => facts.status,
                };
                (has == value) != *is_negated
            }
            Self::Began(order, than) => order.holds(&facts.began, than),
            Self::Ended(order, than) => facts.ended.is_some_and(|ended| order.holds(&ended, than)),
            Self::Took(order, than) => {
                let took = facts.ended.unwrap_or(now).duration_since(facts.began);
                order.holds(&took, than)
            }
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, one: &T, other: &T) -> bool {
        match self {
            Self::Less => one < other,
            Self::LessOrEqual => one <= other,
            Self::Greater => one > other,
            Self::GreaterOrEqual => one >= other,
        }
    }
}

fn condition(text: &str, now: Timestamp) -> Result<Condition, String> {
    let found = OPERATORS
        .iter()
        .filter_map(|operator| Some((text.find(operator)?, *operator)))
        .min_by_key(|(at, operator)| (*at, std::cmp::Reverse(operator.len())));
    let (at, operator) = found.ok_or_else(|| {
        format!("invalid filter {text:?}: it compares nothing, as in status==error")
    })?;
    let (name, value) = (text[..at].trim(), text[at + operator.len()..].trim());
    let order = match operator {
        "<" => Some(Order::Less),
        "<=" => Some(Order::LessOrEqual),
        ">" => Some(Order::Greater),
        ">=" => Some(Order::GreaterOrEqual),
        _ => None,
    };
    let text = |field| Condition::Text {
        field,
        value: value.to_owned(),
        is_negated: operator == "!=",
    };
    match (name, order) {
        ("ref", None) => Ok(text(Field::Reference)),
        ("repository", None) => Ok(text(Field::Repository)),
        ("status", None) => Ok(text(Field::Status)),
        ("startedAt", Some(order)) => Ok(Condition::Began(order, moment(value, now)?)),
        ("completedAt", Some(order)) => Ok(Condition::Ended(order, moment(value, now)?)),
        ("duration", Some(order)) => Ok(Condition::Took(order, duration(value)?)),
        ("ref" | "repository" | "status", Some(_)) => {
            Err(format!("{name} is compared with = or !="))
        }
        ("startedAt" | "completedAt" | "duration", None) => {
            Err(format!("{name} is compared with <, <=, > or >="))
        }
        _ => Err(format!(
            "unknown filter {name:?}: there are ref, repository, status, startedAt, completedAt \
             and duration"
        )),
    }
}

/// A time, or how long ago.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ago = duration(text)?;
    now.checked_sub(ago)
        .map_err(|_| format!("{text:?} is too long ago"))
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no time: write 30s, 2h30m or 2026-01-02T03:04:05Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_picked_by_what_they_are() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let began: Timestamp = "2026-01-02T11:50:00Z".parse().unwrap();
        let facts = Facts {
            reference: "abc".to_owned(),
            repository: "https://example.com/app.git".to_owned(),
            status: "error",
            began,
            ended: Some("2026-01-02T11:51:00Z".parse().unwrap()),
        };
        for (texts, expected) in [
            (&["status==error"][..], true),
            (&["status=completed"], false),
            (&["status!=completed,ref==abc"], true),
            (&["status==completed", "ref==abc"], true),
            (&["repository==https://example.com/app.git"], true),
            (&["duration>30s"], true),
            (&["duration<1m"], false),
            (&["startedAt>20m"], true),
            (&["startedAt>5m"], false),
            (&["completedAt<=2026-01-02T11:51:00Z"], true),
            (&[""], true),
        ] {
            let owned: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let filter = Filter::parse(&owned, now).unwrap();
            assert_eq!(filter.fits(&facts, now), expected, "{texts:?}");
        }
        for wrong in [
            "colour==red",
            "status>error",
            "duration==3s",
            "duration>x",
            "ref",
        ] {
            assert!(Filter::parse(&[wrong.to_owned()], now).is_err(), "{wrong}");
        }
    }
}
