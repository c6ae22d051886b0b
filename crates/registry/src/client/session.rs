//! Work on one repository: requests that authenticate, wait and try again.

use http::{HeaderValue, Method, Response, StatusCode, header};
use hull_oci::Reference;
use hyper::body::Incoming;

use super::challenge::Challenge;
use super::hosts::{Host, Scheme, Trust};
use super::request::{Call, words};
use super::retry::Policy;
use super::{Client, Credentials};
use crate::{Error, Result};

/// What is going to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Pull,
    Push,
}

/// Work on one repository for one user. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Session {
    pub(super) client: Client,
    pub(super) repository: Reference,
    pub(super) hosts: std::sync::Arc<[Host]>,
    credentials: Option<Credentials>,
    /// Further repositories a push wants to read from, to mount their blobs.
    pub(super) sources: Vec<String>,
}

impl Session {
    pub(super) fn new(
        client: Client,
        repository: Reference,
        hosts: Vec<Host>,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            client,
            repository,
            hosts: hosts.into(),
            credentials,
            sources: Vec::new(),
        }
    }

    /// With the right to mount blobs of other repositories of the same registry.
    pub(crate) fn mounting_from(mut self, sources: Vec<String>) -> Self {
        self.sources = sources;
        self
    }

    /// Whether nobody says who asks.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.credentials.is_none()
    }

    /// The registry itself.
    pub(super) fn origin(&self) -> &Host {
        let origin = self.hosts.iter().find(|host| host.is_origin);
        origin.unwrap_or_else(|| self.hosts.last().expect("a plan ends with the origin"))
    }

    /// Sends a request to one host until there is an answer that is final. The answer may be any.
    pub(super) async fn send(
        &self,
        host: &Host,
        intent: Intent,
        call: &Call,
    ) -> Result<Response<Incoming>> {
        let mut policy = self.client.policy();
        if !host.is_origin {
            // There is somebody else to ask.
            policy.attempts = 1;
        }
        let mut attempt = 1;
        loop {
            let outcome = self.send_authorized(host, intent, call).await;
            let pause = match &outcome {
                Ok(answer) => {
                    policy.after_answer(&call.method, answer.status(), answer.headers(), attempt)
                }
                // Uploads decide for themselves what to send again.
                Err(Error::Connect {
                    is_final: false, ..
                }) if matches!(call.method, Method::GET | Method::HEAD) => {
                    policy.after_break(attempt)
                }
                Err(_) => None,
            };
            let Some(pause) = pause else {
                return outcome;
            };
            tracing::debug!(
                host = host.authority,
                path = call.path,
                attempt,
                ?pause,
                "trying again"
            );
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// One attempt.
    pub(super) async fn send_authorized(
        &self,
        host: &Host,
        intent: Intent,
        call: &Call,
    ) -> Result<Response<Incoming>> {
        let (path, scope) = (self.path(host, call), self.scope(intent));
        if !is_on(host, &path) {
            // Somewhere else: nobody there is told who asks.
            let stranger = Host {
                headers: Vec::new(),
                trust: Trust {
                    skip_verify: host.trust.skip_verify && host.scheme == Scheme::Insecure,
                    ..Trust::default()
                },
                ..host.clone()
            };
            return self.client.send(&stranger, &path, call, None).await;
        }
        let credentials = self.credentials_for(host);
        let authorization = self.client.authorization(host, &scope, credentials).await;
        let authorization = authorization.map_err(|error| self.denied(error, intent))?;
        let answer = self
            .client
            .send(host, &path, call, authorization.as_ref())
            .await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(challenge) = challenge_of(&answer) else {
            return Ok(answer);
        };
        if authorization.is_some() {
            // A token that has run out, or is no longer believed.
            self.client.forget(host);
        }
        let again = self
            .client
            .answer_challenge(host, &challenge, &scope, credentials)
            .await;
        match again.map_err(|error| self.denied(error, intent))? {
            Some(again)
                if Some(&again) != authorization.as_ref()
                    || matches!(challenge, Challenge::Bearer { .. }) =>
            {
                self.client.send(host, &path, call, Some(&again)).await
            }
            _ => Ok(answer),
        }
    }

    /// A password is the origin's business, not its mirrors'.
    fn credentials_for(&self, host: &Host) -> Option<&Credentials> {
        self.credentials.as_ref().filter(|_| host.is_origin)
    }

    fn path(&self, host: &Host, call: &Call) -> String {
        if call.path.contains("://") {
            return call.path.clone();
        }
        if let Some(below_base) = call.path.strip_prefix("//v2") {
            return format!("{}{below_base}", host.base);
        }
        let mut path = format!("{}/{}{}", host.base, self.repository.path(), call.path);
        if let Some(namespace) = &host.namespace {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&crate::wire::form(&[("ns", namespace)]));
        }
        path
    }

    fn scope(&self, intent: Intent) -> String {
        let own = self.repository.path();
        match intent {
            Intent::Pull => format!("repository:{own}:pull"),
            Intent::Push => {
                let mut scope = format!("repository:{own}:pull,push");
                for source in &self.sources {
                    scope.push_str(&format!(" repository:{source}:pull"));
                }
                scope
            }
        }
    }

    fn denied(&self, error: Error, intent: Intent) -> Error {
        match error {
            Error::Login { why, .. } => self.refused(intent, why),
            other => other,
        }
    }

    fn refused(&self, intent: Intent, why: String) -> Error {
        let repository = self.repository.familiar_repository();
        match intent {
            Intent::Pull => Error::Denied { repository, why },
            Intent::Push => Error::PushDenied { repository, why },
        }
    }

    /// The error that an answer is.
    pub(super) async fn error(
        &self,
        intent: Intent,
        call: &Call,
        answer: Response<Incoming>,
    ) -> Error {
        let status = answer.status();
        let why = words(answer.into_body(), self.client.settings().patience).await;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.refused(intent, why),
            StatusCode::TOO_MANY_REQUESTS => Error::TooManyRequests { why },
            status => Error::Status {
                method: call.method.to_string(),
                url: format!(
                    "{}{}",
                    self.repository,
                    call.path.split('?').next().unwrap_or_default()
                ),
                status,
                why,
            },
        }
    }
}

impl Client {
    pub(super) fn policy(&self) -> Policy {
        Policy {
            attempts: self.settings().attempts.max(1),
            pause: self.settings().pause,
        }
    }
}

/// Whether a path, or a whole address, is this host's.
fn is_on(host: &Host, path: &str) -> bool {
    if !path.contains("://") {
        return true;
    }
    let Ok(uri) = path.parse::<http::Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority() else {
        return true;
    };
    let port = match uri.scheme_str() {
        Some("http") => ":80",
        _ => ":443",
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    bare(authority.as_str()) == bare(&host.authority)
}

pub(super) fn challenge_of(answer: &Response<Incoming>) -> Option<Challenge> {
    let headers = answer.headers().get_all(header::WWW_AUTHENTICATE);
    Challenge::choose(
        headers
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok()),
    )
}
