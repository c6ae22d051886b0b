//! A solve: a build from its beginning to its export.

use std::{collections::HashMap, sync::Arc};

use super::cancelled;
use crate::{
    attributes::Attributes,
    building, cache,
    export::{self, Wanted},
    gateway::{self, marker},
    grpc::Status,
    job::{Job, Returned},
    output,
    proto::control::{Exporter, SolveRequest, SolveResponse},
    service::Front,
    session::Session,
};

/// Carries a solve out.
pub(super) async fn solve(
    front: &Front,
    mut request: SolveRequest,
) -> Result<SolveResponse, Status> {
    modernize(&mut request);
    let invalid = |error: output::OutputError| Status::invalid(error.to_string());
    let outputs = output::parse(&request.exporters).map_err(invalid)?;
    let exports = request.cache.as_ref().map(|cache| &cache.exports[..]);
    let exports = cache::exports(exports.unwrap_or_default())?;
    let running = front.jobs().begin(&request)?;
    let job = running.job();
    let session = front.sessions().get(&request.session).await?;
    let wanted = Wanted { outputs, exports };
    let outcome = tokio::select! {
        outcome = carry_out(front, job, &session, &request, &wanted) => outcome,
        () = session.ended() => Err(cancelled()),
    };
    running.end(&outcome);
    front.settle().await;
    Ok(SolveResponse {
        exporter_response: outcome?,
    })
}

async fn carry_out(
    front: &Front,
    job: &Arc<Job>,
    session: &Arc<Session>,
    request: &SolveRequest,
    wanted: &Wanted,
) -> Result<HashMap<String, String>, Status> {
    let returned = if !request.frontend.is_empty() {
        let attributes = Attributes::parse(&request.frontend, &request.frontend_attrs)
            .map_err(|error| Status::invalid(error.to_string()))?;
        let imports = cache::imports(&[], &request.frontend_attrs, &job.imports)?;
        let inputs = &request.frontend_inputs;
        let solved = building::run(front, job, attributes, inputs, imports).await?;
        Returned {
            result: Some(Arc::new(solved)),
        }
    } else if let Some(definition) = request.definition.as_ref().filter(|d| !d.def.is_empty()) {
        let result = marker::result(definition).ok_or_else(gateway::no_definitions)?;
        Returned {
            result: Some(front.jobs().result(&result)?),
        }
    } else {
        job.returned().await?
    };
    let Some(solved) = returned.result.filter(|solved| solved.built.is_some()) else {
        return Ok(HashMap::new());
    };
    export::all(front, job, session, &solved, wanted).await
}

/// Older clients name one exporter, in fields of its own.
fn modernize(request: &mut SolveRequest) {
    if request.exporters.is_empty() && !request.exporter_deprecated.is_empty() {
        request.exporters.push(Exporter {
            r#type: std::mem::take(&mut request.exporter_deprecated),
            attrs: std::mem::take(&mut request.exporter_attrs_deprecated),
        });
    }
}
