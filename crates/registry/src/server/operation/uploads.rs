//! Uploads: begun, gone on with in any number of pieces, finished by a digest.

use std::io;
use std::sync::Arc;

use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use hull_oci::Digest;

use super::Request;
use crate::pump::{Limits, PumpError, pump};
use crate::server::answer::{self, Answer, Code, Outcome, Refusal, With as _, is_full};
use crate::server::auth::Need;
use crate::server::name::RepositoryName;
use crate::server::route::Action;
use crate::server::storage::{StorageError, Upload, UploadId};
use crate::wire::{CONTENT_DIGEST, parse_content_range};

pub(super) async fn begin(request: Request) -> Outcome {
    if let Some(digest) = request.query("mount")
        && let Some(answer) = mount(&request, &digest).await?
    {
        return Ok(answer);
    }
    let digest = request
        .query("digest")
        .map(|text| parse_digest(&text))
        .transpose()?;
    let id = request
        .store(|storage, name| storage.begin_upload(name))
        .await?;
    if let Some(digest) = digest {
        let upload = open(&request, &id).await?;
        return receive_and_finish(request, upload, digest).await;
    }
    Ok(progress(&request.name, &id, 0, StatusCode::ACCEPTED))
}

/// `None`: the client must upload it.
async fn mount(request: &Request, digest: &str) -> Result<Option<Answer>, Refusal> {
    let digest = parse_digest(digest)?;
    let readable = |name: &RepositoryName| {
        let need = Need::Repository(name.clone(), Action::Pull);
        request
            .registry
            .access
            .is_allowed(&request.parts.headers, &need)
    };
    let from = match request.query("from") {
        Some(from) => RepositoryName::parse(&from).filter(|name| readable(name)),
        None => find(request, &digest).await?,
    };
    let Some(from) = from else {
        return Ok(None);
    };
    let wanted = digest.clone();
    let mounted = request
        .store(move |storage, name| storage.mount(name, &from, &wanted))
        .await?;
    Ok(mounted.then(|| created(&request.name, &digest)))
}

/// A repository that has the blob and that the client may read.
async fn find(request: &Request, digest: &Digest) -> Result<Option<RepositoryName>, Refusal> {
    let (registry, sought) = (Arc::clone(&request.registry), digest.clone());
    let headers = request.parts.headers.clone();
    let readable = move |name: &RepositoryName| {
        let need = Need::Repository(name.clone(), Action::Pull);
        registry.access.is_allowed(&headers, &need)
    };
    request
        .store(move |storage, _| storage.find_blob(&sought, readable))
        .await
}

pub(super) async fn status(request: Request, id: UploadId) -> Outcome {
    let upload = open(&request, &id).await?;
    let size = upload.size();
    upload.pause();
    Ok(progress(&request.name, &id, size, StatusCode::NO_CONTENT))
}

pub(super) async fn append(request: Request, id: UploadId) -> Outcome {
    let upload = open(&request, &id).await?;
    let name = request.name.clone();
    let upload = receive(request, upload).await?;
    let size = upload.size();
    upload.pause();
    Ok(progress(&name, &id, size, StatusCode::ACCEPTED))
}

pub(super) async fn finish(request: Request, id: UploadId) -> Outcome {
    let digest = request.query("digest").unwrap_or_default();
    let digest = parse_digest(&digest)?;
    let upload = open(&request, &id).await?;
    receive_and_finish(request, upload, digest).await
}

