//! Takes a container away.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    Engine,
    actor::Order,
    error::{Error, Result},
};

/// How long a killed container may take to be gone: longer only if it hangs in the kernel.
const REMOVED_WITHIN: Duration = Duration::from_secs(30);

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
        let removal = handle.order(|reply| Order::Remove {
            force,
            volumes,
            reply,
        });
        timeout(REMOVED_WITHIN, removal).await.unwrap_or_else(|_| {
            Err(Error::Internal(format!(
                "cannot remove container {reference}: tried to kill container, but did not \
                 receive an exit event"
            )))
        })
    }
}
