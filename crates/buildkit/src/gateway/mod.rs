//! The service by which a client's own front end, such as buildx, has Dockerfiles built and reads
//! what came out.
//!
//! Each call says in its metadata which solve it belongs to. Definitions of BuildKit's low-level
//! language are not carried out: Hull's builder reads Dockerfiles.

mod files;
pub(crate) mod marker;
mod solve;

pub(crate) use solve::no_definitions;

use std::sync::Arc;

use crate::{
    grpc::{Call, Status},
    job::{Job, Returned},
    proto::{
        apicaps::ApiCap,
        control::{StatusResponse, VertexWarning},
        gateway::{
            EvaluateRequest, EvaluateResponse, InputsRequest, InputsResponse, PingRequest,
            PongResponse, ReadDirRequest, ReadFileRequest, Ref, ReturnRequest, ReturnResponse,
            SolveRequest, StatFileRequest, WarnRequest, WarnResponse, result,
        },
    },
    service::Front,
};

/// Where a call says which solve it belongs to.
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// What the gateway can do.
const GATEWAY: &[&str] = &[
    "solve.base",
    "resolveimage",
    "resolveimage.resolvemode",
    "readfile",
    "return",
    "returnmap",
    "readdir",
    "statfile",
    "importcaches",
    "proto.refarray",
    "reference.output",
    "frontend.inputs",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
    "frontend.caps",
];

/// What clients ask for by the language's capabilities that concerns results, or contexts of
/// Dockerfiles, not definitions.
const LANGUAGE: &[&str] = &[
    "exporter.image.attestations",
    "exporter.multiple",
    "exporter.sourcedateepoch",
    "gc.freespacefilter",
    "source.image",
    "source.local",
    "source.local.excludepatterns",
    "source.local.followpaths",
    "source.local.includepatterns",
    "source.local.sessionid",
    "source.local.sharedkeyhint",
    "source.local.unique",
];

/// Carries a call out.
pub(crate) async fn call(front: &Front, method: &str, mut call: Call) -> Result<(), Status> {
    let build = call.metadata(BUILD_ID).unwrap_or_default().to_owned();
    if build.is_empty() {
        return Err(Status::invalid("no buildid found in context"));
    }
    let job = front.jobs().get(&build).await?;
    match method {
        "Ping" => {
            call.incoming.only::<PingRequest>().await?;
            call.reply(&PongResponse {
                frontend_api_caps: capabilities(GATEWAY),
                llb_caps: capabilities(LANGUAGE),
                workers: vec![front.worker_record().await],
            })
            .await
        }
        "Solve" => {
            let request = call.incoming.only::<SolveRequest>().await?;
            call.reply(&solve::solve(front, &job, request).await?).await
        }
        "Return" => {
            let request = call.incoming.only::<ReturnRequest>().await?;
            take_return(&job, request)?;
            call.reply(&ReturnResponse::default()).await
        }
        "Evaluate" => {
            // All results are built when they are given out.
            let request = call.incoming.only::<EvaluateRequest>().await?;
            job.result(&request.r#ref)?;
            call.reply(&EvaluateResponse::default()).await
        }
        "Inputs" => {
            call.incoming.only::<InputsRequest>().await?;
            call.reply(&InputsResponse::default()).await
        }
        "Warn" => {
            let request = call.incoming.only::<WarnRequest>().await?;
            warn(&job, request);
            call.reply(&WarnResponse::default()).await
        }
        "ReadFile" => {
            let request = call.incoming.only::<ReadFileRequest>().await?;
            call.reply(&files::read(front, &job, request).await?).await
        }
        "ReadDir" => {
            let request = call.incoming.only::<ReadDirRequest>().await?;
            call.reply(&files::list(front, &job, request).await?).await
        }
        "StatFile" => {
            let request = call.incoming.only::<StatFileRequest>().await?;
            call.reply(&files::stat(front, &job, request).await?).await
        }
        "NewContainer" | "ExecProcess" | "ReleaseContainer" => Err(Status::unimplemented(
            "containers inside a build cannot be entered: run the image instead",
        )),
        _ => Err(Status::unimplemented(format!(
            "{method} is not available: Hull builds Dockerfiles only"
        ))),
    }
}

/// The client says what is to be exported.
fn take_return(job: &Arc<Job>, request: ReturnRequest) -> Result<(), Status> {
    if let Some(error) = request.error {
        job.return_with(Err(Status::from_message(error)));
        return Ok(());
    }
    let result = request.result.unwrap_or_default();
    let first = |mut refs: Vec<Ref>| refs.pop().map(|found| found.id).unwrap_or_default();
    // A result here holds all its platforms: any of its names means the whole.
    let id = match result.result {
        None => String::new(),
        Some(result::Result::RefDeprecated(id)) => id,
        Some(result::Result::RefsDeprecated(refs)) => {
            refs.refs.into_values().next().unwrap_or_default()
        }
        Some(result::Result::Ref(found)) => found.id,
        Some(result::Result::Refs(refs)) => first(refs.refs.into_values().collect()),
    };
    let solved = (!id.is_empty()).then(|| job.result(&id)).transpose()?;
    job.return_with(Ok(Returned { result: solved }));
    Ok(())
}

/// A word of the client's own front end on the build.
fn warn(job: &Job, request: WarnRequest) {
    job.progress.tell(StatusResponse {
        warnings: vec![VertexWarning {
            vertex: request.digest,
            level: request.level,
            short: request.short,
            detail: request.detail,
            url: request.url,
            info: request.info,
            ranges: request.ranges,
        }],
        ..StatusResponse::default()
    });
}

fn capabilities(names: &[&str]) -> Vec<ApiCap> {
    let enabled = |name: &&str| ApiCap {
        id: (*name).to_owned(),
        enabled: true,
        ..ApiCap::default()
    };
    names.iter().map(enabled).collect()
}
