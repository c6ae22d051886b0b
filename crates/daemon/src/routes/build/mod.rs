//! Building images by the classic API, and by Hull's own additions to it.
//!
//! Classic: the body is the context as an archive, the answer Docker's stream of text. Hull's own
//! client sends its context before (see [`sync`]), what else there is as JSON, and gets events.

mod agents;
mod classic;
mod event;
mod options;
mod output;
mod prune;
mod sync;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use hull_api::{progress::ProgressMessage, types::BuildExtras};
use hull_build::{Builder, Cancel, Event, Progress};
use tokio::sync::mpsc;

use self::{classic::Classic, options::Options};
use crate::http::{
    answer::{Answer, Failure, Outcome, empty, flowing},
    body,
    request::Request,
    router::BuildOp,
};

pub(super) use prune::usage;

const JSON: &str = "application/json";

/// Messages on their way to a client that reads slowly. A build waits for nobody: beyond this, it
/// waits for its client.
const MESSAGES: usize = 4096;

/// Builds that run, and contexts that came before their build.
#[derive(Default)]
pub(crate) struct Builds {
    running: Mutex<HashMap<String, Cancel>>,
    contexts: sync::Contexts,
    agents: Arc<agents::Agents>,
}

impl std::fmt::Debug for Builds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Builds")
    }
}

/// Takes a build off the list when it ends.
struct Listed(Arc<crate::app::App>, String);

impl Drop for Listed {
    fn drop(&mut self) {
        let mut running = self
            .0
            .builds
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.1);
    }
}

/// Carries an operation of builds out.
pub(super) async fn perform(op: BuildOp, request: Request) -> Outcome {
    match op {
        BuildOp::Build => build(request).await,
        BuildOp::Cancel => cancel(&request),
        BuildOp::Prune => prune::prune(request).await,
        BuildOp::Context => sync::begin(request).await,
        BuildOp::Fill => sync::fill(request).await,
        BuildOp::Agent => agents::offer(&request),
    }
}

/// `POST /build`. A client that leaves stops it, also before the first word on it: a quiet build says
/// nothing until it has ended.
async fn build(request: Request) -> Outcome {
    let cancel = Cancel::new();
    let left = request.left.clone();
    let mut building = std::pin::pin!(build_until(request, cancel.clone()));
    tokio::select! {
        answer = &mut building => answer,
        () = left.wait() => {
            cancel.cancel();
            building.await
        }
    }
}

async fn build_until(mut request: Request, cancel: Cancel) -> Outcome {
    if request.query.text("version") == "2" {
        return Err(Failure::absent(
            "a BuildKit session over POST /build: use /grpc; this",
        ));
    }
    let mut options = Options::parse(&request)?;
    let is_hulls = request.query.flag("hull");
    // Our own client may want to show what clients of before show.
    let wants_events = is_hulls && !request.query.flag("classic");
    let builder = Arc::clone(request.app.engine.builder()?);
    let listed = list(&request, &options.build_id, &cancel);
    let mut agents = None;
    let prepared = if is_hulls {
        let extras: BuildExtras = request.json_or_default().await?;
        if !extras.agent_token.is_empty() {
            agents = Some(request.app.builds.agents.open(&extras.agent_token));
        }
        options.logins = options::logins(extras.auths.clone());
        let remote = options::remote(&builder, &options, &extras, &cancel).await?;
        options::from_extras(&request.app, &options, extras, remote)?
    } else {
        let (pipe, filling) = body::into_pipe(request.body).map_err(super::archive::internal)?;
        let (maker, wanted) = (Arc::clone(&builder), options.clone());
        let stop = cancel.clone();
        let preparing = move || options::from_archive(&maker, &wanted, pipe, &stop);
        let prepared = blocking(preparing).await;
        super::archive::whole(filling).await?;
        prepared??
    };
    let (sender, mut messages) = mpsc::channel::<ProgressMessage>(MESSAGES);
    let told = sender.clone();
    let held = Held::default();
    let progress: Arc<dyn Progress> = if wants_events {
        Arc::new(move |event: Event| event::send(&told, &event))
    } else {
        let classic = Mutex::new(Classic::new());
        let held = options.quiet.then(|| held.clone());
        Arc::new(move |event: Event| {
            let mut classic = classic.lock().unwrap_or_else(PoisonError::into_inner);
            for message in classic.event(&event) {
                match &held {
                    Some(held) => held.add(message),
                    None => _ = told.blocking_send(message),
                }
            }
        })
    };
    let stop = cancel.clone();
    let app = Arc::clone(&request.app);
    let job = tokio::task::spawn_blocking(move || {
        let _held = (listed, agents);
        let outcome = output::run(&builder, prepared, progress, &stop, &sender);
        if let Err(error) = builder.settle() {
            tracing::warn!(%error, "cannot settle the build cache");
        }
        drop(tokio::task::spawn_blocking(move || {
            builder.tidy();
            app.engine.sweep();
        }));
        outcome
    });
    let first = match messages.recv().await {
        Some(first) => first,
        None => return silent(job, &held).await,
    };
    Ok(answer(job, first, messages, cancel, wants_events))
}

