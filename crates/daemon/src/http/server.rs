//! Accepts connections and carries requests on them to their operations.

use std::{
    convert::Infallible,
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, StatusCode};
use hull_api::{ApiVersion, query::Query};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt as _,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    answer::{Answer, Failure, Outcome},
    body::AnswerBody,
    hijack::{Desk, Taken},
    judges,
    request::{Left, Request},
    router,
    socket::{Connection, Listener},
};
use crate::{app::App, metrics::Action, routes};

/// The largest head of a request, and the buffer a connection may grow to.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// How HTTP/2 begins, when client and server know of each other that they speak it.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client may take to prove who it is, and to say its first word: clients keep connections
/// that they do not use yet.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(30);
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(300);

/// How long one client that cannot be served is waited for, and the pause before the next.
const TURNING_AWAY: Duration = Duration::from_millis(5);

/// Accepts clients until the daemon stops.
pub(crate) async fn serve(listener: Listener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    // Given up when there is no other descriptor left, to tell a client so.
    let mut spare = File::open("/dev/null").ok();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok(pending) => {
                let (app, mut stop) = (Arc::clone(&app), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = async {
                            match timeout(HANDSHAKE_WITHIN, pending.established()).await {
                                Ok(Ok(io)) => converse(io, app).await,
                                Ok(Err(error)) => {
                                    tracing::debug!(%error, "a client was turned away");
                                }
                                Err(_) => tracing::debug!("a client did not say who it is"),
                            }
                        } => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, as a rule. Clients that wait in line would wait for those
                // that are being served, which may wait for them: they are told instead.
                tracing::warn!(%error, "cannot serve a client");
                drop(spare.take());
                if let Ok(Ok(pending)) = timeout(TURNING_AWAY, listener.accept()).await {
                    pending.turn_away();
                }
                spare = File::open("/dev/null").ok();
                tokio::time::sleep(TURNING_AWAY).await;
            }
        }
    }
}

/// All requests of one connection, until it ends or is taken over.
async fn converse(io: Connection, app: Arc<App>) {
    let user: Option<Arc<str>> = io.user().map(Arc::from);
    let opened = match timeout(FIRST_WORD_WITHIN, opened(io)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client broke off");
            return;
        }
        Err(_) => return,
    };
    if opened.begins_with(PREFACE) && !app.config().list("authorization-plugins").is_empty() {
        // Nobody could be asked about what is said there.
        tracing::warn!(
            "a client that speaks HTTP/2 at once is turned away: authorization plugins see no such requests"
        );
        return;
    }
    if opened.begins_with(PREFACE) {
        return routes::buildkit_direct(&app, opened).await;
    }
    let (desk, mut orders) = mpsc::channel(1);
    let service = service_fn(move |request| {
        // Now, and not when the answer is first asked for: a client that is gone by then has said
        // what it wants all the same.
        let begun = begin(&app, request, user.clone());
        let (app, desk) = (Arc::clone(&app), desk.clone());
        async move { Ok::<_, Infallible>(respond(&app, begun, desk).await) }
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(opened), service);
    let hijack = tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a client broke off");
            }
            return;
        }
        Some(hijack) = orders.recv() => hijack,
    };
    let parts = connection.into_parts();
    let (rest, io) = parts.io.into_inner().into_parts();
    let pending = [parts.read_buf, rest].concat();
    hijack.run(io, pending.into()).await;
}

/// Reads as much of a connection's beginning as tells whether its client speaks HTTP/2 at once.
async fn opened(mut io: Connection) -> std::io::Result<Taken> {
    let mut start = Vec::with_capacity(PREFACE.len());
    while start.len() < PREFACE.len() && PREFACE.starts_with(&start) {
        let mut piece = [0; 24];
        let room = PREFACE.len() - start.len();
        let read = io.read(&mut piece[..room]).await?;
        if read == 0 {
            break;
        }
        start.extend_from_slice(&piece[..read]);
    }
    Ok(Taken::new(start.into(), io))
}

