//! What to build, and where what it needs comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use hull_oci::Platform;

use crate::cache::CacheOrigin;
use crate::dockerfile::boolean;
use crate::error::{Error, Result};
use crate::tree::Tree;

/// A build.
#[derive(Clone)]
pub struct BuildRequest {
    /// The Dockerfile's name, for messages.
    pub dockerfile_name: String,
    /// Its text.
    pub dockerfile: String,
    /// What `.dockerignore` (or `NAME.dockerignore`) of the main context says; empty: nothing.
    pub ignore: String,
    /// Local directories.
    pub contexts: Arc<dyn Contexts>,
    /// Whether there is a main context at all (not with `docker build - <Dockerfile`).
    pub has_context: bool,
    /// `--build-context`, by lowercase name.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// The stage to build, by name or number; empty: the last one.
    pub target: String,
    /// `--build-arg`.
    pub args: BTreeMap<String, String>,
    /// `--label`: added to the image.
    pub labels: BTreeMap<String, String>,
    /// Empty: the host's.
    pub platforms: Vec<Platform>,
    /// Do every step again.
    pub no_cache: bool,
    /// Do the steps of these stages again.
    pub no_cache_filter: Vec<String>,
    /// Look for newer base images even if there are some.
    pub pull: bool,
    /// What commands get that do not ask for something else.
    pub run: RunDefaults,
    /// Privileges that the client grants: `network.host`, `security.insecure`, `device`,
    /// `device=vendor.com/class=name`.
    pub entitlements: Vec<String>,
    /// The client's secrets.
    pub secrets: Arc<dyn Secrets>,
    /// The client's ssh agents.
    pub ssh: Arc<dyn SshAgents>,
    /// What the client logs in with at registries.
    pub logins: Arc<dyn Logins>,
    /// Seconds since 1970 that every time in the result is at most.
    pub source_date_epoch: Option<i64>,
    /// `INCLUDE` is an instruction.
    pub allow_include: bool,
    /// `--cache-from`.
    pub cache_from: Vec<CacheSource>,
}

/// What commands get that do not ask for something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunDefaults {
    /// `default`, `bridge`, `none`, `host`, or a network's name; empty: `default`.
    pub network: String,
    /// `name:address`, each.
    pub extra_hosts: Vec<String>,
    /// Bytes of `/dev/shm`; 0: the default.
    pub shm_size: i64,
    /// `name=soft[:hard]`, each.
    pub ulimits: Vec<String>,
    /// Empty: the default.
    pub cgroup_parent: String,
    /// Bytes; 0: no limit.
    pub memory: i64,
    /// Bytes of memory and swap; 0: no limit.
    pub memory_swap: i64,
    /// Relative weight; 0: the default.
    pub cpu_shares: i64,
    /// Microseconds; 0: no limit.
    pub cpu_period: i64,
    /// Microseconds; 0: no limit.
    pub cpu_quota: i64,
    /// `0-2,7`; empty: all.
    pub cpuset_cpus: String,
    /// As `cpuset_cpus`, for memory nodes.
    pub cpuset_mems: String,
    /// The host's name inside; empty: `buildkitsandbox`.
    pub hostname: String,
}

/// Another place to look for finished steps.
#[derive(Clone)]
pub enum CacheSource {
    /// An image of the store that tells of its steps (`type=inline`); or else what a registry has
    /// under that name: such an image, or a cache (`type=registry`).
    Image(String),
    /// A directory of the client, an OCI layout (`type=local`): all of it, or this document.
    Layout(Arc<Tree>, Option<hull_oci::Digest>),
    /// Whatever the front has.
    Origin(Arc<dyn CacheOrigin>),
}

/// What a name of `--build-context` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A local directory, to be asked of [`Contexts`] under this name.
    Local(String),
    /// An image.
    Image(String),
    /// An image of an OCI layout, loaded into the store by the front: its id there.
    Stored(String),
    /// Another target's result, as an image in the store: its id there.
    Target(String),
    /// A file or archive to be fetched.
    Url(String),
}

/// A name of `--build-context` in the form under which it is kept: one that is an image's, as people
/// write it, without what goes without saying.
pub fn context_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let Ok(reference) = lower.parse::<hull_oci::Reference>() else {
        return lower;
    };
    let familiar = reference.familiar();
    match familiar.strip_suffix(":latest") {
        Some(short) => short.to_owned(),
        None => familiar,
    }
}

