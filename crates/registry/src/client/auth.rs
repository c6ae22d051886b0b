//! Tokens and passwords: what a host asked for, and what it got.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hull_oci::Digest;
use hyper::body::Incoming;
use serde::Deserialize;

use super::challenge::Challenge;
use super::hosts::Host;
use super::request::{Call, Payload, words};
use super::{Client, Credentials};
use crate::wire::form;
use crate::{Error, Result};

/// Tokens that say nothing about how long they are good for (the specification's number).
const LIFE: Duration = Duration::from_secs(60);
/// No token is believed for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A token is renewed so long before its end.
const MARGIN: Duration = Duration::from_secs(10);
const TOKEN_BYTES_MAX: usize = 1 << 20;
const CACHED_MAX: usize = 1024;

/// What hosts asked for, and tokens by host, scope and user.
#[derive(Default)]
pub(super) struct Tokens {
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<(String, String, Digest), Token>>,
}

#[derive(Clone)]
struct Token {
    text: String,
    good_until: Instant,
}

/// What a token server answers.
#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    pub(super) refresh_token: String,
}

impl Given {
    fn text(&self) -> &str {
        if self.token.is_empty() {
            &self.access_token
        } else {
            &self.token
        }
    }
}

impl Client {
    /// What to send along, as far as it is known what the host wants.
    pub(super) async fn authorization(
        &self,
        host: &Host,
        scope: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Option<HeaderValue>> {
        let challenge = {
            let challenges = self
                .0
                .tokens
                .challenges
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            challenges.get(&host.authority).cloned()
        };
        match challenge {
            Some(challenge) => {
                self.answer_challenge(host, &challenge, scope, credentials)
                    .await
            }
            None => Ok(None),
        }
    }

    /// Answers a 401: `None` when there is nothing to answer with.
    pub(super) async fn answer_challenge(
        &self,
        host: &Host,
        challenge: &Challenge,
        scope: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Option<HeaderValue>> {
        {
            let mut challenges = self
                .0
                .tokens
                .challenges
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            challenges.insert(host.authority.clone(), challenge.clone());
        }
        match challenge {
            Challenge::Basic => Ok(credentials
                .filter(|own| !own.username.is_empty())
                .map(basic)),
            Challenge::Bearer {
                realm,
                service,
                scope: wanted,
            } => {
                if let Some(token) = credentials
                    .map(|own| &own.registry_token)
                    .filter(|token| !token.is_empty())
                {
                    return Ok(bearer(token));
                }
                // What is needed is known better here: a host may ask for less than comes next.
                let scope = if scope.is_empty() { wanted } else { scope };
                let key = (host.authority.clone(), scope.to_owned(), who(credentials));
                if let Some(token) = self.cached(&key) {
                    return Ok(bearer(&token));
                }
                let given = self
                    .fetch_token(host, (realm, service), scope, credentials, false)
                    .await?;
                self.keep(key, &given);
                Ok(bearer(given.text()))
            }
        }
    }

    /// Forgets what turned out to be no good.
    pub(super) fn forget(&self, host: &Host) {
        let mut tokens = self
            .0
            .tokens
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|(authority, ..), _| *authority != host.authority);
    }

    /// Fetches a token. `offline`: with what later ones are had with.
    pub(super) async fn fetch_token(
        &self,
        host: &Host,
        (realm, service): (&str, &str),
        scope: &str,
        credentials: Option<&Credentials>,
        offline: bool,
    ) -> Result<Given> {
        let uri: Uri = realm
            .parse()
            .map_err(|_| nonsense(host, "no address", realm))?;
        let is_plain = uri.scheme_str() == Some("http");
        if credentials.is_some() && is_plain && host.scheme == super::hosts::Scheme::Https {
            return Err(nonsense(host, "a place for tokens without TLS", realm));
        }
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
            return Err(nonsense(host, "no address", realm));
        }
        if let Some(own) = credentials.filter(|own| !own.identity_token.is_empty()) {
            let grant = [
                ("grant_type", "refresh_token"),
                ("refresh_token", own.identity_token.as_str()),
            ];
            return self.post_form(host, realm, service, scope, &grant).await;
        }
        let mut query = form(&[("service", service)]);
        for one in scope.split(' ').filter(|one| !one.is_empty()) {
            query.push('&');
            query.push_str(&form(&[("scope", one)]));
        }
        let mut authorization = None;
        if let Some(own) = credentials.filter(|own| !own.username.is_empty()) {
            query.push('&');
            query.push_str(&form(&[("account", &own.username)]));
            authorization = Some(basic(own));
        }
        if offline {
            query.push_str("&client_id=hull&offline_token=true");
        }
        let separator = if realm.contains('?') { '&' } else { '?' };
        let call = Call::get(format!("{realm}{separator}{query}"));
        let outcome = self.ask(host, &call, authorization.as_ref()).await;
        match (outcome, credentials) {
            // Some know only the newer form.
            (
                Err(Error::Status {
                    status: StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED,
                    ..
                }),
                Some(own),
            ) => {
                let grant = [
                    ("grant_type", "password"),
                    ("username", own.username.as_str()),
                    ("password", own.password.as_str()),
                ];
                self.post_form(host, realm, service, scope, &grant).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn post_form(
        &self,
        host: &Host,
        realm: &str,
        service: &str,
        scope: &str,
        grant: &[(&str, &str)],
    ) -> Result<Given> {
        let mut body = form(&[
            ("service", service),
            ("client_id", "hull"),
            ("scope", scope),
        ]);
        body.push('&');
        body.push_str(&form(grant));
        let call = Call::new(Method::POST, realm)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .payload(Payload::Bytes(body.into()));
        self.ask(host, &call, None).await
    }

    async fn ask(
        &self,
        host: &Host,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Given> {
        // The place for tokens is another host as a rule; what is configured for this one is not
        // for that one.
        let place = Host {
            authority: call
                .path
                .parse::<Uri>()
                .ok()
                .and_then(|uri| uri.authority().map(ToString::to_string))
                .unwrap_or_default(),
            headers: Vec::new(),
            ..host.clone()
        };
        let policy = self.policy();
        let mut attempt = 1;
        loop {
            let answer = self.send(&place, &call.path, call, authorization).await?;
            let status = answer.status();
            let pause = policy.after_answer(&Method::GET, status, answer.headers(), attempt);
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None if status.is_success() => return self.read_token(host, answer).await,
                None => return Err(self.token_refused(call, answer).await),
            }
            attempt += 1;
        }
    }

    async fn token_refused(&self, call: &Call, answer: Response<Incoming>) -> Error {
        let status = answer.status();
        let url = call.path.split('?').next().unwrap_or_default().to_owned();
        let why = words(answer.into_body(), self.settings().patience).await;
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Login {
                url,
                why: if why.is_empty() {
                    "incorrect username or password".to_owned()
                } else {
                    why.trim_start_matches("unauthorized: ").to_owned()
                },
            },
            StatusCode::TOO_MANY_REQUESTS => Error::TooManyRequests { why },
            status => Error::Status {
                method: call.method.to_string(),
                url,
                status,
                why,
            },
        }
    }

    async fn read_token(&self, host: &Host, answer: Response<Incoming>) -> Result<Given> {
        let body = Limited::new(answer.into_body(), TOKEN_BYTES_MAX).collect();
        let unread = |why: String| nonsense(host, "a token that cannot be read", &why);
        let body = tokio::time::timeout(self.settings().patience, body).await;
        let body = body.map_err(|_| unread("timeout".to_owned()))?;
        let bytes = body.map_err(|error| unread(error.to_string()))?.to_bytes();
        let given: Given =
            serde_json::from_slice(&bytes).map_err(|error| unread(error.to_string()))?;
        if given.text().is_empty() {
            return Err(unread(
                "authorization server did not include a token in the response".to_owned(),
            ));
        }
        Ok(given)
    }

    fn cached(&self, key: &(String, String, Digest)) -> Option<String> {
        let tokens = self
            .0
            .tokens
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tokens
            .get(key)
            .filter(|token| token.good_until > Instant::now())
            .map(|token| token.text.clone())
    }

    fn keep(&self, key: (String, String, Digest), given: &Given) {
        let life = given
            .expires_in
            .map_or(LIFE, Duration::from_secs)
            .min(LIFE_MAX);
        let token = Token {
            text: given.text().to_owned(),
            good_until: Instant::now() + life.saturating_sub(MARGIN),
        };
        let mut tokens = self
            .0
            .tokens
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= CACHED_MAX {
            tokens.clear();
        }
        tokens.insert(key, token);
    }
}

/// One user's tokens are never another one's.
fn who(credentials: Option<&Credentials>) -> Digest {
    let own = credentials.cloned().unwrap_or_default();
    let parts = [
        own.username,
        own.password,
        own.identity_token,
        own.registry_token,
    ];
    Digest::of(format!("{parts:?}").as_bytes())
}

fn basic(own: &Credentials) -> HeaderValue {
    let pair = STANDARD.encode(format!("{}:{}", own.username, own.password));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}"))
        .unwrap_or(HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn nonsense(host: &Host, what: &'static str, why: &str) -> Error {
    Error::Nonsense {
        host: host.authority.clone(),
        what,
        why: why.to_owned(),
    }
}
