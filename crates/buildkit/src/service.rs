//! Which part answers a call.

use std::{fmt, sync::Arc};

use hull_build::Builder;
use hull_image::Store;

use crate::{
    control::{self, Worker},
    gateway,
    grpc::{Call, Running, Service, Status},
    job::Jobs,
    session::Sessions,
};

/// Has what was thrown away deleted.
pub type Sweep = Arc<dyn Fn() + Send + Sync>;

/// All that clients of BuildKit's protocol meet.
pub struct Front {
    worker: Worker,
    builder: Arc<Builder>,
    store: Arc<Store>,
    sweep: Sweep,
    sessions: Sessions,
    jobs: Jobs,
}

impl Front {
    /// A front without builds.
    pub fn new(worker: Worker, builder: Arc<Builder>, store: Arc<Store>, sweep: Sweep) -> Self {
        Self {
            worker,
            builder,
            store,
            sweep,
            sessions: Sessions::default(),
            jobs: Jobs::default(),
        }
    }

    /// What builds here.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The clients that offer something.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What builds.
    pub(crate) fn builder(&self) -> &Arc<Builder> {
        &self.builder
    }

    /// After a build: what it remembered reaches the disk, the cache keeps to its budget, and what
    /// nobody needs any more is deleted.
    pub(crate) async fn settle(&self) {
        let builder = Arc::clone(&self.builder);
        match tokio::task::spawn_blocking(move || builder.settle()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the build cache is not settled"),
            Err(panic) => tracing::error!(%panic, "settling the build cache broke off"),
        }
        self.sweep();
    }

    /// Has what was thrown away deleted.
    pub(crate) fn sweep(&self) {
        (self.sweep)();
    }

    /// The same, for those who outlive the call that began them.
    pub(crate) fn sweeper(&self) -> Sweep {
        Arc::clone(&self.sweep)
    }

    /// Where images are.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
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
