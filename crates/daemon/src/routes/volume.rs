//! Volumes.

use http::StatusCode;
use hull_api::{
    Filters,
    types::{self, VolumeCreate, VolumeList, VolumePrune},
    version::Feature,
};
use hull_engine::{Engine, volume::Volume};

use super::{registry, select, volume_files};
use crate::{
    convert::{null_if_empty, volume as to_wire},
    http::{
        answer::{Outcome, done, json, json_with},
        request::Request,
        router::VolumeOp,
    },
};

/// Carries an operation on volumes out.
pub(super) async fn perform(op: VolumeOp, request: Request) -> Outcome {
    match op {
        VolumeOp::List => list(request).await,
        VolumeOp::Create => create(request).await,
        VolumeOp::Inspect => inspect(request).await,
        VolumeOp::Remove => remove(request).await,
        VolumeOp::Prune => prune(request).await,
        VolumeOp::Rename => rename(request).await,
        VolumeOp::Clone => volume_files::copy(request).await,
        VolumeOp::Export => volume_files::export(request).await,
        VolumeOp::Import => volume_files::import(request).await,
        VolumeOp::Push => registry::push_volume(request).await,
        VolumeOp::Pull => registry::pull_volume(request).await,
        VolumeOp::ArchiveStat => volume_files::stat(request).await,
        VolumeOp::ArchiveGet => volume_files::get(request).await,
        VolumeOp::ArchivePut => volume_files::put(request).await,
    }
}

async fn list(request: Request) -> Outcome {
    let filters = request.filters(&["dangling", "driver", "label", "name"])?;
    let engine = &request.app.engine;
    let dangling = filters
        .contains("dangling")
        .then(|| filters.flag("dangling", false));
    let dangling = dangling.transpose()?;
    let names = select::name_patterns(&filters)?;
    let is_named =
        |volume: &Volume| names.is_empty() || names.iter().any(|name| name.is_match(&volume.name));
    let unused = |volume: &Volume| engine.volume_users(volume).is_empty();
    let mut volumes = engine.volumes();
    volumes.retain(|volume| {
        dangling.is_none_or(|dangling| dangling == unused(volume))
            && is_named(volume)
            && passes(volume, &filters)
    });
    let volumes = volumes
        .into_iter()
        .map(|volume| shown(engine, &volume))
        .collect();
    Ok(json(&VolumeList {
        volumes: Some(volumes),
        warnings: None,
    }))
}

fn passes(volume: &Volume, filters: &Filters) -> bool {
    let any = |key: &str, fits: &dyn Fn(&str) -> bool| {
        !filters.contains(key) || filters.values(key).any(fits)
    };
    any("driver", &|driver| volume.driver == driver)
        && select::labels_match(filters, &volume.labels)
}

/// A volume on the wire.
pub(super) fn shown(engine: &Engine, volume: &Volume) -> types::Volume {
    let path = engine.volume_path(volume);
    to_wire::to_wire(volume, &path)
}

async fn create(mut request: Request) -> Outcome {
    let body: VolumeCreate = request.json_or_default().await?;
    let engine = &request.app.engine;
    let volume = engine.volume_create(to_wire::order(body)?).await?;
    Ok(json_with(StatusCode::CREATED, &shown(engine, &volume)))
}

async fn inspect(request: Request) -> Outcome {
    let engine = &request.app.engine;
    let volume = engine.volume(request.name())?;
    let mut wire = shown(engine, &volume);
    if let Some(facts) = engine.volume_facts(&volume).await {
        if !facts.mountpoint.is_empty() {
            wire.mountpoint = facts.mountpoint;
        }
        wire.status = facts.status;
    }
    Ok(json(&wire))
}

async fn remove(request: Request) -> Outcome {
    let force = request.query.flag("force");
    request
        .app
        .engine
        .volume_remove(request.name(), force)
        .await?;
    Ok(done())
}

/// Hull's own: another name, also while containers use it.
async fn rename(request: Request) -> Outcome {
    let new = request.query.text("name");
    let engine = &request.app.engine;
    let volume = engine.volume_rename(request.name(), new).await?;
    Ok(json(&shown(engine, &volume)))
}

async fn prune(request: Request) -> Outcome {
    let filters = request.filters(&["all", "label", "label!"])?;
    // Older clients mean every volume, newer ones those without a name of their own.
    let all = !request.version.has(Feature::PruneAnonymousVolumes) || filters.flag("all", false)?;
    let wanted = |volume: &Volume| {
        // Of what lies elsewhere little would be won here, and much lost there.
        let lies_here = volume.is_plain() && volume.options.is_empty();
        lies_here && (all || volume.anonymous) && select::labels_match(&filters, &volume.labels)
    };
    let (deleted, bytes) = request.app.engine.volume_prune(wanted).await?;
    Ok(json(&VolumePrune {
        volumes_deleted: null_if_empty(deleted),
        space_reclaimed: bytes,
    }))
}
