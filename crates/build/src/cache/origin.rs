//! Where else finished steps may be found: an image of the store, a layout in a client's directory,
//! and whatever a front or the host brings.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hull_image::Store;
use hull_image::store::Lease;
use hull_oci::{Descriptor, Digest, Index};
use rustix::fs::{Mode, OFlags};

use crate::tree::Tree;

/// The largest document that is read.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// Where a cache lies. Errors are for people.
pub trait CacheOrigin: Send + Sync {
    /// What people call it.
    fn name(&self) -> String;

    /// The index or manifest to begin with.
    fn root(&self) -> Result<Vec<u8>, String>;

    /// A document that another one names.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, String>;

    /// Brings a blob into the store, where the lease keeps it.
    fn bring(
        &self,
        store: &Arc<Store>,
        lease: &Arc<Lease>,
        blob: &Descriptor,
    ) -> Result<(), String>;
}

/// Writes what an origin gave into the store, where the lease keeps it: only if it is what its name
/// says.
///
/// # Errors
/// It cannot be read or written, or is something else.
pub fn keep(
    store: &Arc<Store>,
    lease: &Arc<Lease>,
    digest: &Digest,
    from: &mut dyn io::Read,
) -> Result<(), String> {
    let mut write = || {
        let mut writer = store.write_blob(lease, digest)?;
        io::copy(from, &mut writer).map_err(|source| hull_image::Error::Io {
            what: format!("copy {digest}"),
            source,
        })?;
        writer.commit()
    };
    write().map(drop).map_err(|error| error.to_string())
}

/// An image of the store.
pub(crate) struct Stored {
    pub(crate) store: Arc<Store>,
    pub(crate) image: String,
}

impl CacheOrigin for Stored {
    fn name(&self) -> String {
        self.image.clone()
    }

    fn root(&self) -> Result<Vec<u8>, String> {
        let descriptor = self.store.descriptor(&self.image);
        self.document(&descriptor.map_err(|error| error.to_string())?)
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        let read = self.store.read_blob(&descriptor.digest);
        read.map_err(|error| error.to_string())
    }

    fn bring(
        &self,
        store: &Arc<Store>,
        lease: &Arc<Lease>,
        blob: &Descriptor,
    ) -> Result<(), String> {
        lease.protect(&blob.digest);
        let missing = || format!("the blob {} is not here", blob.digest);
        store
            .has_blob(&blob.digest)
            .then_some(())
            .ok_or_else(missing)
    }
}

/// An OCI layout in a client's directory.
pub(crate) struct Layout {
    pub(crate) tree: Arc<Tree>,
    /// What of it, if not all.
    pub(crate) digest: Option<Digest>,
}

impl Layout {
    fn open(&self, digest: &Digest) -> Result<File, String> {
        let path = PathBuf::from("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = self.tree.root().open(&path, flags, Mode::empty());
        file.map(File::from)
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl CacheOrigin for Layout {
    fn name(&self) -> String {
        "a local directory".to_owned()
    }

    fn root(&self) -> Result<Vec<u8>, String> {
        let bytes = self.tree.read("index.json", DOCUMENT_BYTES_MAX)?;
        let bytes = bytes.ok_or("it has no index.json")?;
        let Some(digest) = &self.digest else {
            return Ok(bytes);
        };
        let mut index: Index = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        index.manifests.retain(|child| child.digest == *digest);
        serde_json::to_vec(&index).map_err(|error| error.to_string())
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, String> {
        use io::Read as _;
        let mut bytes = Vec::new();
        let file = self.open(&descriptor.digest)?;
        let read = file.take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn bring(
        &self,
        store: &Arc<Store>,
        lease: &Arc<Lease>,
        blob: &Descriptor,
    ) -> Result<(), String> {
        keep(store, lease, &blob.digest, &mut self.open(&blob.digest)?)
    }
}
