//! Which files a `COPY` takes, and where each of them goes.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use hull_oci::{Algorithm, Hasher};

use super::files::{self, Files, Found, FoundKind};
use crate::error::{Error, Result};
use hull_context::Glob;
use hull_context::Ignore;

/// One file to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// In the origin.
    pub(super) from: PathBuf,
    /// Below the destination; empty: the destination itself.
    pub(super) to: PathBuf,
    pub(super) found: Found,
}

/// The files of one source path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) items: Vec<Item>,
    /// The source is a directory: its content goes into the destination.
    pub(super) is_directory: bool,
}

/// What to take.
pub(super) struct Selection<'a> {
    pub(super) files: &'a dyn Files,
    /// What the context leaves out.
    pub(super) ignore: Option<&'a Ignore>,
    /// What the instruction leaves out.
    pub(super) excludes: &'a Ignore,
    pub(super) parents: bool,
    /// For messages.
    pub(super) origin: &'a str,
}

impl Selection<'_> {
    /// The files of one source, which may be a pattern.
    pub(super) fn select(&self, source: &str) -> Result<Vec<Selected>> {
        let attempt =
            |error: io::Error| Error::host(format!("read {source} of {}", self.origin), error);
        let (pivot, pattern) = self.split_pivot(source);
        let glob = Glob::parse(&pattern, self.parents)
            .map_err(|error| Error::invalid(error.to_string(), None))?;
        if glob.is_plain() {
            let path = files::resolve(self.files, Path::new(&plain(&pattern))).map_err(attempt)?;
            return match self.files.look(&path).map_err(attempt)? {
                Some(found) if !self.is_ignored(&path) || self.holds_exceptions(&path, &found) => {
                    Ok(vec![
                        self.one(&path, &clean(&pattern), &pivot, found)
                            .map_err(attempt)?,
                    ])
                }
                Some(_) => Err(self.missing(source, true)),
                None => Err(self.missing(source, false)),
            };
        }
        let mut selected = Vec::new();
        for path in self.matching(&glob, &pattern).map_err(attempt)? {
            let real = files::resolve(self.files, &path).map_err(attempt)?;
            if let Some(found) = self.files.look(&real).map_err(attempt)?
                && !self.is_ignored(&path)
                && !self.is_excluded(&path)
                && !self.is_excluded(Path::new(path.file_name().unwrap_or_default()))
            {
                selected.push(self.one(&real, &path, &pivot, found).map_err(attempt)?);
            }
        }
        if selected.is_empty() {
            return Err(self.missing(source, false));
        }
        Ok(selected)
    }

    /// What is at one path, which is no pattern.
    pub(super) fn exactly(&self, source: &str) -> Result<Selected> {
        let attempt =
            |error: io::Error| Error::host(format!("read {source} of {}", self.origin), error);
        let path = files::resolve(self.files, Path::new(source)).map_err(attempt)?;
        let found = self.files.look(&path).map_err(attempt)?;
        let found = found.ok_or_else(|| self.missing(source, false))?;
        let selected = self.one(&path, &clean(source), Path::new(""), found);
        selected.map_err(attempt)
    }

    fn missing(&self, source: &str, is_ignored: bool) -> Error {
        let shown = format!(
            "/{}",
            source.trim_start_matches("./").trim_start_matches('/')
        );
        let hint = if is_ignored {
            " (it is excluded by .dockerignore)"
        } else {
            ""
        };
        let message = format!(
            "failed to compute cache key: {shown:?}: not found in {}{hint}",
            self.origin
        );
        Error::invalid(message, None)
    }

    /// `a/./b`: what stands before the dot is not kept by `--parents`.
    fn split_pivot(&self, source: &str) -> (PathBuf, String) {
        match source.split_once("/./") {
            Some((before, after)) if self.parents => {
                let before = clean(before);
                let whole = before.join(after.trim_start_matches('/'));
                (before, whole.to_string_lossy().into_owned())
            }
            _ => (PathBuf::new(), clean(source).to_string_lossy().into_owned()),
        }
    }

    fn is_ignored(&self, path: &Path) -> bool {
        !path.as_os_str().is_empty() && self.ignore.is_some_and(|ignore| ignore.ignores(path))
    }

    /// A directory that is ignored may hold files that are not.
    fn holds_exceptions(&self, path: &Path, found: &Found) -> bool {
        found.kind == FoundKind::Directory
            && self.ignore.is_some_and(Ignore::has_exceptions)
            && !path.as_os_str().is_empty()
    }

    fn is_excluded(&self, path: &Path) -> bool {
        self.excludes.ignores(path)
    }

    /// All paths that match a pattern.
    fn matching(&self, glob: &Glob, pattern: &str) -> io::Result<Vec<PathBuf>> {
        // Nothing above the first special letter needs to be looked at.
        let special = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
        let base = match pattern[..special].rfind('/') {
            Some(slash) => PathBuf::from(&pattern[..slash]),
            None => PathBuf::new(),
        };
        let real = files::resolve(self.files, &base)?;
        if self.files.look(&real)?.map(|found| found.kind) != Some(FoundKind::Directory) {
            return Ok(Vec::new());
        }
        let depth = pattern.split('/').count();
        let deep = self.parents && pattern.contains("**");
        let mut found = Vec::new();
        self.descend(&real, &base, depth, deep, &mut |path| {
            if glob.matches(&path.to_string_lossy()) {
                found.push(path.to_owned());
            }
        })?;
        Ok(found)
    }

    fn descend(
        &self,
        real: &Path,
        shown: &Path,
        depth: usize,
        deep: bool,
        visit: &mut dyn FnMut(&Path),
    ) -> io::Result<()> {
        for name in self.files.names(real)? {
            let (at, shown) = (real.join(&name), shown.join(&name));
            visit(&shown);
            let is_directory =
                self.files.look(&at)?.map(|found| found.kind) == Some(FoundKind::Directory);
            if is_directory && (deep || shown.components().count() < depth) {
                self.descend(&at, &shown, depth, deep, visit)?;
            }
        }
        Ok(())
    }

    /// One source: `path` is where it is, `shown` what it is called.
    fn one(&self, path: &Path, shown: &Path, pivot: &Path, found: Found) -> io::Result<Selected> {
        let is_directory = found.kind == FoundKind::Directory;
        let mut items = Vec::new();
        let prefix = if self.parents {
            let kept = shown.strip_prefix(pivot).unwrap_or(shown).to_owned();
            self.add_parents(pivot, &kept, is_directory, &mut items)?;
            kept
        } else if is_directory {
            PathBuf::new()
        } else {
            PathBuf::from(shown.file_name().unwrap_or_default())
        };
        if !is_directory {
            items.push(Item {
                from: path.to_owned(),
                to: prefix,
                found,
            });
            return Ok(Selected {
                items,
                is_directory: self.parents,
            });
        }
        self.add_content(path, &prefix, &mut items)?;
        Ok(Selected {
            items,
            is_directory: true,
        })
    }

    fn add_parents(
        &self,
        pivot: &Path,
        kept: &Path,
        with_itself: bool,
        items: &mut Vec<Item>,
    ) -> io::Result<()> {
        let mut parents: Vec<&Path> = kept.ancestors().skip(usize::from(!with_itself)).collect();
        parents.reverse();
        for parent in parents
            .into_iter()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            let from = files::resolve(self.files, &pivot.join(parent))?;
            if let Some(found) = self.files.look(&from)? {
                items.push(Item {
                    from,
                    to: parent.to_owned(),
                    found,
                });
            }
        }
        Ok(())
    }

    fn add_content(&self, path: &Path, prefix: &Path, items: &mut Vec<Item>) -> io::Result<()> {
        // Directories that are left out, until something in them is not.
        let mut waiting: Vec<Item> = Vec::new();
        let mut add = |below: &Path, found: &Found| {
            let from = path.join(below);
            let item = Item {
                to: prefix.join(below),
                found: found.clone(),
                from: from.clone(),
            };
            if self.is_ignored(&from) || self.is_excluded(below) || self.is_excluded(&from) {
                if found.kind == FoundKind::Directory {
                    waiting.push(item);
                }
                return Ok(());
            }
            waiting.retain(|parent| from.starts_with(&parent.from));
            items.append(&mut waiting);
            items.push(item);
            Ok(())
        };
        self.files.walk(path, &mut add)
    }

    /// The digest of what is selected: names, kinds, permissions, owners, attributes and content; no times.
    pub(super) fn digest(&self, selected: &[Selected]) -> Result<String> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut put = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for one in selected {
            put(if one.is_directory {
                b"directory"
            } else {
                b"file"
            });
            for item in &one.items {
                put(item.to.as_os_str().as_bytes());
                put(&item.found.mode.to_le_bytes());
                let (uid, gid) = item.found.owner;
                put(&uid.to_le_bytes());
                put(&gid.to_le_bytes());
                match &item.found.kind {
                    FoundKind::Directory => put(b"d"),
                    FoundKind::Symlink(target) => put(&[b"l", &target[..]].concat()),
                    FoundKind::Special(mode, device) => put(format!("s{mode} {device}").as_bytes()),
                    FoundKind::File => {
                        put(self.digest_of(item)?.as_str().as_bytes());
                        for (attribute, value) in self.attributes(item)? {
                            put(attribute.as_bytes());
                            put(&value);
                        }
                    }
                }
            }
        }
        Ok(hasher.finish().hex().to_owned())
    }

    /// A file's attributes that are copied with it, in order.
    fn attributes(&self, item: &Item) -> Result<Vec<(OsString, Vec<u8>)>> {
        let found = self.files.xattrs(&item.from).map_err(|error| {
            let path = item.from.display();
            Error::host(
                format!("read attributes of {path} of {}", self.origin),
                error,
            )
        });
        let mut found = found?;
        found.sort();
        Ok(found)
    }

    fn digest_of(&self, item: &Item) -> Result<hull_oci::Digest> {
        if let Some(digest) = &item.found.digest {
            return Ok(digest.clone());
        }
        self.files.digest(&item.from).map_err(|error| {
            let path = item.from.display();
            Error::host(format!("read {path} of {}", self.origin), error)
        })
    }
}

/// A relative path without `.` and `..`.
pub(super) fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// A plain pattern without its escapes.
fn plain(pattern: &str) -> String {
    let mut letters = pattern.chars();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' {
            letters.next().unwrap_or('\\')
        } else {
            letter
        });
    }
    text
}

/// The name of a file fetched from an address.
pub(super) fn name_of_url(url: &str) -> OsString {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let after = path.split_once("://").map_or(path, |(_, rest)| rest);
    let name = after.split_once('/').map_or("", |(_, rest)| rest);
    OsString::from(name.rsplit('/').next().unwrap_or_default())
}
