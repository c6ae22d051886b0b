//! Protects what an operation brings in until an entry reaches it.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hull_oci::Digest;

/// How many leases protect each digest.
pub(super) type Table = HashMap<Digest, usize>;

/// All leases of a store.
#[derive(Default)]
pub(super) struct Leases {
    table: Arc<Mutex<Table>>,
    /// The collector left something that only leases reach.
    pub(super) spared: AtomicBool,
}

/// Keeps blobs and layers from the garbage collector until it is dropped.
pub struct Lease {
    table: Arc<Mutex<Table>>,
    own: Mutex<Vec<Digest>>,
}

impl Leases {
    pub(super) fn take(&self) -> Lease {
        Lease {
            table: Arc::clone(&self.table),
            own: Mutex::default(),
        }
    }

    /// What is protected now; while the guard lives, nothing more becomes so. The collector holds
    /// it from the look to the removal.
    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Protects this blob, or the layer with this diff id or chain id. Look whether it is there
    /// only afterwards.
    pub fn protect(&self, digest: &Digest) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        *table.entry(digest.clone()).or_insert(0) += 1;
        self.own
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(digest.clone());
    }

    /// How often it protects this digest.
    pub(super) fn count(&self, digest: &Digest) -> usize {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.iter().filter(|known| *known == digest).count()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for digest in self
            .own
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            if let Some(count) = table.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    table.remove(&digest);
                }
            }
        }
    }
}
