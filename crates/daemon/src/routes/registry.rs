//! Images that travel: pull, push, and what a registry says.

use std::future::Future;

use hull_api::{
    progress::ProgressMessage,
    types::{AuthConfig, AuthResponse},
};
use hull_engine::{
    ship::{PullOptions, PushOptions},
    volume::PullVolume,
};
use hull_registry::client::SearchFilter;
use hull_registry::{Credentials, Progress};

use super::image::platform;
use crate::{
    convert::{progress::messages, registry as to_wire},
    http::{
        answer::{Failure, Outcome, flowing, json},
        body,
        request::Request,
        router::RegistryOp,
    },
};

const JSON: &str = "application/json";

/// Carries an operation out.
pub(super) async fn perform(op: RegistryOp, request: Request) -> Outcome {
    match op {
        RegistryOp::Push => push(request).await,
        RegistryOp::Search => search(request).await,
        RegistryOp::Distribution => distribution(request).await,
        RegistryOp::Login => login(request).await,
    }
}

pub(super) async fn pull(request: Request) -> Outcome {
    let options = PullOptions {
        reference: pulled(request.query.text("fromImage"), request.query.text("tag")),
        platform: platform(&request)?,
        // What cannot be read is ignored, as Docker does.
        credentials: credentials(&request).unwrap_or_default(),
    };
    let (engine, progress) = (request.app.engine.clone(), Progress::default());
    let told = progress.clone();
    carried(
        progress,
        async move { engine.image_pull(options, &told).await },
    )
    .await
}

/// `fromImage` and `tag` together; a tag may be a digest.
fn pulled(image: &str, tag: &str) -> String {
    match tag {
        "" => image.to_owned(),
        digest if digest.contains(':') => format!("{image}@{digest}"),
        tag => format!("{image}:{tag}"),
    }
}

async fn push(request: Request) -> Outcome {
    let reference = match request.query.text("tag") {
        "" => request.name().to_owned(),
        tag => format!("{}:{tag}", request.name()),
    };
    let options = PushOptions {
        reference,
        target: None,
        platform: platform(&request)?,
        whole: false,
        credentials: credentials(&request)?,
        insecure: false,
    };
    push_as(request, options).await
}

/// A list of manifests: whole or not at all.
pub(super) async fn push_list(request: Request) -> Outcome {
    let options = PushOptions {
        reference: request.name().to_owned(),
        target: None,
        platform: None,
        whole: true,
        credentials: credentials(&request)?,
        insecure: request.query.flag("insecure"),
    };
    push_as(request, options).await
}

async fn push_as(request: Request, options: PushOptions) -> Outcome {
    let (engine, progress) = (request.app.engine.clone(), Progress::default());
    let told = progress.clone();
    carried(
        progress,
        async move { engine.image_push(options, &told).await },
    )
    .await
}

/// Hull's own: a volume's content goes to a registry.
pub(super) async fn push_volume(request: Request) -> Outcome {
    let (name, reference) = (request.name().to_owned(), request.query.text("reference"));
    let (reference, credentials) = (reference.to_owned(), credentials(&request)?);
    let (engine, progress) = (request.app.engine.clone(), Progress::default());
    let told = progress.clone();
    carried(progress, async move {
        engine
            .volume_push(&name, &reference, credentials, &told)
            .await
    })
    .await
}

/// Hull's own: and comes from there.
pub(super) async fn pull_volume(request: Request) -> Outcome {
    let order = PullVolume {
        reference: request.query.text("reference").to_owned(),
        name: request.query.text("name").to_owned(),
        overwrite: request.query.flag("overwrite"),
        credentials: credentials(&request)?,
    };
    let (engine, progress) = (request.app.engine.clone(), Progress::default());
    let told = progress.clone();
    carried(progress, async move {
        engine.volume_pull(order, &told).await.map(drop)
    })
    .await
}

