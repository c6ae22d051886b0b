//! Images.

use http::StatusCode;
use hull_api::{
    ApiVersion, Filters, decode,
    progress::ProgressMessage,
    types::{self, IdResponse, ImagePrune, ImageSummary},
};
use hull_engine::image::{CommitOptions, ImportOptions};
use hull_image::store::{ListFilter, PruneFilter, Summary};
use hull_registry::progress::{Event, Progress};

use super::{
    archive::{internal, tar, whole},
    select,
};
use crate::{
    app::App,
    convert::{self, config, image as to_wire},
    http::{
        answer::{Answer, Failure, Outcome, empty, flowing, json, json_with},
        body,
        request::Request,
    },
};

const LIST_FILTERS: &[&str] = &[
    "before",
    "dangling",
    "label",
    "label!",
    "reference",
    "since",
    "until",
];

const JSON: &str = "application/json";

pub(super) async fn list(request: Request) -> Outcome {
    let filters = request.filters(LIST_FILTERS)?;
    let manifests = request.query.flag("manifests");
    let filter = ListFilter {
        with_manifests: manifests,
        ..list_filter(&filters)?
    };
    let images = request.app.engine.images_list(filter).await?;
    let shared = request.query.flag("shared-size");
    Ok(json(&summaries(
        &request.app,
        &images,
        shared,
        manifests,
        request.version,
    )))
}

/// Images in a list.
pub(super) fn summaries(
    app: &App,
    images: &[Summary],
    with_shared: bool,
    with_manifests: bool,
    version: ApiVersion,
) -> Vec<ImageSummary> {
    let users = app.engine.image_users();
    let of = |id: String| users.get(&id).map(Vec::as_slice).unwrap_or_default();
    images
        .iter()
        .map(|image| {
            let users = of(image.id.to_string());
            to_wire::summary(image, users, with_shared, with_manifests, version)
        })
        .collect()
}

fn list_filter(filters: &Filters) -> Result<ListFilter, Failure> {
    let dangling = filters
        .contains("dangling")
        .then(|| filters.flag("dangling", false));
    Ok(ListFilter {
        dangling: dangling.transpose()?,
        labels: owned(filters, "label"),
        labels_absent: owned(filters, "label!"),
        references: owned(filters, "reference"),
        before: owned(filters, "before"),
        since: owned(filters, "since"),
        until: select::until(filters)?,
        with_manifests: false,
    })
}

fn owned(filters: &Filters, key: &str) -> Vec<String> {
    filters.values(key).map(str::to_owned).collect()
}

pub(super) async fn inspect(request: Request) -> Outcome {
    let platform = platform(&request)?;
    let image = request
        .app
        .engine
        .image_inspect(request.name(), platform.as_deref())
        .await?;
    let mut users = request.app.engine.image_users();
    Ok(json(&to_wire::inspect(
        &image,
        &users.remove(&image.id.to_string()).unwrap_or_default(),
        request.query.flag("manifests"),
        request.version,
    )))
}

pub(super) async fn history(request: Request) -> Outcome {
    let platform = platform(&request)?;
    let steps = request
        .app
        .engine
        .image_history(request.name(), platform.as_deref())
        .await?;
    Ok(json(
        &steps.into_iter().map(to_wire::history).collect::<Vec<_>>(),
    ))
}

pub(super) async fn attestations(request: Request) -> Outcome {
    let platforms = platforms(&request, "platform")?;
    if platforms.len() > 1 {
        return Err(Failure::invalid("only one platform can be asked for"));
    }
    let kinds = request.query.all("type").map(str::to_owned).collect();
    let statements = request
        .app
        .engine
        .image_attestations(
            request.name(),
            platforms.first().map(String::as_str),
            kinds,
            request.query.flag("statement"),
        )
        .await?;
    let wire = statements.into_iter().map(to_wire::statement);
    Ok(json(&wire.collect::<Vec<_>>()))
}

/// One platform at the most.
pub(super) fn platform(request: &Request) -> Result<Option<String>, Failure> {
    let mut platforms = platforms(request, "platform")?;
    if platforms.len() > 1 {
        return Err(Failure::invalid("only one platform can be asked for"));
    }
    Ok(platforms.pop())
}

/// `linux/arm64` each, or (from 1.48) the same as a JSON object.
fn platforms(request: &Request, name: &str) -> Result<Vec<String>, Failure> {
    let texts = request.query.all(name).filter(|text| !text.is_empty());
    texts.map(one_platform).collect()
}

fn one_platform(text: &str) -> Result<String, Failure> {
    if !text.starts_with('{') {
        return Ok(text.to_owned());
    }
    let platform: types::Platform = decode::from_slice(text.as_bytes())?;
    let parts = [platform.os, platform.architecture, platform.variant];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Ok(parts.join("/"))
}

