//! The builder: from a request to a result.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hull_image::store::Lease;
use hull_image::{Image, Overlay, Store};
use hull_oci::{ImageConfig, Platform, chain_ids};
use jiff::Timestamp;

use crate::cache::import::Reading;
use crate::cache::{Budget, Cache, CacheFilter, CachePruned, CacheUsage, Imports, Policy};
use crate::cancel::Cancel;
use crate::dockerfile::Dockerfile;
use crate::error::{Error, Result};
use crate::export::{Facts, Material};
use crate::host::Host;
use crate::include::Texts;
use crate::plan::{self, Base, Bases, HistoryStep, Input, Op, Plan};
use crate::progress::{Event, Progress, Teller, Warning};
use crate::request::{BuildRequest, NamedContext};
use crate::solve::{KeyLocks, Solved, Solver, Sources};
use crate::tree::Trees;

/// How often it is looked how much cache mounts and contexts take: all of their files must be.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);

/// The builder of a daemon.
pub struct Builder {
    pub(crate) store: Arc<Store>,
    pub(crate) overlay: Overlay,
    pub(crate) cache: Arc<Cache>,
    pub(crate) host: Arc<dyn Host>,
    trees: Trees,
    locks: KeyLocks,
    directory: PathBuf,
    pub(crate) run_dir: PathBuf,
    /// What of the cache goes by itself.
    policies: Vec<Policy>,
    /// When it was last looked how much cache mounts and contexts take, and the bytes.
    others: Mutex<Option<(Instant, u64)>>,
    serial: AtomicU64,
}

/// What a build gave. As long as it lives, its layers stay.
pub struct Built {
    /// One for each platform, as asked for.
    pub platforms: Vec<BuiltPlatform>,
    /// What the linter says.
    pub warnings: Vec<Warning>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) build: String,
    pub(crate) epoch: Option<i64>,
    /// The result is one of several platforms, be it only one.
    pub(crate) is_many: bool,
    pub(crate) lease: Lease,
    /// All that was needed.
    pub(crate) solved: Vec<Arc<Solved>>,
    /// What can be stated about it.
    pub(crate) facts: Facts,
    cache: Arc<Cache>,
    held: Vec<u64>,
    /// Keeps what other caches gave.
    _imports: Imports,
}

/// The result for one platform.
#[derive(Debug, Clone)]
pub struct BuiltPlatform {
    /// Where it runs.
    pub platform: Platform,
    /// How to run it; layers and history are added on export.
    pub config: ImageConfig,
    /// Its layers, uppermost first.
    pub layers: Vec<PathBuf>,
    /// The image at the bottom.
    pub(crate) base: Option<Arc<Image>>,
    /// What was done on top.
    pub(crate) steps: Vec<BuiltStep>,
}

/// One step on top of the base.
#[derive(Debug, Clone)]
pub(crate) struct BuiltStep {
    pub(crate) created_by: String,
    pub(crate) solved: Option<Arc<Solved>>,
}

