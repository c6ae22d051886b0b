//! Containers: lists, creation, and the small verbs.

use std::{collections::HashMap, sync::Arc};

use http::{StatusCode, header};
use hull_api::{
    query,
    types::{
        ContainerCreate, ContainerCreated, ContainerPrune, ContainerSummary, ContainerTop,
        ContainerUpdate, ContainerUpdated,
    },
};
use hull_engine::{Engine, container::remove::RemoveOptions, record::Record, signal};
use jiff::Timestamp;

use super::select;
use crate::{
    convert::{
        self, Invalid, config, host, image::bytes, inspect as to_wire, ports, resources, summary,
        time,
    },
    http::{
        answer::{Failure, Outcome, done, empty, json, json_with},
        request::Request,
    },
};

pub(super) async fn list(request: Request) -> Outcome {
    let filters = request.filters(select::FILTERS)?;
    let engine = &request.app.engine;
    let limit = request.query.number("limit")?.unwrap_or(0);
    let wanted = select::Wanted::new(engine, &filters, request.query.flag("all"), limit).await?;
    let records = wanted.choose(engine.containers());
    let with_size = request.query.flag("size");
    Ok(json(&summaries(&request, &records, with_size).await?))
}

/// Containers in a list.
pub(super) async fn summaries(
    request: &Request,
    records: &[Arc<Record>],
    with_size: bool,
) -> Result<Vec<ContainerSummary>, Failure> {
    let engine = &request.app.engine;
    let now_ns = time::nanos(Timestamp::now());
    let find = to_wire::finder(engine);
    let mut names = ImageNames::default();
    let mut list = Vec::with_capacity(records.len());
    for record in records {
        let image = names.shown(engine, record).await;
        let mut wire = summary::to_wire(record, image, &find, now_ns, request.version);
        if let Some(gate) = engine.waits_for(&record.id) {
            wire.status.push_str(&format!(", waits for {gate}"));
        }
        if with_size {
            match sizes(engine, record).await {
                Ok((own, all)) => {
                    wire.size_rw = Some(own);
                    wire.size_root_fs = Some(all);
                }
                // It has gone, or is going, since the list was made.
                Err(_) if !record.snapshot.upper.exists() => continue,
                Err(error) => return Err(error),
            }
        }
        list.push(wire);
    }
    Ok(list)
}

/// What the names of images mean now, each looked up once.
#[derive(Default)]
struct ImageNames(HashMap<String, Option<String>>);

impl ImageNames {
    /// The image as its user typed it, or its id when that name means another image now.
    async fn shown(&mut self, engine: &Engine, record: &Record) -> String {
        let typed = &record.config.image;
        if !self.0.contains_key(typed) {
            let images = Arc::clone(engine.images());
            let name = typed.clone();
            let id = tokio::task::spawn_blocking(move || images.id(&name).ok())
                .await
                .ok()
                .flatten();
            self.0.insert(typed.clone(), id.map(|id| id.to_string()));
        }
        match self.0.get(typed) {
            Some(Some(id)) if *id == record.image_id => typed.clone(),
            _ => record.image_id.clone(),
        }
    }
}

/// Bytes of the writable layer, and with the image's.
async fn sizes(engine: &Engine, record: &Record) -> Result<(i64, i64), Failure> {
    let own = engine.writable_size(record).await?;
    let image = engine.image_inspect(&record.image_id, None).await;
    let image = image.map_or(0, |image| image.size);
    Ok((bytes(own), bytes(own.saturating_add(image))))
}

pub(super) async fn create(mut request: Request) -> Outcome {
    let body: Option<ContainerCreate> = request.json().await?;
    let body = body
        .ok_or_else(|| Failure::invalid("config cannot be empty in order to create a container"))?;
    let (name, platform) = (request.query.text("name"), request.query.text("platform"));
    let order = config::order(body, name, platform, request.version)?;
    let created = request.app.engine.create(order).await.map_err(refused)?;
    let body = ContainerCreated {
        id: created.id.to_string(),
        warnings: created.warnings,
    };
    Ok(json_with(StatusCode::CREATED, &body))
}

/// Clients take 404 at a create for a missing image, and pull: what else is missing is told by
/// another status.
fn refused(error: hull_engine::Error) -> Failure {
    use hull_engine::Error::{NoSuchContainer, NoSuchNetwork, NoSuchVolume};
    match error {
        NoSuchContainer(_) | NoSuchNetwork(_) | NoSuchVolume(_) => {
            Failure::invalid(error.to_string())
        }
        other => other.into(),
    }
}

pub(super) async fn inspect(request: Request) -> Outcome {
    let engine = &request.app.engine;
    let record = engine.container(request.name())?;
    let mut wire = to_wire::to_wire(engine, &record, request.version);
    wire.state.waits_for = engine.waits_for(&record.id).unwrap_or_default();
    if request.query.flag("size") {
        let (own, all) = sizes(engine, &record).await?;
        wire.size_rw = Some(own);
        wire.size_root_fs = Some(all);
    }
    Ok(json(&wire))
}

