//! What all verbs and owners share.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hull_image::Image;
use hull_network::Endpoint;
use hull_shim::protocol::Exit;
use tokio::sync::Notify;

use crate::{
    config::EngineConfig,
    container::exec::ExecOptions,
    error::{Attempt, Error, Result},
    events::{Events, Subject},
    making::Makings,
    model::ContainerId,
    paths::Paths,
    record::Record,
    registry::Registry,
    shim::ShimLink,
    store::{Kind, Store},
    time::now_ns,
    volume,
};

/// The name of a record's copy in its bundle.
pub(crate) const RECORD_COPY: &str = "record.json";

/// The name of the file in which a shim writes how its container ended.
pub(crate) const EXIT_RECORD: &str = "exit.json";

/// The parent of containers' cgroups, unless the daemon or a container has another.
pub(crate) const CGROUP_PARENT: &str = "/hull";

/// How long killed processes may take to leave their cgroup.
const CGROUP_GONE_WITHIN: Duration = Duration::from_secs(2);

/// What all verbs and owners share.
pub(crate) struct Services {
    pub(crate) config: EngineConfig,
    pub(crate) paths: Paths,
    pub(crate) store: Arc<Store>,
    pub(crate) events: Events,
    pub(crate) registry: Registry,
    pub(crate) images: Arc<hull_image::Store>,
    /// Speaks to registries; replaced when its settings change.
    pub(crate) registries: arc_swap::ArcSwap<hull_registry::Client>,
    pub(crate) snapshots: hull_image::Overlay,
    pub(crate) networks: crate::network::Networks,
    pub(crate) volumes: volume::Volumes,
    /// Waits for plugins, on threads that may block.
    pub(crate) waiter: tokio::runtime::Handle,
    pub(crate) host: crate::spec::HostFacts,
    /// Which parents of cgroups go when the daemon does.
    pub(crate) parents: crate::parents::Parents,
    /// How containers' ids are others outside, if the daemon says so.
    pub(crate) remap: Option<crate::remap::Remap>,
    /// Compiled seccomp filters.
    pub(crate) filters: crate::filter::Filters,
    /// Bytes of the host's memory.
    pub(crate) memory: u64,
    /// The shim's program, sealed in memory: no container can reach the file it came from.
    pub(crate) shim: OwnedFd,
    /// The state file is new: what the data root holds must be found by itself.
    pub(crate) starts_anew: bool,
    /// Who has layers of containers mounted.
    pub(crate) claims: Arc<crate::claims::Claims>,
    /// What containers wait for that are to start.
    pub(crate) waits: crate::order::Waits,
    /// Containers that ended while no daemon was there.
    pub(crate) ended: crate::order::Ended,
    /// What containers that are being made will use.
    pub(crate) makings: Makings,
    /// The builder, once somebody builds.
    pub(crate) builder: std::sync::OnceLock<Arc<hull_build::Builder>>,
    /// What is being deleted.
    pub(crate) trash: hull_image::Trash,
    /// Rung when there is something in the trash.
    pub(crate) trash_filled: Notify,
    /// Hold the data root and the exec root for this daemon alone.
    pub(crate) _locks: [OwnedFd; 2],
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl Services {
    /// Runs a blocking job where it may block.
    pub(crate) async fn block<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        tokio::task::spawn_blocking(job)
            .await
            .map_err(|panic| Error::Internal(format!("a job broke off: {panic}")))
    }

    /// The way to a container's shim.
    pub(crate) fn shim_of(&self, id: &ContainerId) -> ShimLink {
        ShimLink::new(&self.paths.run(id))
    }

    /// Stores a record. A full disk must not stop a container's owner: it is logged, the record is
    /// stored again with the next change, and the shim holds what happened until then. Says whether
    /// it is stored.
    pub(crate) fn save(&self, record: &Record) -> bool {
        let id = record.id.as_str();
        let stored = self.store.put_always(Kind::Container, id, record);
        if let Err(error) = &stored {
            tracing::error!(container = record.id.short(), %error, "cannot store the record");
        }
        stored.is_ok()
    }