impl Builder {
    /// The builder with its state in `<data-root>/build`, and its passing files in `run_dir`. By the
    /// `policies` parts of its cache go; without one nothing does.
    pub fn open(
        data_root: &Path,
        run_dir: &Path,
        store: Arc<Store>,
        host: Arc<dyn Host>,
        policies: Vec<Policy>,
    ) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let dir = data_root.join("build");
        detach_below(run_dir);
        let _ = std::fs::remove_dir_all(run_dir);
        for directory in [&dir, run_dir] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(|error| Error::host(format!("make {}", directory.display()), error))?;
        }
        Ok(Self {
            overlay: Overlay::new(data_root)?,
            cache: Arc::new(Cache::open(&dir, Arc::clone(&store))?),
            store,
            host,
            trees: Trees::open(&dir.join("trees"))?,
            locks: KeyLocks::default(),
            directory: dir,
            run_dir: run_dir.to_owned(),
            policies,
            others: Mutex::default(),
            serial: AtomicU64::new(0),
        })
    }

    /// Where its state is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How much of the cache may stay by each of its rules: also what images use, and the budget.
    pub fn budgets(&self) -> Vec<(bool, Budget)> {
        let disk = self.cache.disk().unwrap_or(0);
        let budget = |policy: &Policy| (policy.all, policy.budget(disk));
        self.policies.iter().map(budget).collect()
    }

    /// Clients' directories.
    pub fn trees(&self) -> &Trees {
        &self.trees
    }

    /// Builds. Blocks until all is done, or `cancel` is asked for.
    pub fn build(
        &self,
        request: &BuildRequest,
        progress: Arc<dyn Progress>,
        cancel: &Cancel,
    ) -> Result<Built> {
        let build = self.name();
        let began = Timestamp::now();
        let is_many = request.is_many()?;
        let (file, texts) = self.definition(request, &progress, &build)?;
        let bases = StoredBases {
            builder: self,
            request,
            progress: &progress,
            build: &build,
            lease: self.store.lease(),
            cancel,
            found: Mutex::default(),
        };
        let plan = plan::plan(&input(&file, request, &bases, texts))?;
        for warning in &plan.warnings {
            progress.event(Event::Warning(warning.clone()));
        }
        let mut facts = Facts::of(request, &build, began, bases.materials());
        let by_manifest = bases.by_manifest();
        let images = images_of(&plan, &by_manifest);
        let sources = Sources::new(&plan, request)?;
        let run_dir = self.make_run_dir(&build)?;
        // A failed step stops its siblings, not the client's other builds.
        let inner = Cancel::new();
        let stopper = inner.clone();
        let _hook = cancel.on_cancel(move || stopper.cancel());
        let imports = Imports::read(&Reading {
            request,
            host: &*self.host,
            store: &self.store,
            progress: &progress,
            build: &build,
        });
        let solver = Solver {
            plan: &plan,
            request,
            cache: &self.cache,
            imports: &imports,
            store: &self.store,
            overlay: &self.overlay,
            host: &*self.host,
            progress: &progress,
            cancel: &inner,
            locks: &self.locks,
            sources,
            trees: &self.trees,
            images: layers_of(&images),
            build: build.clone(),
            run_dir: run_dir.clone(),
        };
        let solved = solver.solve();
        let _ = std::fs::remove_dir_all(&run_dir);
        let solved = unless_cancelled(&solver, cancel, solved)?;
        facts.end();
        let held = solved.iter().filter_map(|one| one.layer).collect();
        let platforms = plan.results.into_iter();
        let platforms = platforms.map(|target| platform(target, &solved, &images));
        Ok(Built {
            platforms: platforms.collect(),
            warnings: plan.warnings,
            lease: bases.lease,
            progress: Arc::clone(&progress),
            build: build.clone(),
            epoch: request.source_date_epoch,
            is_many,
            cache: Arc::clone(&self.cache),
            held,
            solved,
            facts,
            _imports: imports,
        })
    }

    fn make_run_dir(&self, build: &str) -> Result<PathBuf> {
        let path = self.run_dir.join(build);
        std::fs::create_dir_all(&path)
            .map_err(|error| Error::host(format!("make {}", path.display()), error))?;
        Ok(path)
    }

    /// Checks a Dockerfile without building: the linter's words.
    pub fn check(&self, request: &BuildRequest, cancel: &Cancel) -> Result<Vec<Warning>> {
        let progress: Arc<dyn Progress> = Arc::new(|_: Event| {});
        let (file, texts) = self.parse(request)?;
        let bases = StoredBases {
            builder: self,
            request,
            progress: &progress,
            build: "check",
            lease: self.store.lease(),
            cancel,
            found: Mutex::default(),
        };
        plan::check(&input(&file, request, &bases, texts))
    }

    /// What a Dockerfile offers: stages, arguments, secrets.
    pub fn outline(&self, request: &BuildRequest) -> Result<plan::Usage> {
        let (file, texts) = self.parse(request)?;
        plan::usage(&input(&file, request, &NoBases, texts))
    }

    /// What the cache takes.
    pub fn usage(&self) -> Result<CacheUsage> {
        self.cache.usage(&self.trees)
    }

    /// Takes parts of the cache away.
    pub fn prune(&self, filter: &CacheFilter) -> Result<CachePruned> {
        let pruned = self.cache.prune(filter, &self.trees)?;
        // What its layers were packed as, and documents of caches that were exported.
        self.store.collect_garbage()?;
        Ok(pruned)
    }

    /// After a build: what was remembered reaches the disk.
    pub fn settle(&self) -> Result<()> {
        let marks = self.trees.unsettled();
        if self.cache.sync()? {
            self.trees.settled(&marks);
        }
        Ok(())
    }

    /// Has the cache keep to its budget. It may take a while, and nobody needs to wait for it.
    pub fn tidy(&self) {
        // An image that was removed while it was built from.
        if let Err(error) = self.store.collect_spared() {
            tracing::warn!(%error, "cannot collect what builds held");
        }
        if let Err(error) = self.keep_to_budget() {
            tracing::warn!(%error, "cannot have the build cache keep to its budget");
        }
    }

    fn keep_to_budget(&self) -> Result<()> {
        if self.policies.is_empty() {
            return Ok(());
        }
        let Ok(mut others) = self.others.try_lock() else {
            // Somebody is about it.
            return Ok(());
        };
        let (others, is_due) = match *others {
            Some((when, bytes)) if when.elapsed() < LOOK_INTERVAL => (bytes, false),
            _ => {
                let usage = self.usage()?.records.into_iter();
                let bytes = usage.filter(|record| record.kind != "regular");
                let bytes = bytes.map(|record| record.bytes).sum();
                *others = Some((Instant::now(), bytes));
                (bytes, true)
            }
        };
        let disk = self.cache.disk()?;
        for policy in &self.policies {
            let filter = policy.filter(disk);
            let budget = filter.budget;
            let has_most = budget.used_max > 0 || budget.free_min == 0 && budget.reserved > 0;
            let most = budget.used_max.max(budget.reserved);
            // What a rule picks may be less than what is too much: then it is not asked each time.
            let is_picky = policy.unused_for.is_some() || !policy.conditions.is_empty();
            let is_over = self.cache.step_bytes()?.saturating_add(others) > most;
            // What is free on the disk, and what is old, is looked at only now and then.
            let is_rare = !has_most || budget.free_min > 0 || is_picky;
            if has_most && is_over && !is_picky || is_rare && is_due {
                self.cache.prune(&filter, &self.trees)?;
            }
        }
        Ok(())
    }

    fn name(&self) -> String {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", std::process::id())
    }

    fn definition(
        &self,
        request: &BuildRequest,
        progress: &Arc<dyn Progress>,
        build: &str,
    ) -> Result<(Dockerfile, Texts)> {
        let name = format!(
            "[internal] load build definition from {}",
            request.dockerfile_name
        );
        let mut teller = Teller::internal(progress, build, &name);
        teller.start();
        let outcome = self.parse(request);
        teller.finish(outcome.as_ref().err().map(ToString::to_string));
        outcome
    }

    fn parse(&self, request: &BuildRequest) -> Result<(Dockerfile, Texts)> {
        let (file, texts) = crate::include::read(request)?;
        crate::frontend::check(&file.directives, &request.args)?;
        Ok((file, texts))
    }
}

