//! The image store: an OCI layout on disk, with layers unpacked beside it.
//!
//! ```text
//! <data-root>/image/oci-layout, index.json, blobs/sha256/…   readable by any OCI tool
//! <data-root>/image/ingest/, image/partial/                   blobs on their way in
//! <data-root>/layers/<n>/fs, layer.json                       unpacked layers, each once
//! <data-root>/trash/                                          what is being deleted
//! ```
//! `index.json` is the only list of names: one descriptor for each name, with the annotations
//! `io.containerd.image.name` (in full) and `org.opencontainers.image.ref.name` (as people write
//! it); an image without a name stands there without them. Whatever no entry reaches is garbage.
//!
//! A crash at any point leaves nothing half made visible: blobs and layers are renamed into place
//! when complete, `index.json` is replaced whole. What an operation brings in is protected from
//! the garbage collector by its [`Lease`] until an entry reaches it.

mod blobs;
mod built;
mod early;
mod entries;
mod layer_files;
mod layers;
mod lease;
mod partial;
mod tree;
mod unpack;
mod used;

mod attestations;
mod collect;
mod commit;
mod disk_usage;
mod find;
mod fsck;
mod history;
mod import;
mod inspect;
mod list;
mod list_of;
mod load;
mod pack;
mod platforms;
mod prune;
mod remove;
mod save;
mod settle;
mod tag;

mod changes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hull_oci::{Descriptor, Digest, ImageConfig, Platform};
use jiff::Timestamp;

use crate::Result;
use crate::error::Context as _;
use crate::trash::Trash;

pub use attestations::Statement;
pub use blobs::BlobWriter;
pub use built::NewLayer;
pub use changes::apply_changes;
pub use collect::{SPARED_FOR, Standing};
pub use commit::Commit;
pub use disk_usage::DiskUsage;
pub use fsck::{Finding, Fsck, Outcome, Trouble};
pub use history::HistoryEntry;
pub use import::Import;
pub use inspect::{Details, ManifestDetails, ManifestKind};
pub use layers::{ArrivingLayers, UnpackEvent};
pub use lease::Lease;
pub use list::{ListFilter, Summary};
pub use list_of::{ListMember, PlatformChange, Users};
pub use load::Loaded;
pub use pack::{LayerCompression, LayerWriter, PackOptions, Packed};
pub use partial::{ArrivingBlob, PartialBlob};
pub use prune::{PruneFilter, Pruned};
pub use remove::{Removal, Removed, User};

use blobs::Blobs;
use entries::Entries;
use layers::Layers;
use lease::Leases;

/// All images of a daemon. One process per directory: the caller holds the data root's lock.
pub struct Store {
    blobs: Blobs,
    entries: Entries,
    layers: Layers,
    leases: Leases,
    trees: tree::Cache,
    used: used::Used,
    /// The images as they were last listed.
    listed: list::Listed,
    /// What they took when they were last measured.
    measured: disk_usage::Measured,
}

/// One image for one platform, unpacked: what a container starts from.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the index or manifest: Docker's image id.
    pub id: Digest,
    /// The manifest for the platform; `id` itself unless that is an index.
    pub manifest: Digest,
    /// The configuration's digest.
    pub config_digest: Digest,
    /// The configuration.
    pub config: Arc<ImageConfig>,
    /// Where it runs.
    pub platform: Platform,
    /// The directories of its layers, uppermost first.
    pub layers: Vec<PathBuf>,
    /// Names with tags, as people write them.
    pub repo_tags: Vec<String>,
    /// Names with digests, as people write them.
    pub repo_digests: Vec<String>,
    /// Bytes of blobs and unpacked layers.
    pub size: u64,
    /// When it was made, if it says so.
    pub created: Option<Timestamp>,
}

impl Store {
    /// Opens the store in `root` (`<data-root>/image`), and makes what is missing. Layers lie in
    /// `layers` beside it, what is being deleted in `trash`. Leftovers of a crash are removed.
    pub fn open(root: &Path) -> Result<Self> {
        let data_root = root.parent().unwrap_or(Path::new("/"));
        let trash = Trash::open(data_root)?;
        let blobs = Blobs::open(root, trash.clone())?;
        let entries = Entries::open(root, &blobs)?;
        let layers = Layers::open(&data_root.join("layers"), trash)?;
        let this = Self {
            blobs,
            entries,
            layers,
            leases: Leases::default(),
            trees: tree::Cache::default(),
            used: used::Used::open(root),
            listed: list::Listed::default(),
            measured: disk_usage::Measured::default(),
        };
        this.remake_doubtful()?;
        Ok(this)
    }

    /// Whether the bytes with this digest are here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.has(digest)
    }

    /// Whether all bytes of a blob are here: a power cut may leave its name with less.
    pub fn has_whole(&self, descriptor: &Descriptor) -> bool {
        self.blobs.size(&descriptor.digest) == Some(descriptor.size)
    }

    /// Opens the blob `digest` for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<std::fs::File> {
        self.blobs.open_file(digest)
    }

    /// The whole of a small blob (a manifest, an index, a configuration).
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.blobs.read(digest)
    }

    /// Begins to protect what is brought in from the garbage collector, until dropped.
    pub fn lease(&self) -> Lease {
        self.leases.take()
    }

    /// Begins to bring in the blob `digest`; its bytes are checked when it is committed.
    pub fn write_blob(&self, lease: &Lease, digest: &Digest) -> Result<BlobWriter> {
        lease.protect(digest);
        self.blobs.writer(Some(digest.clone()))
    }

    /// Brings in a whole small document, and says what it is.
    pub fn put_blob(&self, lease: &Lease, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        lease.protect(&descriptor.digest);
        if !self.has_whole(&descriptor) {
            use std::io::Write as _;
            let mut writer = self.blobs.writer(Some(descriptor.digest.clone()))?;
            writer
                .write_all(bytes)
                .context(|| format!("write the blob {}", descriptor.digest))?;
            writer.commit()?;
        }
        Ok(descriptor)
    }
}