type Job = tokio::task::JoinHandle<Result<(), hull_build::Error>>;

/// What a quiet build would have said: it does if it fails. With its bytes.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<(VecDeque<ProgressMessage>, usize)>>);

impl Held {
    /// So much of the end is kept: there it says what failed.
    const BYTES_MAX: usize = 4 << 20;

    fn add(&self, message: ProgressMessage) {
        let weight =
            |message: &ProgressMessage| size_of::<ProgressMessage>() + message.stream.len();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (messages, bytes) = &mut *held;
        *bytes += weight(&message);
        messages.push_back(message);
        while *bytes > Self::BYTES_MAX && messages.len() > 1 {
            if let Some(first) = messages.pop_front() {
                *bytes -= weight(&first);
            }
        }
    }

    fn take(&self) -> Vec<ProgressMessage> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *held).0.into()
    }
}

/// The answer to a build that ended without a word. An error before the first step is the answer itself; later ones end
/// what would have been said, and tell the exit code of the step.
async fn silent(job: Job, held: &Held) -> Outcome {
    let Err(error) = joined(job).await else {
        return Ok(empty(StatusCode::OK));
    };
    let mut messages = held.take();
    if messages.is_empty() {
        return Err(failure(&error));
    }
    messages.extend(classic::failed(&error, false));
    let (sender, answer) = body::channel();
    tokio::spawn(async move {
        for message in messages {
            if sender.send(message.to_line()).await.is_err() {
                return;
            }
        }
    });
    Ok(flowing(JSON, answer))
}

/// The messages of a build; an error is the last of them.
fn answer(
    job: Job,
    first: ProgressMessage,
    mut messages: mpsc::Receiver<ProgressMessage>,
    cancel: Cancel,
    wants_events: bool,
) -> Answer {
    let (sender, answer) = body::channel();
    tokio::spawn(async move {
        let mut next = Some(first);
        let mut is_gone = false;
        while let Some(message) = next {
            if !is_gone {
                is_gone = tokio::select! {
                    sent = sender.send(message.to_line()) => sent.is_err(),
                    () = sender.gone() => true,
                };
            }
            if is_gone {
                cancel.cancel();
            }
            next = tokio::select! {
                message = messages.recv() => message,
                () = sender.gone(), if !is_gone => {
                    is_gone = true;
                    cancel.cancel();
                    messages.recv().await
                }
            };
        }
        if let Err(error) = joined(job).await {
            for message in classic::failed(&error, wants_events) {
                let _ = sender.send(message.to_line()).await;
            }
        }
    });
    flowing(JSON, answer)
}

async fn joined(job: Job) -> Result<(), hull_build::Error> {
    job.await.unwrap_or_else(|panic| {
        Err(hull_build::Error::Host {
            what: "build".to_owned(),
            cause: format!("the build broke off: {panic}"),
        })
    })
}

fn failure(error: &hull_build::Error) -> Failure {
    let status = if error.is_invalid() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let excerpt = error.place().map(hull_build::Place::excerpt);
    let message = match excerpt.filter(|text| !text.is_empty()) {
        Some(excerpt) => format!("{error}\n{}", excerpt.trim_end()),
        None => error.to_string(),
    };
    Failure::new(status, message)
}

impl From<hull_build::Error> for Failure {
    fn from(error: hull_build::Error) -> Self {
        failure(&error)
    }
}

fn list(request: &Request, id: &str, cancel: &Cancel) -> Option<Listed> {
    if id.is_empty() {
        return None;
    }
    let mut running = request
        .app
        .builds
        .running
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    running.insert(id.to_owned(), cancel.clone());
    Some(Listed(Arc::clone(&request.app), id.to_owned()))
}

/// `POST /build/cancel`.
fn cancel(request: &Request) -> Outcome {
    let id = request.query.text("id");
    if id.is_empty() {
        return Err(Failure::invalid("build ID not provided"));
    }
    let running = request
        .app
        .builds
        .running
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(cancel) = running.get(id) {
        cancel.cancel();
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Runs a blocking job.
async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(job).await.map_err(|panic| {
        let message = format!("a job broke off: {panic}");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })
}

/// The builder, as blocking jobs take it.
fn builder(request: &Request) -> Result<Arc<Builder>, Failure> {
    Ok(Arc::clone(request.app.engine.builder()?))
}