/// What was solved; nothing of it is held if nobody waits for it any more.
fn unless_cancelled(
    solver: &Solver<'_>,
    cancel: &Cancel,
    solved: Result<Vec<Arc<Solved>>>,
) -> Result<Vec<Arc<Solved>>> {
    if let Err(cancelled) = cancel.check() {
        solver.let_go(solved.iter().flatten());
        return Err(cancelled);
    }
    solved
}

/// Takes mounts away that an earlier daemon made for steps and did not live to unmount: what is
/// removed afterwards must not be what they show.
fn detach_below(run_dir: &Path) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<&Path> = points.map(Path::new).collect();
    points.retain(|point| point.starts_with(run_dir));
    // The last one lies on top.
    for point in points.into_iter().rev() {
        if let Err(error) = hull_sys::mount::detach(point) {
            tracing::warn!(path = %point.display(), %error, "cannot unmount");
        }
    }
}

fn input<'a>(
    file: &'a Dockerfile,
    request: &'a BuildRequest,
    bases: &'a dyn Bases,
    texts: Texts,
) -> Input<'a> {
    Input {
        file,
        request,
        bases,
        host: Platform::host(),
        texts,
    }
}

fn layers_of(images: &BTreeMap<usize, Arc<Image>>) -> HashMap<usize, Vec<PathBuf>> {
    let layers = |(at, image): (&usize, &Arc<Image>)| (*at, image.layers.clone());
    images.iter().map(layers).collect()
}

fn platform(
    target: plan::Target,
    solved: &[Arc<Solved>],
    images: &BTreeMap<usize, Arc<Image>>,
) -> BuiltPlatform {
    BuiltPlatform {
        platform: target.platform,
        layers: solved[target.vertex].layers.clone(),
        base: target.base.and_then(|at| images.get(&at).cloned()),
        steps: target
            .history
            .into_iter()
            .map(|step| on_top(step, solved))
            .collect(),
        config: target.config,
    }
}

fn on_top(step: HistoryStep, solved: &[Arc<Solved>]) -> BuiltStep {
    BuiltStep {
        created_by: step.created_by,
        solved: step.vertex.map(|at| Arc::clone(&solved[at])),
    }
}

fn images_of(
    plan: &Plan,
    by_manifest: &HashMap<String, Arc<Image>>,
) -> BTreeMap<usize, Arc<Image>> {
    let image = |(at, vertex): (usize, &plan::Vertex)| match &vertex.op {
        Op::Image(op) => by_manifest
            .get(&op.manifest)
            .map(|image| (at, Arc::clone(image))),
        _ => None,
    };
    plan.vertices.iter().enumerate().filter_map(image).collect()
}

