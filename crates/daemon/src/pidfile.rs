//! The file that tells others which process the daemon is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    /// Another daemon has it.
    #[error(
        "failed to start daemon, ensure hulld is not running or delete {path}: process with PID {pid} is still running"
    )]
    Running { path: String, pid: u32 },
    /// The operating system refused.
    #[error("cannot write {path}")]
    Write { path: String, source: io::Error },
}

impl PidFile {
    /// Writes our number, unless the file holds that of a daemon that runs.
    pub(crate) fn write(path: &Path) -> Result<Self, PidFileError> {
        let shown = path.display().to_string();
        if let Some(pid) = running(path) {
            return Err(PidFileError::Running { path: shown, pid });
        }
        let refused = |source| PidFileError::Write {
            path: shown.clone(),
            source,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(refused)?;
        }
        fs::write(path, std::process::id().to_string()).map_err(refused)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The daemon the file tells of, if it runs. A number may have gone to another program.
fn running(path: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (pid != std::process::id() && name.trim() == "hulld").then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_another_program_has_is_no_daemon() {
        let dir = std::env::temp_dir().join(format!("hulld-pidfile-{}", std::process::id()));
        let path = dir.join("hulld.pid");
        fs::create_dir_all(&dir).unwrap();
        fs::write(&path, "1").unwrap();
        let file = PidFile::write(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        drop(file);
        assert!(!path.exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
