//! What is about a manifest.

use http::{HeaderName, StatusCode, header};
use hull_oci::{Digest, Index, media_type};

use super::Request;
use crate::server::answer::{self, Outcome, With as _};
use crate::server::storage::Wanted;
use crate::wire::form;

pub(super) async fn list(request: Request, subject: Digest) -> Outcome {
    let artifact_type = request.query("artifactType");
    let wanted = Wanted {
        after: request.query("last").unwrap_or_default(),
        artifact_type: artifact_type.filter(|kind| !kind.is_empty()),
    };
    let (about, own) = (subject.clone(), wanted.clone());
    let mut page = request
        .store(move |storage, name| storage.referrers(name, &about, &own))
        .await?;
    if let Some(upstream) = &request.registry.upstream {
        let known = upstream.referrers(&request.name, &subject).await;
        page = page.joined(known, &wanted);
    }
    let last = page.found.last().map(|last| last.digest.clone());
    let mut answer = answer::json(StatusCode::OK, &Index::new(page.found))
        .with(header::CONTENT_TYPE, media_type::INDEX);
    let mut query = Vec::new();
    if let Some(kind) = &wanted.artifact_type {
        query.push(("artifactType", kind.as_str()));
        let name = HeaderName::from_static("oci-filters-applied");
        answer = answer.with(name, "artifactType");
    }
    if let Some(last) = last.filter(|_| page.has_more) {
        query.push(("last", last.as_str()));
        let (name, query) = (&request.name, form(&query));
        let next = format!("</v2/{name}/referrers/{subject}?{query}>; rel=\"next\"");
        answer = answer.with(header::LINK, &next);
    }
    Ok(answer)
}
