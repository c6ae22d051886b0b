//! Sockets on which the client's ssh agents answer to a command.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::request::SshAgents;

/// The id of the agent that clients forward unless they say another.
const DEFAULT_AGENT: &str = "default";

/// Sockets of agents for fetching, so far.
static SOCKETS: AtomicU64 = AtomicU64::new(0);

/// A socket that forwards to an ssh agent of the client.
pub(crate) struct Socket {
    path: PathBuf,
    stop: crate::cancel::Cancel,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.stop.cancel();
        // Wakes the thread that accepts.
        let _ = std::os::unix::net::UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

impl Socket {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The agent that git shall use, if the client forwards one, on a socket in `directory`.
pub(crate) fn for_git(agents: &Arc<dyn SshAgents>, directory: &Path) -> Result<Option<Socket>> {
    if !agents.has(DEFAULT_AGENT) {
        return Ok(None);
    }
    // The same repository may be fetched for several platforms at once.
    let number = SOCKETS.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("git-{number}"));
    socket(agents, DEFAULT_AGENT, &path, 0o600, (0, 0)).map(Some)
}

/// A socket on which the client's agent answers.
pub(super) fn socket(
    agents: &Arc<dyn SshAgents>,
    id: &str,
    path: &Path,
    mode: u32,
    owner: (u32, u32),
) -> Result<Socket> {
    let failed = |error: std::io::Error| Error::host(format!("forward the ssh agent {id}"), error);
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1)).map_err(failed)?;
    let stop = crate::cancel::Cancel::new();
    let (agents, id, stopped) = (Arc::clone(agents), id.to_owned(), stop.clone());
    std::thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            if stopped.is_cancelled() {
                return;
            }
            let (agents, id) = (Arc::clone(&agents), id.clone());
            std::thread::spawn(move || agents.serve(&id, connection));
        }
    });
    Ok(Socket {
        path: path.to_owned(),
        stop,
    })
}
