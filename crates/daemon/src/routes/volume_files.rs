//! Hull's own: a volume's files as a whole, and copied in and out.

use std::collections::BTreeMap;

use http::StatusCode;
use hull_engine::{container::files::PutOptions, volume::CloneOptions};

use super::{
    archive::{asked_path, internal, tar, whole, with_stat},
    volume::shown,
};
use crate::http::{
    answer::{Outcome, empty, json_with},
    body,
    request::Request,
};

pub(super) async fn copy(request: Request) -> Outcome {
    let label = |text: &str| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    let labels: BTreeMap<_, _> = request.query.all("label").map(label).collect();
    let options = CloneOptions {
        pause: request.query.flag("pause"),
        labels,
    };
    let engine = &request.app.engine;
    let new = request.query.text("name");
    let volume = engine.volume_clone(request.name(), new, options).await?;
    Ok(json_with(StatusCode::CREATED, &shown(engine, &volume)))
}

pub(super) async fn export(request: Request) -> Outcome {
    Ok(tar(request
        .app
        .engine
        .volume_export(request.name())
        .await?))
}

pub(super) async fn import(request: Request) -> Outcome {
    let name = request.name().to_owned();
    let overwrite = request.query.flag("overwrite");
    let (pipe, filling) = body::into_pipe(request.body).map_err(internal)?;
    let engine = &request.app.engine;
    let outcome = engine.volume_import(&name, overwrite, pipe).await;
    whole(filling).await?;
    let volume = outcome?;
    Ok(json_with(StatusCode::CREATED, &shown(engine, &volume)))
}

pub(super) async fn stat(request: Request) -> Outcome {
    let path = asked_path(&request)?;
    let engine = &request.app.engine;
    let stat = engine.volume_stat(request.name(), path).await?;
    Ok(with_stat(empty(StatusCode::OK), &stat))
}

pub(super) async fn get(request: Request) -> Outcome {
    let path = asked_path(&request)?;
    let engine = &request.app.engine;
    let (stat, outgoing) = engine.volume_get(request.name(), path).await?;
    Ok(with_stat(tar(outgoing), &stat))
}

pub(super) async fn put(request: Request) -> Outcome {
    let path = asked_path(&request)?.to_owned();
    let name = request.name().to_owned();
    let options = PutOptions {
        no_overwrite_dir_non_dir: request.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: false,
    };
    let (pipe, filling) = body::into_pipe(request.body).map_err(internal)?;
    let engine = &request.app.engine;
    let outcome = engine.volume_put(&name, &path, options, pipe).await;
    whole(filling).await?;
    outcome?;
    Ok(empty(StatusCode::OK))
}
