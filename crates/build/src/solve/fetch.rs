//! `ADD` of an address.

use std::path::Path;
use std::sync::Arc;

use super::Solver;
use crate::error::{Error, Result};
use crate::tree::{Kind, Meta, Tree};

/// The name of the only file in the tree of something fetched.
pub(super) const NAME: &str = "fetched";

/// Something fetched.
pub(super) struct Fetched {
    pub(super) tree: Arc<Tree>,
    /// Of its content.
    pub(super) digest: String,
    /// Seconds since 1970: when the server says that it changed.
    pub(super) mtime: i64,
}

/// Fetches an address, and checks what came.
pub(super) fn fetch(solver: &Solver<'_>, url: &str, checksum: Option<&str>) -> Result<Fetched> {
    let failed = |error: &dyn std::fmt::Display| Error::host(format!("fetch {url}"), error);
    let mut answer = crate::http::get(url, solver.cancel).map_err(|error| failed(&error))?;
    let mut writer = solver.trees.temporary()?;
    writer.file(Path::new(NAME), &mut answer.content, Meta::default())?;
    let tree = writer.finish()?;
    let digest = match tree.entries().get(Path::new(NAME)).map(|entry| &entry.kind) {
        Some(Kind::File { digest, .. }) => digest.to_string(),
        _ => return Err(failed(&"it vanished")),
    };
    if let Some(expected) = checksum
        && expected != digest
    {
        let message = format!("digest mismatch {digest}: {expected}");
        return Err(failed(&message));
    }
    Ok(Fetched {
        tree,
        digest,
        mtime: answer.modified.unwrap_or(0),
    })
}
