//! Wires the services and opens the doors. Verbs stand with their nouns.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    actor::Handle,
    config::EngineConfig,
    error::Result,
    events::{Events, Watcher},
    model::ContainerId,
    parents::Parents,
    paths::Paths,
    registry::Registry,
    remap::Remap,
    restore,
    services::{self, Services},
    store::Store,
};

/// The engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    services: Arc<Services>,
}

impl Engine {
    /// What a container waits for that is to start and does not yet, in words; nothing: it does not wait.
    pub fn waits_for(&self, id: &ContainerId) -> Option<String> {
        let gate = self.services.waits.of(id)?;
        let handle = self.services.registry.find(id.as_str()).ok()?;
        let is_off = handle.called_off.load(std::sync::atomic::Ordering::Relaxed);
        (!is_off && !handle.record().state.is_running()).then_some(gate)
    }

    /// Opens the data root and takes up what runs. Must be called inside a tokio runtime.
    pub async fn open(config: EngineConfig) -> Result<Self> {
        let services = tokio::task::spawn_blocking(move || open(config))
            .await
            .map_err(|panic| crate::Error::Internal(format!("the start broke off: {panic}")))??;
        let engine = Self {
            services: Arc::new(services),
        };
        restore::take_up(&engine.services).await?;
        crate::frozen::thaw_left(&engine);
        engine.reopen_builder().await;
        tokio::spawn(empty_trash(Arc::clone(&engine.services)));
        tokio::spawn(crate::collector::keep_budget(Arc::clone(&engine.services)));
        tokio::spawn(reap());
        tokio::spawn(crate::network::keep_whole(Arc::clone(&engine.services)));
        engine.services.sweep();
        Ok(engine)
    }

    /// Ends in good order: containers go on, events are stored.
    pub async fn close(&self) {
        let services = Arc::clone(&self.services);
        let job = move || {
            services.parents.leave();
            services.events.close();
        };
        let _ = self.services.block(job).await;
    }

    pub(crate) fn of(services: Arc<Services>) -> Self {
        Self { services }
    }

    pub(crate) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// A container by full id, name or unique prefix of its id.
    pub fn find(&self, reference: &str) -> Result<Arc<Handle>> {
        self.services.registry.find(reference)
    }

    /// Events from now on.
    pub fn watch(&self) -> Watcher {
        self.services.events.watch()
    }

    /// Events since a time (nanoseconds since 1970).
    pub async fn watch_since(&self, time_ns: i64) -> Result<Watcher> {
        let events = self.services.events.clone();
        self.services
            .block(move || events.watch_since(time_ns))
            .await?
    }

    /// The events themselves, for whoever has some of his own to tell.
    pub fn events(&self) -> &Events {
        &self.services.events
    }

    /// What the daemon decided for the engine.
    pub fn config(&self) -> &EngineConfig {
        &self.services.config
    }

    /// The CDI devices that files of the host describe now. Blocks.
    pub fn cdi_devices(&self) -> Vec<crate::cdi::Listed> {
        crate::cdi::Catalogue::read(&self.services.config.cdi_directories).list()
    }

    /// What lies where.
    pub fn paths(&self) -> &Paths {
        &self.services.paths
    }

    /// The image store, for verbs of images.
    pub fn images(&self) -> &Arc<hull_image::Store> {
        &self.services.images
    }

    /// What the host offers.
    pub fn host(&self) -> &crate::spec::HostFacts {
        &self.services.host
    }

    /// Tells of a prune, and of the bytes it gave back.
    pub fn say_pruned(&self, what: &str, bytes: u64) {
        self.services.say_pruned(what, bytes);
    }
}

fn open(config: EngineConfig) -> Result<Services> {
    let paths = Paths::open(&config.data_root, &config.exec_root)?;
    let locks = [
        services::lock(&paths.lock())?,
        services::lock(&paths.run_lock())?,
    ];
    let opened = Store::open(&paths.database())?;
    if let Some(aside) = &opened.damaged {
        tracing::error!(
            kept = %aside.display(),
            "the state file was damaged: it is put aside, and a new one is made"
        );
    }
    let store = Arc::new(opened.store);
    let events = Events::open(Arc::clone(&store))?;
    let images = Arc::new(hull_image::Store::open(&paths.images())?);
    let trash = hull_image::Trash::open(paths.data())?;
    let snapshots = hull_image::Overlay::new(paths.data())?;
    let ids = config.network.user_namespaces.clone();
    let remap = ids.map(|ids| Remap::open(ids, paths.data())).transpose()?;
    let networks = crate::network::Networks::open(&config, Arc::clone(&store))?;
    let shim = services::seal(&config.shim)?;
    let (shared, directory) = (Arc::clone(&store), paths.volumes());
    let volumes = crate::volume::Volumes::open(shared, directory, opened.is_new)?;
    let host = crate::spec::HostFacts::detect();
    let usual_parent = config
        .cgroup_parent
        .is_empty()
        .then_some(services::CGROUP_PARENT);
    Ok(Services {
        parents: Parents::open(host.cgroups.clone(), paths.cgroup_parents(), usual_parent),
        host,
        remap,
        filters: crate::filter::Filters::new(paths.filters()),
        memory: crate::system::memory_total(),
        registries: arc_swap::ArcSwap::from_pointee(hull_registry::Client::new(
            config.registries.clone(),
        )),
        config,
        paths,
        store,
        events,
        registry: Registry::default(),
        images,
        snapshots,
        networks,
        volumes,
        waiter: tokio::runtime::Handle::current(),
        shim,
        starts_anew: opened.is_new,
        claims: Arc::default(),
        waits: crate::order::Waits::default(),
        ended: crate::order::Ended::default(),
        makings: crate::making::Makings::default(),
        builder: std::sync::OnceLock::new(),
        trash,
        trash_filled: Notify::new(),
        _locks: locks,
    })
}

/// Deletes what was moved out of sight, whenever there is something.
async fn empty_trash(services: Arc<Services>) {
    loop {
        services.trash_filled.notified().await;
        let shared = Arc::clone(&services);
        let job = move || {
            let emptied = shared.trash.empty();
            shared.store.refill_reserve();
            emptied
        };
        match services.block(job).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot empty the trash"),
            Err(error) => tracing::error!(%error, "cannot empty the trash"),
        }
    }
}

/// Shims are this process's children: when one ends, the kernel wants to be told that we know.
async fn reap() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut ended) = signal(SignalKind::child()) else {
        tracing::error!("cannot watch for ended shims: zombies will stay");
        return;
    };
    loop {
        while let Ok(Some((pid, ended))) = hull_sys::process::reap() {
            hull_sys::child::note(pid, ended);
        }
        if ended.recv().await.is_none() {
            return;
        }
    }
}
