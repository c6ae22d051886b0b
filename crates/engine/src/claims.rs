//! Who has a container's layers mounted to be written: one at a time. A second mount of them would
//! take the first one's work directory away, and its writes would fail from then on.

use std::{
    collections::HashSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    error::{Error, Result},
    model::ContainerId,
    record::Record,
};

/// How long one waits for another.
const PATIENCE: Duration = Duration::from_secs(10);

/// All claims.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Mutex<HashSet<ContainerId>>,
    freed: Condvar,
}

/// The right to mount a container's layers, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    id: ContainerId,
}

impl Claims {
    /// Waits until nobody else has the container's layers mounted.
    pub(crate) fn take(self: &Arc<Self>, record: &Record) -> Result<Claim> {
        let is_held = |held: &mut HashSet<ContainerId>| held.contains(&record.id);
        let waited = self
            .freed
            .wait_timeout_while(self.held(), PATIENCE, is_held);
        let (mut held, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        if outcome.timed_out() {
            return Err(Error::Conflict(format!(
                "files are being copied into or out of container {}, or it is being started: try \
                 again when that is done",
                record.name
            )));
        }
        held.insert(record.id.clone());
        Ok(Claim {
            claims: Arc::clone(self),
            id: record.id.clone(),
        })
    }

    fn held(&self) -> MutexGuard<'_, HashSet<ContainerId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.held().remove(&self.id);
        self.claims.freed.notify_all();
    }
}
