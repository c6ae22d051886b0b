//! Lists a directory for a build.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::ignore::Ignore;

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the directory.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When it last changed in any way (nanoseconds since 1970). Nobody can set that time.
    pub ctime_ns: i64,
    /// Its number on its file system.
    pub inode: u64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A link, and where it leads.
    Symlink(PathBuf),
}

/// Lists what of `directory` is not ignored, parents before what lies in them, by name. `always`
/// names files that are listed even so. Sockets and devices are left out.
pub fn walk(directory: &Path, ignore: &Ignore, always: &[&str]) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    level(directory, Path::new(""), ignore, always, &mut entries)?;
    Ok(entries)
}

fn level(
    base: &Path,
    below: &Path,
    ignore: &Ignore,
    always: &[&str],
    entries: &mut Vec<Entry>,
) -> io::Result<()> {
    let Some(mut names) = while_there(base, below, |path| {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()
    })?
    else {
        return Ok(());
    };
    names.sort_unstable();
    for name in names {
        let path = below.join(name);
        let Some(metadata) = while_there(base, &path, fs::symlink_metadata)? else {
            continue;
        };
        let is_wanted = !ignore.ignores(&path) || always.iter().any(|name| path == Path::new(name));
        let entry = |kind| Entry {
            path: path.clone(),
            kind,
            mode: metadata.mode() & 0o7777,
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        };
        if metadata.is_dir() {
            // An ignored directory may hold files that are not, or that are always listed.
            let holds = always.iter().any(|name| Path::new(name).starts_with(&path));
            if !is_wanted && !holds && !ignore.may_take_back_below(&path) {
                continue;
            }
            let at = entries.len();
            level(base, &path, ignore, always, entries)?;
            if is_wanted || entries.len() > at {
                entries.insert(at, entry(EntryKind::Directory));
            }
        } else if !is_wanted {
            continue;
        } else if metadata.is_symlink() {
            if let Some(target) = while_there(base, &path, fs::read_link)? {
                entries.push(entry(EntryKind::Symlink(target)));
            }
        } else if metadata.is_file() {
            entries.push(entry(EntryKind::File(metadata.len())));
        }
    }
    Ok(())
}

fn nanoseconds(seconds: i64, part: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(part)
}

/// What `look` tells of `base`/`path`; `None` if that went away meanwhile. Errors name the path, but for
/// that of the base itself, which the caller knows.
fn while_there<T>(
    base: &Path,
    path: &Path,
    look: impl Fn(PathBuf) -> io::Result<T>,
) -> io::Result<Option<T>> {
    match look(base.join(path)) {
        Ok(seen) => Ok(Some(seen)),
        Err(error) if path.as_os_str().is_empty() => Err(error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("{}: {error}", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_not_listed_unless_something_in_it_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/keep", "a/drop", "b/x", "c", "Dockerfile"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        let ignore = Ignore::parse("*\n!a/keep\n!link").unwrap();
        let listed = walk(dir.path(), &ignore, &["Dockerfile"]).unwrap();
        let paths: Vec<_> = listed
            .iter()
            .map(|entry| entry.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["Dockerfile", "a", "a/keep", "link"]);
        assert_eq!(listed[3].kind, EntryKind::Symlink("/etc".into()));
        let all = walk(dir.path(), &Ignore::default(), &[]).unwrap();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn a_change_shows_though_size_and_time_are_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            walk(dir.path(), &Ignore::default(), &[]).unwrap().remove(0)
        };
        let before = write("AA");
        let mut after = write("BB");
        // The kernel's clock for files has ticks.
        while after.ctime_ns == before.ctime_ns {
            after = write("BB");
        }
        assert_eq!((after.mtime_ns, &after.kind), (0, &before.kind));
        assert_ne!(after, before);
    }

    #[test]
    fn what_cannot_be_looked_at_is_named_and_what_went_away_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        // Root may read everything: a file that is taken for a directory is an error for root, too.
        let look = |path: &str| while_there(dir.path(), Path::new(path), fs::read_dir).map(|_| ());
        let text = look("file").unwrap_err().to_string();
        assert!(text.starts_with("file: "), "{text}");
        let gone = while_there(dir.path(), Path::new("gone"), fs::read_link).unwrap();
        assert_eq!(gone, None);
        let none = walk(&dir.path().join("gone"), &Ignore::default(), &[]);
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
