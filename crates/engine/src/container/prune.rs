//! Takes all stopped containers away.

use std::sync::Arc;

use crate::{
    Engine, container::remove::RemoveOptions, error::Result, record::Record, state::State,
};

/// What a prune took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The ids.
    pub deleted: Vec<String>,
    /// Bytes of the host's disk that are free again.
    pub bytes: u64,
}

impl Engine {
    /// Takes away every container that does not run and that `wanted` accepts.
    pub async fn prune(&self, wanted: impl Fn(&Record) -> bool) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for handle in self.services().registry.all() {
            let record = handle.record();
            let stopped = matches!(record.state, State::Created { .. } | State::Exited { .. });
            if !stopped || record.is_build_step || !wanted(&record) {
                continue;
            }
            let bytes = self.writable_size(&record).await.unwrap_or(0);
            // One that somebody removes or starts at this moment is no failure of the prune.
            if self
                .remove(record.id.as_str(), RemoveOptions::default())
                .await
                .is_ok()
            {
                pruned.bytes += bytes;
                pruned.deleted.push(record.id.to_string());
            }
        }
        self.say_pruned("container", pruned.bytes);
        Ok(pruned)
    }

    /// Bytes of a container's writable layer.
    pub async fn writable_size(&self, record: &Record) -> Result<u64> {
        let upper = record.snapshot.upper.clone();
        let usage = self
            .services()
            .block(move || hull_image::snapshot::usage(&upper))
            .await??;
        Ok(usage.bytes)
    }

    /// The container a reference means, as it is now.
    pub fn container(&self, reference: &str) -> Result<Arc<Record>> {
        Ok(self.find(reference)?.record())
    }
}
