//! Small orders to a container's owner: start, kill, pause, unpause, resize, rename.

use crate::{
    Engine,
    actor::{Intent, Order},
    error::{Error, Result},
    model::Name,
};

use super::stop::KILLED_WITHIN;

impl Engine {
    /// Runs it. [`Error::NotModified`] if it runs already.
    pub async fn start(&self, reference: &str) -> Result<()> {
        self.find(reference)?.order(Order::Start).await
    }

    /// Sends a signal (`None`: SIGKILL) to its init.
    pub async fn kill(&self, reference: &str, signal: Option<i32>) -> Result<()> {
        let handle = self.find(reference)?;
        let signal = signal.unwrap_or(libc::SIGKILL);
        let mut life = handle.lifecycle();
        let exits = life.borrow().exits;
        let order = handle.order(|reply| Order::Signal {
            signal,
            intent: Intent::Signal,
            reply,
        });
        order.await.map_err(|error| match error {
            Error::State(text) => {
                Error::State(format!("cannot kill container: {reference}: {text}"))
            }
            other => other,
        })?;
        if signal != libc::SIGKILL {
            return Ok(());
        }
        // As with Docker: who is answered finds it ended.
        let over = life.wait_for(move |life| life.exits > exits || !life.running || life.removed);
        match tokio::time::timeout(KILLED_WITHIN, over).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Internal(format!(
                "cannot kill container: {reference}: tried to kill container, but did not receive an exit event"
            ))),
        }
    }

    /// Freezes all of its processes.
    pub async fn pause(&self, reference: &str) -> Result<()> {
        let handle = self.find(reference)?;
        let outcome = handle
            .order(|reply| Order::Freeze {
                frozen: true,
                reply,
            })
            .await;
        outcome.map_err(|error| match error {
            Error::State(text) if text.contains("is paused") => {
                Error::State(format!("container {} is already paused", handle.id))
            }
            other => other,
        })
    }

    /// Thaws it.
    pub async fn unpause(&self, reference: &str) -> Result<()> {
        self.find(reference)?
            .order(|reply| Order::Freeze {
                frozen: false,
                reply,
            })
            .await
    }

    /// Changes the size of its terminal.
    pub async fn resize(&self, reference: &str, rows: u16, columns: u16) -> Result<()> {
        self.find(reference)?
            .order(|reply| Order::Resize {
                rows,
                columns,
                reply,
            })
            .await
    }

    /// Gives it another name.
    pub async fn rename(&self, reference: &str, name: &str) -> Result<()> {
        if name.is_empty() || name == "/" {
            let text = "Neither old nor new names may be empty";
            return Err(Error::Invalid(text.to_owned()));
        }
        let handle = self.find(reference)?;
        let name = Name::parse(name).map_err(|error| Error::Invalid(error.to_string()))?;
        if handle.record().name == name {
            let text = "Renaming a container with the same name as its current name";
            return Err(Error::Invalid(text.to_owned()));
        }
        handle.order(|reply| Order::Rename { name, reply }).await
    }
}
