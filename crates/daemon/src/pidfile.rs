//! The file that tells others which process the daemon is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How long a daemon that was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
/// `PF_EXITING` of the kernel's `sched.h`.
const EXITING: u64 = 4;
/// The bit of SIGKILL in a set of signals.
const KILL: u64 = 1 << 8;

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
    /// Writes our number, unless the file holds that of a daemon that runs. One that is about to be gone
    /// is waited for: it has been killed, and whoever did that starts the next one at once.
    pub(crate) async fn write(path: &Path) -> Result<Self, PidFileError> {
        let shown = path.display().to_string();
        if let Some(pid) = daemon(path) {
            let until = Instant::now() + GONE_WITHIN;
            while standing(pid) == Standing::Ending && Instant::now() < until {
                sleep(PAUSE).await;
            }
            if standing(pid) != Standing::Gone {
                return Err(PidFileError::Running { path: shown, pid });
            }
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

/// The daemon the file tells of, if there is one. A number may have gone to another program.
fn daemon(path: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (pid != std::process::id() && name.trim() == "hulld").then_some(pid)
}

/// How a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Runs,
    /// It was killed, and still holds what it had open.
    Ending,
    /// It holds nothing any more, though its parent may not have asked how it ended.
    Gone,
}

fn standing(pid: u32) -> Standing {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Standing::Gone;
    };
    // The name stands in brackets and may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let flags = fields.get(6).and_then(|flags| flags.parse::<u64>().ok());
    let is_dead = matches!(fields.first(), Some(&("Z" | "X")));
    // The first thread may be dead while others still are on their way out.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    match is_dead {
        true if threads <= 1 => Standing::Gone,
        true => Standing::Ending,
        false if flags.unwrap_or_default() & EXITING != 0 || is_killed(pid) => Standing::Ending,
        false => Standing::Runs,
    }
}

/// Whether it has got a signal that nothing survives.
fn is_killed(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut pending = status
        .lines()
        .filter_map(|line| {
            line.strip_prefix("SigPnd:")
                .or_else(|| line.strip_prefix("ShdPnd:"))
        })
        .filter_map(|set| u64::from_str_radix(set.trim(), 16).ok());
    pending.any(|set| set & KILL != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("hulld-pidfile-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_number_that_another_program_has_is_no_daemon() {
        let place = Place::new("other");
        let path = place.0.join("hulld.pid");
        fs::write(&path, "1").unwrap();
        let file = PidFile::write(&path).await.unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_daemon_that_runs_is_named_and_one_that_was_killed_is_none() {
        let place = Place::new("killed");
        let (path, program) = (place.0.join("hulld.pid"), place.0.join("hulld"));
        fs::copy("/bin/sleep", &program).unwrap();
        let mut other = std::process::Command::new(&program)
            .arg("1000")
            .spawn()
            .unwrap();
        // Until then it has the name of this test.
        while daemon_named(other.id()) != "hulld" {
            sleep(PAUSE).await;
        }
        fs::write(&path, other.id().to_string()).unwrap();
        let refused = PidFile::write(&path).await.unwrap_err();
        assert!(matches!(refused, PidFileError::Running { pid, .. } if pid == other.id()));
        other.kill().unwrap();
        // Nobody has asked how it ended: its number and its name are still there.
        let file = PidFile::write(&path).await.unwrap();
        assert_eq!(daemon_named(other.id()), "hulld");
        drop(file);
        other.wait().unwrap();
    }

    fn daemon_named(pid: u32) -> String {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim().to_owned()
    }
}
