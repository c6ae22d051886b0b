//! Carries a plan out: in parallel, and only what was not done before.
//!
//! Each vertex waits for its inputs, computes its key, looks into the cache, and only then does
//! something. A key is made of what the step says, of what the files below it are known by (their
//! outcome), and of the digests of the files it reads. Two builds that come to the same key at the same time do it once.

mod accounts;
mod advice;
pub(crate) mod agent;
mod copy;
mod devices;
mod fetch;
mod files;
mod mode;
mod mounts;
mod run;
mod select;
mod sources;
mod write;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use hull_image::{Overlay, Store};
use hull_oci::{Algorithm, Hasher, Platform};

use crate::cache::{Cache, Hit, Imports, NewStep};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::plan::{Op, Origin, Plan};
use crate::progress::{Progress, Teller, Vertex as Shown, VertexId};
use crate::request::BuildRequest;
use crate::tree::Trees;

pub(crate) use mode::Mode;
pub(crate) use sources::Sources;

/// The most steps that run at the same time: as many as there are cores, on any host that there is.
const WORKERS_MAX: usize = 1024;

/// How often it is looked whether another build has done the same step, and this one is called off.
const PATIENCE: Duration = Duration::from_millis(10);

/// The files of a vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solved {
    /// What the step is known by.
    pub key: String,
    /// What all of its files are known by, whatever a step says that gives others each time: on top
    /// of other files, or done once more, it is another outcome.
    pub outcome: String,
    /// Its layers, uppermost first.
    pub layers: Vec<PathBuf>,
    /// The layer it added itself; `None`: it changed nothing, or is an image.
    pub layer: Option<u64>,
    /// When it was made (seconds since 1970); `None`: it is an image, or nothing.
    pub created: Option<i64>,
}

/// Locks by key, so that no step is done twice at the same time.
pub(crate) type KeyLocks = Mutex<HashMap<String, Arc<Mutex<()>>>>;

/// What solving needs.
pub(crate) struct Solver<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) request: &'a BuildRequest,
    pub(crate) cache: &'a Cache,
    pub(crate) imports: &'a Imports,
    pub(crate) store: &'a Store,
    pub(crate) overlay: &'a Overlay,
    pub(crate) host: &'a dyn Host,
    pub(crate) progress: &'a Arc<dyn Progress>,
    pub(crate) cancel: &'a Cancel,
    pub(crate) locks: &'a KeyLocks,
    pub(crate) sources: Sources,
    pub(crate) trees: &'a Trees,
    /// The layers of images: position of the vertex, uppermost first.
    pub(crate) images: HashMap<usize, Vec<PathBuf>>,
    /// The build's name, for vertex ids.
    pub(crate) build: String,
    /// Where scripts, secrets and sockets of steps lie while they run; in memory.
    pub(crate) run_dir: PathBuf,
}

struct Board {
    ready: VecDeque<usize>,
    /// Inputs still missing, by vertex.
    missing: Vec<usize>,
    solved: Vec<Option<Arc<Solved>>>,
    left: usize,
    failed: Option<Error>,
}

