//! Images that a build begins with and nobody else knows: another target's result, or what the
//! client has in a layout of its own. They are in the store as long as the build needs them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use hull_image::{
    Store,
    store::{Lease, Removal},
};
use hull_oci::{Descriptor, Digest};

use crate::{
    grpc::{Code, Status},
    job::lock,
};

/// Guests of all builds, and how many builds each has: targets that are built at the same time often
/// begin with the same image.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Mutex<HashMap<Digest, usize>>);

/// The guests of a build.
pub(crate) struct Guests {
    store: Arc<Store>,
    hosts: Arc<Hosts>,
    lease: Lease,
    ids: Mutex<Vec<Digest>>,
}

impl Guests {
    /// None yet.
    pub(crate) fn new(store: Arc<Store>, hosts: Arc<Hosts>) -> Self {
        Self {
            lease: store.lease(),
            store,
            hosts,
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
        let mut hosts = lock(&self.hosts.0);
        if let Some(count) = hosts.get_mut(&id) {
            if self.store.id(id.as_str()).is_err() {
                // It was pruned meanwhile.
                self.store
                    .keep_unnamed(target)
                    .map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
            }
            *count += 1;
        } else if self.store.id(id.as_str()).is_err() {
            self.store
                .keep_unnamed(target)
                .map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
            hosts.insert(id.clone(), 1);
        } else {
            // It was here before, and stays.
            return Ok(id.to_string());
        }
        lock(&self.ids).push(id.clone());
        Ok(id.to_string())
    }

    /// Takes a guest away that no build has any more.
    fn see_off(&self, id: &Digest) {
        // Somebody may have given it a name meanwhile: then it stays.
        let has_name = match self.store.inspect(id.as_str(), None) {
            Ok(details) => !details.repo_tags.is_empty() || !details.repo_digests.is_empty(),
            Err(_) => true,
        };
        if has_name {
            return;
        }
        let removal = Removal {
            force: false,
            users: &|_| Vec::new(),
        };
        if let Err(error) = self.store.remove(id.as_str(), &removal) {
            tracing::warn!(image = %id, %error, "cannot remove what a build began with");
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        let mut hosts = lock(&self.hosts.0);
        for id in lock(&self.ids).drain(..) {
            let left = hosts.get(&id).map_or(0, |count| count.saturating_sub(1));
            if left > 0 {
                hosts.insert(id, left);
                continue;
            }
            hosts.remove(&id);
            self.see_off(&id);
        }
    }
}
