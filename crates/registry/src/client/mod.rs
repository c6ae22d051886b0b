//! The client: speaks to any registry, through its mirrors, with whatever it asks for.
//!
//! A [`Client`] keeps connections and tokens between operations. A [`Session`] is its work on one
//! repository for one user: which [`hosts`] there are, which [`auth`] each wants, when to try
//! [again](retry).

mod auth;
mod blob;
mod challenge;
mod connect;
mod hosts;
mod list;
mod login;
mod manifest;
mod referrers;
mod request;
mod retry;
mod search;
mod session;
mod upload;
mod verify;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hull_oci::Reference;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use connect::Proxies;
pub use search::{Found, SearchFilter};

pub(crate) use referrers::is_about_something;
pub(crate) use session::Session;
pub(crate) use upload::Uploaded;

use crate::Result;
use auth::Tokens;
use connect::Connector;
use hosts::{Host, Trust};

/// How the client behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Registries that may be spoken to without TLS or with anybody's certificate: hosts, hosts
    /// with ports, networks.
    pub insecure: Vec<String>,
    /// Mirrors of Docker Hub: addresses.
    pub mirrors: Vec<String>,
    /// Docker's `certs.d`.
    pub certs: Option<PathBuf>,
    /// Ways out.
    pub proxies: Proxies,
    /// Layers of one image fetched at the same time.
    pub downloads: usize,
    /// Layers of one image sent at the same time.
    pub uploads: usize,
    /// Larger blobs go in pieces of this size, so that a broken connection costs one piece.
    pub piece_bytes: u64,
    /// How often anything is tried.
    pub attempts: u32,
    /// Before the second attempt.
    pub pause: Duration,
    /// How long the other end may keep silent.
    pub patience: Duration,
    /// How this program calls itself.
    pub user_agent: String,
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user; empty: nobody.
    pub username: String,
    /// Or a personal access token.
    pub password: String,
    /// What tokens are had with instead of a password.
    pub identity_token: String,
    /// A token to be used as it is.
    pub registry_token: String,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

/// Whom to trust, and when each of the files was written.
type Trusted = (Trust, Vec<Option<SystemTime>>);

type Http = hyper_util::client::legacy::Client<Connector, UnsyncBoxBody<Bytes, io::Error>>;

struct Inner {
    settings: Settings,
    proxies: Arc<Proxies>,
    /// One for each kind of trust, with its pool.
    /// By whom they trust, and when that was written.
    http: Mutex<HashMap<Trusted, Http>>,
    tokens: Tokens,
    /// Insecure hosts that turned out to speak no TLS.
    plain: Mutex<HashSet<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            certs: None,
            proxies: Proxies::default(),
            downloads: 3,
            uploads: 5,
            piece_bytes: 64 << 20,
            attempts: 5,
            pause: Duration::from_millis(500),
            patience: Duration::from_secs(30),
            user_agent: concat!("hull/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Credentials {
    /// A user with a password.
    pub fn basic(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Debug for Credentials {
    /// No secret gets into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client with its own connections and tokens.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner {
            proxies: Arc::new(settings.proxies.clone()),
            settings,
            http: Mutex::default(),
            tokens: Tokens::default(),
            plain: Mutex::default(),
        }))
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Begins to work on a repository.
    pub(crate) fn session(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Session> {
        let hosts = hosts::plan(reference.domain(), self.settings())?;
        let credentials = credentials
            .filter(|credentials| !credentials.is_empty())
            .cloned();
        Ok(Session::new(
            self.clone(),
            reference.clone().without_suffix(),
            hosts,
            credentials,
        ))
    }

    fn http(&self, trust: &Trust) -> Result<Http> {
        let mut clients = self.0.http.lock().unwrap_or_else(PoisonError::into_inner);
        // A changed file is another one: nobody has to tell the daemon.
        let files = trust
            .authorities
            .iter()
            .chain(trust.shown.iter().flat_map(|(a, b)| [a, b]));
        let written = files.map(|path| fs::metadata(path).and_then(|found| found.modified()).ok());
        let key = (trust.clone(), written.collect());
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let connector = Connector::new(trust, Arc::clone(&self.0.proxies))?;
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(8)
            .build(connector);
        clients.retain(|(known, _), _| known != trust);
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn is_plain(&self, host: &Host) -> bool {
        let plain = self.0.plain.lock().unwrap_or_else(PoisonError::into_inner);
        plain.contains(&host.authority)
    }

    fn remember_plain(&self, host: &Host, is_plain: bool) {
        let mut plain = self.0.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if is_plain {
            plain.insert(host.authority.clone());
        } else {
            plain.remove(&host.authority);
        }
    }
}
