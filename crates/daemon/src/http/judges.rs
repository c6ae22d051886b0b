//! Authorization plugins: each is asked before a request is carried out, and again before its answer
//! goes out. Docker's protocol (`AuthZPlugin.AuthZReq`, `AuthZPlugin.AuthZRes`).
//!
//! Whoever does not answer has not allowed anything.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hull_plugin::Plugin;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Failure},
    body::RequestBody,
};
use crate::app::App;

/// The largest JSON body that plugins are shown. A larger one is refused: what nobody has seen, nobody
/// has allowed.
const BODY_BYTES_MAX: usize = 16 << 20;

/// The largest part of an answer that plugins are shown; of larger ones they see the head.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

const KIND: &str = "authz";

/// The plugins that were found so far.
#[derive(Debug, Default)]
pub(crate) struct Judges(Mutex<HashMap<String, Plugin>>);

/// A request, as plugins see it.
pub(crate) struct Case {
    names: Vec<String>,
    question: serde_json::Map<String, Value>,
    is_secret: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Judgment {
    allow: bool,
    msg: Option<String>,
}

/// Fails if a plugin that the configuration names is not there.
pub(crate) async fn check(app: &App) -> Result<(), String> {
    for name in app.config().list("authorization-plugins") {
        let opened = app.judges.open(app, &name).await;
        opened.map_err(|error| format!("error validating authorization plugin: {error}"))?;
    }
    Ok(())
}

/// Asks whether a request may be carried out. Gives its body back, and the case for
/// [`release`], if anybody is to be asked at all. `is_secret`: what is said is nobody else's business.
pub(crate) async fn admit(
    app: &App,
    (method, uri, headers): (&Method, &Uri, &HeaderMap),
    user: Option<&str>,
    body: Incoming,
    is_secret: bool,
) -> Result<(RequestBody, Option<Case>), Failure> {
    let names = app.config().list("authorization-plugins");
    if names.is_empty() {
        return Ok((RequestBody::Arriving(body), None));
    }
    let (mut body, shown) = match is_json(headers) && !is_secret {
        true => {
            let bytes = read(body).await?;
            (RequestBody::Read(Some(bytes.clone())), Some(bytes))
        }
        false => (RequestBody::Arriving(body), None),
    };
    let mut question = serde_json::Map::new();
    let mut say = |key: &str, value: Value| question.insert(key.to_owned(), value);
    if let Some(user) = user {
        say("User", json!(user));
        say("UserAuthNMethod", json!("TLS"));
    }
    say("RequestMethod", json!(method.as_str()));
    say(
        "RequestURI",
        json!(uri.path_and_query().map_or("/", |it| it.as_str())),
    );
    say("RequestHeaders", json!(shown_headers(headers)));
    if let Some(shown) = shown.filter(|shown| !shown.is_empty()) {
        say("RequestBody", json!(STANDARD.encode(shown)));
    }
    let case = Case {
        names,
        question,
        is_secret,
    };
    for name in &case.names {
        let question = "AuthZPlugin.AuthZReq";
        if let Err(failure) = app.judges.ask(app, name, question, &case.question).await {
            // A client that is still sending would not hear why.
            super::body::discard(&mut body).await;
            return Err(failure);
        }
    }
    Ok((body, Some(case)))
}

/// Asks whether an answer may go out.
pub(crate) async fn release(app: &App, case: Case, answer: Answer) -> Result<Answer, Failure> {
    let Case {
        names,
        mut question,
        is_secret,
    } = case;
    // A connection that is taken over was allowed as a request.
    let Answer::Plain(response) = answer else {
        return Ok(answer);
    };
    let (parts, mut body) = response.into_parts();
    question.insert("ResponseStatusCode".into(), json!(parts.status.as_u16()));
    question.insert(
        "ResponseHeaders".into(),
        json!(shown_headers(&parts.headers)),
    );
    let size = hyper::body::Body::size_hint(&body).exact();
    if !is_secret && is_json(&parts.headers) && size.is_some_and(|size| size <= ANSWER_BYTES_MAX) {
        let whole = body.collect().await;
        let whole = whole
            .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let bytes = whole.to_bytes();
        question.insert("ResponseBody".into(), json!(STANDARD.encode(&bytes)));
        body = Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync();
    }
    for name in names.iter().rev() {
        app.judges
            .ask(app, name, "AuthZPlugin.AuthZRes", &question)
            .await?;
    }
    Ok(Answer::Plain(http::Response::from_parts(parts, body)))
}

impl Judges {
    async fn open(&self, app: &App, name: &str) -> Result<Plugin, hull_plugin::Error> {
        if let Some(known) = self.known().get(name) {
            return Ok(known.clone());
        }
        let config = app.engine.config();
        let opened =
            Plugin::open(name, KIND, &config.plugins, config.plugin_answers_within).await?;
        self.known().insert(name.to_owned(), opened.clone());
        Ok(opened)
    }

    async fn ask(
        &self,
        app: &App,
        name: &str,
        question: &'static str,
        said: &serde_json::Map<String, Value>,
    ) -> Result<(), Failure> {
        let failed = |why: String| {
            let text = format!("plugin {name} failed with error: {question}: {why}");
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text)
        };
        let plugin = self.open(app, name).await;
        let plugin = plugin.map_err(|error| failed(error.to_string()))?;
        let answer = plugin.ask(question, &Value::Object(said.clone())).await;
        let answer = answer.map_err(|error| {
            // It may have gone elsewhere.
            self.known().remove(name);
            failed(error.to_string())
        })?;
        let judgment: Judgment =
            serde_json::from_value(answer).map_err(|error| failed(error.to_string()))?;
        if !judgment.allow {
            let text = format!(
                "authorization denied by plugin {name}: {}",
                judgment.msg.unwrap_or_default()
            );
            return Err(Failure::new(StatusCode::FORBIDDEN, text));
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Plugin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(body: Incoming) -> Result<Bytes, Failure> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect().await;
    whole.map(|whole| whole.to_bytes()).map_err(|error| {
        let status = match error.is::<http_body_util::LengthLimitError>() {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        };
        Failure::new(
            status,
            format!("cannot show the request's body to plugins: {error}"),
        )
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE);
    let media = media
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

/// Passwords for registries go to no plugin.
fn shown_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let shown = headers.iter().filter(|(name, _)| {
        !["x-registry-auth", "x-registry-config", "authorization"].contains(&name.as_str())
    });
    shown
        .map(|(name, value)| {
            let name = super::hijack::title_case(name.as_str());
            (name, String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}
