//! What is on the host: taken before a daemon starts, compared after it ends.
//!
//! Other tests run at the same time, so a snapshot holds what no test may ever change (the host's links and rules), and
//! [`leftovers`] names what belongs to one daemon, known by its directory, its cgroup parent and its network namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The parts of the host that belong to nobody under test.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    links: Vec<String>,
    rules: String,
    forwarding: String,
}

impl Snapshot {
    /// Looks at the host.
    pub fn take() -> Self {
        let rules = Command::new("nft")
            .args(["list", "ruleset"])
            .output()
            .expect("cannot run nft");
        Self {
            links: names("/sys/class/net"),
            rules: String::from_utf8_lossy(&rules.stdout).into_owned(),
            forwarding: fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default(),
        }
    }

    /// Panics when the host is not as it was.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        assert_eq!(self, &Self::take(), "the host's network was changed");
    }
}

/// What belongs to one daemon.
pub struct Owned<'a> {
    /// Everything of it lies below.
    pub directory: &'a Path,
    /// The name below each cgroup hierarchy.
    pub cgroup: &'a str,
    /// Its network namespace's file.
    pub namespace: PathBuf,
    /// Processes that may stay: the namespace's holder and, while it runs, the daemon.
    pub spared: Vec<u32>,
}

/// All that is left of a daemon's containers, one line each: empty is clean.
pub fn leftovers(owned: &Owned) -> Vec<String> {
    let mut found = Vec::new();
    let directory = owned.directory.to_string_lossy();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("cannot read mounts");
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&*directory))
            .map(|line| format!("mount {line}")),
    );
    for group in cgroups(owned.cgroup) {
        found.extend(
            directories(&group)
                .into_iter()
                .map(|path| format!("cgroup {}", path.display())),
        );
    }
    found.extend(
        processes(owned)
            .into_iter()
            .map(|pid| format!("process {pid}: {}", command_line(pid))),
    );
    for folder in ["run/containers", "data/containers", "data/trash"] {
        let below = names(owned.directory.join(folder));
        found.extend(
            below
                .into_iter()
                .map(|name| format!("file {folder}/{name}")),
        );
    }
    found
}

/// Removes without asking the daemon: for tests that failed, and as the last step of all.
pub fn clean(owned: &Owned) {
    for _ in 0..50 {
        let alive = processes(owned);
        if alive.is_empty() {
            break;
        }
        let mut kill = Command::new("kill");
        kill.arg("-9").args(alive.iter().map(u32::to_string));
        let _ = kill.output();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let directory = owned.directory.to_string_lossy().into_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.starts_with(&directory));
    for point in points.collect::<Vec<_>>().into_iter().rev() {
        let _ = Command::new("umount").args(["--lazy", point]).status();
    }
    remove_cgroups(owned.cgroup);
}

/// Removes the groups of that name and all below, once their last processes are gone.
pub fn remove_cgroups(name: &str) {
    for group in cgroups(name) {
        remove_cgroup(&group);
    }
}

/// The processes of a daemon's namespace and cgroups, and those that name its directory on their command line.
pub(crate) fn processes(owned: &Owned) -> Vec<u32> {
    let namespace = fs::read_link(&owned.namespace).ok();
    let all = names("/proc")
        .into_iter()
        .filter_map(|name| name.parse().ok());
    let mine = |pid: &u32| {
        let belongs = fs::read_link(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|link| Some(link) == namespace)
            || fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .is_ok_and(|text| in_cgroup(&text, owned.cgroup));
        belongs && !owned.spared.contains(pid)
    };
    all.filter(mine).collect()
}

fn in_cgroup(text: &str, name: &str) -> bool {
    let prefix = format!("/{name}/");
    text.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .any(|path| path.starts_with(&prefix))
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The directories of that name at the top of each hierarchy: one on version 2, one per controller on version 1.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let mut tops = vec![top.to_path_buf()];
    tops.extend(
        directories(top)
            .into_iter()
            .filter(|path| !path.is_symlink()),
    );
    tops.into_iter()
        .map(|hierarchy| hierarchy.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

fn remove_cgroup(group: &Path) {
    for child in directories(group) {
        remove_cgroup(&child);
    }
    // A group whose last process is still being reaped is busy for a moment.
    for _ in 0..300 {
        if fs::remove_dir(group).is_ok() || !group.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    names(path)
        .into_iter()
        .map(|name| path.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

/// The names in a directory, sorted; none when it is not there.
pub fn names(path: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
