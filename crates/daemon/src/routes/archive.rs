//! A container's files: look, copy in and out, export, what changed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode};
use hull_api::types::{FilesystemChange, SealedCompared, SealedFiles};
use hull_engine::container::files::{Outgoing, PutOptions};
use hull_engine::sealed::SealedFile;
use hull_image::archive::PathStat;

use crate::{
    convert::null_if_empty,
    http::{
        answer::{Answer, Failure, Outcome, empty, flowing, json},
        body,
        request::Request,
        router::Op,
    },
};

const TAR: &str = "application/x-tar";

pub(super) async fn stat(request: Request) -> Outcome {
    let path = asked_path(&request)?;
    let stat = request
        .app
        .engine
        .archive_stat(request.name(), path)
        .await?;
    Ok(with_stat(empty(StatusCode::OK), &stat))
}

pub(super) async fn get(request: Request) -> Outcome {
    let path = asked_path(&request)?;
    let (stat, outgoing) = request.app.engine.archive_get(request.name(), path).await?;
    Ok(with_stat(tar(outgoing), &stat))
}

pub(super) async fn put(request: Request) -> Outcome {
    let path = asked_path(&request)?.to_owned();
    let name = request.name().to_owned();
    let options = PutOptions {
        no_overwrite_dir_non_dir: request.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: request.query.flag("copyUIDGID"),
    };
    let (pipe, filling) = body::into_pipe(request.body).map_err(internal)?;
    let outcome = request
        .app
        .engine
        .archive_put(&name, &path, options, pipe)
        .await;
    whole(filling).await?;
    outcome?;
    Ok(empty(StatusCode::OK))
}

/// Files that a container is handed and that lie on no disk in the clear.
pub(super) async fn sealed(op: Op, request: Request) -> Outcome {
    match op {
        Op::ContainerSeal => seal(request).await,
        Op::ContainerSealCompare => compare(request).await,
        _ => places(request).await,
    }
}

async fn seal(mut request: Request) -> Outcome {
    let order: SealedFiles = request.json_or_default().await?;
    let name = request.name().to_owned();
    if !order.from.is_empty() {
        if !order.files.is_empty() {
            return Err(Failure::invalid(
                "files are given, or those of a container: not both",
            ));
        }
        request.app.engine.seal_like(&name, &order.from).await?;
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    if let Some(file) = order.files.iter().find(|file| file.unknown) {
        let message = format!("what {} is to hold is not told", file.path);
        return Err(Failure::invalid(message));
    }
    request.app.engine.seal(&name, given(order)?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Whether a container is handed what the client has: so nobody has to tell what is in it.
async fn compare(mut request: Request) -> Outcome {
    let order: SealedFiles = request.json_or_default().await?;
    let name = request.name().to_owned();
    let unknown = order.files.iter().filter(|file| file.unknown);
    let unknown = unknown.map(|file| file.path.clone()).collect();
    let same = request
        .app
        .engine
        .is_sealed_with(&name, given(order)?, &unknown)
        .await?;
    Ok(json(&SealedCompared { same }))
}

/// The files of an order.
fn given(order: SealedFiles) -> Result<Vec<SealedFile>, Failure> {
    let files = order.files.into_iter().map(|file| {
        let content = file.bytes().ok_or_else(|| {
            Failure::invalid(format!("the content of {} is not in base64", file.path))
        })?;
        Ok(SealedFile {
            path: file.path,
            content,
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
        })
    });
    files.collect()
}

/// Where they are, with modes and owners; not what they hold.
async fn places(request: Request) -> Outcome {
    let files = request.app.engine.sealed(request.name()).await?;
    let files = files.into_iter().map(|file| hull_api::types::SealedFile {
        path: file.path,
        mode: file.mode,
        uid: file.uid,
        gid: file.gid,
        ..Default::default()
    });
    Ok(json(&SealedFiles {
        files: files.collect(),
        ..Default::default()
    }))
}

pub(super) async fn export(request: Request) -> Outcome {
    let outgoing = request.app.engine.export(request.name()).await?;
    Ok(tar_of(outgoing, "application/octet-stream"))
}

pub(super) async fn changes(request: Request) -> Outcome {
    let changes = request.app.engine.changes(request.name()).await?;
    let wire = changes.iter().map(|change| FilesystemChange {
        kind: change.kind as u8,
        path: change.path.display().to_string(),
    });
    Ok(json(&null_if_empty(wire.collect())))
}

pub(super) fn asked_path(request: &Request) -> Result<&str, Failure> {
    match request.query.text("path") {
        "" => Err(Failure::invalid("bad parameter: path cannot be empty")),
        path => Ok(path),
    }
}

pub(super) fn with_stat(answer: Answer, stat: &PathStat) -> Answer {
    let json = serde_json::to_vec(stat).expect("a path's facts always have a JSON form");
    let value = HeaderValue::from_str(&STANDARD.encode(json));
    answer.with_header(
        "x-docker-container-path-stat",
        value.expect("base64 is made of header characters"),
    )
}

/// A tar archive on its way out.
pub(super) fn tar(outgoing: Outgoing) -> Answer {
    tar_of(outgoing, TAR)
}

/// Whether what went wrong is that the reader has gone.
fn is_unread(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_pipe = |error: &(dyn std::error::Error + 'static)| {
        let error = error.downcast_ref::<std::io::Error>();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    std::iter::successors(Some(error), |error| error.source()).any(of_pipe)
}

fn tar_of(outgoing: Outgoing, media: &'static str) -> Answer {
    let (sender, answer) = body::channel();
    tokio::spawn(async move {
        let sent = body::pump_pipe(outgoing.pipe, &sender).await;
        let written = outgoing.done.await;
        // The client must not take half an archive for a whole one.
        let failure = match (sent, written) {
            (Err(error), _) => error,
            (Ok(()), Ok(Err(error))) => {
                // That nobody takes it any more is no failure.
                match is_unread(&error) {
                    true => tracing::debug!(%error, "an archive broke off"),
                    false => tracing::error!(%error, "an archive broke off"),
                }
                std::io::Error::other(error)
            }
            _ => return,
        };
        sender.fail(failure).await;
    });
    flowing(media, answer)
}

/// Whether the body came whole.
pub(super) async fn whole(
    filling: tokio::task::JoinHandle<std::io::Result<()>>,
) -> Result<(), Failure> {
    match filling.await {
        Ok(Err(error)) => Err(Failure::invalid(format!(
            "cannot read the request body: {error}"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn internal(error: std::io::Error) -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}
