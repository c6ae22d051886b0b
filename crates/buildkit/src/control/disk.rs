//! What the build cache takes, and taking it away.

use std::sync::Arc;

use hull_build::cache::{CacheFilter, CacheRecord};
use jiff::Timestamp;

use super::travelling;
use crate::{
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
        .filter(|record| is_wanted(&filter, record));
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
    let kept = request.reserved_space.max(request.max_used_space);
    filter.keep_bytes = u64::try_from(kept).unwrap_or(0);
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

/// Filters as clients write them: `id==x`, `id~=x` and `type==x`, several joined by commas.
fn filter(texts: &[String]) -> Result<CacheFilter, Status> {
    let mut filter = CacheFilter::default();
    for condition in texts
        .iter()
        .flat_map(|text| text.split(','))
        .filter(|text| !text.is_empty())
    {
        let (key, value) = condition
            .split_once("==")
            .or_else(|| condition.split_once("~="))
            .ok_or_else(|| Status::invalid(format!("invalid filter {condition:?}")))?;
        match key {
            "id" => filter.ids.push(value.to_owned()),
            "type" => filter.kinds.push(value.to_owned()),
            _ => {
                let message = format!("unknown filter {key:?}: there are id and type");
                return Err(Status::invalid(message));
            }
        }
    }
    Ok(filter)
}

fn is_wanted(filter: &CacheFilter, record: &CacheRecord) -> bool {
    let by_id = filter.ids.is_empty() || filter.ids.iter().any(|id| record.id.starts_with(id));
    let by_kind = filter.kinds.is_empty() || filter.kinds.iter().any(|kind| kind == record.kind);
    by_id && by_kind
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
        assert_eq!(filter(&[String::new()]).unwrap(), CacheFilter::default());
        let texts = [
            "id~=ab,type==regular".to_owned(),
            "type==exec.cachemount".to_owned(),
        ];
        let parsed = filter(&texts).unwrap();
        assert_eq!(parsed.ids, ["ab"]);
        assert_eq!(parsed.kinds, ["regular", "exec.cachemount"]);
        assert!(filter(&["nonsense".to_owned()]).is_err());
        assert!(filter(&["colour==red".to_owned()]).is_err());
    }
}