pub(super) async fn top(request: Request) -> Outcome {
    let arguments = match request.query.text("ps_args") {
        "" => "-ef",
        text => text,
    };
    let top = request.app.engine.top(request.name(), arguments).await?;
    Ok(json(&ContainerTop {
        processes: top.processes,
        titles: top.titles,
    }))
}

pub(super) async fn start(request: Request) -> Outcome {
    let length = request
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let length: u64 = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    // Old clients send "{}" or "null".
    if length > 7 || request.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Failure::invalid(
            "starting container with non-empty request body was deprecated since API v1.22 and \
             removed in v1.24",
        ));
    }
    if !request.query.text("checkpoint").is_empty() {
        return Err(Failure::absent("starting from a checkpoint"));
    }
    request.app.engine.start(request.name()).await?;
    Ok(done())
}

pub(super) async fn stop(request: Request) -> Outcome {
    let timeout = stop_timeout(&request)?;
    request
        .app
        .engine
        .stop(request.name(), asked_signal(&request)?, timeout)
        .await?;
    Ok(done())
}

pub(super) async fn restart(request: Request) -> Outcome {
    let timeout = stop_timeout(&request)?;
    request
        .app
        .engine
        .restart(request.name(), asked_signal(&request)?, timeout)
        .await?;
    Ok(done())
}

/// The time asked for, the container's own, or the daemon's default.
fn stop_timeout(request: &Request) -> Result<Option<i64>, Failure> {
    let asked = request.query.number("t")?;
    let record = request.app.engine.container(request.name())?;
    let default = request.app.config().number("default-stop-timeout");
    Ok(asked.or(record.config.stop_timeout_s).or(default))
}

fn asked_signal(request: &Request) -> Result<Option<i32>, Failure> {
    match request.query.text("signal") {
        "" => Ok(None),
        text => signal::parse(text)
            .map(Some)
            .ok_or_else(|| Failure::invalid(format!("invalid signal: {text}"))),
    }
}

pub(super) async fn kill(request: Request) -> Outcome {
    request
        .app
        .engine
        .kill(request.name(), asked_signal(&request)?)
        .await?;
    Ok(done())
}

pub(super) async fn pause(request: Request) -> Outcome {
    request.app.engine.pause(request.name()).await?;
    Ok(done())
}

pub(super) async fn unpause(request: Request) -> Outcome {
    request.app.engine.unpause(request.name()).await?;
    Ok(done())
}

pub(super) async fn resize(request: Request) -> Outcome {
    let (rows, columns) = terminal_size(&request)?;
    request
        .app
        .engine
        .resize(request.name(), rows, columns)
        .await?;
    Ok(empty(StatusCode::OK))
}

/// `h` and `w`.
pub(super) fn terminal_size(request: &Request) -> Result<(u16, u16), Failure> {
    let number = |name: &str| {
        let text = request.query.text(name);
        text.parse::<u16>().map_err(|_| {
            Failure::invalid(format!(
                "invalid resize: {name}={text:?} is no number of characters"
            ))
        })
    };
    Ok((number("h")?, number("w")?))
}

pub(super) async fn update(mut request: Request) -> Outcome {
    let body: ContainerUpdate = request.json_or_default().await?;
    let policy = match body.restart_policy.name.as_str() {
        "" => None,
        _ => Some(host::restart_policy(&body.restart_policy)?),
    };
    let add = ports::bindings(body.publish_add.clone())?;
    let remove = ports::bindings(body.publish_remove.clone())?;
    let changes = resources::from_wire(body.into())?;
    let engine = &request.app.engine;
    if !add.is_empty() || !remove.is_empty() {
        engine.change_ports(request.name(), add, remove).await?;
    }
    engine.update(request.name(), changes, policy).await?;
    Ok(json(&ContainerUpdated::default()))
}

pub(super) async fn rename(request: Request) -> Outcome {
    request
        .app
        .engine
        .rename(request.name(), request.query.text("name"))
        .await?;
    Ok(done())
}

pub(super) async fn remove(request: Request) -> Outcome {
    if request.query.flag("link") {
        return Err(Failure::absent("removing a link between containers"));
    }
    let options = RemoveOptions {
        force: request.query.flag("force"),
        volumes: request.query.flag("v"),
    };
    request.app.engine.remove(request.name(), options).await?;
    Ok(done())
}

pub(super) async fn prune(request: Request) -> Outcome {
    let filters = request.filters(&["label", "label!", "until"])?;
    let until = select::until(&filters)?.map(time::nanos);
    let wanted = |record: &Record| {
        select::labels_match(&filters, &record.config.labels)
            && until.is_none_or(|until| record.created_at_ns < until)
    };
    let pruned = request.app.engine.prune(wanted).await?;
    Ok(json(&ContainerPrune {
        containers_deleted: convert::null_if_empty(pruned.deleted),
        space_reclaimed: pruned.bytes,
    }))
}

impl From<query::QueryError> for Invalid {
    fn from(error: query::QueryError) -> Self {
        Self::new(error.to_string())
    }
}
