//! A registry: the distribution specification 1.1, over a directory.
//!
//! [`Options`] → [`Registry::open`] → [`Registry::serve`] on a listener. Requests are routed
//! ([`route`]), let through ([`auth`]) and carried out ([`operation`]) on the [`storage`].

mod answer;
mod auth;
mod der;
mod issuer;
mod metrics;
mod name;
mod operation;
mod route;
mod storage;
mod tee;
mod tls;
mod token;
mod upstream;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub use storage::{Collected, Storage, StorageError};

use crate::{Error, Result};
use answer::{Answer, Code, Outcome, Refusal, With as _};
use auth::{Access, Need};
use metrics::Metrics;
use route::{Action, Target};
use upstream::Upstream;

/// How long a client may take for the head of a request, and for the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// The buffers a connection may grow to: heads are small, bodies are passed on. A thousand slow
/// clients have as many.
const BUFFER_BYTES_MAX: usize = 16 << 10;

/// What a registry calls itself in tokens, unless it was told how.
const SERVICE: &str = "hull-registry";

/// How a registry is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where everything lies.
    pub root: PathBuf,
    /// A certificate chain and its key, to serve with TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Authorities; with TLS, only clients with a certificate of theirs are let in.
    pub tls_clients: Option<PathBuf>,
    /// Users; `None`: everybody may do everything.
    pub htpasswd: Option<PathBuf>,
    /// Whether users get tokens, and the service's name in them.
    pub token_service: Option<String>,
    /// Where clients are sent for tokens; `None`: here.
    pub token_realm: Option<String>,
    /// Somebody else who makes tokens for `token_service`, at `token_realm`.
    pub token_issuer: Option<IssuerOptions>,
    /// Whether reading takes no credentials.
    pub anonymous_pull: bool,
    /// Nothing is taken in or away.
    pub read_only: bool,
    /// Bytes that may lie in `root`; 0: no limit.
    pub quota: u64,
    /// The registry this one is a cache of.
    pub upstream: Option<UpstreamOptions>,
    /// Time between two collections of what nobody needs; `None`: none.
    pub collect_every: Option<Duration>,
    /// How long a blob nobody needs yet stays.
    pub grace: Duration,
}

/// Whose tokens are believed.
#[derive(Debug, Clone, Default)]
pub struct IssuerOptions {
    /// What tokens name as their issuer; empty: anything.
    pub name: String,
    /// Public keys: a JSON Web Key Set, or PEM.
    pub keys: PathBuf,
}

/// The registry to be a cache of.
#[derive(Debug, Clone, Default)]
pub struct UpstreamOptions {
    /// `docker.io`, `registry.example.org:5000` …
    pub host: String,
    /// For whom to ask.
    pub credentials: Option<crate::Credentials>,
    /// How to reach it.
    pub settings: crate::Settings,
}

/// A registry that can be served.
pub struct Registry {
    storage: Arc<Storage>,
    access: Access,
    upstream: Option<Upstream>,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    metrics: Metrics,
    read_only: bool,
    patience: Duration,
    collect_every: Option<Duration>,
    grace: Duration,
}

impl Registry {
    /// Opens the directory, and reads what the options name.
    pub fn open(options: Options) -> Result<Arc<Self>> {
        let root = options.root.display().to_string();
        let setting = |what: &str, why: String| Error::Setting {
            what: what.to_owned(),
            why,
        };
        let storage = Storage::open(&options.root, options.quota)
            .map_err(|error| setting(&root, error.to_string()))?;
        let acceptor = match &options.tls {
            Some((certificate, key)) => Some(tls::acceptor(
                certificate,
                key,
                options.tls_clients.as_deref(),
            )?),
            None if options.tls_clients.is_some() => {
                return Err(setting(
                    "certificates of clients",
                    "only TLS has them: give the server a certificate, too".to_owned(),
                ));
            }
            None => None,
        };
        // Who may read without credentials asks for some only where a token lacks a right: a password
        // alone is asked for at once, or never.
        let needs_tokens = options.anonymous_pull && options.htpasswd.is_some();
        let own_name = needs_tokens.then(|| SERVICE.to_owned());
        let tokens = match &options.token_service.clone().or(own_name) {
            Some(service) if options.token_issuer.is_none() => Some(
                token::Tokens::open(
                    &options.root,
                    service,
                    options.token_realm.clone(),
                    acceptor.is_some(),
                )
                .map_err(|error| setting("the key of tokens", error.to_string()))?,
            ),
            _ => None,
        };
        let access = match &options.htpasswd {
            _ if options.token_issuer.is_some() => foreign(&options)?,
            Some(path) => Access::users(path, tokens, options.anonymous_pull)
                .map_err(|error| setting(&path.display().to_string(), error.to_string()))?,
            None if tokens.is_some() => {
                return Err(setting(
                    "tokens",
                    "a htpasswd file must say for whom they are".to_owned(),
                ));
            }
            None => Access::open(),
        };
        let upstream = options.upstream.map(Upstream::new).transpose()?;
        Ok(Arc::new(Self {
            storage: Arc::new(storage),
            access,
            // What is fetched must be kept, but nothing else is taken in.
            read_only: options.read_only || upstream.is_some(),
            upstream,
            acceptor,
            metrics: Metrics::default(),
            patience: Duration::from_secs(60),
            collect_every: options.collect_every,
            grace: options.grace,
        }))
    }