pub(super) async fn cancel(request: Request, id: UploadId) -> Outcome {
    let upload = open(&request, &id).await?;
    request
        .store(move |storage, _| storage.cancel_upload(upload))
        .await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

async fn open(request: &Request, id: &UploadId) -> Result<Upload, Refusal> {
    let opened = request
        .registry
        .storage
        .open_upload(&request.name, id)
        .await?;
    opened.ok_or_else(|| {
        Refusal::new(
            Code::BlobUploadUnknown,
            format!("there is no upload {}", id.as_str()),
        )
    })
}

async fn receive_and_finish(request: Request, upload: Upload, digest: Digest) -> Outcome {
    let (name, storage) = (request.name.clone(), request.registry.storage.clone());
    let upload = receive(request, upload).await?;
    let (target, wanted) = (name.clone(), digest.clone());
    let finish = move || storage.finish_upload(upload, &target, &wanted);
    let finished = tokio::task::spawn_blocking(finish).await;
    finished.map_err(|panic| Refusal::new(Code::Unknown, panic.to_string()))??;
    Ok(created(&name, &digest))
}

/// Takes the request's body in. What came of a broken one is kept.
async fn receive(request: Request, upload: Upload) -> Result<Upload, Refusal> {
    let (name, id, size) = (request.name.clone(), upload.id.clone(), upload.size());
    let length = request
        .header(header::CONTENT_LENGTH)
        .and_then(|text| text.parse::<u64>().ok());
    if let Some(range) = request.header(header::CONTENT_RANGE) {
        let range = parse_content_range(range);
        let fits = range.is_some_and(|(first, last)| {
            first == size
                && length.is_none_or(|length| (last - first).checked_add(1) == Some(length))
        });
        if !fits {
            upload.pause();
            return Err(out_of_order(&name, &id, size));
        }
    }
    let limits = Limits {
        bytes_max: length.unwrap_or(u64::MAX),
        patience: request.registry.patience,
    };
    let (writer, give_back) = upload.take_writer();
    let metrics = request.registry.metrics.clone();
    let (writer, outcome) = pump(request.body, writer, 0, limits, |bytes| {
        metrics.received(bytes)
    })
    .await;
    let Some(writer) = writer else {
        return Err(Refusal::new(Code::Unknown, "the upload broke off"));
    };
    let upload = give_back(writer);
    match outcome {
        Ok(_) => Ok(upload),
        Err(error) => {
            upload.pause();
            Err(refused(error))
        }
    }
}

fn refused(error: PumpError) -> Refusal {
    match error {
        PumpError::Write(error) if is_full(&error) => Refusal {
            status: StatusCode::INSUFFICIENT_STORAGE,
            ..Refusal::new(Code::Denied, "the registry's disk is full")
        },
        PumpError::Write(error) => match error.downcast::<StorageError>() {
            Ok(error) => error.into(),
            Err(error) => {
                tracing::error!(%error, "cannot store an upload");
                Refusal::new(
                    Code::Unknown,
                    "the registry cannot store this now: its log says why",
                )
            }
        },
        error => Refusal::new(Code::BlobUploadInvalid, error.to_string()),
    }
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            Code::DigestInvalid,
            format!("{text:?} is no digest of a kind known here"),
        )
    })
}

fn location(name: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{}", id.as_str())
}

/// The last byte there is; of none, 0.
fn range(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn progress(name: &RepositoryName, id: &UploadId, size: u64, status: StatusCode) -> Answer {
    answer::empty(status)
        .with(header::LOCATION, &location(name, id))
        .with(header::RANGE, &range(size))
        .with(
            header::HeaderName::from_static("docker-upload-uuid"),
            id.as_str(),
        )
}

fn out_of_order(name: &RepositoryName, id: &UploadId, size: u64) -> Refusal {
    Refusal::new(
        Code::RangeInvalid,
        format!("the upload has {size} bytes: the next piece must begin there"),
    )
    .with(header::LOCATION, &location(name, id))
    .with(header::RANGE, &range(size))
}

fn created(name: &RepositoryName, digest: &Digest) -> Answer {
    answer::empty(StatusCode::CREATED)
        .with(header::LOCATION, &format!("/v2/{name}/blobs/{digest}"))
        .with(
            header::HeaderName::from_static(CONTENT_DIGEST),
            digest.as_str(),
        )
}

/// Reads a small body whole; `None`: it is larger than that.
pub(crate) async fn small_body(
    body: hyper::body::Incoming,
    max: usize,
    patience: std::time::Duration,
) -> io::Result<Option<bytes::Bytes>> {
    let whole = http_body_util::Limited::new(body, max).collect();
    match tokio::time::timeout(patience, whole).await? {
        Ok(body) => Ok(Some(body.to_bytes())),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}
