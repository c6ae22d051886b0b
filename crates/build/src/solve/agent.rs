//! Sockets on which the client's ssh agents answer to a command.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Solver;
use crate::error::{Error, Result};

/// A socket that forwards to an ssh agent of the client.
pub(super) struct Socket {
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

impl Solver<'_> {
    /// A socket on which the client's agent answers.
    pub(super) fn socket(
        &self,
        id: &str,
        path: &Path,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<Socket> {
        let failed =
            |error: std::io::Error| Error::host(format!("forward the ssh agent {id}"), error);
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        std::os::unix::fs::chown(path, Some(owner.0), Some(owner.1)).map_err(failed)?;
        let stop = crate::cancel::Cancel::new();
        let (agents, id, stopped) = (Arc::clone(&self.request.ssh), id.to_owned(), stop.clone());
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
}
