//! What is about a manifest.

use http::{StatusCode, header};
use hull_oci::{Digest, Index, media_type};

use super::Request;
use crate::server::answer::{self, Outcome, With as _};

pub(super) async fn list(request: Request, subject: Digest) -> Outcome {
    let wanted = subject.clone();
    let mut found = request
        .store(move |storage, name| storage.referrers(name, &wanted))
        .await?;
    if let Some(upstream) = &request.registry.upstream {
        upstream
            .add_referrers(&request.name, &subject, &mut found)
            .await;
    }
    let filter = request
        .query("artifactType")
        .filter(|kind| !kind.is_empty());
    if let Some(kind) = &filter {
        found.retain(|descriptor| descriptor.artifact_type.as_ref() == Some(kind));
    }
    let answer = answer::json(StatusCode::OK, &Index::new(found))
        .with(header::CONTENT_TYPE, media_type::INDEX);
    Ok(match filter {
        Some(_) => answer.with(
            header::HeaderName::from_static("oci-filters-applied"),
            "artifactType",
        ),
        None => answer,
    })
}