pub(super) async fn create(request: Request) -> Outcome {
    let source = request.query.text("fromSrc");
    if source.is_empty() {
        return super::registry::pull(request).await;
    }
    if source != "-" {
        return Err(Failure::absent(
            "importing from an address: send the archive; this",
        ));
    }
    let options = ImportOptions {
        reference: reference(&request),
        changes: request.query.all("changes").map(str::to_owned).collect(),
        message: request.query.text("message").to_owned(),
        platform: platform(&request)?,
    };
    let (pipe, filling) = body::into_pipe(request.body).map_err(internal)?;
    let outcome = request.app.engine.image_import(pipe, options).await;
    whole(filling).await?;
    Ok(messages(&[ProgressMessage::status(outcome?)]))
}

/// `repo` and `tag` together.
fn reference(request: &Request) -> Option<String> {
    let (repo, tag) = (request.query.text("repo"), request.query.text("tag"));
    match (repo, tag) {
        ("", _) => None,
        (repo, "") => Some(repo.to_owned()),
        (repo, digest) if digest.contains(':') => Some(format!("{repo}@{digest}")),
        (repo, tag) => Some(format!("{repo}:{tag}")),
    }
}

/// Progress that is complete already.
fn messages(messages: &[ProgressMessage]) -> Answer {
    let (sender, answer) = body::channel();
    let lines: Vec<u8> = messages.iter().flat_map(ProgressMessage::to_line).collect();
    tokio::spawn(async move { sender.send(lines).await });
    flowing(JSON, answer)
}

pub(super) async fn load(request: Request) -> Outcome {
    let platforms = platforms(&request, "platform")?;
    let is_quiet = request.query.flag("quiet");
    let (pipe, filling) = body::into_pipe(request.body).map_err(internal)?;
    let (engine, progress) = (request.app.engine.clone(), Progress::default());
    let told = progress.clone();
    let loading = async move {
        let outcome = engine.image_load(pipe, &platforms, &told).await;
        whole(filling).await?;
        Ok::<_, Failure>(outcome?)
    };
    if is_quiet {
        let line = |image: &_| ProgressMessage::stream(format!("{image}\n"));
        return Ok(messages(
            &loading.await?.iter().map(line).collect::<Vec<_>>(),
        ));
    }
    let last = progress.clone();
    super::registry::carried(progress, async move {
        for image in loading.await? {
            last.say(Event::Loaded(image.to_string()));
        }
        Ok::<_, Failure>(())
    })
    .await
}

pub(super) async fn save(request: Request) -> Outcome {
    let platforms = platforms(&request, "platform")?;
    let mut names: Vec<String> = request.query.all("names").map(str::to_owned).collect();
    names.extend(request.names.iter().cloned());
    if names.is_empty() {
        return Err(Failure::invalid("no image specified"));
    }
    Ok(tar(request
        .app
        .engine
        .image_save(names, &platforms)
        .await?))
}

pub(super) async fn tag(request: Request) -> Outcome {
    let Some(new) = reference(&request) else {
        return Err(Failure::invalid(
            "invalid reference format: repository name is empty",
        ));
    };
    request.app.engine.image_tag(request.name(), &new).await?;
    Ok(empty(StatusCode::CREATED))
}

pub(super) async fn remove(request: Request) -> Outcome {
    let (engine, name) = (&request.app.engine, request.name());
    let platforms = platforms(&request, "platforms")?;
    let removed = if platforms.is_empty() {
        let force = request.query.flag("force");
        engine.image_remove(name, force).await?
    } else {
        engine.image_remove_platforms(name, &platforms).await?
    };
    Ok(json(
        &removed.iter().map(to_wire::removed).collect::<Vec<_>>(),
    ))
}

pub(super) async fn prune(request: Request) -> Outcome {
    let filters = request.filters(&["dangling", "label", "label!", "until"])?;
    let filter = PruneFilter {
        all: !filters.flag("dangling", true)?,
        labels: owned(&filters, "label"),
        labels_absent: owned(&filters, "label!"),
        until: select::until(&filters)?,
    };
    let pruned = request.app.engine.image_prune(filter).await?;
    let removed = pruned.removed.iter().map(to_wire::removed).collect();
    Ok(json(&ImagePrune {
        images_deleted: convert::null_if_empty(removed),
        space_reclaimed: pruned.reclaimed_bytes,
    }))
}

pub(super) async fn commit(mut request: Request) -> Outcome {
    let body: Option<Option<types::Config>> = request.json().await?;
    let config = body
        .flatten()
        .map(|wire| config::from_wire(wire, request.version))
        .transpose()?;
    let query = &request.query;
    let options = CommitOptions {
        reference: reference(&request),
        author: query.text("author").to_owned(),
        comment: query.text("comment").to_owned(),
        changes: query
            .all("changes")
            .flat_map(str::lines)
            .map(str::to_owned)
            .collect(),
        pause: query.flag_or("pause", true),
        config,
    };
    let id = request
        .app
        .engine
        .commit(query.text("container"), options)
        .await?;
    Ok(json_with(StatusCode::CREATED, &IdResponse { id }))
}