/// An operation that runs.
struct Begun {
    method: Method,
    path: String,
    outcome: Result<JoinHandle<Outcome>, Failure>,
    /// Dropped when the client leaves before it is answered.
    _waits: watch::Sender<()>,
}

/// Runs the operation in a task of its own: a client that leaves does not stop it half-way, and a
/// panic is an answer, not the daemon's end.
fn begin(app: &Arc<App>, request: http::Request<Incoming>, user: Option<Arc<str>>) -> Begun {
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let app_of_it = Arc::clone(app);
    let (waits, left) = watch::channel(());
    let perform = |meaning: router::Meaning| {
        let app = app_of_it;
        tokio::spawn(async move {
            let head = (&parts.method, &parts.uri, &parts.headers);
            let is_secret = meaning.op.is_secret();
            let (body, case) = judges::admit(&app, head, user.as_deref(), body, is_secret).await?;
            let request = Request {
                app: Arc::clone(&app),
                version: meaning.version,
                names: meaning.names,
                query: Query::parse(parts.uri.query().unwrap_or_default()),
                headers: parts.headers,
                body,
                left: Left::new(left),
            };
            let outcome = timed(meaning.op, request).await;
            match case {
                None => outcome,
                Some(case) => {
                    let answer = outcome.unwrap_or_else(Failure::into_answer);
                    judges::release(&app, case, answer).await
                }
            }
        })
    };
    let outcome = router::route(&method, &path, app.config().min_api).map(perform);
    Begun {
        method,
        path,
        outcome,
        _waits: waits,
    }
}

/// Carries the operation out, and counts how long it took if that is something to know.
async fn timed(op: router::Op, request: Request) -> Outcome {
    let Some(action) = Action::of(op) else {
        return routes::perform(op, request).await;
    };
    let (app, begun) = (Arc::clone(&request.app), Instant::now());
    let outcome = routes::perform(op, request).await;
    if outcome.is_ok() {
        app.metrics.took(action, begun);
    }
    outcome
}

/// The answer. Never returns if the connection is taken over.
async fn respond(app: &App, begun: Begun, desk: Desk) -> http::Response<AnswerBody> {
    let mut answer = answer(begun).await;
    for (name, value) in app.headers() {
        answer.headers_mut().insert(name, value.clone());
    }
    match answer {
        Answer::Plain(response) => response,
        Answer::Hijack(hijack) => {
            let _ = desk.send(hijack).await;
            std::future::pending().await
        }
    }
}

async fn answer(begun: Begun) -> Answer {
    let Begun {
        method,
        path,
        outcome,
        _waits,
    } = begun;
    let failure = match outcome {
        Err(failure) => failure,
        Ok(running) => match running.await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(failure)) => failure,
            Err(panic) => {
                tracing::error!(%method, path, %panic, "an operation broke off");
                Failure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the operation broke off: this is a mistake in the daemon",
                )
            }
        },
    };
    let status = failure.status.as_u16();
    // Only 500 is this daemon's own trouble; the rest is the client's or a matter of course.
    if failure.status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(%method, path, status, "{}", failure.message);
    } else {
        tracing::debug!(%method, path, status, "{}", failure.message);
    }
    failure.into_answer()
}

/// The headers of every answer.
pub(crate) fn common_headers(experimental: bool) -> Vec<(http::HeaderName, HeaderValue)> {
    let header = |name: &'static str, value: String| {
        let value = HeaderValue::from_str(&value).expect("made of letters, digits and signs here");
        (http::HeaderName::from_static(name), value)
    };
    vec![
        header("api-version", ApiVersion::MAX.to_string()),
        header("ostype", "linux".to_owned()),
        header("docker-experimental", experimental.to_string()),
        header("server", format!("Docker/{} (linux)", crate::VERSION)),
    ]
}
