//! What every plugin is asked first: what it is good for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    find::{Directories, find},
    talk::{Error, Peer, null_as_default},
};

/// How long a plugin may take to say what it is and what it knows.
pub(crate) const QUERY_WITHIN: Duration = Duration::from_secs(5);

/// A question without details.
#[derive(Serialize)]
pub(crate) struct Nothing {}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Activation {
    #[serde(deserialize_with = "null_as_default")]
    implements: Vec<String>,
}

/// Finds a plugin and asks whether it is of a kind.
pub(crate) async fn activate(
    name: &str,
    kind: &'static str,
    directories: &Directories,
    within: Duration,
) -> Result<Peer, Error> {
    let peer = Peer {
        name: name.to_owned(),
        address: find(name, directories)?,
    };
    let limit = within.min(QUERY_WITHIN);
    let active: Activation = peer.ask("Plugin.Activate", &Nothing {}, limit).await?;
    if !active.implements.iter().any(|known| known == kind) {
        let name = name.to_owned();
        return Err(Error::WrongKind { name, kind });
    }
    Ok(peer)
}
