//! Waits for a container to end.

use tokio::sync::watch;

use crate::{Engine, actor::Lifecycle, error::Result};

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitFor {
    /// It does not run, now or later.
    #[default]
    NotRunning,
    /// Its next exit.
    NextExit,
    /// It is gone.
    Removed,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
}

/// A wait that is armed: what happens from now on counts.
#[derive(Debug)]
pub struct Waiting {
    life: watch::Receiver<Lifecycle>,
    exits: u64,
    until: WaitFor,
}

impl Engine {
    /// Arms a wait; the waiting itself is [`Waiting::ended`].
    pub fn wait(&self, reference: &str, until: WaitFor) -> Result<Waiting> {
        let life = self.find(reference)?.lifecycle();
        let exits = life.borrow().exits;
        Ok(Waiting { life, exits, until })
    }
}

impl Waiting {
    /// Waits. `None`: the engine stopped first.
    pub async fn ended(mut self) -> Option<Ended> {
        let (exits, until) = (self.exits, self.until);
        let over = move |life: &Lifecycle| match until {
            WaitFor::NotRunning => !life.running || life.removed,
            WaitFor::NextExit => life.exits > exits || life.removed,
            WaitFor::Removed => life.removed,
        };
        let life = self.life.wait_for(over).await.ok()?;
        Some(Ended { code: life.code })
    }
}