impl Drop for Built {
    fn drop(&mut self) {
        for layer in &self.held {
            self.cache.let_go(*layer);
        }
    }
}

/// No images at all, for what needs none.
struct NoBases;

impl Bases for NoBases {
    fn base(&self, reference: &str, _: &Platform) -> Result<Base, String> {
        Err(format!("{reference} is not looked at"))
    }
}

/// Images of the store, pulled where missing.
struct StoredBases<'a> {
    builder: &'a Builder,
    request: &'a BuildRequest,
    progress: &'a Arc<dyn Progress>,
    build: &'a str,
    lease: Lease,
    cancel: &'a Cancel,
    found: Mutex<HashMap<(String, String), Arc<Image>>>,
}

impl StoredBases<'_> {
    fn by_manifest(&self) -> HashMap<String, Arc<Image>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = |image: &Arc<Image>| (image.manifest.to_string(), Arc::clone(image));
        found.values().map(pair).collect()
    }

    /// The images that the build begins with, in order of their names.
    fn materials(&self) -> Vec<Material> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let material = |((reference, _), image): (&(String, String), &Arc<Image>)| Material {
            reference: reference.clone(),
            platform: image.config.platform(),
            digest: image.manifest.clone(),
        };
        let mut materials: Vec<Material> = found.iter().map(material).collect();
        materials.sort_by(|one, other| one.reference.cmp(&other.reference));
        materials
    }

    fn image(&self, reference: &str, full: &str, platform: &Platform) -> Result<Image, String> {
        let resolve = || self.builder.store.resolve(reference, Some(platform));
        let is_local = self.request.named_contexts.values().any(|context| {
            matches!(context, NamedContext::Stored(id) | NamedContext::Target(id) if id == reference)
        });
        let mut image = resolve();
        let missing = matches!(&image, Err(error) if error.kind() == hull_image::Kind::NotFound);
        if !is_local && (missing || self.request.pull) {
            self.cancel.check().map_err(|error| error.to_string())?;
            let pulled = self.pull(full, platform);
            pulled.map_err(|error| format!("{full}: {error}"))?;
            image = resolve();
        }
        image.map_err(|error| format!("{full}: {error}"))
    }
}

impl StoredBases<'_> {
    /// Pulls an image as the client who builds.
    fn pull(&self, full: &str, platform: &Platform) -> Result<(), String> {
        let login = match full.parse::<hull_oci::Reference>() {
            Ok(parsed) => self.request.logins.login(parsed.domain())?,
            Err(_) => None,
        };
        let pulled = self.builder.host.pull(full, platform, login.as_ref());
        pulled.map_err(|error| error.to_string())
    }
}

impl Bases for StoredBases<'_> {
    fn base(&self, reference: &str, platform: &Platform) -> Result<Base, String> {
        let parsed = reference.parse::<hull_oci::Reference>();
        let full = match parsed {
            Ok(parsed) => parsed.or_latest().to_string(),
            Err(_) if reference.starts_with("sha256:") => reference.to_owned(),
            Err(error) => {
                return Err(format!("failed to parse stage name {reference:?}: {error}"));
            }
        };
        let key = (full.clone(), platform.to_string());
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if !found.contains_key(&key) {
            let name = format!("[internal] load metadata for {full}");
            let mut teller = Teller::internal(self.progress, self.build, &name);
            teller.start();
            let outcome = self.image(reference, &full, platform);
            teller.finish(outcome.as_ref().err().cloned());
            let image = outcome?;
            // Nothing of it is collected as long as the build goes on.
            for id in &image.config.rootfs.diff_ids {
                self.lease.protect(id);
            }
            for id in chain_ids(&image.config.rootfs.diff_ids) {
                self.lease.protect(&id);
            }
            for digest in [&image.id, &image.manifest, &image.config_digest] {
                self.lease.protect(digest);
            }
            // Its layers' blobs too: the image that is made names them.
            let manifest = self.builder.store.read_blob(&image.manifest).ok();
            let manifest = manifest
                .and_then(|bytes| serde_json::from_slice::<hull_oci::Manifest>(&bytes).ok());
            for layer in manifest.iter().flat_map(|manifest| &manifest.layers) {
                self.lease.protect(&layer.digest);
            }
            found.insert(key.clone(), Arc::new(image));
        }
        let image = &found[&key];
        Ok(Base {
            reference: full,
            manifest: image.manifest.to_string(),
            config: Arc::clone(&image.config),
        })
    }
}
