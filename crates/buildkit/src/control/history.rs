//! Which builds there were, as `docker buildx history` asks for it.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::history_filter::Filter;
use crate::{
    grpc::{Call, Code, Status},
    job::Job,
    proto::control::{
        BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, BuildHistoryRequest,
        UpdateBuildHistoryRequest,
    },
    service::Front,
};

/// What a client knows of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing: it has not asked for this one.
    Nothing,
    Began,
    Ended,
}

/// Tells of builds: of those there are, and, unless the client wants to leave at once, of those to
/// come.
pub(super) async fn listen(
    front: &Front,
    request: &BuildHistoryRequest,
    call: &Call,
) -> Result<(), Status> {
    let filter = Filter::parse(&request.filter, Timestamp::now()).map_err(Status::invalid)?;
    let mut changes = front.jobs().changes();
    let mut known: HashMap<String, Told> = HashMap::new();
    let mut room = usize::try_from(request.limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    loop {
        changes.mark_unchanged();
        let mut present = HashSet::new();
        for job in front.jobs().all() {
            present.insert(job.reference.clone());
            let before = known.get(&job.reference).copied();
            let now = match job.outcome() {
                None => Told::Began,
                Some(_) => Told::Ended,
            };
            // One that the client has heard of is told of to its end.
            let is_wanted = match before {
                Some(Told::Nothing) => false,
                Some(before) => before != now,
                None => room > 0 && is_wanted(request, &filter, &job),
            };
            if is_wanted {
                known.insert(job.reference.clone(), now);
                room = room.saturating_sub(usize::from(before.is_none()));
                call.reply(&event(&job)).await?;
            } else if before.is_none() && now == Told::Ended {
                known.insert(job.reference.clone(), Told::Nothing);
            }
        }
        if request.early_exit {
            return Ok(());
        }
        // The limit is for what there was.
        room = usize::MAX;
        let gone = |(name, told): (&String, &Told)| {
            (!present.contains(name)).then(|| (name.clone(), *told))
        };
        let gone: Vec<_> = known.iter().filter_map(gone).collect();
        for (name, told) in gone {
            known.remove(&name);
            if told != Told::Nothing {
                call.reply(&deleted(name)).await?;
            }
        }
        if changes.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Pins or forgets a build.
pub(super) fn update(front: &Front, request: &UpdateBuildHistoryRequest) -> Result<(), Status> {
    let missing = || {
        let message = format!("no such build {}", request.r#ref);
        Status::new(Code::NotFound, message)
    };
    if request.delete {
        return front
            .jobs()
            .forget(&request.r#ref)
            .then_some(())
            .ok_or_else(missing);
    }
    let jobs = front.jobs().all();
    let job = jobs.iter().find(|job| job.reference == request.r#ref);
    let job = job.ok_or_else(missing)?;
    if !request.finalize {
        front.jobs().pin(job, request.pinned);
    }
    Ok(())
}

fn is_wanted(request: &BuildHistoryRequest, filter: &Filter, job: &Job) -> bool {
    let by_name = request.r#ref.is_empty() || request.r#ref == job.reference;
    let by_state = !request.active_only || job.outcome().is_none();
    by_name && by_state && filter.means(job)
}

fn event(job: &Job) -> BuildHistoryEvent {
    let kind = match job.outcome() {
        None => BuildHistoryEventType::Started,
        Some(_) => BuildHistoryEventType::Complete,
    };
    BuildHistoryEvent {
        r#type: kind.into(),
        record: Some(job.record()),
    }
}

fn deleted(reference: String) -> BuildHistoryEvent {
    BuildHistoryEvent {
        r#type: BuildHistoryEventType::Deleted.into(),
        record: Some(BuildHistoryRecord {
            r#ref: reference,
            ..BuildHistoryRecord::default()
        }),
    }
}
