//! What the daemon is made of, shared by all connections.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use http::{HeaderName, HeaderValue};
use hull_buildkit::Front;
use hull_engine::{Engine, events::Subject};
use tokio::sync::OnceCell;

use crate::{
    config::Config, holds::Holds, http::judges::Judges, http::server::common_headers,
    metrics::Metrics,
};

/// What the daemon is made of.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) engine: Engine,
    /// What clients of BuildKit's protocol meet: made when the first one comes.
    pub(crate) buildkit: OnceCell<Arc<Front>>,
    config: RwLock<Arc<Config>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    listeners: AtomicI64,
    pub(crate) metrics: Metrics,
    /// Builds that run.
    pub(crate) builds: crate::routes::Builds,
    /// Projects that clients work on.
    pub(crate) holds: Holds,
    /// Who else is asked about requests.
    pub(crate) judges: Judges,
}

/// A client that listens to events.
pub(crate) struct Listening(Arc<App>);

impl App {
    pub(crate) fn new(engine: Engine, config: Config) -> Self {
        let headers = common_headers(config.switch("experimental", false));
        let config = RwLock::new(Arc::new(config));
        Self {
            engine,
            buildkit: OnceCell::new(),
            config,
            headers,
            listeners: AtomicI64::new(0),
            metrics: Metrics::default(),
            builds: crate::routes::Builds::default(),
            holds: Holds::default(),
            judges: Judges::default(),
        }
    }

    /// The configuration as it is now.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what may change while the daemon runs, and says so.
    pub(crate) async fn reload(&self, new: Config) {
        let current = self.config();
        for option in current.waiting_for_restart(&new) {
            tracing::warn!(
                option,
                "the configuration has changed: takes effect with a restart"
            );
        }
        let taken = Arc::new(current.reloaded(new));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&taken);
        self.engine
            .set_registries(crate::convert::registry::settings(&taken));
        let Ok(facts) = self.engine.info().await else {
            return;
        };
        let mut attributes = BTreeMap::from([("name".to_owned(), facts.name)]);
        attributes.extend(taken.reloadable());
        self.engine
            .events()
            .publish(Subject::Daemon, "reload", facts.id, attributes);
    }

    /// The headers of every answer.
    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Tasks that run.
    pub(crate) fn tasks(&self) -> usize {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    }

    /// Clients that listen to events.
    pub(crate) fn listeners(&self) -> i64 {
        self.listeners.load(Ordering::Relaxed)
    }

    /// Counts a client that listens to events, as long as the answer lives.
    pub(crate) fn listen(self: &Arc<Self>) -> Listening {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listening(Arc::clone(self))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}
