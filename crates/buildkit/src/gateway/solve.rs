//! Having a Dockerfile built, as a client's front end asks for it.

use std::{collections::HashMap, sync::Arc};

use super::marker;
use crate::{
    attributes::Attributes,
    building, cache,
    grpc::Status,
    job::{Job, Wishes, lock},
    proto::gateway::{self, Ref, SolveRequest, SolveResponse, result},
    service::Front,
    solved::Solved,
};

/// Builds what is asked for, and keeps the result under a name.
pub(super) async fn solve(
    front: &Front,
    job: &Arc<Job>,
    request: SolveRequest,
) -> Result<SolveResponse, Status> {
    if request.frontend.is_empty() {
        return definition(front, job, &request);
    }
    let attributes = Attributes::parse(&request.frontend, &request.frontend_opt)
        .map_err(|error| Status::invalid(error.to_string()))?;
    let imports = cache::imports(&request.cache_imports, &request.frontend_opt, &job.imports)?;
    *lock(&job.wishes) = Wishes {
        frontend: request.frontend,
        attributes: request.frontend_opt,
    };
    let solved = building::run(front, job, attributes, &request.frontend_inputs, imports).await?;
    let metadata = solved.metadata.clone();
    let reference = solved.built.is_some().then(|| job.keep(Arc::new(solved)));
    Ok(response(reference, metadata))
}

/// A definition is taken if it is nothing at all, or a result that was given out before.
fn definition(
    front: &Front,
    job: &Arc<Job>,
    request: &SolveRequest,
) -> Result<SolveResponse, Status> {
    let definition = request.definition.clone().unwrap_or_default();
    if definition.def.is_empty() {
        return Ok(response(None, HashMap::new()));
    }
    let result = marker::result(&definition).ok_or_else(no_definitions)?;
    let solved: Arc<Solved> = front.jobs().result(&result)?;
    Ok(response(Some(job.keep(solved)), HashMap::new()))
}

/// Why a definition is not carried out.
pub(crate) fn no_definitions() -> Status {
    Status::unimplemented(
        "definitions of BuildKit's low-level language (LLB) are not supported: Hull builds Dockerfiles",
    )
}

fn response(reference: Option<String>, metadata: HashMap<String, Vec<u8>>) -> SolveResponse {
    let reference = reference.map(|id| Ref {
        def: Some(marker::definition(&id)),
        id,
    });
    SolveResponse {
        r#ref: String::new(),
        result: Some(gateway::Result {
            result: Some(result::Result::Ref(reference.unwrap_or_default())),
            metadata,
            ..gateway::Result::default()
        }),
    }
}
