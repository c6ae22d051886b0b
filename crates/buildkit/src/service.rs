//! Which part answers a call.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use hull_build::Builder;
use hull_image::Store;
use hull_oci::{Descriptor, Reference};

use crate::{
    control::{self, Worker},
    gateway,
    grpc::{Call, Running, Service, Status},
    guests::Hosts,
    job::Jobs,
    proto::worker::WorkerRecord,
    session::{Credentials, Sessions},
};

/// What the daemon lends to builds.
pub trait Lender: Send + Sync + 'static {
    /// Has what was thrown away deleted.
    fn sweep(&self);

    /// Carries an image of the store to the registry in its name. `tell` hears how far each layer
    /// is. The error is for people.
    fn push(self: Arc<Self>, push: Push) -> Pushing;

    /// The devices that builds may ask for. Blocks.
    fn devices(&self) -> Vec<Device>;
}

/// A device that builds may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `vendor.com/class=name`
    pub name: String,
    /// A client need not grant it.
    pub auto_allow: bool,
    /// What is known of it.
    pub annotations: BTreeMap<String, String>,
}

/// An image on its way to a registry.
pub struct Push {
    /// Its name: with a tag, or with its own digest.
    pub reference: Reference,
    /// The image itself: its name may lead elsewhere by now, or is not in the store at all.
    pub target: Descriptor,
    /// What the client logs in with there.
    pub credentials: Option<Credentials>,
    /// Hears of a layer: its digest, bytes that are there, bytes in all.
    pub tell: Tell,
}

/// Hears how far a layer is.
pub type Tell = Box<dyn Fn(&str, u64, u64) + Send + Sync>;

/// How a push ends.
pub type Pushing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// All that clients of BuildKit's protocol meet.
pub struct Front {
    worker: Worker,
    builder: Arc<Builder>,
    store: Arc<Store>,
    lender: Arc<dyn Lender>,
    sessions: Sessions,
    jobs: Jobs,
    hosts: Arc<Hosts>,
}

impl Front {
    /// A front without builds.
    pub fn new(
        worker: Worker,
        builder: Arc<Builder>,
        store: Arc<Store>,
        lender: Arc<dyn Lender>,
    ) -> Self {
        let jobs = Jobs::open(builder.directory());
        Self {
            worker,
            builder,
            store,
            lender,
            sessions: Sessions::default(),
            jobs,
            hosts: Arc::default(),
        }
    }

    /// What builds here.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// What builds here and with which devices, for clients.
    pub(crate) async fn worker_record(&self) -> WorkerRecord {
        let lender = Arc::clone(&self.lender);
        let devices = tokio::task::spawn_blocking(move || lender.devices()).await;
        let budgets = self.builder.budgets();
        self.worker.record(devices.unwrap_or_default(), budgets)
    }

    /// The clients that offer something.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What builds.
    pub(crate) fn builder(&self) -> &Arc<Builder> {
        &self.builder
    }

    /// After a build: what it remembered reaches the disk. Then, while nobody waits, the cache is made
    /// to keep to its budget, and what nobody needs any more is deleted.
    pub(crate) async fn settle(&self) {
        let builder = Arc::clone(&self.builder);
        match tokio::task::spawn_blocking(move || builder.settle()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the build cache is not settled"),
            Err(panic) => tracing::error!(%panic, "settling the build cache broke off"),
        }
        let (builder, lender) = (Arc::clone(&self.builder), Arc::clone(&self.lender));
        drop(tokio::task::spawn_blocking(move || {
            builder.tidy();
            lender.sweep();
        }));
    }

    /// What the daemon lends.
    pub(crate) fn lender(&self) -> &Arc<dyn Lender> {
        &self.lender
    }

    /// Where images are.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What builds begin with that only builds know.
    pub(crate) fn hosts(&self) -> &Arc<Hosts> {
        &self.hosts
    }

    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("Front");
        fields.field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Service for Front {
    fn call(self: Arc<Self>, call: Call) -> Running {
        Box::pin(async move {
            let path = call.method.clone();
            let (service, method) = path.rsplit_once('/').unwrap_or_default();
            match service {
                "/moby.buildkit.v1.Control" => control::call(&self, method, call).await,
                "/moby.buildkit.v1.frontend.LLBBridge" => gateway::call(&self, method, call).await,
                _ => Err(Status::unimplemented(format!("unknown service {path}"))),
            }
        })
    }
}
