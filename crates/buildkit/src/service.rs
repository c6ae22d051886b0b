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

/// All that clients of BuildKit's protocol meet.
pub struct Front {
    worker: Worker,
    builder: Arc<Builder>,
    store: Arc<Store>,
    sessions: Sessions,
    jobs: Jobs,
}

impl Front {
    /// A front without builds.
    pub fn new(worker: Worker, builder: Arc<Builder>, store: Arc<Store>) -> Self {
        Self {
            worker,
            builder,
            store,
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
