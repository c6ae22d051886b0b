//! Tokens: made for users of the htpasswd file, signed with a key of this registry's own.
//!
//! `GET /token?service=…&scope=repository:NAME:pull,push` with a user's password gives a token for
//! that scope; `POST /token` is OAuth 2 (grants `password` and `refresh_token`). The form is a JSON
//! Web Token with an HMAC; nobody but this registry reads it.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode, header};
use jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Registry;
use super::answer::{self, Code, Outcome, Refusal, With as _};
use super::auth::Need;
use super::name::RepositoryName;
use super::operation::small_body;
use super::route::{Action, query};

/// Seconds a token is good for: a long push asks again.
const TOKEN_SECONDS: i64 = 300;
/// Seconds a login lasts.
const REFRESH_SECONDS: i64 = 90 * 24 * 60 * 60;
const KEY_BYTES: usize = 32;
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// A form that asks for a token.
const FORM_BYTES_MAX: usize = 64 << 10;

/// Makes and checks tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: hmac::Key,
    service: String,
    realm: Option<String>,
    is_tls: bool,
}

/// What a token says.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Claims {
    /// Whom it was made for; empty: nobody in particular.
    sub: String,
    aud: String,
    iat: i64,
    exp: i64,
    /// Set in what a client keeps to get tokens with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refresh: bool,
    #[serde(default)]
    access: Vec<Grant>,
}

/// What may be done with something.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Grant {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    actions: Vec<String>,
}

/// Whether all that a request needs is granted.
pub(super) fn covers(access: &[Grant], need: &Need) -> bool {
    let has = |kind: &str, name: &str, action: &str| {
        access.iter().any(|grant| {
            grant.kind == kind
                && grant.name == name
                && grant.actions.iter().any(|own| own == action || own == "*")
        })
    };
    match need {
        Need::Base => true,
        Need::Catalog => has("registry", "catalog", "*"),
        Need::Repository(name, action) => has("repository", name.as_str(), action.name()),
    }
}

#[derive(Debug, Serialize)]
struct Given {
    token: String,
    access_token: String,
    expires_in: i64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl Tokens {
    /// Takes the key in `root`, or makes one.
    pub(crate) fn open(
        root: &Path,
        service: &str,
        realm: Option<String>,
        is_tls: bool,
    ) -> io::Result<Self> {
        let path = root.join("token.key");
        let bytes = match fs::read(&path) {
            Ok(bytes) if bytes.len() == KEY_BYTES => bytes,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => make_key(&path)?,
        };
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            service: service.to_owned(),
            realm,
            is_tls,
        })
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// Where tokens are to be had, for a client that reached us as `host`.
    pub(crate) fn realm(&self, host: &str, is_forwarded_tls: bool) -> String {
        let scheme = if self.is_tls || is_forwarded_tls {
            "https"
        } else {
            "http"
        };
        self.realm
            .clone()
            .unwrap_or_else(|| format!("{scheme}://{host}/token"))
    }

    /// Whether a token lets a request through.
    pub(crate) fn allows(&self, token: &str, need: &Need) -> bool {
        let Some(claims) = self.read(token).filter(|claims| !claims.refresh) else {
            return false;
        };
        covers(&claims.access, need)
    }

    fn read(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let is_good = claims.aud == self.service && claims.exp > Timestamp::now().as_second();
        is_good.then_some(claims)
    }