/// Shows a transfer while it goes on. A failure before there is anything to show is an answer of its
/// own; a later one is the last message. A client that leaves gives the transfer up: what came stays
/// for the next one.
pub(super) async fn carried<E: Into<Failure> + Send + 'static>(
    progress: Progress,
    transfer: impl Future<Output = Result<(), E>> + Send + 'static,
) -> Outcome {
    let mut transfer = Box::pin(transfer);
    let first = tokio::select! {
        biased;
        event = progress.next() => Ok(event),
        outcome = &mut transfer => Err(outcome),
    };
    let (first, ended) = match first {
        Ok(event) => (Some(event), None),
        Err(outcome) => match (progress.try_next(), outcome) {
            (None, Err(error)) => return Err(error.into()),
            (first, outcome) => (first, Some(outcome)),
        },
    };
    let (sender, answer) = body::channel();
    tokio::spawn(async move {
        let line = |event| -> Vec<u8> {
            messages(&event)
                .iter()
                .flat_map(ProgressMessage::to_line)
                .collect()
        };
        let mut outcome: Option<Result<(), E>> = ended;
        let mut next = first;
        loop {
            if let Some(event) = next.take()
                && sender.send(line(event)).await.is_err()
            {
                return;
            }
            if outcome.is_some() {
                next = progress.try_next();
                if next.is_none() {
                    break;
                }
                continue;
            }
            tokio::select! {
                biased;
                event = progress.next() => next = Some(event),
                ended = &mut transfer => outcome = Some(ended),
                () = sender.gone() => return,
            }
        }
        if let Some(Err(error)) = outcome {
            let failure: Failure = error.into();
            tracing::debug!(message = failure.message, "a transfer failed");
            let _ = sender
                .send(ProgressMessage::error(failure.message).to_line())
                .await;
        }
    });
    Ok(flowing(JSON, answer))
}

async fn login(mut request: Request) -> Outcome {
    let auth: AuthConfig = request.json_or_default().await?;
    let server = auth.serveraddress.clone();
    let credentials = to_wire::credentials(auth).unwrap_or_default();
    let token = request
        .app
        .engine
        .registry_login(&server, &credentials)
        .await?;
    Ok(json(&AuthResponse {
        status: "Login Succeeded".to_owned(),
        identity_token: token.unwrap_or_default(),
    }))
}

async fn distribution(request: Request) -> Outcome {
    let credentials = credentials(&request)?;
    let (target, platforms) = request
        .app
        .engine
        .registry_look(request.name(), credentials.as_ref())
        .await?;
    Ok(json(&to_wire::distribution(&target, &platforms)))
}

async fn search(request: Request) -> Outcome {
    let filters = request.filters(&["is-automated", "is-official", "stars"])?;
    let switch = |key: &str| {
        filters
            .contains(key)
            .then(|| filters.flag(key, false))
            .transpose()
    };
    let mut stars = 0;
    for text in filters.values("stars") {
        let number: u64 = text
            .parse()
            .map_err(|_| Failure::invalid(format!("invalid filter 'stars=[{text}]'")))?;
        stars = stars.max(number);
    }
    let filter = SearchFilter {
        limit: match request.query.number("limit")? {
            None => 0,
            Some(limit) => u32::try_from(limit).map_err(|_| {
                Failure::invalid(format!("limit {limit} is outside the range of [1, 100]"))
            })?,
        },
        stars,
        official: switch("is-official")?,
        automated: switch("is-automated")?,
    };
    let credentials = credentials(&request).unwrap_or_default();
    let found = request
        .app
        .engine
        .registry_search(request.query.text("term"), &filter, credentials.as_ref())
        .await?;
    Ok(json(
        &found.into_iter().map(to_wire::found).collect::<Vec<_>>(),
    ))
}

/// For whom.
pub(super) fn credentials(request: &Request) -> Result<Option<Credentials>, Failure> {
    let Some(value) = request
        .headers
        .get("x-registry-auth")
        .filter(|value| !value.is_empty())
    else {
        return Ok(None);
    };
    let auth = hull_api::client::decode_auth(value.as_bytes()).ok_or_else(|| {
        Failure::invalid("invalid X-Registry-Auth header: it is no base64 of JSON")
    })?;
    Ok(to_wire::credentials(auth))
}
