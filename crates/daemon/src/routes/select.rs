//! Which containers a list is about: the filters of `docker ps`.

use std::{collections::BTreeMap, sync::Arc};

use hull_api::{Filters, filters::FilterError, query};
use hull_engine::{Engine, model::PublishedPort, record::Record, state::State};
use jiff::Timestamp;
use regex_lite::Regex;

use crate::{
    convert::{inspect, network, status},
    http::answer::Failure,
};

/// The keys of filters on containers.
pub(super) const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

const STATES: [&str; 7] = [
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];

const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// What a list is about, all looked up.
pub(super) struct Wanted<'a> {
    engine: &'a Engine,
    filters: &'a Filters,
    /// Stopped ones too.
    all: bool,
    /// 0: every one.
    limit: usize,
    names: Vec<Regex>,
    exit_codes: Vec<i32>,
    before_ns: Option<i64>,
    since_ns: Option<i64>,
    ancestors: Vec<String>,
    exposed: Vec<PortRange>,
    published: Vec<PortRange>,
}

/// `80`, `80/tcp`, `80-90/udp`.
struct PortRange {
    first: u16,
    last: u16,
    protocol: String,
}

impl<'a> Wanted<'a> {
    pub(super) async fn new(
        engine: &'a Engine,
        filters: &'a Filters,
        all: bool,
        limit: i64,
    ) -> Result<Self, Failure> {
        known_values(filters, "status", &STATES)?;
        known_values(filters, "health", &HEALTHS)?;
        let limit = usize::try_from(limit).unwrap_or(0);
        let implied = ["status", "before", "since"]
            .iter()
            .any(|key| filters.contains(key));
        Ok(Self {
            engine,
            filters,
            all: all || limit > 0 || implied,
            limit,
            names: name_patterns(filters)?,
            exit_codes: exit_codes(filters)?,
            before_ns: created(engine, filters, "before")?,
            since_ns: created(engine, filters, "since")?,
            ancestors: ancestors(engine, filters).await,
            exposed: port_ranges(filters, "expose")?,
            published: port_ranges(filters, "publish")?,
        })
    }

    /// The records that pass, in their order.
    pub(super) fn choose(&self, records: Vec<Arc<Record>>) -> Vec<Arc<Record>> {
        let passing = records.into_iter().filter(|record| self.passes(record));
        passing
            .take(if self.limit == 0 {
                usize::MAX
            } else {
                self.limit
            })
            .collect()
    }

    fn passes(&self, record: &Record) -> bool {
        (self.all || record.state.is_running())
            && self.identity_passes(record)
            && self.state_passes(record)
            && self.time_passes(record)
            && labels_match(self.filters, &record.config.labels)
            && self.relations_pass(record)
    }

    fn identity_passes(&self, record: &Record) -> bool {
        let name = record.name.as_str();
        let slashed = format!("/{name}");
        let named = self
            .names
            .iter()
            .any(|known| known.is_match(name) || known.is_match(&slashed));
        (self.names.is_empty() || named)
            && any(self.filters, "id", |id| record.id.as_str().starts_with(id))
            && (!self.filters.contains("ancestor")
                || self.ancestors.contains(&record.image_id)
                || self
                    .filters
                    .values("ancestor")
                    .any(|name| name == record.config.image))
    }

    fn state_passes(&self, record: &Record) -> bool {
        let code = match &record.state {
            State::Exited { exit, .. } => Some(exit.code),
            _ => None,
        };
        any(self.filters, "status", |status| {
            status == record.state.word()
        }) && any(self.filters, "health", |health| {
            health == status::health_or_none(record)
        }) && (self.exit_codes.is_empty()
            || code.is_some_and(|code| self.exit_codes.contains(&code)))
            && any(self.filters, "is-task", |answer| !query::is_yes(answer))
            && any(self.filters, "isolation", |isolation| {
                matches!(isolation, "" | "default")
            })
    }

    fn time_passes(&self, record: &Record) -> bool {
        self.before_ns
            .is_none_or(|before| record.created_at_ns < before)
            && self
                .since_ns
                .is_none_or(|since| record.created_at_ns > since)
    }

    fn relations_pass(&self, record: &Record) -> bool {
        let networks = || network::endpoints(record, &inspect::finder(self.engine));
        let on_network = |wanted: &str| {
            networks()
                .iter()
                .any(|(name, place)| name == wanted || place.network_id == wanted)
        };
        let mounts = |wanted: &str| {
            record
                .mounts
                .iter()
                .any(|mount| mount.name.as_deref() == Some(wanted) || mount.destination == wanted)
        };
        any(self.filters, "network", on_network)
            && any(self.filters, "volume", mounts)
            && ports_pass(&self.exposed, record.config.exposed_ports.iter())
            && ports_pass(&self.published, record.host.port_bindings.keys())
    }
}

