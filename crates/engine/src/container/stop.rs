//! Ends a container in good order, or starts it over.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    Engine,
    actor::{Handle, Intent, Order, Reply},
    error::{Error, Result},
};

/// The grace period of containers that name none.
const GRACE: Duration = Duration::from_secs(10);

/// How long a killed process may take to be gone: longer only if it hangs in the kernel.
pub(super) const KILLED_WITHIN: Duration = Duration::from_secs(10);

impl Engine {
    /// Sends the stop signal, waits for the grace period, then kills. `signal` and `timeout_s`
    /// replace the container's own; a negative time waits without end.
    pub async fn stop(
        &self,
        reference: &str,
        signal: Option<i32>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let handle = self.find(reference)?;
        end(&handle, signal, timeout_s, Intent::Stop).await
    }

    /// Stops the container if it runs, and starts it.
    pub async fn restart(
        &self,
        reference: &str,
        signal: Option<i32>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let handle = self.find(reference)?;
        self.end_and(&handle, signal, timeout_s, Order::Start).await
    }

    /// Restarts a container for its bad health: its restart policy says so.
    pub(crate) async fn revive(&self, reference: &str) -> Result<()> {
        let handle = self.find(reference)?;
        self.end_and(&handle, None, None, Order::Revive).await
    }

    async fn end_and(
        &self,
        handle: &Handle,
        signal: Option<i32>,
        timeout_s: Option<i64>,
        begin: impl FnOnce(Reply<()>) -> Order,
    ) -> Result<()> {
        match end(handle, signal, timeout_s, Intent::Restart).await {
            Ok(()) | Err(Error::NotModified(_)) => {}
            Err(error) => return Err(error),
        }
        match handle.order(begin).await {
            // Somebody else was quicker.
            Ok(()) | Err(Error::NotModified(_)) => {}
            Err(error) => return Err(error),
        }
        self.say_restart(handle);
        Ok(())
    }

    fn say_restart(&self, handle: &Handle) {
        let record = handle.record();
        let attributes = record.event_attributes();
        let subject = crate::events::Subject::Container;
        self.services()
            .events
            .publish(subject, "restart", record.id.as_str(), attributes);
    }
}

async fn end(
    handle: &Handle,
    signal: Option<i32>,
    timeout_s: Option<i64>,
    intent: Intent,
) -> Result<()> {
    let record = handle.record();
    let signal = signal.unwrap_or_else(|| record.stop_signal());
    let grace = match timeout_s.or(record.config.stop_timeout_s) {
        None => Some(GRACE),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    };
    let mut life = handle.lifecycle();
    let exits = life.borrow().exits;
    let asked = handle
        .order(|reply| Order::Signal {
            signal,
            intent,
            reply,
        })
        .await;
    if intent == Intent::Stop && matches!(asked, Err(Error::NotModified(_))) {
        handle.called_off.store(true, Ordering::Relaxed);
    }
    let grace = match asked {
        // Its shim is held up, and passes the signal on when it goes on; or is gone, which ends the wait.
        Err(Error::Unavailable(_)) => grace,
        asked => asked.map(|()| grace)?,
    };
    let over = life.wait_for(move |life| life.exits > exits || !life.running || life.removed);
    match grace {
        None => {
            let _ = over.await;
            return Ok(());
        }
        Some(grace) => {
            if timeout_at(Instant::now() + grace, over).await.is_ok() {
                return Ok(());
            }
        }
    }
    match handle
        .order(|reply| Order::Signal {
            signal: libc::SIGKILL,
            intent,
            reply,
        })
        .await
    {
        // It ended in the meantime, and may be gone already.
        Ok(()) | Err(Error::State(_) | Error::NotModified(_) | Error::NoSuchContainer(_)) => {}
        Err(error) => return Err(error),
    }
    let over = life.wait_for(move |life| life.exits > exits || !life.running || life.removed);
    match timeout_at(Instant::now() + KILLED_WITHIN, over).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Internal(format!(
            "container {} was killed but is not gone after {} s: a process of it hangs in the kernel",
            handle.id,
            KILLED_WITHIN.as_secs()
        ))),
    }
}
