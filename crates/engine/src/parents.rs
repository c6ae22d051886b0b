//! The parents of containers' cgroups. One that was not there before it was needed is ours, and goes when it is empty and the
//! daemon ends; one that was is its maker's, and stays.
//!
//! Which are ours stands in a file of the exec root: a daemon may be killed, and the next one ends in good order.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hull_sys::cgroup::{Group, Host};

/// Those that were made for us.
#[derive(Debug)]
pub(crate) struct Parents {
    host: Host,
    file: PathBuf,
    ours: Mutex<BTreeSet<String>>,
}

impl Parents {
    /// `usual`, which is ours whoever made it, and those that an earlier daemon has noted in `file`, a path a line.
    pub(crate) fn open(host: Host, file: PathBuf, usual: Option<&str>) -> Self {
        let noted = fs::read_to_string(&file).unwrap_or_default();
        let ours = noted.lines().chain(usual).map(str::to_owned).collect();
        Self {
            host,
            file,
            ours: Mutex::new(ours),
        }
    }

    /// Notes what is about to be made for a group at `path`: those of its parents that are not there.
    pub(crate) fn before(&self, path: &str) {
        let missing: Vec<String> = above(path)
            // A path with a line's end cannot be noted.
            .filter(|parent| !parent.contains('\n'))
            .filter(|parent| Group::new(&self.host, parent).is_ok_and(|group| !group.exists()))
            .collect();
        let mut ours = self.noted();
        let count = ours.len();
        ours.extend(missing);
        if ours.len() > count {
            self.keep(&ours);
        }
    }

    /// Takes away ours that are empty, the lowest first; those that are not stay noted.
    pub(crate) fn leave(&self) {
        let mut ours = self.noted();
        let all: Vec<String> = ours.iter().rev().cloned().collect();
        for path in all {
            let Ok(group) = Group::new(&self.host, &path) else {
                continue;
            };
            for directory in group.directories() {
                // Not there, or not empty: then somebody is in it.
                let _ = fs::remove_dir(&directory.path);
            }
            if !group.exists() {
                ours.remove(&path);
            }
        }
        self.keep(&ours);
    }

    fn noted(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, ours: &BTreeSet<String>) {
        let lines: String = ours.iter().map(|path| format!("{path}\n")).collect();
        let kept = match ours.is_empty() {
            true => fs::remove_file(&self.file),
            false => fs::write(&self.file, lines),
        };
        if let Err(error) = kept
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.file.display(), %error, "cannot note which cgroups are ours");
        }
    }
}

/// The groups above one, the highest first.
fn above(path: &str) -> impl Iterator<Item = String> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.filter(|at| *at > 0).map(|at| path[..at].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hierarchy in a plain directory: what matters here is which directories are there.
    struct Scene {
        root: PathBuf,
        parents: Parents,
    }

    fn scene(name: &str) -> Scene {
        let root = std::env::temp_dir().join(format!("hull-{name}-{}", std::process::id()));
        fs::create_dir_all(root.join("theirs")).unwrap();
        let parents = Parents::open(Host::V2(root.clone()), root.join("noted"), None);
        Scene { root, parents }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.root).unwrap();
        }
    }

    #[test]
    fn what_was_made_for_us_goes_and_what_was_there_stays() {
        let scene = scene("parents");
        for path in ["/theirs/ours/id", "/a/b/id"] {
            scene.parents.before(path);
            fs::create_dir_all(scene.root.join(&path[1..])).unwrap();
        }
        // Somebody is in the second still.
        fs::remove_dir(scene.root.join("theirs/ours/id")).unwrap();
        scene.parents.leave();
        assert!(scene.root.join("theirs").exists() && !scene.root.join("theirs/ours").exists());
        assert!(scene.root.join("a/b/id").exists());
        // The next daemon knows whose it is.
        fs::remove_dir(scene.root.join("a/b/id")).unwrap();
        let next = Parents::open(Host::V2(scene.root.clone()), scene.root.join("noted"), None);
        next.before("/a/b/other");
        next.leave();
        assert!(!scene.root.join("a").exists() && scene.root.join("theirs").exists());
        assert!(!scene.root.join("noted").exists());
    }
}