    fn make(&self, sub: &str, access: Vec<Grant>, refresh: bool) -> String {
        let now = Timestamp::now().as_second();
        let seconds = if refresh {
            REFRESH_SECONDS
        } else {
            TOKEN_SECONDS
        };
        let claims = Claims {
            sub: sub.to_owned(),
            aud: self.service.clone(),
            iat: now,
            exp: now + seconds,
            refresh,
            access,
        };
        let claims = serde_json::to_vec(&claims).expect("claims always have a JSON form");
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(HEADER),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn make_key(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut bytes = vec![0; KEY_BYTES];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut bytes)
        .map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(bytes)
}

/// Gives a token to whoever may have it.
pub(crate) async fn give(
    registry: &Arc<Registry>,
    parts: &http::request::Parts,
    body: hyper::body::Incoming,
) -> Outcome {
    let Some(tokens) = registry.access.tokens() else {
        return Err(Refusal::new(
            Code::NameUnknown,
            "this registry makes no tokens",
        ));
    };
    let asked = if parts.method == Method::POST {
        let body = small_body(body, FORM_BYTES_MAX, registry.patience).await;
        let body = body.map_err(|error| {
            let message = format!("the form did not come whole: {error}");
            Refusal::new(Code::Unknown, message)
        })?;
        let too_large = || Refusal::new(Code::SizeInvalid, "the form is too large");
        let body = body.ok_or_else(too_large)?;
        String::from_utf8_lossy(&body).into_owned()
    } else {
        parts.uri.query().unwrap_or_default().to_owned()
    };
    let value = |key: &str| query(&asked, key).next().unwrap_or_default();
    let sub = match value("grant_type").as_str() {
        "refresh_token" => tokens
            .read(&value("refresh_token"))
            .filter(|claims| claims.refresh && registry.access.knows(&claims.sub))
            .map(|claims| claims.sub),
        "password" => {
            registry
                .access
                .identify_by_password(value("username"), value("password"))
                .await
        }
        _ if parts.headers.contains_key(header::AUTHORIZATION) => {
            registry.access.identify(&parts.headers).await
        }
        _ => Some(String::new()),
    };
    let Some(sub) = sub else {
        return Err(
            Refusal::new(Code::Unauthorized, "incorrect username or password")
                .with(header::WWW_AUTHENTICATE, "Basic realm=\"Hull registry\""),
        );
    };
    let access = granted(
        &asked,
        !sub.is_empty(),
        registry.access.is_readable_by_all(),
    );
    let wants_refresh = value("offline_token") == "true" || value("access_type") == "offline";
    let refresh_token =
        (wants_refresh && !sub.is_empty()).then(|| tokens.make(&sub, Vec::new(), true));
    let token = tokens.make(&sub, access, false);
    let given = Given {
        access_token: token.clone(),
        token,
        expires_in: TOKEN_SECONDS,
        issued_at: Timestamp::now().to_string(),
        refresh_token,
    };
    Ok(answer::json(StatusCode::OK, &given).with(header::CACHE_CONTROL, "no-store"))
}

/// What of the scopes asked for is given: all to a user, reading to others where that is public.
fn granted(asked: &str, is_user: bool, is_readable_by_all: bool) -> Vec<Grant> {
    let scopes: Vec<String> = query(asked, "scope").collect();
    let scopes = scopes.iter().flat_map(|text| text.split(' '));
    let grants = scopes.filter_map(|scope| {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let is_known = match kind {
            "repository" => RepositoryName::parse(name).is_some(),
            "registry" => name == "catalog",
            _ => false,
        };
        let may = |action: &&str| {
            is_user
                || (is_readable_by_all && (*action == Action::Pull.name() || kind == "registry"))
        };
        let actions: Vec<String> = actions.split(',').filter(may).map(str::to_owned).collect();
        (is_known && !actions.is_empty()).then(|| Grant {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions,
        })
    });
    grants.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_scope_alone() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Tokens::open(directory.path(), "here", None, false).unwrap();
        let tokens = open();
        let token = tokens.make(
            "me",
            granted("scope=repository:a/b:pull,push", true, false),
            false,
        );
        let need =
            |name: &str, action| Need::Repository(RepositoryName::parse(name).unwrap(), action);
        assert!(tokens.allows(&token, &need("a/b", Action::Push)));
        assert!(!tokens.allows(&token, &need("a/b", Action::Delete)));
        assert!(!tokens.allows(&token, &need("a", Action::Pull)));
        assert!(!tokens.allows(&token, &Need::Catalog));
        assert!(
            open().allows(&token, &need("a/b", Action::Pull)),
            "the key is kept"
        );
        let refresh = tokens.make("me", Vec::new(), true);
        assert!(!tokens.allows(&refresh, &Need::Base));
        let mut forged = token.clone();
        let last = forged.pop().unwrap();
        forged.push(if last == 'A' { 'Q' } else { 'A' });
        assert!(!tokens.allows(&forged, &Need::Base));
        assert!(!tokens.allows("", &Need::Base) && !tokens.allows("a.b.c", &Need::Base));
    }

    #[test]
    fn strangers_are_given_what_is_public() {
        let scopes = "scope=repository:a:pull,push&scope=repository:b:delete";
        assert_eq!(granted(scopes, false, false), []);
        let public = granted(scopes, false, true);
        assert_eq!(
            (public.len(), &public[0].actions[..]),
            (1, &["pull".to_owned()][..])
        );
        assert_eq!(granted(scopes, true, false).len(), 2);
    }
}
