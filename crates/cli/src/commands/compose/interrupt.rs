//! Ctrl-C while something goes on that Ctrl-C only ends: as with Docker's Compose, that is told by the code 130.
//! By a signal, a script around it would end as well.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Result;

/// What a command ends with that was interrupted.
const INTERRUPTED: u8 = 130;

/// Works until it is done or interrupted.
///
/// # Errors
/// What the work fails with.
pub(super) async fn until_interrupted(work: impl Future<Output = Result<u8>>) -> Result<u8> {
    let Ok(mut interrupts) = signal(SignalKind::interrupt()) else {
        return work.await;
    };
    tokio::select! {
        result = work => result,
        _ = interrupts.recv() => Ok(INTERRUPTED),
    }
}
