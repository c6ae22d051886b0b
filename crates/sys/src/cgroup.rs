//! Cgroups through their file system, v1 and v2 alike: directories, files, processes.
//!
//! [`Host`] says where the hierarchies are mounted. A [`Group`] is one path in all of them: in v2
//! one directory, in v1 one directory per hierarchy. What the files mean is the caller's business.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags};

use crate::files;

/// Where cgroup file systems are mounted, on every distribution.
const MOUNT: &str = "/sys/fs/cgroup";

const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Pause between two attempts to remove a group whose last process is just ending.
const REMOVE_PAUSE: Duration = Duration::from_micros(200);

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers (`cpu`, `cpuacct`), or its name alone (`name=systemd`).
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
}

/// The host's cgroup mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// One hierarchy per controller (also with a v2 hierarchy without controllers beside them).
    V1(Vec<Hierarchy>),
    /// One hierarchy.
    V2(PathBuf),
}

impl Host {
    /// Looks at `/sys/fs/cgroup`. `NotFound` if nothing is mounted there.
    pub fn detect() -> io::Result<Self> {
        let mount = Path::new(MOUNT);
        let kind = rustix::fs::statfs(mount)?.f_type;
        if u64::try_from(kind).is_ok_and(|kind| kind == CGROUP2_MAGIC) {
            return Ok(Self::V2(mount.to_owned()));
        }
        let hierarchies = hierarchies(&files::read_text(Path::new("/proc/self/cgroup"))?, mount);
        if hierarchies.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no cgroup is mounted below {MOUNT}"),
            ));
        }
        Ok(Self::V1(hierarchies))
    }

    /// Whether it is v2.
    pub fn is_v2(&self) -> bool {
        matches!(self, Self::V2(_))
    }
}

/// From lines like `5:cpu,cpuacct:/path`.
fn hierarchies(text: &str, mount: &Path) -> Vec<Hierarchy> {
    text.lines()
        .filter_map(|line| hierarchy(line, mount))
        .collect()
}

fn hierarchy(line: &str, mount: &Path) -> Option<Hierarchy> {
    let list = line.split(':').nth(1).filter(|list| !list.is_empty())?;
    let controllers: Vec<String> = list.split(',').map(str::to_owned).collect();
    let name = list.strip_prefix("name=").unwrap_or(list);
    let together = mount.join(name);
    let mount = if together.is_dir() {
        together
    } else {
        mount.join(controllers.first()?)
    };
    mount.is_dir().then_some(Hierarchy { controllers, mount })
}

/// One directory of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The controllers that are set here; empty in v2, where it is all of them.
    pub controllers: Vec<String>,
    /// Where its hierarchy is mounted.
    pub mount: PathBuf,
    /// The directory.
    pub path: PathBuf,
}

/// One path in all hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    v2: bool,
    path: String,
    directories: Vec<Directory>,
}