    /// Lays a copy of the record beside what it describes, for the day the state file is lost.
    pub(crate) fn keep_copy(&self, record: &Record) {
        let path = self.paths.bundle(&record.id).join(RECORD_COPY);
        let new = path.with_extension("new");
        let written = serde_json::to_vec(record)
            .map_err(std::io::Error::other)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &path));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "cannot keep a copy of the record");
        }
    }

    /// An image, unpacked, as a container needs it.
    pub(crate) fn resolve_image(&self, name: &str, platform: Option<&str>) -> Result<Image> {
        let platform = platform
            .map(|text| text.parse::<hull_oci::Platform>())
            .transpose()
            .map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(self.images.resolve(name, platform.as_ref())?)
    }

    /// The other runtime of that name; `None`: our own.
    pub(crate) fn runtime(&self, name: &str) -> Result<Option<&crate::config::Runtime>> {
        let name = if name.is_empty() {
            &self.config.default_runtime
        } else {
            name
        };
        // `runc` is Docker's word for "the usual one".
        if matches!(name, "" | "hull" | "runc" | "io.containerd.runc.v2") {
            return Ok(self.config.runtimes.get(name).filter(|_| name == "runc"));
        }
        let found = self.config.runtimes.get(name);
        found
            .map(Some)
            .ok_or_else(|| Error::Invalid(format!("unknown or invalid runtime name: {name}")))
    }

    /// Where a container's cgroup is, below the hierarchies' roots.
    pub(crate) fn cgroup_path(&self, record: &Record) -> String {
        match record.cgroup.as_str() {
            "" => self.next_cgroup_path(record),
            path => path.to_owned(),
        }
    }

    /// Where its next start puts it: the daemon's options may have changed since the last one.
    pub(crate) fn next_cgroup_path(&self, record: &Record) -> String {
        let own = &record.host.resources.cgroup_parent;
        let parent = if own.is_empty() {
            &self.config.cgroup_parent
        } else {
            own
        };
        let parent = match parent.as_str() {
            "" => CGROUP_PARENT,
            own => own,
        };
        format!("/{}/{}", parent.trim_matches('/'), record.id)
    }

    /// The same, on the way to making it.
    pub(crate) fn cgroup_to_make(&self, record: &Record) -> String {
        let path = self.cgroup_path(record);
        self.parents.before(&path);
        path
    }

    /// A container's cgroup.
    pub(crate) fn cgroup_of(&self, record: &Record) -> Result<hull_runtime::Cgroup> {
        Ok(hull_runtime::Cgroup::open(&self.cgroup_path(record))?)
    }

    /// Kills what is left of a container whose shim is gone, and removes its cgroup. Blocks.
    pub(crate) fn destroy_cgroup(&self, record: &Record) {
        let destroyed = self.cgroup_of(record).and_then(|cgroup| {
            cgroup.signal_all(libc::SIGKILL)?;
            Ok(cgroup.remove(CGROUP_GONE_WITHIN)?)
        });
        if let Err(error) = destroyed {
            tracing::warn!(container = record.id.short(), %error, "cannot remove the cgroup");
        }
    }

    /// What an exec session runs, all resolved. Blocks.
    pub(crate) fn exec_process(
        &self,
        record: &Record,
        options: &ExecOptions,
        size: Option<(u16, u16)>,
    ) -> Result<hull_oci::runtime::Process> {
        crate::container::start::exec_process(self, record, options, size)
    }

    /// Gives the addresses and ports of a container that ended back.
    pub(crate) async fn release_network(self: &Arc<Self>, endpoints: Vec<Endpoint>) {
        if endpoints.is_empty() {
            return;
        }
        let services = Arc::clone(self);
        let job = move || services.networks.release(&endpoints);
        if let Err(error) = self.block(job).await {
            tracing::error!(%error, "cannot release the network");
        }
    }

    /// Unmounts what a container that ended was the last to use.
    pub(crate) async fn give_volumes_back(self: &Arc<Self>, record: &Record) {
        if !self.holds_volumes(record) {
            return;
        }
        let (services, record) = (Arc::clone(self), record.clone());
        let job = move || services.release_volumes(&record);
        if let Err(error) = self.block(job).await {
            tracing::error!(%error, "cannot give the volumes back");
        }
    }

    /// How a container ended whose shim is gone: as the shim wrote down, or killed with it.
    pub(crate) async fn post_mortem(self: &Arc<Self>, record: &Record) -> Exit {
        let (services, record) = (Arc::clone(self), record.clone());
        let job = move || {
            services.destroy_cgroup(&record);
            recorded_exit(&services.paths.bundle(&record.id), &record)
        };
        match self.block(job).await {
            Ok(exit) => exit,
            Err(_) => killed(0),
        }
    }

    /// Takes everything of a container that does not run away, without waiting for the disk.
    pub(crate) fn discard(self: &Arc<Self>, record: &Record, volumes: bool) {
        let id = &record.id;
        for volume in record.mounts.iter().filter_map(|m| self.volume_of(m)) {
            crate::budget::note_use(self, &volume);
        }
        for directory in [self.paths.bundle(id), self.paths.run(id)] {
            if let Err(error) = self.discard_directory(&directory) {
                tracing::error!(path = %directory.display(), %error, "cannot remove");
            }
        }
        self.registry.remove(id);
        if volumes {
            volume::remove_anonymous(self, record);
        }
        // Last: what a crash interrupts is finished at the next start.
        if let Err(error) = self.store.delete(Kind::Container, id.as_str()) {
            tracing::error!(container = id.short(), %error, "cannot delete the record");
        }
        self.sweep();
    }

    /// The run directory is on another file system than the trash and nearly empty.
    pub(crate) fn discard_directory(&self, directory: &Path) -> Result<()> {
        if directory.starts_with(self.paths.data()) {
            return Ok(self.trash.put(directory)?);
        }
        // As a rule there is nothing in it, or the socket alone; that takes no descriptor, of which
        // there may be none left.
        crate::sealed::clear(directory);
        let _ = fs::remove_file(directory.join(hull_shim::socket::NAME));
        match fs::remove_dir(directory).or_else(|_| fs::remove_dir_all(directory)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.attempt(|| format!("remove {}", directory.display())),
        }
    }

    /// Has the trash emptied in the background.
    pub(crate) fn sweep(&self) {
        self.trash_filled.notify_one();
    }

    /// A prune happened.
    pub(crate) fn say_pruned(&self, what: &str, bytes: u64) {
        let subject = match what {
            "volume" => Subject::Volume,
            "image" => Subject::Image,
            "network" => Subject::Network,
            _ => Subject::Container,
        };
        let attributes = BTreeMap::from([("reclaimed".to_owned(), bytes.to_string())]);
        self.events.publish(subject, "prune", "", attributes);
    }
}

