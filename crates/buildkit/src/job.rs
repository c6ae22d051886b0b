//! Builds that run or have run lately: their progress and their results.
//!
//! A client opens a solve under a reference it made up, and in the same moment begins to listen to
//! its progress and to call the gateway for it, over calls of their own that may come in any order.
//! A [`Job`] is where these meet. It stays for a while when it has ended, for those who ask later.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};

use crate::{
    control::{arrived, travelling},
    grpc::{Code, Status},
    history::{History, Kept},
    progress::ProgressLog,
    proto::control::{BuildHistoryRecord, CacheOptionsEntry, Exporter, SolveRequest},
    solved::Solved,
};

/// How long a call waits for the solve it belongs to.
const ARRIVAL: Duration = Duration::from_secs(15);

/// Builds that are remembered when they have ended.
const REMEMBERED_MAX: usize = 50;

/// Bytes of their logs, together.
const REMEMBERED_BYTES_MAX: usize = 4 << 20;

/// A build.
#[derive(Debug)]
pub(crate) struct Job {
    /// The client's name for it.
    pub(crate) reference: String,
    /// The session it draws on.
    pub(crate) session: String,
    /// What the client calls its front end and wants of it. Filled in by the gateway, as a rule.
    pub(crate) wishes: Mutex<Wishes>,
    pub(crate) exporters: Vec<Exporter>,
    /// Caches that the solve names.
    pub(crate) imports: Vec<CacheOptionsEntry>,
    /// Privileges that the client grants.
    pub(crate) entitlements: Vec<String>,
    pub(crate) progress: Arc<ProgressLog>,
    pub(crate) began: Timestamp,
    /// Not to be told of: `buildx` looks around with such builds.
    pub(crate) is_internal: bool,
    state: watch::Sender<State>,
    results: Mutex<HashMap<String, Arc<Solved>>>,
    outcome: Mutex<Option<Outcome>>,
    pinned: Mutex<bool>,
}

/// A front end and its attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) frontend: String,
    pub(crate) attributes: HashMap<String, String>,
}

/// How a build ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) ended: Timestamp,
    pub(crate) error: Option<Status>,
    pub(crate) response: HashMap<String, String>,
}

/// What the client's own front end, on the other side of the gateway, has come to.
#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Open,
    Returned(Result<Returned, Status>),
    /// All is over, and results are held no more.
    Ended,
}

/// What is to be exported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Returned {
    /// The result, if there is one at all.
    pub(crate) result: Option<Arc<Solved>>,
}

impl Job {
    fn new(request: &SolveRequest) -> Self {
        Self {
            reference: request.r#ref.clone(),
            session: request.session.clone(),
            wishes: Mutex::new(Wishes {
                frontend: request.frontend.clone(),
                attributes: request.frontend_attrs.clone(),
            }),
            exporters: request.exporters.clone(),
            imports: request
                .cache
                .as_ref()
                .map(|cache| cache.imports.clone())
                .unwrap_or_default(),
            entitlements: request.entitlements.clone(),
            progress: Arc::default(),
            began: Timestamp::now(),
            is_internal: request.internal,
            state: watch::Sender::default(),
            results: Mutex::default(),
            outcome: Mutex::default(),
            pinned: Mutex::default(),
        }
    }

    /// Keeps a result; returns the name the client calls it by.
    pub(crate) fn keep(&self, solved: Arc<Solved>) -> String {
        let mut results = lock(&self.results);
        let id = format!("{}-{}", self.reference, results.len());
        results.insert(id.clone(), solved);
        id
    }

    /// The result of that name.
    pub(crate) fn result(&self, id: &str) -> Result<Arc<Solved>, Status> {
        let result = lock(&self.results).get(id).cloned();
        let missing = || {
            Status::new(
                Code::NotFound,
                format!("no such result {id:?} in this build"),
            )
        };
        result.ok_or_else(missing)
    }

    /// The client says what is to be exported, or why not. Only its first word counts.
    pub(crate) fn return_with(&self, returned: Result<Returned, Status>) {
        self.state.send_if_modified(|state| {
            let open = matches!(state, State::Open);
            if open {
                *state = State::Returned(returned);
            }
            open
        });
    }

