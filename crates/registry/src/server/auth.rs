//! Who may do what: everybody, those in a htpasswd file, or those with a token made here or by an
//! issuer that is believed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use hull_oci::Digest;

use super::answer::{Code, Refusal};
use super::issuer::Issuer;
use super::name::RepositoryName;
use super::route::Action;
use super::token::Tokens;

/// bcrypt is slow on purpose: a password that was right is not tried again for so long.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Passwords remembered at most.
const REMEMBERED_MAX: usize = 10_000;

/// What a request needs to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// To be known.
    Base,
    /// To see all names.
    Catalog,
    /// To do something in a repository.
    Repository(RepositoryName, Action),
}

/// Who may do what.
#[derive(Debug)]
pub(crate) struct Access {
    users: Option<Arc<Users>>,
    tokens: Option<Authority>,
    /// Whether reading takes no credentials.
    anonymous_pull: bool,
}

/// Whose tokens are believed.
#[derive(Debug)]
enum Authority {
    Own(Tokens),
    Foreign(Issuer),
}

impl Authority {
    fn allows(&self, token: &str, need: &Need) -> bool {
        match self {
            Self::Own(tokens) => tokens.allows(token, need),
            Self::Foreign(issuer) => issuer.allows(token, need),
        }
    }

    fn realm(&self, host: &str, is_forwarded_tls: bool) -> String {
        match self {
            Self::Own(tokens) => tokens.realm(host, is_forwarded_tls),
            Self::Foreign(issuer) => issuer.realm().to_owned(),
        }
    }

    fn service(&self) -> &str {
        match self {
            Self::Own(tokens) => tokens.service(),
            Self::Foreign(issuer) => issuer.service(),
        }
    }
}

/// Names and bcrypt hashes, read again when the file changes.
#[derive(Debug)]
pub(crate) struct Users {
    path: PathBuf,
    loaded: Mutex<Loaded>,
    verified: Mutex<HashMap<Digest, Instant>>,
}

#[derive(Debug, Default)]
struct Loaded {
    modified: Option<SystemTime>,
    hashes: HashMap<String, String>,
}

impl Access {
    /// Whether there is still such a user.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.users.as_ref().is_some_and(|users| users.knows(name))
    }

    /// Everybody may do everything.
    pub(crate) fn open() -> Self {
        Self {
            users: None,
            tokens: None,
            anonymous_pull: true,
        }
    }

    /// Users of a htpasswd file, with or without tokens.
    pub(crate) fn users(
        path: &Path,
        tokens: Option<Tokens>,
        anonymous_pull: bool,
    ) -> std::io::Result<Self> {
        let users = Users {
            path: path.to_owned(),
            loaded: Mutex::default(),
            verified: Mutex::default(),
        };
        users.reload()?;
        Ok(Self {
            users: Some(Arc::new(users)),
            tokens: tokens.map(Authority::Own),
            anonymous_pull,
        })
    }

    /// Whoever has a token of this issuer.
    pub(crate) fn issued_by(issuer: Issuer, anonymous_pull: bool) -> Self {
        Self {
            users: None,
            tokens: Some(Authority::Foreign(issuer)),
            anonymous_pull,
        }
    }

    /// What makes tokens here.
    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        match &self.tokens {
            Some(Authority::Own(tokens)) => Some(tokens),
            _ => None,
        }
    }

    fn is_open(&self) -> bool {
        self.users.is_none() && self.tokens.is_none()
    }

    /// Whether reading takes no credentials.
    pub(crate) fn is_readable_by_all(&self) -> bool {
        self.anonymous_pull
    }

    /// Lets a request through, or says what it lacks.
    pub(crate) async fn check(
        &self,
        headers: &HeaderMap,
        need: &Need,
        host: &str,
    ) -> Result<(), Refusal> {
        if self.is_open() || self.is_public(need) {
            return Ok(());
        }
        // With tokens, too: who sends a password unasked is known by it.
        if let Some(users) = &self.users
            && let Some((name, password)) = basic(headers)
        {
            let is_right = users.verify_off_thread(name, password).await;
            return if is_right {
                Ok(())
            } else {
                Err(self.challenge(headers, need, host))
            };
        }
        if self.is_allowed(headers, need) {
            Ok(())
        } else {
            Err(self.challenge(headers, need, host))
        }
    }

    /// As [`check`](Self::check), for a further need of a request that was let through: passwords
    /// are remembered by now.
    pub(crate) fn is_allowed(&self, headers: &HeaderMap, need: &Need) -> bool {
        if self.is_open() || self.is_public(need) {
            return true;
        }
        let has_token =
            |tokens: &Authority| bearer(headers).is_some_and(|token| tokens.allows(token, need));
        let is_user = |users: &Arc<Users>| {
            basic(headers).is_some_and(|(name, password)| users.is_remembered(&name, &password))
        };
        self.tokens.as_ref().is_some_and(has_token) || self.users.as_ref().is_some_and(is_user)
    }

    /// The user of a request with a password.
    pub(crate) async fn identify(&self, headers: &HeaderMap) -> Option<String> {
        let (name, password) = basic(headers)?;
        self.identify_by_password(name, password).await
    }

    pub(crate) async fn identify_by_password(
        &self,
        name: String,
        password: String,
    ) -> Option<String> {
        let users = self.users.as_ref()?;
        users
            .verify_off_thread(name.clone(), password)
            .await
            .then_some(name)
    }

    fn is_public(&self, need: &Need) -> bool {
        self.anonymous_pull
            && match need {
                // With tokens, a client asks here where tokens are to be had.
                Need::Base => self.tokens.is_none(),
                Need::Repository(_, action) => *action == Action::Pull,
                Need::Catalog => true,
            }
    }

    fn challenge(&self, headers: &HeaderMap, need: &Need, host: &str) -> Refusal {
        // A proxy in front may speak TLS for us.
        let is_forwarded_tls = headers
            .get("x-forwarded-proto")
            .is_some_and(|scheme| scheme == "https");
        let refusal = Refusal::new(Code::Unauthorized, "authentication required");
        let Some(tokens) = &self.tokens else {
            return refusal.with(header::WWW_AUTHENTICATE, "Basic realm=\"Hull registry\"");
        };
        let mut text = format!(
            "Bearer realm=\"{}\",service=\"{}\"",
            tokens.realm(host, is_forwarded_tls),
            tokens.service()
        );
        match need {
            Need::Base => {}
            Need::Catalog => text.push_str(",scope=\"registry:catalog:*\""),
            Need::Repository(name, Action::Push) => {
                text.push_str(&format!(",scope=\"repository:{name}:pull,push\""))
            }
            Need::Repository(name, action) => {
                text.push_str(&format!(",scope=\"repository:{name}:{}\"", action.name()));
            }
        }
        refusal.with(header::WWW_AUTHENTICATE, &text)
    }
}

