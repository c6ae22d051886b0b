//! Containers that the engine freezes for a moment, to copy what they hold. A daemon that dies
//! meanwhile leaves them frozen, with a mark: the next one thaws them.

use std::{fs, path::PathBuf};

use crate::{
    Engine,
    error::{Attempt, Result},
    model::ContainerId,
    services::Services,
    state::State,
};

/// The mark, in the bundle.
const MARK: &str = "frozen";

fn mark(services: &Services, id: &ContainerId) -> PathBuf {
    services.paths.bundle(id).join(MARK)
}

impl Engine {
    /// Freezes a container until [`thaw_again`](Self::thaw_again).
    pub(crate) async fn freeze(&self, id: &ContainerId) -> Result<()> {
        let mark = mark(self.services(), id);
        fs::write(&mark, "").attempt(|| format!("write {}", mark.display()))?;
        let frozen = self.pause(id.as_str()).await;
        if frozen.is_err() {
            let _ = fs::remove_file(mark);
        }
        frozen
    }

    /// Thaws it.
    pub(crate) async fn thaw_again(&self, id: &ContainerId) {
        if let Err(error) = self.unpause(id.as_str()).await {
            tracing::error!(container = id.short(), %error, "cannot thaw");
        }
        let _ = fs::remove_file(mark(self.services(), id));
    }
}

/// Thaws what an earlier daemon froze, and did not live to thaw.
pub(crate) fn thaw_left(engine: &Engine) {
    for handle in engine.services().registry.all() {
        let record = handle.record();
        let is_left = mark(engine.services(), &record.id).exists();
        if !is_left {
            continue;
        }
        let engine = engine.clone();
        let paused = matches!(record.state, State::Paused(_));
        tokio::spawn(async move {
            if paused {
                tracing::warn!(
                    container = record.id.short(),
                    "thawed: an earlier daemon froze it"
                );
                engine.thaw_again(&record.id).await;
            } else {
                let _ = fs::remove_file(mark(engine.services(), &record.id));
            }
        });
    }
}