impl Solver<'_> {
    /// Solves all vertices. The layers of the results are held in the cache.
    pub(crate) fn solve(&self) -> Result<Vec<Arc<Solved>>> {
        let inputs: Vec<Vec<usize>> = self.plan.vertices.iter().map(|v| inputs(&v.op)).collect();
        let missing: Vec<usize> = inputs.iter().map(Vec::len).collect();
        let count = missing.len();
        let ready = (0..count).filter(|at| missing[*at] == 0).collect();
        let board = Mutex::new(Board {
            ready,
            missing,
            solved: vec![None; count],
            left: count,
            failed: None,
        });
        let rung = Condvar::new();
        let tellers = self.tellers(&inputs);
        tellers.iter().flatten().for_each(Teller::announce);
        let workers = std::thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, WORKERS_MAX)
            .min(count);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| self.work(&board, &rung, &inputs, &tellers));
            }
        });
        let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        match board.failed {
            Some(error) => {
                self.let_go(board.solved.iter().flatten());
                Err(error)
            }
            None => Ok(board.solved.into_iter().flatten().collect()),
        }
    }

    /// Gives up the layers of results.
    pub(crate) fn let_go<'s>(&self, solved: impl Iterator<Item = &'s Arc<Solved>>) {
        for one in solved {
            if let Some(layer) = one.layer {
                self.cache.let_go(layer);
            }
        }
    }

    fn work(
        &self,
        board: &Mutex<Board>,
        rung: &Condvar,
        inputs: &[Vec<usize>],
        tellers: &[Option<Teller>],
    ) {
        loop {
            let (at, below) = {
                let mut guard = board.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    if guard.left == 0 || guard.failed.is_some() {
                        return;
                    }
                    if let Some(at) = guard.ready.pop_front() {
                        break (at, guard.solved.clone());
                    }
                    guard = rung.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
            };
            let step = AssertUnwindSafe(|| self.vertex(at, &below, tellers[at].clone()));
            // The others would wait for it for ever.
            let outcome = catch_unwind(step).unwrap_or_else(|_| {
                let what = format!("carry {:?} out", self.plan.vertices[at].name);
                Err(Error::host(what, "this is a mistake in the daemon"))
            });
            let mut guard = board.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(solved) => {
                    guard.solved[at] = Some(Arc::new(solved));
                    guard.left -= 1;
                    for (other, needs) in inputs.iter().enumerate() {
                        let uses = needs.iter().filter(|input| **input == at).count();
                        guard.missing[other] -= uses;
                        if uses > 0 && guard.missing[other] == 0 {
                            guard.ready.push_back(other);
                        }
                    }
                }
                Err(error) => {
                    // What runs beside it is of no use any more.
                    if guard.failed.is_none() || matches!(guard.failed, Some(Error::Cancelled)) {
                        guard.failed = Some(error);
                    }
                    drop(guard);
                    self.cancel.cancel();
                }
            }
            rung.notify_all();
        }
    }

    fn tellers(&self, inputs: &[Vec<usize>]) -> Vec<Option<Teller>> {
        let id = |at: usize| VertexId::of(&format!("{} {at}", self.build));
        let teller = |(at, vertex): (usize, &crate::plan::Vertex)| {
            let shown = Shown {
                id: id(at),
                name: vertex.name.clone(),
                inputs: inputs[at]
                    .iter()
                    .filter(|input| !self.plan.vertices[**input].name.is_empty())
                    .map(|input| id(*input))
                    .collect(),
                started: None,
                completed: None,
                cached: false,
                error: None,
                place: vertex.place.clone(),
            };
            (!vertex.name.is_empty()).then(|| Teller::new(self.progress, shown))
        };
        self.plan.vertices.iter().enumerate().map(teller).collect()
    }

    fn vertex(
        &self,
        at: usize,
        solved: &[Option<Arc<Solved>>],
        mut teller: Option<Teller>,
    ) -> Result<Solved> {
        self.cancel.check()?;
        let outcome = self.solved(at, solved, &mut teller);
        if let (Err(error), Some(teller)) = (&outcome, &mut teller) {
            teller.finish(Some(error.to_string()));
        }
        let vertex = &self.plan.vertices[at];
        outcome.map_err(|error| match error {
            Error::Host { what, cause } => Error::Step {
                message: format!("cannot {what}: {cause}"),
                place: vertex.place.clone().map(Box::new),
                vertex: vertex.name.clone(),
                exit_code: None,
                output: String::new(),
            },
            Error::Invalid {
                message,
                place: None,
            } => Error::Invalid {
                message,
                place: vertex.place.clone().map(Box::new),
            },
            other => other,
        })
    }

    fn solved(
        &self,
        at: usize,
        solved: &[Option<Arc<Solved>>],
        teller: &mut Option<Teller>,
    ) -> Result<Solved> {
        let get = |input: usize| solved[input].as_ref().expect("inputs are solved first");
        let vertex = &self.plan.vertices[at];
        match &vertex.op {
            Op::Scratch => Ok(Solved {
                key: "scratch".to_owned(),
                outcome: "scratch".to_owned(),
                layers: Vec::new(),
                layer: None,
                created: None,
            }),
            Op::Image(image) => {
                if let Some(teller) = teller {
                    teller.cached();
                }
                Ok(Solved {
                    key: format!("image {}", image.manifest),
                    outcome: format!("image {}", image.manifest),
                    layers: self.images.get(&at).cloned().unwrap_or_default(),
                    layer: None,
                    created: None,
                })
            }
            Op::MakeDirectory { below, path } => {
                let below = get(*below);
                let key = key("mkdir", &vertex.platform, &[&below.outcome, path]);
                self.step(at, key, below, teller, |solver, _| {
                    solver.make_directory(below, path)
                })
            }
            Op::Copy(op) => self.copy(at, op, get(op.below), solved, teller),
            Op::Run(op) => self.run(at, op, get(op.below), solved, teller),
        }
    }

    /// Finds the step in the cache, or does it.
    fn step(
        &self,
        at: usize,
        key: String,
        below: &Solved,
        teller: &mut Option<Teller>,
        execute: impl FnOnce(&Self, &mut Option<Teller>) -> Result<Option<u64>>,
    ) -> Result<Solved> {
        let vertex = &self.plan.vertices[at];
        let lock = self.lock(&key);
        let _alone = self.alone(&lock)?;
        if !vertex.no_cache
            && let Some(hit) = self.find(&key)?
        {
            if let Some(teller) = teller {
                teller.cached();
            }
            return Ok(self.on_top(key, below, hit));
        }
        self.cancel.check()?;
        if let Some(teller) = teller {
            teller.start();
        }
        let layer = execute(self, teller)?;
        let bytes = match layer.and_then(|number| self.store.built_layer(number)) {
            Some(path) => hull_image::snapshot::usage(&path)?.bytes,
            None => 0,
        };
        // The same files with the same instruction give the same, except for what a command does.
        let outcome = match vertex.op {
            // A command that changed nothing leaves the files as they were: they are known already.
            Op::Run(_) if layer.is_some() => {
                format!("{key} {}", jiff::Timestamp::now().as_nanosecond())
            }
            _ => key.clone(),
        };
        let done = self.cache.add(&NewStep {
            key: &key,
            outcome: &outcome,
            below: Some(&below.key),
            layer,
            description: &vertex.name,
            bytes,
            created: None,
        })?;
        if let Some(teller) = teller {
            teller.finish(None);
        }
        Ok(self.on_top(key, below, done))
    }

    /// Waits until no other build does the same step, unless this one is called off.
    fn alone<'a>(&self, lock: &'a Mutex<()>) -> Result<MutexGuard<'a, ()>> {
        loop {
            match lock.try_lock() {
                Ok(alone) => return Ok(alone),
                Err(TryLockError::Poisoned(alone)) => return Ok(alone.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            self.cancel.check()?;
            thread::sleep(PATIENCE);
        }
    }

    /// The step as it was done before, here or where a cache comes from.
    fn find(&self, key: &str) -> Result<Option<Hit>> {
        match self.cache.find(key)? {
            Some(hit) => Ok(Some(hit)),
            None => self.imports.bring(self.cache, key),
        }
    }

    fn on_top(&self, key: String, below: &Solved, done: Hit) -> Solved {
        let own = done.layer.and_then(|number| self.store.built_layer(number));
        Solved {
            key,
            outcome: done.outcome,
            layers: own
                .into_iter()
                .chain(below.layers.iter().cloned())
                .collect(),
            layer: done.layer,
            created: Some(done.created),
        }
    }

    fn lock(&self, key: &str) -> Arc<Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds any more are forgotten.
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(key.to_owned()).or_default())
    }

    /// Keeps what was written, unless it is nothing.
    fn keep(&self, new: hull_image::store::NewLayer) -> Result<Option<u64>> {
        if self.store.is_empty_layer(&new)? {
            return Ok(None);
        }
        Ok(Some(self.store.keep_layer(new)?))
    }
}

/// What a step depends on.
fn inputs(op: &Op) -> Vec<usize> {
    let of_origin = |origin: &Origin| match origin {
        Origin::Vertex(vertex) => Some(*vertex),
        Origin::Context(_) | Origin::Inline(_) | Origin::Urls(_) => None,
    };
    match op {
        Op::Scratch | Op::Image(_) => Vec::new(),
        Op::MakeDirectory { below, .. } => vec![*below],
        Op::Copy(copy) => {
            let origins = copy.sources.iter().map(|source| &source.origin);
            std::iter::once(copy.below)
                .chain(origins.filter_map(of_origin))
                .collect()
        }
        Op::Run(run) => {
            let origins = run.mounts.iter().filter_map(|mount| mount.origin.as_ref());
            std::iter::once(run.below)
                .chain(origins.filter_map(of_origin))
                .collect()
        }
    }
}

/// The key of a step: its parts cannot run into each other.
pub(crate) fn key(kind: &str, platform: &Platform, parts: &[&str]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let platform = platform.to_string();
    for part in [kind, &platform].into_iter().chain(parts.iter().copied()) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finish().hex().to_owned()
}
