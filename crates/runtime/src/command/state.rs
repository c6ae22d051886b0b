//! What the command remembers of a container between two calls.
//!
//! ```text
//! <root>/<id>/state.json    who it is
//! <root>/<id>/config.json   the spec, as it was when the container was made
//! <root>/<id>/start.sock    there until the container was started
//! ```

use std::{
    fs,
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use hull_oci::runtime::Spec;
use hull_runtime::{Cgroup, cgroup::Freezer, hooks::HookState};
use hull_sys::{files, process};
use serde::{Deserialize, Serialize};

/// `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) pid: i32,
    /// Clock ticks after boot: tells the process from a later one with its pid.
    pub(super) start_time: u64,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    /// Below the cgroup mounts; empty: none.
    pub(super) cgroup: String,
    pub(super) created: String,
    pub(super) owner: u32,
}

/// A container that exists.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) directory: PathBuf,
    pub(super) record: Record,
    pub(super) spec: Spec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The container's directory, made for it alone.
pub(super) fn claim(root: &Path, id: &str) -> Result<PathBuf, String> {
    let failed = |error: io::Error| format!("create {}: {error}", root.display());
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o711);
    builder.recursive(true).create(root).map_err(failed)?;
    let directory = root.join(id);
    match builder.recursive(false).create(&directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err("container with given ID already exists".to_owned())
        }
        result => result.map(|()| directory).map_err(failed),
    }
}

impl Container {
    pub(super) fn load(root: &Path, id: &str) -> Result<Self, String> {
        let directory = root.join(id);
        let text = fs::read(directory.join("state.json")).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => "container does not exist".to_owned(),
            _ => format!("read the state of {id}: {error}"),
        })?;
        let record = serde_json::from_slice(&text)
            .map_err(|error| format!("the state of {id} is damaged: {error}"))?;
        let spec = super::spec::load(&directory.join("config.json"))?.0;
        Ok(Self {
            directory,
            record,
            spec,
        })
    }

    pub(super) fn save(&self, config: &[u8]) -> io::Result<()> {
        write_new(&self.directory.join("config.json"), config)?;
        let text = serde_json::to_vec(&self.record)?;
        // Readers see the record whole: it comes last, under its name at once.
        let temporary = self.directory.join(".state.json");
        write_new(&temporary, &text)?;
        fs::rename(temporary, self.directory.join("state.json"))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("start.sock")
    }

    pub(super) fn cgroup(&self) -> Result<Cgroup, String> {
        match self.record.cgroup.as_str() {
            "" => Ok(Cgroup::NONE),
            path => Cgroup::open(path).map_err(|error| error.to_string()),
        }
    }

    /// The process, unless it ended.
    pub(super) fn pidfd(&self) -> Option<OwnedFd> {
        let pidfd = process::open(self.record.pid).ok()?;
        (start_time(self.record.pid) == Some(self.record.start_time)).then_some(pidfd)
    }

    pub(super) fn status(&self) -> Result<Status, String> {
        if start_time(self.record.pid) != Some(self.record.start_time) {
            return Ok(Status::Stopped);
        }
        if self.socket().exists() {
            return Ok(Status::Created);
        }
        let freezer = self
            .cgroup()?
            .freezer()
            .map_err(|error| error.to_string())?;
        Ok(if freezer == Freezer::Frozen {
            Status::Paused
        } else {
            Status::Running
        })
    }

    /// As hooks read it.
    pub(super) fn hook_state(&self, status: &str) -> String {
        let pid = if status == "stopped" {
            0
        } else {
            self.record.pid
        };
        HookState::new(
            &self.spec,
            &self.record.id,
            status,
            pid,
            &self.record.bundle,
        )
        .json()
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(bytes)
}

/// When the process began; `None` if there is none, or only its remains.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let text = files::read_text(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    // The name, in parentheses, may hold anything.
    let mut words = text[text.rfind(')')? + 1..].split_whitespace();
    let state = words.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    words.nth(18)?.parse().ok()
}

/// Every container below `root`, by id; damaged ones are passed over.
pub(super) fn all(root: &Path) -> Vec<Container> {
    let mut found: Vec<Container> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Container::load(root, entry.file_name().to_str()?).ok())
        .collect();
    found.sort_by(|a, b| a.record.id.cmp(&b.record.id));
    found
}

/// Now, as RFC 3339 in UTC with nanoseconds.
pub(super) fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let nanoseconds = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// Year, month and day of the n-th day after 1970 began (Gregorian, years that begin in March).
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_778), (2026, 11, 21));
    }

    #[test]
    fn a_process_has_a_start_and_nobody_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).is_some_and(|time| time > 0));
        assert_eq!(start_time(i32::MAX), None);
    }
}
