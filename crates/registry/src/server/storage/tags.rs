//! Names within a repository.

use std::fs;

use hull_oci::Digest;

use super::{During, Result, Storage, list, remove};
use crate::server::name::{RepositoryName, Tag};

impl Storage {
    /// What a tag points at.
    pub(crate) fn tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        let path = self.tag_path(name, tag);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).during(|| format!("read {}", path.display())),
        }
    }

    /// All tags, in order.
    pub(crate) fn tags(&self, name: &RepositoryName) -> Result<Vec<String>> {
        let paths = list(&self.repository(name).join("_tags"))?;
        let names = paths.iter().filter_map(|path| path.file_name());
        let mut tags: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        tags.sort();
        Ok(tags)
    }

    /// Must be called while links may be made.
    pub(super) fn set_tag(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<()> {
        self.update_file(&self.tag_path(name, tag), digest.as_str().as_bytes())
    }

    /// Takes a tag away; false: there was none.
    pub(crate) fn untag(&self, name: &RepositoryName, tag: &Tag) -> Result<bool> {
        remove(&self.tag_path(name, tag))
    }
}
