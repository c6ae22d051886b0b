//! What the build cache takes, and taking it away.

use std::sync::Arc;

use hull_build::cache::{Budget, CacheFilter, CacheRecord, Condition};
use jiff::Timestamp;

use super::travelling;
use crate::{
    attributes::list,
    building,
    grpc::{Call, Code, Status},
    proto::control::{DiskUsageRequest, DiskUsageResponse, PruneRequest, UsageRecord},
    service::Front,
};

/// Filters' nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Tells what there is.
pub(super) async fn usage(
    front: &Front,
    request: &DiskUsageRequest,
) -> Result<DiskUsageResponse, Status> {
    let filter = filter(&request.filter)?;
    let builder = Arc::clone(front.builder());
    let found = tokio::task::spawn_blocking(move || builder.usage()).await;
    let usage = found
        .map_err(|_| Status::new(Code::Internal, "looking at the cache broke off"))?
        .map_err(|error| building::status(&error))?;
    let records = usage
        .records
        .into_iter()
        .filter(|record| filter.means(record));
    Ok(DiskUsageResponse {
        record: records.map(message).collect(),
    })
}

/// Takes away what is asked for, and tells of each thing that went.
pub(super) async fn prune(
    front: &Front,
    request: &PruneRequest,
    call: &Call,
) -> Result<(), Status> {
    let mut filter = filter(&request.filter)?;
    filter.all = request.all;
    if request.keep_duration > 0 {
        let now = Timestamp::now().as_second();
        filter.unused_since = Some(now - request.keep_duration / SECOND);
    }
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    filter.budget = Budget {
        used_max: bytes(request.max_used_space),
        free_min: bytes(request.min_free_space),
        reserved: bytes(request.reserved_space),
    };
    let builder = Arc::clone(front.builder());
    let pruned = tokio::task::spawn_blocking(move || builder.prune(&filter)).await;
    let pruned = pruned
        .map_err(|_| Status::new(Code::Internal, "pruning broke off"))?
        .map_err(|error| building::status(&error))?;
    front.lender().sweep();
    for record in pruned.records {
        call.reply(&message(record)).await?;
    }
    Ok(())
}

/// Filters as clients write them: conditions joined by commas, of which all must be met; of several
/// such lists, one.
fn filter(texts: &[String]) -> Result<CacheFilter, Status> {
    let conditions = |text: &String| {
        let conditions = list(text).into_iter().map(|one| Condition::parse(&one));
        conditions.collect::<Result<Vec<_>, _>>()
    };
    let any: Result<Vec<_>, _> = texts.iter().map(conditions).collect();
    let mut any = any.map_err(Status::invalid)?;
    any.retain(|list| !list.is_empty());
    Ok(CacheFilter {
        any,
        ..CacheFilter::default()
    })
}

fn message(record: CacheRecord) -> UsageRecord {
    let time = |seconds| Timestamp::from_second(seconds).ok().map(travelling);
    UsageRecord {
        id: record.id,
        mutable: record.kind != "regular",
        in_use: record.in_use,
        size: i64::try_from(record.bytes).unwrap_or(i64::MAX),
        created_at: time(record.created),
        last_used_at: time(record.used),
        usage_count: i64::try_from(record.uses).unwrap_or(i64::MAX),
        description: record.description,
        record_type: record.kind.to_owned(),
        shared: record.shared,
        parents: record.parents,
        ..UsageRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_understood() {
        assert!(filter(&[String::new()]).unwrap().any.is_empty());
        let texts = [
            "id~=ab,type==regular".to_owned(),
            "type==exec.cachemount".to_owned(),
        ];
        let parsed = filter(&texts).unwrap();
        let record = |id: &str, kind: &'static str| CacheRecord {
            id: id.to_owned(),
            kind,
            description: String::new(),
            parents: Vec::new(),
            bytes: 0,
            created: 0,
            used: 0,
            uses: 0,
            in_use: false,
            shared: false,
        };
        assert!(parsed.means(&record("ab", "regular")));
        assert!(!parsed.means(&record("ac", "regular")));
        assert!(parsed.means(&record("ac", "exec.cachemount")));
        assert!(!parsed.means(&record("ab", "source.local")));
        assert!(filter(&["colour==red".to_owned()]).is_err());
    }
}
