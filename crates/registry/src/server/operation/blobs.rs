//! Blobs: read whole or in part, and taken away.

use http::{Method, StatusCode, header};
use hull_oci::Digest;

use super::Request;
use crate::server::answer::{self, Code, Outcome, Refusal, With as _};
use crate::wire::{CONTENT_DIGEST, parse_range};

pub(super) async fn get(request: Request, digest: Digest) -> Outcome {
    if request.parts.method == Method::HEAD {
        let wanted = digest.clone();
        let size = request
            .store(move |storage, name| storage.stat_blob(name, &wanted))
            .await?;
        return match (size, &request.registry.upstream) {
            (Some(size), _) => Ok(described(answer::empty(StatusCode::OK), &digest)
                .with(header::CONTENT_LENGTH, &size.to_string())),
            (None, Some(upstream)) => upstream.stat_blob(&request.name, &digest).await,
            (None, None) => Err(unknown(&digest)),
        };
    }
    if request
        .header(header::IF_NONE_MATCH)
        .is_some_and(|etag| etag.trim_matches('"') == digest.as_str())
    {
        return Ok(described(answer::empty(StatusCode::NOT_MODIFIED), &digest));
    }
    let wanted = digest.clone();
    let opened = request
        .store(move |storage, name| storage.open_blob(name, &wanted))
        .await?;
    let Some((file, size)) = opened else {
        return match &request.registry.upstream {
            Some(upstream) => {
                upstream
                    .blob(&request.registry, &request.name, &digest)
                    .await
            }
            None => Err(unknown(&digest)),
        };
    };
    let (status, first, length) = match request.header(header::RANGE) {
        None => (StatusCode::OK, 0, size),
        Some(range) => match parse_range(range, size) {
            Some((first, length)) => (StatusCode::PARTIAL_CONTENT, first, length),
            None if range.starts_with("bytes=") && !range.contains(',') => {
                return Err(
                    Refusal::new(Code::RangeInvalid, format!("the blob has {size} bytes"))
                        .with(header::CONTENT_RANGE, &format!("bytes */{size}")),
                );
            }
            // A server may ignore what it does not serve in parts.
            None => (StatusCode::OK, 0, size),
        },
    };
    request.registry.metrics.sent(length);
    let mut answer = http::Response::new(answer::file(file, first, length));
    *answer.status_mut() = status;
    let mut answer = described(answer, &digest).with(header::CONTENT_LENGTH, &length.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        let last = first + length - 1;
        answer = answer.with(
            header::CONTENT_RANGE,
            &format!("bytes {first}-{last}/{size}"),
        );
    }
    Ok(answer)
}

pub(super) async fn delete(request: Request, digest: Digest) -> Outcome {
    let wanted = digest.clone();
    let was_there = request
        .store(move |storage, name| storage.unlink_blob(name, &wanted))
        .await?;
    if was_there {
        Ok(answer::empty(StatusCode::ACCEPTED))
    } else {
        Err(unknown(&digest))
    }
}

/// The headers of all answers that are about a blob.
pub(crate) fn described(answer: answer::Answer, digest: &Digest) -> answer::Answer {
    answer
        .with(header::CONTENT_TYPE, "application/octet-stream")
        .with(
            header::HeaderName::from_static(CONTENT_DIGEST),
            digest.as_str(),
        )
        .with(header::ACCEPT_RANGES, "bytes")
        .with(header::ETAG, &format!("\"{digest}\""))
        .with(header::CACHE_CONTROL, "max-age=31536000, immutable")
}

pub(crate) fn unknown(digest: &Digest) -> Refusal {
    Refusal::new(Code::BlobUnknown, format!("there is no blob {digest} here"))
}