impl PortRange {
    fn parse(text: &str) -> Option<Self> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        Some(Self {
            first,
            last,
            protocol: protocol.to_ascii_lowercase(),
        })
    }

    fn holds(&self, port: &PublishedPort) -> bool {
        (self.first..=self.last).contains(&port.number) && port.protocol.as_str() == self.protocol
    }
}

/// Whether no range is asked for or one of the ports is in one.
fn ports_pass<'p>(
    ranges: &[PortRange],
    mut ports: impl Iterator<Item = &'p PublishedPort>,
) -> bool {
    ranges.is_empty() || ports.any(|port| ranges.iter().any(|range| range.holds(port)))
}

/// Whether the key is absent or one of its values fits.
fn any(filters: &Filters, key: &str, fits: impl Fn(&str) -> bool) -> bool {
    !filters.contains(key) || filters.values(key).any(fits)
}

/// All of `label`, none of `label!`: `name` or `name=value`.
pub(super) fn labels_match(filters: &Filters, labels: &BTreeMap<String, String>) -> bool {
    let has = |wanted: &str| match wanted.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|known| known == value),
        None => labels.contains_key(wanted),
    };
    filters.values("label").all(has) && !filters.values("label!").any(has)
}

/// The one moment of `until`.
pub(super) fn until(filters: &Filters) -> Result<Option<Timestamp>, Failure> {
    let mut values = filters.values("until");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => Ok(Some(query::parse_moment(text, Timestamp::now())?)),
        (Some(_), Some(_)) => Err(Failure::invalid("more than one until filter specified")),
    }
}

fn invalid(key: &str, value: &str) -> FilterError {
    FilterError::InvalidValue {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn known_values(filters: &Filters, key: &str, known: &[&str]) -> Result<(), FilterError> {
    match filters.values(key).find(|value| !known.contains(value)) {
        Some(value) => Err(invalid(key, value)),
        None => Ok(()),
    }
}

pub(super) fn name_patterns(filters: &Filters) -> Result<Vec<Regex>, FilterError> {
    let pattern = |text: &str| Regex::new(text).map_err(|_| invalid("name", text));
    filters.values("name").map(pattern).collect()
}

fn exit_codes(filters: &Filters) -> Result<Vec<i32>, FilterError> {
    let code = |text: &str| text.parse().map_err(|_| invalid("exited", text));
    filters.values("exited").map(code).collect()
}

/// When the container a filter names was made.
fn created(engine: &Engine, filters: &Filters, key: &str) -> Result<Option<i64>, Failure> {
    let reference = filters.values(key).next();
    Ok(reference
        .map(|name| engine.container(name))
        .transpose()?
        .map(|record| record.created_at_ns))
}

/// The ids of the images a filter names; those nobody knows match nothing.
async fn ancestors(engine: &Engine, filters: &Filters) -> Vec<String> {
    let mut ids = Vec::new();
    for name in filters.values("ancestor") {
        if let Ok(image) = engine.image_inspect(name, None).await {
            ids.push(image.id.to_string());
        }
    }
    ids
}

fn port_ranges(filters: &Filters, key: &str) -> Result<Vec<PortRange>, FilterError> {
    let range = |text: &str| PortRange::parse(text).ok_or_else(|| invalid(key, text));
    filters.values(key).map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_must_all_be_there_and_excluded_ones_none() {
        let labels = BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        let matches = |json: &str| labels_match(&Filters::parse(json).unwrap(), &labels);
        assert!(matches(r#"{"label":["a","a=1","b="]}"#));
        assert!(!matches(r#"{"label":["a","a=2"]}"#));
        assert!(matches(r#"{"label!":["c","a=2"]}"#));
        assert!(!matches(r#"{"label!":["b"]}"#));
    }

    #[test]
    fn port_ranges_hold_their_protocols_ports() {
        let range = PortRange::parse("80-90/udp").unwrap();
        assert!(range.holds(&PublishedPort::parse("85/udp").unwrap()));
        assert!(!range.holds(&PublishedPort::parse("85/tcp").unwrap()));
        assert!(
            PortRange::parse("80")
                .unwrap()
                .holds(&PublishedPort::parse("80/tcp").unwrap())
        );
        assert!(PortRange::parse("x").is_none());
    }
}
