//! Lists of manifests. Docker's client makes them by itself; here they are images like others.

use http::StatusCode;
use hull_api::types::{IdResponse, ManifestDocument};
use hull_engine::ship::RegistryAccess;
use hull_image::store::PlatformChange;
use hull_oci::Digest;
use serde_json::value::RawValue;

use super::registry::{credentials, push_list};
use crate::{
    convert::image::descriptor,
    http::{
        answer::{Failure, Outcome, done, json, json_with},
        request::Request,
        router::ManifestOp,
    },
};

/// Carries an operation out.
pub(super) async fn perform(op: ManifestOp, request: Request) -> Outcome {
    match op {
        ManifestOp::Create => create(request).await,
        ManifestOp::Annotate => annotate(request).await,
        ManifestOp::Inspect => inspect(request).await,
        ManifestOp::Push => push_list(request).await,
        ManifestOp::Remove => remove(request).await,
    }
}

/// How the registry is asked.
fn access(request: &Request) -> Result<RegistryAccess, Failure> {
    Ok(RegistryAccess {
        credentials: credentials(request)?,
        insecure: request.query.flag("insecure"),
    })
}

async fn create(request: Request) -> Outcome {
    let members: Vec<String> = request.query.all("member").map(str::to_owned).collect();
    if members.is_empty() {
        return Err(Failure::invalid("a list needs at least one member"));
    }
    let amend = request.query.flag("amend");
    let access = access(&request)?;
    let engine = &request.app.engine;
    let id = engine
        .manifest_create(request.name(), members, amend, &access)
        .await?;
    Ok(json_with(StatusCode::CREATED, &IdResponse { id }))
}

async fn annotate(request: Request) -> Outcome {
    let text = |key: &str| {
        let value = request.query.text(key);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let features: Vec<String> = request.query.all("os-feature").map(str::to_owned).collect();
    let change = PlatformChange {
        os: text("os"),
        architecture: text("arch"),
        variant: text("variant"),
        os_version: text("os-version"),
        os_features: (!features.is_empty()).then_some(features),
    };
    let member = request.query.text("member");
    let credentials = credentials(&request)?;
    let engine = &request.app.engine;
    let id = engine
        .manifest_annotate(request.name(), member, change, credentials.as_ref())
        .await?;
    Ok(json(&IdResponse { id }))
}

async fn inspect(request: Request) -> Outcome {
    let engine = &request.app.engine;
    let access = access(&request)?;
    let member = match request.query.text("member") {
        "" => None,
        text => Some(text.parse::<Digest>().map_err(|error| {
            Failure::invalid(format!("the member {text:?} is no digest: {error}"))
        })?),
    };
    let (target, bytes) = engine
        .manifest_document(request.name(), member, &access)
        .await?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let document = RawValue::from_string(text)
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(json(&ManifestDocument {
        descriptor: descriptor(&target),
        document,
    }))
}

async fn remove(request: Request) -> Outcome {
    let engine = &request.app.engine;
    engine.manifest_remove(request.name()).await?;
    Ok(done())
}