/// Paths of a context that a build needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Paths and patterns below the root; empty: everything.
    pub paths: Vec<String>,
    /// Patterns of `.dockerignore`: what they exclude need not travel.
    pub excludes: Vec<String>,
}

/// Brings local directories.
pub trait Contexts: Send + Sync {
    /// The directory `name` (`context` is the main one), with at least what is wanted. Called at
    /// most once for each name of a build; blocks. The error is shown to people.
    fn tree(&self, name: &str, wanted: &Wanted) -> Result<Arc<Tree>, String>;

    /// A small file of it, before the rest travels; `None`: there is none.
    fn file(&self, name: &str, path: &str) -> Result<Option<Vec<u8>>, String>;
}

/// No local directory at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoContexts;

impl Contexts for NoContexts {
    fn tree(&self, name: &str, _: &Wanted) -> Result<Arc<Tree>, String> {
        Err(format!("there is no context {name:?} in this build"))
    }

    fn file(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

/// The client's secrets. They are never stored.
pub trait Secrets: Send + Sync {
    /// The secret `id`; `None`: the client has none of that name.
    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, String>;
}

impl Secrets for BTreeMap<String, Vec<u8>> {
    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.get(id).cloned())
    }
}

/// What the client logs in with at registries. Never stored.
pub trait Logins: Send + Sync {
    /// For the registry of that host, as names of images have it (`docker.io`, `localhost:5000`).
    fn login(&self, host: &str) -> Result<Option<Login>, String>;
}

/// What somebody logs in with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user; empty: there is a token.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// What tokens are had with instead of a password.
    pub identity_token: String,
    /// A token to be used as it is.
    pub registry_token: String,
}

impl fmt::Debug for Login {
    /// No secret gets into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Logins for BTreeMap<String, Login> {
    fn login(&self, host: &str) -> Result<Option<Login>, String> {
        Ok(self.get(host).cloned())
    }
}

/// The client's ssh agents.
pub trait SshAgents: Send + Sync {
    /// Whether the client forwards the agent `id`.
    fn has(&self, id: &str) -> bool;

    /// Serves one connection of a command to the agent `id`, until either side closes.
    fn serve(&self, id: &str, connection: UnixStream);
}

/// None at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAgents;

impl SshAgents for NoAgents {
    fn has(&self, _: &str) -> bool {
        false
    }

    fn serve(&self, _: &str, _: UnixStream) {}
}

impl BuildRequest {
    /// A build of this text, all else left at its default.
    pub fn new(name: impl Into<String>, dockerfile: impl Into<String>) -> Self {
        Self {
            dockerfile_name: name.into(),
            dockerfile: dockerfile.into(),
            ignore: String::new(),
            contexts: Arc::new(NoContexts),
            has_context: false,
            named_contexts: BTreeMap::new(),
            target: String::new(),
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            platforms: Vec::new(),
            no_cache: false,
            no_cache_filter: Vec::new(),
            pull: false,
            run: RunDefaults::default(),
            entitlements: Vec::new(),
            secrets: Arc::new(BTreeMap::<String, Vec<u8>>::new()),
            ssh: Arc::new(NoAgents),
            logins: Arc::new(BTreeMap::<String, Login>::new()),
            source_date_epoch: None,
            allow_include: false,
            cache_from: Vec::new(),
        }
    }
}

/// The argument by which the result of one platform has the form of several.
const MULTI_PLATFORM: &str = "BUILDKIT_MULTI_PLATFORM";

impl BuildRequest {
    /// Whether the result has the form of several platforms: an index, a directory for each.
    pub(crate) fn is_many(&self) -> Result<bool> {
        let has_many = self.platforms.len() > 1;
        let Some(text) = self
            .args
            .get(MULTI_PLATFORM)
            .filter(|text| !text.is_empty())
        else {
            return Ok(has_many);
        };
        let wanted = boolean(text);
        let wanted = wanted.ok_or_else(|| {
            Error::invalid(
                format!("invalid boolean value for {MULTI_PLATFORM}: {text}"),
                None,
            )
        })?;
        if has_many && !wanted {
            let message = format!("{MULTI_PLATFORM}={text}, and several platforms are asked for");
            return Err(Error::invalid(message, None));
        }
        Ok(wanted)
    }
}

impl fmt::Debug for BuildRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildRequest")
            .field("dockerfile_name", &self.dockerfile_name)
            .field("target", &self.target)
            .field("platforms", &self.platforms)
            .finish_non_exhaustive()
    }
}
