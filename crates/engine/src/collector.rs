//! Keeps images and disposable volumes within the budget the administrator set.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{Engine, services::Services};

/// How often the store is measured: it takes a millisecond, and images come in over minutes.
const EVERY: Duration = Duration::from_secs(20);

/// Runs as long as the daemon, if there is a budget.
pub(crate) async fn keep_budget(services: Arc<Services>) {
    let Some(budget) = services.config.storage_budget else {
        return;
    };
    let engine = Engine::of(services);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match engine.keep_within(budget).await {
            Ok(gone) if gone.images.is_empty() && gone.volumes.is_empty() => {}
            Ok(gone) => tracing::info!(
                budget,
                images = gone.images.len(),
                volumes = gone.volumes.len(),
                "what is over budget is let go"
            ),
            Err(error) => tracing::warn!(%error, "cannot keep within the budget"),
        }
    }
}