impl Group {
    /// The group at `path` (`/a/b`), which may not exist.
    pub fn new(host: &Host, path: &str) -> io::Result<Self> {
        let below = path.trim_matches('/');
        if below.is_empty() || below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{path}` is no path of a cgroup"),
            ));
        }
        let directories = match host {
            Host::V2(mount) => vec![Directory {
                controllers: Vec::new(),
                mount: mount.clone(),
                path: mount.join(below),
            }],
            Host::V1(hierarchies) => hierarchies
                .iter()
                .map(|hierarchy| Directory {
                    controllers: hierarchy.controllers.clone(),
                    mount: hierarchy.mount.clone(),
                    path: hierarchy.mount.join(below),
                })
                .collect(),
        };
        Ok(Self {
            v2: host.is_v2(),
            path: format!("/{below}"),
            directories,
        })
    }

    /// Makes its directories and their parents; in v2 the parents pass every controller on.
    /// If a directory cannot be made, those just made are removed again.
    pub fn create(&self) -> io::Result<()> {
        for (index, directory) in self.directories.iter().enumerate() {
            if let Err(error) = create_directory(directory, self.v2) {
                for made in &self.directories[..index] {
                    let _ = fs::remove_dir(&made.path);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether it is v2.
    pub fn is_v2(&self) -> bool {
        self.v2
    }

    /// Its path below the mounts: `/a/b`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its directories: one in v2, one per hierarchy in v1.
    pub fn directories(&self) -> &[Directory] {
        &self.directories
    }

    /// A group below this one.
    pub fn child(&self, name: &str) -> io::Result<Self> {
        let mut child = self.clone();
        let below = name.trim_matches('/');
        if below.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{name}` is no path of a cgroup"),
            ));
        }
        child.path = format!("{}/{below}", self.path);
        for directory in &mut child.directories {
            directory.path.push(below);
        }
        Ok(child)
    }

    /// Where `controller` is set.
    pub fn directory(&self, controller: &str) -> Option<&Path> {
        let found = if self.v2 {
            self.directories.first()
        } else {
            let names =
                |directory: &&Directory| directory.controllers.iter().any(|c| c == controller);
            self.directories.iter().find(names)
        };
        found.map(|directory| directory.path.as_path())
    }

    /// Writes a file of `controller`. `NotFound` if the host has no such controller or file.
    pub fn write(&self, controller: &str, file: &str, value: &str) -> io::Result<()> {
        files::write_file(&self.file(controller, file)?, value.as_bytes())
    }

    /// Reads a file of `controller`.
    pub fn read(&self, controller: &str, file: &str) -> io::Result<String> {
        files::read_text(&self.file(controller, file)?)
    }

    fn file(&self, controller: &str, file: &str) -> io::Result<PathBuf> {
        let directory = self.directory(controller).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("this host has no cgroup controller `{controller}`"),
            )
        })?;
        Ok(directory.join(file))
    }

    /// v2: the directory, for [`Clone::cgroup`](crate::process::Clone::cgroup).
    pub fn open(&self) -> io::Result<OwnedFd> {
        let directory = self.directories.first().ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&directory.path, flags, Mode::empty())?)
    }

    /// The files through which the calling thread joins, by writing `0` to each.
    ///
    /// In v1 that is `tasks`: a write to `cgroup.procs` there waits for every processor to pass a
    /// quiet point, 10 ms for all the hierarchies.
    pub fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let name = if self.v2 { "cgroup.procs" } else { "tasks" };
        self.directories
            .iter()
            .map(|directory| {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                Ok(rustix::fs::open(
                    directory.path.join(name),
                    flags,
                    Mode::empty(),
                )?)
            })
            .collect()
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.membership()
            .is_some_and(|directory| directory.path.is_dir())
    }

    /// The pids of its processes, with `below` also of the groups below.
    pub fn processes(&self, below: bool) -> io::Result<Vec<i32>> {
        let mut pids = Vec::new();
        if let Some(directory) = self.membership() {
            collect_processes(&directory.path, below, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Any one hierarchy tells who is in; in v1 the freezer is the one nobody is moved in.
    fn membership(&self) -> Option<&Directory> {
        let is_freezer = |d: &&Directory| d.controllers.iter().any(|c| c == "freezer");
        self.directories
            .iter()
            .find(is_freezer)
            .or(self.directories.first())
    }

    /// Removes it with the groups below; goes on after a failure. Waits up to `patience` for
    /// processes that are just ending. That it is gone already is no failure.
    pub fn remove(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        let mut result = Ok(());
        for directory in &self.directories {
            if let Err(error) = remove_tree(&directory.path, deadline) {
                result = Err(io::Error::new(
                    error.kind(),
                    format!("cannot remove {}: {error}", directory.path.display()),
                ));
            }
        }
        result
    }
}

/// How often a parent may vanish while a group is made: others tidy up theirs when they look empty.
const PARENTS_LOST_MAX: usize = 16;

fn create_directory(directory: &Directory, v2: bool) -> io::Result<()> {
    for _ in 0..PARENTS_LOST_MAX {
        match try_create_directory(directory, v2) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    try_create_directory(directory, v2)
}

fn try_create_directory(directory: &Directory, v2: bool) -> io::Result<()> {
    let cpuset = directory
        .controllers
        .iter()
        .any(|controller| controller == "cpuset");
    if !v2 && !cpuset {
        return match fs::create_dir(&directory.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&directory.path)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        };
    }
    let below = directory
        .path
        .strip_prefix(&directory.mount)
        .map_err(io::Error::other)?;
    let mut path = directory.mount.clone();
    for part in below {
        if v2 {
            pass_controllers_on(&path);
        }
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if cpuset {
            inherit_cpuset(&path)?;
        }
    }
    Ok(())
}

/// Best effort: a controller may be threaded, taken by v1, or not ours to give. A limit that then
/// has no file is reported when it is written.
fn pass_controllers_on(path: &Path) {
    let Ok(available) = files::read_text(&path.join("cgroup.controllers")) else {
        return;
    };
    let control = path.join("cgroup.subtree_control");
    let enabled = files::read_text(&control).unwrap_or_default();
    for controller in available.split_whitespace() {
        if !enabled.split_whitespace().any(|name| name == controller) {
            let _ = files::write_file(&control, format!("+{controller}").as_bytes());
        }
    }
}

/// v1 lets nobody into a cpuset without processors and memory nodes.
fn inherit_cpuset(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if files::read_text(&path.join(file))?.trim().is_empty() {
            let value = files::read_text(&parent.join(file))?;
            files::write_file(&path.join(file), value.trim().as_bytes())?;
        }
    }
    Ok(())
}

fn collect_processes(path: &Path, below: bool, pids: &mut Vec<i32>) -> io::Result<()> {
    // However long it is: half a line would be the number of somebody else.
    match fs::read_to_string(path.join("cgroup.procs")) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        // The group is threaded, or just gone.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTSUP | libc::ENODEV)) => {}
        Err(error) => return Err(error),
    }
    if below {
        for child in children(path)? {
            match collect_processes(&child, true, pids) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_tree(path: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        let error = match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => error,
        };
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error);
        }
        for child in children(path).unwrap_or_default() {
            remove_tree(&child, deadline)?;
        }
        if Instant::now() >= deadline {
            return fs::remove_dir(path);
        }
        thread::sleep(REMOVE_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_below_the_mounts_and_nowhere_else() {
        let host = Host::V2(PathBuf::from("/sys/fs/cgroup"));
        for path in ["", "/", "/a/../b", "a//b", "./a"] {
            assert!(Group::new(&host, path).is_err(), "{path}");
        }
        let group = Group::new(&host, "hull/a").unwrap();
        assert_eq!(group.path(), "/hull/a");
        assert_eq!(
            group.directory("memory").unwrap(),
            Path::new("/sys/fs/cgroup/hull/a")
        );
        assert!(group.child("../x").is_err());
        assert_eq!(group.child("x").unwrap().path(), "/hull/a/x");
    }

    #[test]
    fn lines_without_a_mounted_hierarchy_are_passed_over() {
        let mount = std::env::temp_dir().join(format!("hull-cgroup-{}", std::process::id()));
        fs::create_dir_all(mount.join("cpu,cpuacct")).unwrap();
        fs::create_dir_all(mount.join("systemd")).unwrap();
        let text = "3:cpu,cpuacct:/a\n2:name=systemd:/\n1:memory:/\n0::/\n";
        let found = hierarchies(text, &mount);
        fs::remove_dir_all(&mount).unwrap();
        let names: Vec<_> = found.iter().map(|h| h.controllers.join("+")).collect();
        assert_eq!(names, ["cpu+cpuacct", "name=systemd"]);
    }
}
