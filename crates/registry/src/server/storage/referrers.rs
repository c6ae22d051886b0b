//! Manifests about other manifests: signatures, attestations, bills of materials.

use std::fs;
use std::path::PathBuf;

use hull_oci::{Descriptor, Digest};

use super::{During, Result, Storage, list, remove};
use crate::server::name::RepositoryName;

impl Storage {
    /// What is about `subject`, in order.
    pub(crate) fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        for path in list(&self.referrers_path(name, subject))? {
            match fs::read(&path) {
                Ok(bytes) => found.extend(serde_json::from_slice::<Descriptor>(&bytes)),
                // Deleted meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).during(|| format!("read {}", path.display())),
            }
        }
        found.sort_by(|one: &Descriptor, two| one.digest.cmp(&two.digest));
        Ok(found)
    }

    pub(super) fn add_referrer(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        about: &Descriptor,
    ) -> Result<()> {
        let path = self
            .referrers_path(name, subject)
            .join(about.digest.as_str());
        let text = serde_json::to_vec(about).map_err(std::io::Error::from);
        self.write_file(&path, &text.during(|| format!("write {}", path.display()))?)
    }

    pub(super) fn remove_referrer(
        &self,
        name: &RepositoryName,
        subject: &Digest,
        digest: &Digest,
    ) -> Result<()> {
        remove(&self.referrers_path(name, subject).join(digest.as_str())).map(drop)
    }

    fn referrers_path(&self, name: &RepositoryName, subject: &Digest) -> PathBuf {
        self.repository(name)
            .join("_referrers")
            .join(subject.as_str())
    }
}
