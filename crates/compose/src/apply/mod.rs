//! Carrying a plan out, through the API alone: what can be done at once is done at once, what
//! depends on another waits for it.

mod condition;
mod containers;
mod first;
mod graph;
mod hooks;
mod images;
mod inject;
mod last_words;
mod networks;
mod observe;
mod pre_start;
mod rehearse;
mod run;
mod start;
mod stop;
mod up;
mod update;

use std::cell::RefCell;
use std::collections::BTreeSet;

use hull_api::types::AuthConfig;
use hull_api::{Client, ClientError};

use crate::error::LoadError;
use crate::model::Project;

pub use containers::RemoveOptions;
pub use images::Pull;
pub use observe::{containers, observe, projects};
pub use run::RunOptions;
pub use stop::DownOptions;
pub use up::{UpOptions, Updating};

/// How a piece of work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is going on.
    Working,
    /// It is done.
    Done,
    /// It failed.
    Failed,
}

/// Who is told how work goes on.
pub trait Report {
    /// `what` (such as `Container web-1`) is now `status` (such as `Creating`).
    fn progress(&self, what: &str, status: &str, standing: Standing);
    /// Something that should be known.
    fn warn(&self, text: &str);
    /// A piece of output of a build or of a pull.
    fn output(&self, text: &str);
}

/// Why something was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The daemon refused, or is not there.
    #[error("cannot {operation} {object}")]
    Request {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        object: String,
        /// Why not.
        source: ClientError,
    },
    /// A service cannot be had.
    #[error("service {service}: {message}")]
    Service {
        /// Which.
        service: String,
        /// Why not.
        message: String,
    },
    /// What is written cannot be had here.
    #[error(transparent)]
    Written(#[from] LoadError),
    /// A dependency has not come up.
    #[error("dependency failed to start: {message}")]
    Dependency {
        /// What happened.
        message: String,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// The result of carrying something out.
pub type Result<T> = std::result::Result<T, ApplyError>;

/// Names what a request was for.
pub(crate) trait Named<T> {
    fn named(self, operation: &'static str, object: &str) -> Result<T>;
}

impl<T> Named<T> for std::result::Result<T, ClientError> {
    fn named(self, operation: &'static str, object: &str) -> Result<T> {
        self.map_err(|source| ApplyError::Request {
            operation,
            object: object.to_owned(),
            source,
        })
    }
}

/// What a registry wants to know of who asks, by the name of an image.
pub type Credentials = dyn Fn(&str) -> Option<AuthConfig>;

/// What one piece of work leaves for those that follow it.
#[derive(Debug, Default)]
pub struct Notes {
    /// Services that were updated though not all of their containers were well.
    unwell: RefCell<Vec<String>>,
    /// Services that have run to their end already, for the sake of what was updated.
    ran: RefCell<BTreeSet<String>>,
}

impl Notes {
    /// What did not go well though the work went on, once.
    pub fn take_unwell(&self) -> Vec<String> {
        self.unwell.take()
    }
}

/// Works on one project.
pub struct Engine<'e> {
    /// The daemon.
    pub client: &'e Client,
    /// What should be.
    pub project: &'e Project,
    /// Who is told.
    pub report: &'e dyn Report,
    /// How many requests go on at once.
    pub parallel: usize,
    /// What registries are told.
    pub credentials: &'e Credentials,
    /// What others should know.
    pub notes: &'e Notes,
    /// Called when all is known to be there, and the first thing is about to be made or taken away.
    pub begins: &'e dyn Fn(),
    /// Held by who starts what an updated service stands on.
    pub(crate) bringing: tokio::sync::Mutex<()>,
}

impl<'e> Engine<'e> {
    /// Works on a project.
    pub fn new(
        client: &'e Client,
        project: &'e Project,
        report: &'e dyn Report,
        notes: &'e Notes,
    ) -> Self {
        Self {
            client,
            project,
            report,
            parallel: usize::MAX,
            credentials: &|_| None,
            notes,
            begins: &|| {},
            bringing: tokio::sync::Mutex::new(()),
        }
    }

    fn working(&self, what: &str, status: &str) {
        self.report.progress(what, status, Standing::Working);
    }

    fn done(&self, what: &str, status: &str) {
        self.report.progress(what, status, Standing::Done);
    }

    /// Passes a result on, and tells of it.
    fn told<T>(&self, what: &str, status: &str, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => self.done(what, status),
            Err(_) => self.report.progress(what, "Error", Standing::Failed),
        }
        result
    }
}