    /// Waits for the client's word.
    pub(crate) async fn returned(&self) -> Result<Returned, Status> {
        let mut state = self.state.subscribe();
        let found = state.wait_for(|state| !matches!(state, State::Open)).await;
        match found.as_deref() {
            Ok(State::Returned(returned)) => returned.clone(),
            _ => Err(Status::new(Code::Internal, "the build was forgotten")),
        }
    }

    /// How it ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        lock(&self.outcome).clone()
    }

    pub(crate) fn is_pinned(&self) -> bool {
        *lock(&self.pinned)
    }

    /// What the protocol tells of it.
    pub(crate) fn record(&self) -> BuildHistoryRecord {
        let outcome = self.outcome();
        let counts = self.progress.counts();
        let wishes = lock(&self.wishes).clone();
        BuildHistoryRecord {
            r#ref: self.reference.clone(),
            frontend: wishes.frontend,
            frontend_attrs: wishes.attributes,
            exporters: self.exporters.clone(),
            error: outcome
                .as_ref()
                .and_then(|end| Some(end.error.as_ref()?.to_message())),
            created_at: Some(travelling(self.began)),
            completed_at: outcome.as_ref().map(|end| travelling(end.ended)),
            exporter_response: outcome.map(|end| end.response).unwrap_or_default(),
            pinned: self.is_pinned(),
            num_cached_steps: counts.cached,
            num_total_steps: counts.total,
            num_completed_steps: counts.completed,
            num_warnings: counts.warnings,
            ..BuildHistoryRecord::default()
        }
    }

    /// One that ended in an earlier life of the daemon.
    fn of_history(kept: Kept) -> Self {
        let record = kept.record;
        let ended = record.completed_at.as_ref().or(record.created_at.as_ref());
        let outcome = Outcome {
            ended: ended.map_or(Timestamp::UNIX_EPOCH, arrived),
            error: record.error.map(Status::from_message),
            response: record.exporter_response,
        };
        let progress = Arc::new(ProgressLog::default());
        kept.words.into_iter().for_each(|word| progress.tell(word));
        progress.close();
        Self {
            reference: record.r#ref,
            session: String::new(),
            wishes: Mutex::new(Wishes {
                frontend: record.frontend,
                attributes: record.frontend_attrs,
            }),
            exporters: record.exporters,
            imports: Vec::new(),
            entitlements: Vec::new(),
            progress,
            began: record
                .created_at
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, arrived),
            is_internal: false,
            state: watch::Sender::new(State::Ended),
            results: Mutex::default(),
            outcome: Mutex::new(Some(outcome)),
            pinned: Mutex::new(record.pinned),
        }
    }

    fn kept(&self) -> Kept {
        Kept {
            record: self.record(),
            words: self.progress.words(),
        }
    }

    fn end(&self, outcome: Outcome) {
        *lock(&self.outcome) = Some(outcome);
        lock(&self.results).clear();
        self.state.send_replace(State::Ended);
        self.progress.close();
    }
}

/// All builds that are known.
#[derive(Debug)]
pub(crate) struct Jobs {
    history: History,
    known: Mutex<Known>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    jobs: HashMap<String, Arc<Job>>,
    /// Ended ones, oldest first.
    ended: VecDeque<String>,
}

/// A build that runs: ends, as given up, when it is dropped before it ended otherwise.
pub(crate) struct Running<'a> {
    jobs: &'a Jobs,
    job: Arc<Job>,
}

impl Jobs {
    /// Those that the history in `directory` tells of.
    pub(crate) fn open(directory: &Path) -> Self {
        let history = History::in_directory(directory);
        let mut known = Known::default();
        for kept in history.all() {
            let job = Arc::new(Job::of_history(kept));
            known.ended.push_back(job.reference.clone());
            known.jobs.insert(job.reference.clone(), job);
        }
        Self {
            history,
            known: Mutex::new(known),
            changes: watch::Sender::new(0),
        }
    }

    /// Keeps a build from being let go of, or no longer.
    pub(crate) fn pin(&self, job: &Job, pinned: bool) {
        *lock(&job.pinned) = pinned;
        if job.outcome().is_some() {
            self.history.keep(&job.kept());
        }
    }