impl Users {
    /// Whether the file has such a user now.
    fn knows(&self, name: &str) -> bool {
        if let Err(error) = self.reload() {
            tracing::warn!(path = %self.path.display(), %error, "cannot read the users");
        }
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.hashes.contains_key(name)
    }

    /// Reads the file if it changed.
    fn reload(&self) -> std::io::Result<()> {
        let modified = fs::metadata(&self.path)?.modified().ok();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.modified == modified && modified.is_some() {
            return Ok(());
        }
        let text = fs::read_to_string(&self.path)?;
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let hashes = pairs
            .map(|(name, hash)| (name.to_owned(), hash.to_owned()))
            .collect();
        *loaded = Loaded { modified, hashes };
        drop(loaded);
        // Whoever was taken out of the file is let in no longer.
        self.verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }

    async fn verify_off_thread(self: &Arc<Self>, name: String, password: String) -> bool {
        if let Err(error) = self.reload() {
            tracing::error!(path = %self.path.display(), %error, "cannot read the users");
        }
        if self.is_remembered(&name, &password) {
            return true;
        }
        let users = Arc::clone(self);
        tokio::task::spawn_blocking(move || users.verify(&name, &password))
            .await
            .unwrap_or(false)
    }

    fn verify(&self, name: &str, password: &str) -> bool {
        let hash = {
            let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
            loaded.hashes.get(name).cloned()
        };
        // An unknown name takes as long as a wrong password.
        let nobody = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let is_right = bcrypt::verify(password, hash.as_deref().unwrap_or(nobody)).unwrap_or(false);
        if !is_right || hash.is_none() {
            return false;
        }
        // The file may have changed meanwhile: what was right by the old one is not remembered. While this is held,
        // it does not change.
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.hashes.get(name) != hash.as_ref() {
            return false;
        }
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= REMEMBERED_MAX {
            verified.clear();
        }
        verified.insert(key(name, password), Instant::now());
        true
    }

    fn is_remembered(&self, name: &str, password: &str) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified
            .get(&key(name, password))
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }
}

/// No password stays in memory.
fn key(name: &str, password: &str) -> Digest {
    Digest::of(format!("{}:{name}:{password}", name.len()).as_bytes())
}

fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (kind, rest) = value.split_once(' ')?;
    kind.eq_ignore_ascii_case(scheme).then_some(rest.trim())
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = STANDARD.decode(authorization(headers, "basic")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    authorization(headers, "bearer")
}
