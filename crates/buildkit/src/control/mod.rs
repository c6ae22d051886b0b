//! The service by which a client lists workers, starts solves and hears of them.

mod disk;
mod history;
mod history_filter;
mod session;
mod solve;
mod worker;

pub use worker::Worker;

use crate::{
    grpc::{Call, Code, Status},
    proto::control::{
        BuildHistoryRequest, DiskUsageRequest, InfoRequest, InfoResponse, ListWorkersRequest,
        ListWorkersResponse, PruneRequest, SolveRequest, StatusRequest, UpdateBuildHistoryRequest,
        UpdateBuildHistoryResponse,
    },
    service::Front,
};

/// Carries a call out.
pub(crate) async fn call(front: &Front, method: &str, mut call: Call) -> Result<(), Status> {
    match method {
        "Info" => {
            call.incoming.only::<InfoRequest>().await?;
            let version = front.worker().version_record();
            call.reply(&InfoResponse {
                buildkit_version: Some(version),
            })
            .await
        }
        "ListWorkers" => {
            call.incoming.only::<ListWorkersRequest>().await?;
            let record = vec![front.worker_record().await];
            call.reply(&ListWorkersResponse { record }).await
        }
        "DiskUsage" => {
            let request = call.incoming.only::<DiskUsageRequest>().await?;
            call.reply(&disk::usage(front, &request).await?).await
        }
        "Prune" => {
            let request = call.incoming.only::<PruneRequest>().await?;
            disk::prune(front, &request, &call).await
        }
        "Solve" => {
            let request = call.incoming.only::<SolveRequest>().await?;
            call.reply(&solve::solve(front, request).await?).await
        }
        "Session" => session::hold(front, call).await,
        "Status" => {
            let request = call.incoming.only::<StatusRequest>().await?;
            status(front, &request.r#ref, &call).await
        }
        "ListenBuildHistory" => {
            let request = call.incoming.only::<BuildHistoryRequest>().await?;
            history::listen(front, &request, &call).await
        }
        "UpdateBuildHistory" => {
            let request = call.incoming.only::<UpdateBuildHistoryRequest>().await?;
            history::update(front, &request)?;
            call.reply(&UpdateBuildHistoryResponse::default()).await
        }
        _ => Err(Status::unimplemented(format!("unknown method {method}"))),
    }
}

/// Tells a build's progress, from its beginning to its end.
async fn status(front: &Front, reference: &str, call: &Call) -> Result<(), Status> {
    let job = front.jobs().get(reference).await?;
    let mut heard = 0;
    while let Some((news, next)) = job.progress.since(heard).await {
        call.reply(&news).await?;
        heard = next;
    }
    Ok(())
}

/// The time as it travels.
pub(crate) fn travelling(time: jiff::Timestamp) -> crate::proto::Timestamp {
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
    }
    crate::proto::Timestamp { seconds, nanos }
}

/// A time that travelled.
pub(crate) fn arrived(time: &crate::proto::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::new(time.seconds, time.nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// An end that the client asked for.
pub(crate) fn cancelled() -> Status {
    Status::new(Code::Cancelled, "context canceled")
}