    /// What it keeps.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// The counters, for Prometheus.
    pub fn metrics(&self) -> String {
        self.metrics.text(self.storage.used())
    }

    /// Serves clients until the future is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let collecting = tokio::spawn(Arc::clone(&self).collect_now_and_then());
        let _ended_with_us = AbortOnDrop(collecting);
        let mut clients = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = clients.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    clients.spawn(Arc::clone(&self).converse(stream));
                }
                Err(error) => {
                    // Out of descriptors, as a rule: some become free soon.
                    tracing::warn!(%error, "cannot take a client in");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn converse(self: Arc<Self>, stream: tokio::net::TcpStream) {
        let _counted = self.metrics.connection();
        let Some(acceptor) = self.acceptor.clone() else {
            return self.converse_on(stream).await;
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => self.converse_on(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client was turned away"),
            Err(_) => tracing::debug!("a client took too long to shake hands"),
        }
    }

    async fn converse_on(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| {
            let registry = Arc::clone(&self);
            async move { Ok::<_, Infallible>(registry.respond(request).await) }
        });
        let ended = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = ended {
            tracing::debug!(%error, "a client broke off");
        }
    }

    async fn respond(self: Arc<Self>, request: http::Request<Incoming>) -> Answer {
        let _counted = self.metrics.request();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let metrics = self.metrics.clone();
        let answer = match self.answer(request).await {
            Ok(answer) => answer,
            Err(refusal) => {
                tracing::debug!(%method, path, status = refusal.status.as_u16(), "{}", refusal.message);
                refusal.into_answer()
            }
        };
        metrics.answered(answer.status());
        let version = HeaderName::from_static("docker-distribution-api-version");
        let mut answer = answer.with(version, "registry/2.0");
        answer
            .headers_mut()
            .entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("text/plain"));
        if method == Method::HEAD {
            let (parts, _) = answer.into_parts();
            let body = http_body_util::BodyExt::boxed_unsync(http_body_util::BodyExt::map_err(
                http_body_util::Empty::new(),
                |never| match never {},
            ));
            return http::Response::from_parts(parts, body);
        }
        answer
    }

    async fn answer(self: Arc<Self>, request: http::Request<Incoming>) -> Outcome {
        let (parts, body) = request.into_parts();
        let target = route::target(parts.uri.path())?;
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let need = match &target {
            Target::Base => Need::Base,
            Target::Catalog => Need::Catalog,
            Target::Token => return token::give(&self, &parts, body).await,
            Target::In(name, resource) => {
                Need::Repository(name.clone(), Action::of(&parts.method, resource))
            }
        };
        self.access.check(&parts.headers, &need, &host).await?;
        match target {
            Target::Base => Ok(answer::json(StatusCode::OK, &serde_json::json!({}))),
            Target::Catalog => {
                operation::catalog(&self, parts.uri.query().unwrap_or_default()).await
            }
            Target::Token => Err(Refusal::new(Code::NameUnknown, "there is no such page")),
            Target::In(name, resource) => {
                self.refuse_changes(&need)?;
                let request = operation::Request {
                    registry: self,
                    name,
                    parts,
                    body,
                };
                operation::perform(request, resource).await
            }
        }
    }

    fn refuse_changes(&self, need: &Need) -> Result<(), Refusal> {
        match need {
            Need::Repository(_, Action::Push | Action::Delete) if self.read_only => {
                Err(Refusal::new(
                    Code::Unsupported,
                    "this registry takes nothing in: it is read only",
                ))
            }
            _ => Ok(()),
        }
    }

    async fn collect_now_and_then(self: Arc<Self>) {
        let Some(every) = self.collect_every else {
            return;
        };
        loop {
            tokio::time::sleep(every).await;
            let (storage, grace) = (Arc::clone(&self.storage), self.grace);
            match tokio::task::spawn_blocking(move || storage.collect(grace)).await {
                Ok(Ok(collected)) => tracing::info!(?collected, "collected what nobody needs"),
                Ok(Err(error)) => tracing::error!(%error, "cannot collect what nobody needs"),
                Err(panic) => tracing::error!(%panic, "collecting broke off"),
            }
        }
    }
}

/// Access by tokens that somebody else makes.
fn foreign(options: &Options) -> Result<Access> {
    let setting = |what: &str, why: &str| Error::Setting {
        what: what.to_owned(),
        why: why.to_owned(),
    };
    let (Some(issuer), Some(service), Some(realm)) = (
        &options.token_issuer,
        &options.token_service,
        &options.token_realm,
    ) else {
        return Err(setting(
            "tokens of another issuer",
            "for which service they are, and where clients get them, must be said",
        ));
    };
    if options.htpasswd.is_some() {
        return Err(setting(
            "a htpasswd file",
            "users are the token issuer's business",
        ));
    }
    let issuer = issuer::Issuer::open(&issuer.name, service, realm, &issuer.keys)
        .map_err(|error| setting(&issuer.keys.display().to_string(), &error.to_string()))?;
    Ok(Access::issued_by(issuer, options.anonymous_pull))
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
