//! Images that a build begins with and nobody else knows: another target's result, or what the
//! client has in a layout of its own. They are in the store as long as the build needs them.

use std::sync::{Arc, Mutex};

use hull_image::{
    Store,
    store::{Lease, Removal},
};
use hull_oci::{Descriptor, Digest};

use crate::{
    grpc::{Code, Status},
    job::lock,
};

/// The guests of a build.
pub(crate) struct Guests {
    store: Arc<Store>,
    lease: Lease,
    ids: Mutex<Vec<Digest>>,
}

impl Guests {
    /// None yet.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self {
            lease: store.lease(),
            store,
            ids: Mutex::default(),
        }
    }

    /// What protects blobs that are coming.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Takes an image in whose blobs are here; returns its id.
    pub(crate) fn take_in(&self, target: Descriptor) -> Result<String, Status> {
        let id = target.digest.clone();
        if self.store.id(id.as_str()).is_err() {
            self.store
                .keep_unnamed(target)
                .map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
            lock(&self.ids).push(id.clone());
        }
        Ok(id.to_string())
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        let removal = Removal {
            force: false,
            users: &|_| Vec::new(),
        };
        for id in lock(&self.ids).drain(..) {
            // Somebody may have given it a name meanwhile: then it stays.
            let has_name = match self.store.inspect(id.as_str(), None) {
                Ok(details) => !details.repo_tags.is_empty(),
                Err(_) => true,
            };
            if has_name {
                continue;
            }
            if let Err(error) = self.store.remove(id.as_str(), &removal) {
                tracing::warn!(image = %id, %error, "cannot remove what a build began with");
            }
        }
    }
}
