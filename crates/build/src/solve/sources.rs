//! Local directories of one build: each is brought at most once, when a step first needs it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::plan::{Op, Origin, Plan};
use crate::progress::{Progress, Teller};
use crate::request::{BuildRequest, Wanted};
use crate::tree::Tree;
use hull_context::Ignore;

/// A local directory, and what of it is left out.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) tree: Arc<Tree>,
    pub(crate) ignore: Arc<Ignore>,
}

/// The local directories of a build.
pub(crate) struct Sources {
    wanted: HashMap<String, Wanted>,
    slots: HashMap<String, Mutex<Option<Result<Local>>>>,
    ignore: Arc<Ignore>,
}

impl Sources {
    /// What a plan needs of which directory.
    pub(crate) fn new(plan: &Plan, request: &BuildRequest) -> Result<Self> {
        let ignore = Arc::new(Ignore::parse(&request.ignore)?);
        let mut wanted: HashMap<String, Wanted> = HashMap::new();
        let mut note = |origin: &Origin, paths: &[String]| {
            if let Origin::Context(name) = origin {
                let entry = wanted.entry(name.clone()).or_default();
                entry.paths.extend(paths.iter().cloned());
            }
        };
        for vertex in &plan.vertices {
            match &vertex.op {
                Op::Copy(copy) => {
                    for source in &copy.sources {
                        note(&source.origin, &source.paths);
                    }
                }
                Op::Run(run) => {
                    for mount in &run.mounts {
                        let source = match &mount.mount {
                            crate::dockerfile::RunMount::Bind { source, .. }
                            | crate::dockerfile::RunMount::Cache { source, .. } => source.clone(),
                            _ => continue,
                        };
                        if let Some(origin) = &mount.origin {
                            note(origin, &[source]);
                        }
                    }
                }
                _ => {}
            }
        }
        for (name, entry) in &mut wanted {
            tidy(entry);
            if name == MAIN {
                entry.excludes = ignore.patterns();
            }
        }
        let slots = wanted
            .keys()
            .map(|name| (name.clone(), Mutex::default()))
            .collect();
        Ok(Self {
            wanted,
            slots,
            ignore,
        })
    }

    /// The directory `name`.
    pub(crate) fn get(
        &self,
        name: &str,
        request: &BuildRequest,
        progress: &Arc<dyn Progress>,
        build: &str,
    ) -> Result<Local> {
        let slot = self
            .slots
            .get(name)
            .expect("each context of the plan has a slot");
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = &*slot {
            return done.clone();
        }
        let shown = if name == MAIN {
            "[internal] load build context".to_owned()
        } else {
            format!("[context {name}] load from client")
        };
        let mut teller = Teller::internal(progress, build, &shown);
        teller.start();
        let started = jiff::Timestamp::now();
        let outcome = self.bring(name, request);
        if let Ok(local) = &outcome {
            let bytes = local.tree.received();
            teller.status("transferring context:", bytes, 0, started, true);
        }
        teller.finish(outcome.as_ref().err().map(ToString::to_string));
        *slot = Some(outcome.clone());
        outcome
    }

    fn bring(&self, name: &str, request: &BuildRequest) -> Result<Local> {
        let failed = |message: String| Error::host(format!("load the context {name}"), message);
        let mut wanted = self.wanted[name].clone();
        let ignore = if name == MAIN {
            Arc::clone(&self.ignore)
        } else {
            let text = request
                .contexts
                .file(name, ".dockerignore")
                .map_err(failed)?;
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            let ignore = Ignore::parse(&text)?;
            wanted.excludes = ignore.patterns();
            Arc::new(ignore)
        };
        let tree = request.contexts.tree(name, &wanted).map_err(failed)?;
        Ok(Local { tree, ignore })
    }
}

use crate::plan::MAIN_CONTEXT as MAIN;

/// Everything, if something needs everything.
fn tidy(wanted: &mut Wanted) {
    for path in &mut wanted.paths {
        let clean = super::select::clean(path);
        *path = clean.to_string_lossy().into_owned();
    }
    wanted.paths.sort();
    wanted.paths.dedup();
    if wanted.paths.iter().any(String::is_empty) {
        wanted.paths.clear();
    }
}
