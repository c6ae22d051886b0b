//! Takes a container away.

use crate::{Engine, actor::Order, error::Result};

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Its anonymous volumes go too.
    pub volumes: bool,
}

impl Engine {
    /// Takes a container away. What is on disk is renamed aside now and deleted in the background.
    pub async fn remove(&self, reference: &str, options: RemoveOptions) -> Result<()> {
        let RemoveOptions { force, volumes } = options;
        let handle = self.find(reference)?;
        handle
            .order(|reply| Order::Remove {
                force,
                volumes,
                reply,
            })
            .await
    }
}
