//! One at a time: what changes a project has it for itself, at the daemon, for as long as it works.
//!
//! What ends things at once (`stop`, `kill`, `pause`) asks nobody: it is the way out when another one hangs.

use hull_api::client::JsonStream;
use hull_api::types::ProjectHold;

use super::project::Scene;
use crate::commands::Call;
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::ui;

/// A project is one's own while this lives. Nothing: the daemon is not Hull's and keeps no such thing, or
/// nothing is going to be changed.
#[must_use = "the project is free again when this goes"]
pub(super) struct Hold {
    _stream: Option<JsonStream<ProjectHold>>,
}

impl Hold {
    /// Waits until nobody else works on the project, and says whom it waits for.
    ///
    /// # Errors
    /// The daemon does not answer, or leaves meanwhile.
    pub(super) async fn of(call: &Call, scene: &Scene) -> Result<Self> {
        if scene.client.is_rehearsal() {
            return Ok(Self { _stream: None });
        }
        let project = &scene.project.name;
        let wanted = scene.client.hold_project(project, &who(call)).await;
        let Some(mut stream) = wanted.map_err(failure)? else {
            return Ok(Self { _stream: None });
        };
        while let Some(word) = stream.next_item().await {
            let word = word.map_err(failure)?;
            if word.held {
                return Ok(Self {
                    _stream: Some(stream),
                });
            }
            let other = &word.waits_for;
            ui::note(&format!(
                "The project {project} is being worked on by {other}: waiting until that is done"
            ));
        }
        Err(Error::new(format!(
            "the daemon has left while the project {project} was waited for"
        )))
    }
}

/// What others are told of who has the project.
fn who(call: &Call) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let id = std::process::id();
    format!("`{}` (pid {id} on {host})", call.name)
}
