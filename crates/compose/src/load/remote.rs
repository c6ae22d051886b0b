//! Files that are not on this machine: which they are, how they come here, and what they may name.
//!
//! The program fetches (`Options::fetch`); here it is told what. A file of a checkout may name files of
//! that checkout, and nothing else of this machine: who writes it is somebody else.

use std::path::{Path, PathBuf};

use super::loader::{Asker, Loader};
use crate::error::{LoadError, Result};

/// A file that was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Where it lies now.
    pub file: PathBuf,
    /// The directory that is all its own.
    pub root: PathBuf,
}

/// Why a file cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFetched {
    /// Why not.
    pub why: String,
    /// What helps.
    pub hint: Option<&'static str>,
}

/// Fetches what an address names, or says why not.
pub type Fetch = fn(&str) -> std::result::Result<Fetched, NotFetched>;

/// How it can be had all the same.
pub const BY_HAND: &str = "fetch it (`git clone`, `oras pull`), and name the copy";

/// Whether a file is somewhere else.
pub fn is_remote(path: &str) -> bool {
    path.contains("://")
        || ["github.com/", "oci:"]
            .iter()
            .any(|prefix| path.starts_with(prefix))
        || is_of_ssh(path)
}

/// `git@host:path`, as ssh's own programs have it.
pub fn is_of_ssh(address: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name =
        |text: &str| !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain);
    let parts = address
        .split_once('@')
        .and_then(|(user, rest)| Some((user, rest.split_once(':')?.0)));
    parts.is_some_and(|(user, host)| is_name(user) && is_name(host))
}

impl Loader<'_> {
    /// The path of a file that is named by an address.
    pub(super) fn fetched(&mut self, address: &str, asker: Option<Asker<'_>>) -> Result<String> {
        let wrong = |why: &str, hint: Option<&str>| {
            let error = match asker {
                Some(Asker { key, node }) => {
                    LoadError::at(node, format!("`{key}` names `{address}`: {why}"))
                }
                None => LoadError::project(format!("`{address}`: {why}")),
            };
            match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        };
        let by_hand = Some(BY_HAND);
        if address.starts_with("oci:") {
            return Err(wrong("Hull reads no projects from registries", by_hand));
        }
        let Some(fetch) = self.options.fetch else {
            return Err(wrong("it is not a file of this machine", by_hand));
        };
        // Whoever writes a repository's files does not choose where this machine connects to.
        let from = asker.map(|asker| Path::new(&*asker.node.place.file));
        if from.is_some_and(|from| self.roots.iter().any(|root| from.starts_with(root))) {
            return Err(wrong("it is not of the repository that says so", by_hand));
        }
        let fetched = fetch(address).map_err(|error| wrong(&error.why, error.hint))?;
        self.roots.push(fetched.root);
        Ok(fetched.file.to_string_lossy().into_owned())
    }

    /// Refuses what a file of a checkout names outside of it, and what only seems to lie in one.
    pub(super) fn check_inside(&self, file: &str, asker: Option<Asker<'_>>) -> Result<()> {
        let from = asker.map(|asker| Path::new(&*asker.node.place.file));
        let is_of = |root: &&PathBuf| {
            Path::new(file).starts_with(root) || from.is_some_and(|from| from.starts_with(root))
        };
        let Some(root) = self.roots.iter().find(is_of) else {
            return Ok(());
        };
        // What cannot be found is told by who reads it.
        let Ok(real) = std::fs::canonicalize(file) else {
            return Ok(());
        };
        match (real.starts_with(root), asker) {
            (true, _) => Ok(()),
            (false, Some(Asker { key, node })) => Err(LoadError::at(
                node,
                format!("`{key}` names {file}, which is not of the repository that says so"),
            )),
            (false, None) => Err(LoadError::project(format!(
                "{file} leads out of the repository it is of"
            ))),
        }
    }
}
