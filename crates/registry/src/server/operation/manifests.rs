//! Manifests and indexes, by tag or digest.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hull_oci::Digest;

use super::{Request, uploads};
use crate::server::answer::{self, Answer, Code, Outcome, Refusal, With as _};
use crate::server::name::{RepositoryName, Tag};
use crate::server::route::ManifestReference;
use crate::server::storage::PutManifest;
use crate::wire::{CONTENT_DIGEST, MANIFEST_BYTES_MAX};

/// Tags one push may set.
const TAGS_MAX: usize = 64;

pub(super) async fn get(request: Request, which: ManifestReference) -> Outcome {
    if let Some(upstream) = &request.registry.upstream {
        upstream
            .refresh(&request.registry, &request.name, &which)
            .await?;
    }
    let wanted = which.clone();
    let found = request
        .store(move |storage, name| {
            let digest = match wanted {
                ManifestReference::Digest(digest) => Some(digest),
                ManifestReference::Tag(tag) => storage.tag(name, &tag)?,
            };
            let Some(digest) = digest else {
                return Ok(None);
            };
            Ok(storage
                .manifest(name, &digest)?
                .map(|(media_type, bytes)| (digest, media_type, bytes)))
        })
        .await?;
    let Some((digest, media_type, bytes)) = found else {
        return Err(unknown(&which));
    };
    if request
        .header(header::IF_NONE_MATCH)
        .is_some_and(|etag| etag.trim_matches('"') == digest.as_str())
    {
        return Ok(described(answer::empty(StatusCode::NOT_MODIFIED), &digest));
    }
    let length = bytes.len().to_string();
    let answer = if request.parts.method == Method::HEAD {
        answer::empty(StatusCode::OK)
    } else {
        answer::whole(StatusCode::OK, bytes)
    };
    Ok(described(answer, &digest)
        .with(header::CONTENT_TYPE, &media_type)
        .with(header::CONTENT_LENGTH, &length))
}

pub(super) async fn put(request: Request, which: ManifestReference) -> Outcome {
    let media_type = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    if media_type.is_empty() {
        return Err(Refusal::new(
            Code::ManifestInvalid,
            "the request does not say what the manifest is (Content-Type)",
        ));
    }
    let tags = tags_of(&request, &which)?;
    let Request {
        registry,
        name,
        body,
        ..
    } = request;
    let body = uploads::small_body(body, MANIFEST_BYTES_MAX, registry.patience).await;
    let body = body.map_err(|error| {
        Refusal::new(
            Code::ManifestInvalid,
            format!("the manifest did not come whole: {error}"),
        )
    })?;
    let Some(bytes) = body else {
        let message = format!("manifests of more than {MANIFEST_BYTES_MAX} bytes are not kept");
        return Err(Refusal::new(Code::SizeInvalid, message));
    };
    let digest = match &which {
        ManifestReference::Tag(_) => Digest::of(&bytes),
        ManifestReference::Digest(expected) => checked(expected, &bytes)?,
    };
    let (storage, target, own_digest, set) = (
        registry.storage.clone(),
        name.clone(),
        digest.clone(),
        tags.clone(),
    );
    let put = move || {
        let put = PutManifest {
            digest: own_digest,
            media_type: &media_type,
            bytes: &bytes,
            tags: &set,
        };
        storage
            .put_manifest(&target, &put)
            .map(|document| document.subject().cloned())
    };
    let stored = tokio::task::spawn_blocking(put).await;
    let subject = stored.map_err(|panic| Refusal::new(Code::Unknown, panic.to_string()))??;
    let accepted = match which {
        ManifestReference::Digest(_) => &tags[..],
        ManifestReference::Tag(_) => &[],
    };
    Ok(created(&name, &digest, subject.as_ref(), accepted))
}

fn created(
    name: &RepositoryName,
    digest: &Digest,
    subject: Option<&Digest>,
    accepted: &[Tag],
) -> Answer {
    let mut answer = described(answer::empty(StatusCode::CREATED), digest)
        .with(header::LOCATION, &format!("/v2/{name}/manifests/{digest}"));
    if let Some(subject) = subject {
        answer = answer.with(HeaderName::from_static("oci-subject"), subject.as_str());
    }
    for tag in accepted {
        let value = HeaderValue::from_str(tag.as_str());
        let pair = value.map(|value| (HeaderName::from_static("oci-tag"), value));
        answer.headers_mut().extend(pair);
    }
    answer
}

/// The tag in the path, or those in the query beside a digest.
fn tags_of(request: &Request, which: &ManifestReference) -> Result<Vec<Tag>, Refusal> {
    if let ManifestReference::Tag(tag) = which {
        return Ok(vec![tag.clone()]);
    }
    let texts = request.queries("tag");
    if texts.len() > TAGS_MAX {
        return Err(Refusal {
            status: StatusCode::URI_TOO_LONG,
            ..Refusal::new(
                Code::ManifestInvalid,
                format!("more than {TAGS_MAX} tags at once"),
            )
        });
    }
    let parse = |text: &String| {
        Tag::parse(text)
            .ok_or_else(|| Refusal::new(Code::ManifestInvalid, format!("{text:?} is no tag")))
    };
    texts.iter().map(parse).collect()
}

fn checked(expected: &Digest, bytes: &[u8]) -> Result<Digest, Refusal> {
    let mut hasher = hull_oci::Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let actual = hasher.finish();
    if actual == *expected {
        return Ok(actual);
    }
    Err(Refusal::new(
        Code::DigestInvalid,
        format!("the manifest has the digest {actual}, not {expected}"),
    ))
}

pub(super) async fn delete(request: Request, which: ManifestReference) -> Outcome {
    let wanted = which.clone();
    let was_there = request
        .store(move |storage, name| match &wanted {
            ManifestReference::Tag(tag) => storage.untag(name, tag),
            ManifestReference::Digest(digest) => storage.delete_manifest(name, digest),
        })
        .await?;
    if was_there {
        Ok(answer::empty(StatusCode::ACCEPTED))
    } else {
        Err(unknown(&which))
    }
}

fn described(answer: Answer, digest: &Digest) -> Answer {
    answer
        .with(
            header::HeaderName::from_static(CONTENT_DIGEST),
            digest.as_str(),
        )
        .with(header::ETAG, &format!("\"{digest}\""))
}

fn unknown(which: &ManifestReference) -> Refusal {
    let which = match which {
        ManifestReference::Tag(tag) => tag.as_str(),
        ManifestReference::Digest(digest) => digest.as_str(),
    };
    Refusal::new(
        Code::ManifestUnknown,
        format!("there is no manifest {which} here"),
    )
}
