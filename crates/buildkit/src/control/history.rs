//! Which builds there were, as `docker buildx history` asks for it.

use std::collections::{HashMap, HashSet};

use crate::{
    grpc::{Call, Code, Status},
    job::Job,
    proto::control::{
        BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, BuildHistoryRequest,
        UpdateBuildHistoryRequest,
    },
    service::Front,
};

/// Tells of builds: of those there are, and, unless the client wants to leave at once, of those to
/// come.
pub(super) async fn listen(
    front: &Front,
    request: &BuildHistoryRequest,
    call: &Call,
) -> Result<(), Status> {
    let mut changes = front.jobs().changes();
    // What the client knows of each build: whether it has ended.
    let mut known: HashMap<String, bool> = HashMap::new();
    loop {
        changes.mark_unchanged();
        let mut present = HashSet::new();
        let limit = usize::try_from(request.limit)
            .ok()
            .filter(|limit| *limit > 0);
        let jobs = front
            .jobs()
            .all()
            .into_iter()
            .filter(|job| is_wanted(request, job));
        for job in jobs.take(limit.unwrap_or(usize::MAX)) {
            let has_ended = job.outcome().is_some();
            present.insert(job.reference.clone());
            if known.insert(job.reference.clone(), has_ended) != Some(has_ended) {
                call.reply(&event(&job)).await?;
            }
        }
        if request.early_exit {
            return Ok(());
        }
        let gone: Vec<_> = known
            .keys()
            .filter(|name| !present.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            known.remove(&name);
            call.reply(&deleted(name)).await?;
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

fn is_wanted(request: &BuildHistoryRequest, job: &Job) -> bool {
    let by_name = request.r#ref.is_empty() || request.r#ref == job.reference;
    by_name && (!request.active_only || job.outcome().is_none())
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
