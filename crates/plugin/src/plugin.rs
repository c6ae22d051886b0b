//! Plugins that make networks (`NetworkDriver`), give addresses (`IpamDriver`) or allow requests
//! (`authz`). What their questions mean is the affair of who asks; here they are asked.

use std::time::Duration;

use serde_json::Value;

use crate::{
    activate::activate,
    find::Directories,
    talk::{Error, Peer},
};

/// A plugin of some kind.
#[derive(Debug, Clone)]
pub struct Plugin {
    peer: Peer,
    within: Duration,
}

impl Plugin {
    /// Finds a plugin and asks whether it is of a kind: `NetworkDriver`, `IpamDriver` or `authz`.
    /// `within`: how long each answer may take.
    pub async fn open(
        name: &str,
        kind: &'static str,
        directories: &Directories,
        within: Duration,
    ) -> Result<Self, Error> {
        let peer = activate(name, kind, directories, within).await?;
        Ok(Self { peer, within })
    }

    /// Asks one question.
    pub async fn ask(&self, question: &'static str, body: &Value) -> Result<Value, Error> {
        self.peer.ask(question, body, self.within).await
    }
}
