//! What a path in a container is.

use std::path::{Component, Path, PathBuf};

use hull_sys::beneath::Root;
use jiff::Timestamp;
use rustix::fs::{FileType, Stat};

use super::Requested;
use crate::dir::file_type;
use crate::error::{Context as _, Error, Result};

/// The kernel's limit for links on the way to a file.
const LINKS_MAX: usize = 40;

/// What a path in a container is: the content of Docker's `X-Docker-Container-Path-Stat`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathStat {
    /// The last element of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode` bits, not `st_mode`.
    pub mode: u32,
    /// RFC 3339 with nanoseconds, UTC.
    pub mtime: String,
    /// Where a link leads, resolved in the container; empty for all else.
    pub link_target: String,
}

/// What `path` is; a link is itself, unless a slash follows it.
pub fn stat(root: &Root, path: &str) -> Result<PathStat> {
    let requested = Requested::parse(path);
    let found = if requested.is_directory {
        root.stat(requested.path.join(""))
    } else {
        root.stat_no_follow(&requested.path)
    };
    let stat = found.map_err(|source| not_found(path, source))?;
    let is_link = file_type(&stat) == FileType::Symlink;
    let link_target = if is_link {
        evaluate(root, &requested.path)?
    } else {
        PathBuf::new()
    };
    Ok(PathStat {
        name: requested.name,
        size: stat.st_size,
        mode: go_mode(&stat),
        mtime: rfc3339_nano(stat.st_mtime, stat.st_mtime_nsec),
        link_target: link_target.to_string_lossy().into_owned(),
    })
}

/// Docker's error if the file is not there.
pub(super) fn not_found(path: &str, source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::NotFound {
        return Error::NoSuchFile {
            path: path.to_owned(),
        };
    }
    Error::Io {
        what: format!("look at {path}"),
        source,
    }
}

/// Go's bits for `st_mode`.
fn go_mode(stat: &Stat) -> u32 {
    let kind = match file_type(stat) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        FileType::CharacterDevice => (1 << 26) | (1 << 21),
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special
        .iter()
        .filter(|(bit, _)| stat.st_mode & bit != 0)
        .map(|(_, go)| go);
    special.fold(kind | (stat.st_mode & 0o777), |mode, bit| mode | bit)
}

/// Go leaves zeros at the end of the fraction out.
fn rfc3339_nano(seconds: i64, nanoseconds: impl TryInto<i32>) -> String {
    let nanoseconds = nanoseconds.try_into().unwrap_or(0);
    Timestamp::new(seconds, nanoseconds)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// Where the path leads in the end, as text: what does not exist ends the search. Information for
/// the client, never used to open anything.
fn evaluate(root: &Root, path: &Path) -> Result<PathBuf> {
    let mut links = 0;
    let mut todo: Vec<PathBuf> = vec![path.to_owned()];
    let mut done = PathBuf::from("/");
    while let Some(next) = todo.pop() {
        let mut components = next.components();
        let Some(first) = components.next() else {
            continue;
        };
        let rest = components.as_path().to_owned();
        if !rest.as_os_str().is_empty() {
            todo.push(rest);
        }
        match first {
            Component::RootDir => done = PathBuf::from("/"),
            Component::ParentDir => {
                done.pop();
            }
            Component::Normal(name) => {
                let at = done.join(name);
                match root.read_link(&at) {
                    Ok(target) if links < LINKS_MAX => {
                        links += 1;
                        todo.push(target);
                    }
                    Ok(_) => {
                        return Err(std::io::Error::from(rustix::io::Errno::LOOP))
                            .context(|| format!("follow {}", path.display()));
                    }
                    Err(_) => done = at,
                }
            }
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_inside_the_root_only() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        symlink("usr/lib", dir.path().join("lib")).unwrap();
        symlink("/lib/../../etc/x", dir.path().join("a")).unwrap();
        symlink("b", dir.path().join("b")).unwrap();
        let root = Root::new(dir.path()).unwrap();
        assert_eq!(stat(&root, "/a").unwrap().link_target, "/etc/x");
        assert_eq!(stat(&root, "lib").unwrap().link_target, "/usr/lib");
        assert!(stat(&root, "b").is_err());
        let followed = stat(&root, "/lib/").unwrap();
        assert_eq!(
            (followed.name.as_str(), followed.mode & (1 << 31)),
            ("lib", 1 << 31)
        );
        assert_eq!(stat(&root, "/lib/.").unwrap().name, ".");
        assert_eq!(stat(&root, "/").unwrap().name, "/");
        let error = stat(&root, "/nothing").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Could not find the file /nothing in container"
        );
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        assert_eq!(rfc3339_nano(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339_nano(1, 500_000_000), "1970-01-01T00:00:01.5Z");
    }
}
