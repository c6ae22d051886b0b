//! A context that is a git repository: cloned here, for as long as the build takes.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hull_context::Repository;

use crate::error::{Error, Result};
use crate::git;

/// How long one step of git's may take: histories may be large.
const STEP_MAX: Duration = Duration::from_secs(1800);

/// What a step of git's gives, or what it said instead.
type Told<T> = std::result::Result<T, String>;

/// A repository that was cloned. It goes away with its user.
pub(super) struct Clone {
    place: PathBuf,
    directory: PathBuf,
}

impl Drop for Clone {
    fn drop(&mut self) {
        // What stays is in the directory for what is temporary.
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

impl Clone {
    /// Clones what an address names, with or without its `.git`.
    pub(super) fn of(address: &str, keeps_git: bool) -> Result<Self> {
        let repository =
            Repository::parse(address).map_err(|error| Error::new(error.to_string()))?;
        let mut clone = Self {
            place: new_directory()?,
            directory: PathBuf::new(),
        };
        let fetched = clone.fetch(&repository, keeps_git);
        fetched.map_err(|why| Error::new(format!("cannot fetch {address}: {why}")))?;
        clone.directory = inside(&clone.place, &repository.directory).ok_or_else(|| {
            let directory = repository.directory.display();
            Error::new(format!("{} has no directory {directory}", repository.url))
        })?;
        Ok(clone)
    }

    /// The files that the address names.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn git(&self, words: &[&str]) -> Told<String> {
        git::run(&self.place, words, STEP_MAX)
    }

    fn fetch(&self, repository: &Repository, keeps_git: bool) -> Told<()> {
        self.git(&["init", "--quiet", "--template="])?;
        let commit = repository.bring(|words| self.git(words))?;
        let wanted = repository.wanted();
        let commit = commit.ok_or_else(|| format!("it has no branch, tag or commit {wanted}"))?;
        if !commit.starts_with(&repository.commit) {
            let wanted = &repository.commit;
            return Err(format!("expected checksum to match {wanted}, got {commit}"));
        }
        self.git(&["checkout", "--quiet", "--detach", "--force", &commit])?;
        if self.place.join(".gitmodules").is_file() {
            repository.bring_modules(|words| self.git(words))?;
        }
        if keeps_git {
            return Ok(());
        }
        remove_git(&self.place).map_err(|error| format!("its .git cannot be removed: {error}"))
    }
}

/// A directory that is nobody else's.
fn new_directory() -> Result<PathBuf> {
    let base = std::env::temp_dir();
    for number in 0.. {
        let place = base.join(format!("hull-build-git-{}-{number}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&place) {
            Ok(()) => return Ok(place),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("make", &place.to_string_lossy(), &error)),
        }
    }
    unreachable!("some number is free")
}

/// The directory of a clone; none, if a link of the repository's is on the way.
fn inside(place: &Path, below: &Path) -> Option<PathBuf> {
    let mut path = place.to_owned();
    for part in below {
        path.push(part);
        let found = std::fs::symlink_metadata(&path).ok()?;
        if !found.is_dir() {
            return None;
        }
    }
    Some(path)
}

/// Removes `.git` of the repository and of its modules.
fn remove_git(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        match (entry.file_name() == ".git", is_directory) {
            (true, true) => std::fs::remove_dir_all(entry.path())?,
            (true, false) => std::fs::remove_file(entry.path())?,
            (false, true) => remove_git(&entry.path())?,
            (false, false) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_behind_a_link_is_none_of_the_repository_s() {
        let clone = Clone {
            place: new_directory().unwrap(),
            directory: PathBuf::new(),
        };
        std::fs::create_dir_all(clone.place.join("real/below")).unwrap();
        std::os::unix::fs::symlink("/", clone.place.join("out")).unwrap();
        assert!(inside(&clone.place, Path::new("real/below")).is_some());
        assert_eq!(inside(&clone.place, Path::new("out/etc")), None);
        assert_eq!(inside(&clone.place, Path::new("none")), None);
        let other = new_directory().unwrap();
        assert_ne!(other, clone.place);
        std::fs::remove_dir(other).unwrap();
    }
}