/// What the shim wrote down, if it came to that. (A start removes what an earlier run left.)
pub(crate) fn recorded_exit(bundle: &Path, record: &Record) -> Exit {
    let started_at_ns = record.state.run().map_or(0, |run| run.started_at_ns);
    let written = fs::read(bundle.join(EXIT_RECORD)).ok();
    let written = written.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    written.unwrap_or(killed(started_at_ns))
}

/// Killed by somebody who told nobody.
fn killed(started_at_ns: i64) -> Exit {
    Exit {
        code: 137,
        finished_at_ns: now_ns(),
        started_at_ns,
        out_of_memory: false,
    }
}

/// Takes the data root for this daemon alone.
pub(crate) fn lock(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{FlockOperation, Mode, OFlags};
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .attempt(|| format!("open {}", path.display()))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Error::Conflict(format!(
            "another daemon uses {}: stop it, or choose another with --data-root and --exec-root",
            path.parent().unwrap_or(path).display()
        ))
    })?;
    Ok(file)
}

/// A second in all.
const SEAL_TRIES: u32 = 100;
const SEAL_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// A program's bytes in memory that nobody can change, to be executed from there.
pub(crate) fn seal(program: &PathBuf) -> Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let attempt = || format!("read the shim {}", program.display());
    let mut file = fs::File::open(program).attempt(attempt)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let sealed = rustix::fs::memfd_create(c"hull-shim", flags).attempt(attempt)?;
    let mut copy = fs::File::from(sealed);
    std::io::copy(&mut file, &mut copy).attempt(attempt)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    for _ in 0..SEAL_TRIES {
        match rustix::fs::fcntl_add_seals(&copy, seals) {
            // Under load the kernel still holds pages of what was written a moment ago.
            Err(rustix::io::Errno::BUSY) => std::thread::sleep(SEAL_PAUSE),
            sealed => {
                sealed.attempt(attempt)?;
                return Ok(copy.into());
            }
        }
    }
    Err(Error::Host {
        attempt: attempt(),
        source: rustix::io::Errno::BUSY.into(),
    })
}