    /// Begins a build under the reference that the client chose.
    pub(crate) fn begin(&self, request: &SolveRequest) -> Result<Running<'_>, Status> {
        if request.r#ref.is_empty() {
            return Err(Status::invalid("a solve needs a reference"));
        }
        let job = Arc::new(Job::new(request));
        let mut known = lock(&self.known);
        if known.jobs.contains_key(&job.reference) {
            let message = format!("there is a build {} already", job.reference);
            return Err(Status::new(Code::AlreadyExists, message));
        }
        known.jobs.insert(job.reference.clone(), Arc::clone(&job));
        drop(known);
        self.changed();
        Ok(Running { jobs: self, job })
    }

    /// The build of that reference, when it has come.
    pub(crate) async fn get(&self, reference: &str) -> Result<Arc<Job>, Status> {
        let mut changes = self.changes.subscribe();
        let arrival = async {
            loop {
                if let Some(job) = lock(&self.known).jobs.get(reference) {
                    return Arc::clone(job);
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        timeout(ARRIVAL, arrival)
            .await
            .map_err(|_| Status::new(Code::NotFound, format!("no such job {reference}")))
    }

    /// A result of any build, by the name its client calls it by.
    pub(crate) fn result(&self, id: &str) -> Result<Arc<Solved>, Status> {
        let known = lock(&self.known);
        let found = known.jobs.values().find_map(|job| job.result(id).ok());
        found.ok_or_else(|| Status::new(Code::NotFound, format!("no such result {id:?}")))
    }

    /// All that may be told of, latest first.
    pub(crate) fn all(&self) -> Vec<Arc<Job>> {
        let known = lock(&self.known);
        let mut jobs: Vec<_> = known
            .jobs
            .values()
            .filter(|job| !job.is_internal)
            .cloned()
            .collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.began));
        jobs
    }

    /// Forgets a build that has ended. `false`: there is none.
    pub(crate) fn forget(&self, reference: &str) -> bool {
        let mut known = lock(&self.known);
        let ended = known
            .jobs
            .get(reference)
            .is_some_and(|job| job.outcome().is_some());
        if ended {
            known.jobs.remove(reference);
            known.ended.retain(|other| other != reference);
            drop(known);
            self.history.forget(reference);
            self.changed();
        }
        ended
    }

    /// Hears of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Lets go of the oldest that nobody wants kept.
    fn retire(&self, reference: String) {
        let mut known = lock(&self.known);
        if let Some(job) = known.jobs.get(&reference).filter(|job| !job.is_internal) {
            self.history.keep(&job.kept());
        }
        known.ended.push_back(reference);
        loop {
            let bytes = |known: &Known| -> usize {
                let sizes = known
                    .ended
                    .iter()
                    .filter_map(|reference| known.jobs.get(reference));
                sizes.map(|job| job.progress.bytes()).sum()
            };
            let too_many = known.ended.len() > REMEMBERED_MAX;
            if !too_many && (known.ended.len() <= 1 || bytes(&known) <= REMEMBERED_BYTES_MAX) {
                return;
            }
            let is_pinned = |known: &Known, name: &String| {
                known.jobs.get(name).is_some_and(|job| job.is_pinned())
            };
            let Some(at) = known.ended.iter().position(|name| !is_pinned(&known, name)) else {
                return;
            };
            if let Some(name) = known.ended.remove(at) {
                known.jobs.remove(&name);
                self.history.forget(&name);
            }
        }
    }
}

impl Running<'_> {
    /// The build.
    pub(crate) fn job(&self) -> &Arc<Job> {
        &self.job
    }

    /// It has ended.
    pub(crate) fn end(&self, result: &Result<HashMap<String, String>, Status>) {
        self.job.end(Outcome {
            ended: Timestamp::now(),
            error: result.as_ref().err().cloned(),
            response: result.as_ref().ok().cloned().unwrap_or_default(),
        });
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.job.outcome().is_none() {
            self.end(&Err(Status::new(
                Code::Cancelled,
                "the client gave the build up",
            )));
        }
        self.jobs.retire(self.job.reference.clone());
        self.jobs.changed();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
