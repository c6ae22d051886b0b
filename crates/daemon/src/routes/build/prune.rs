//! `POST /build/prune`, and what the cache is in `GET /system/df`.

use hull_api::{
    Filters,
    types::{BuildCacheRecord, BuildPrune},
};
use hull_build::cache::{Budget, CacheFilter, CacheRecord, Condition};
use jiff::{SignedDuration, Timestamp};

use super::{blocking, builder};
use crate::http::{
    answer::{Failure, Outcome, json},
    request::Request,
};

/// Those that say what a record is.
const RECORD_FILTERS: &[&str] = &[
    "id",
    "parent",
    "type",
    "description",
    "inuse",
    "shared",
    "private",
];

/// Those that say what goes, besides.
const OTHER_FILTERS: &[&str] = &["until", "unused-for", "label", "label!"];

pub(super) async fn prune(request: Request) -> Outcome {
    let filters = request.filters(&[RECORD_FILTERS, OTHER_FILTERS].concat())?;
    let query = &request.query;
    let number = |first: &str, old: &str| -> Result<u64, Failure> {
        let bytes = match query.number(first)? {
            None => query.number(old)?,
            bytes => bytes,
        };
        Ok(u64::try_from(bytes.unwrap_or(0)).unwrap_or(0))
    };
    let age = filters
        .values("until")
        .chain(filters.values("unused-for"))
        .last();
    let filter = CacheFilter {
        all: query.flag("all"),
        unused_since: age.map(before).transpose()?,
        budget: Budget {
            used_max: number("max-used-space", "")?,
            free_min: number("min-free-space", "")?,
            reserved: number("reserved-space", "keep-storage")?,
        },
        any: vec![conditions(&filters)?],
    };
    // `system prune` asks all kinds of things for a label. What a build keeps has none.
    if filters.values("label").next().is_some() {
        return Ok(json(&BuildPrune {
            caches_deleted: None,
            space_reclaimed: 0,
        }));
    }
    let builder = builder(&request)?;
    let pruned = blocking(move || builder.prune(&filter)).await??;
    request.app.engine.sweep();
    let ids: Vec<String> = pruned.records.into_iter().map(|record| record.id).collect();
    Ok(json(&BuildPrune {
        caches_deleted: (!ids.is_empty()).then_some(ids),
        space_reclaimed: pruned.bytes,
    }))
}

/// What records must be: each field one of its values.
fn conditions(filters: &Filters) -> Result<Vec<Condition>, Failure> {
    let condition = |name: &&str| {
        let values: Vec<&str> = filters.values(name).collect();
        (!values.is_empty()).then(|| Condition::is(name, &values).map_err(Failure::invalid))
    };
    RECORD_FILTERS.iter().filter_map(condition).collect()
}

/// The time before which something was last used: a duration ago, or a moment.
fn before(text: &str) -> Result<i64, Failure> {
    let now = Timestamp::now();
    if let Some(age) = hull_api::query::parse_duration(text) {
        let then = now.checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
        // "Unused for 0 s" means everything, this second's too.
        let edge = i64::from(age == SignedDuration::ZERO);
        return Ok(then.as_second() + edge);
    }
    Ok(hull_api::query::parse_moment(text, now)?.as_second())
}

/// What the cache holds, for `GET /system/df`.
pub(in super::super) async fn usage(request: &Request) -> Result<Vec<BuildCacheRecord>, Failure> {
    let builder = builder(request)?;
    let usage = blocking(move || builder.usage()).await??;
    Ok(usage.records.into_iter().map(to_wire).collect())
}

fn to_wire(record: CacheRecord) -> BuildCacheRecord {
    let time = |seconds: i64| {
        Timestamp::from_second(seconds)
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_string()
    };
    BuildCacheRecord {
        id: record.id,
        parents_misspelt: record.parents.clone(),
        parents: record.parents,
        kind: record.kind.to_owned(),
        description: record.description,
        in_use: record.in_use,
        shared: record.shared,
        size: i64::try_from(record.bytes).unwrap_or(i64::MAX),
        created_at: time(record.created),
        last_used_at: Some(time(record.used)),
        usage_count: i64::try_from(record.uses).unwrap_or(i64::MAX),
    }
}
