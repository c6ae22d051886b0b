//! Layers that a build makes: unpacked first, packed only if an image is made of them.
//!
//! ```text
//! <data-root>/layers/.new-<n>/fs, work     a step is writing
//! <data-root>/layers/<n>/fs, built.json    its result, held by the build cache
//! <data-root>/layers/<n>/layer.json        besides: an image has it, too
//! ```
//! A built layer has a number and no digest. [`Store::pack_layer`] computes its digests; from then
//! on the directory serves images as well, and goes only when neither needs it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use hull_oci::{Descriptor, ImageConfig, Manifest, Reference, media_type};
use hull_sys::beneath::Root;

use super::commit::to_json;
use super::layers::Record;
use super::{Lease, Store};
use super::{PackOptions, Packed};
use crate::error::{Context as _, Result};
use crate::snapshot::{Overlay, Snapshot};
use crate::trash::Trash;

/// The name of the file that says that the build cache holds a layer.
pub(super) const BUILT: &str = "built.json";

/// A layer that is being made. Dropped before it is kept, it goes away.
#[derive(Debug)]
pub struct NewLayer {
    number: u64,
    path: PathBuf,
    snapshot: Snapshot,
    trash: Trash,
    kept: bool,
}

impl NewLayer {
    /// The directories to write with.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Drop for NewLayer {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.trash.put(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished layer");
        }
    }
}

impl Store {
    /// Begins a layer over those in `lower` (uppermost first).
    pub fn begin_layer(&self, lower: &[PathBuf]) -> Result<NewLayer> {
        let (number, path) = self.layers.begin_empty()?;
        let mut new = NewLayer {
            number,
            snapshot: Snapshot {
                lower: Vec::new(),
                upper: path.join("fs"),
                work: path.join("work"),
            },
            path,
            trash: self.layers.trash().clone(),
            kept: false,
        };
        new.snapshot = crate::snapshot::prepare_over(&new.path, "fs", lower.to_vec())?;
        Ok(new)
    }

    /// Keeps a finished layer; its number. It reaches the disk with [`sync_layers`](Self::sync_layers).
    pub fn keep_layer(&self, mut new: NewLayer) -> Result<u64> {
        let what = || format!("keep {}", new.path.display());
        let _ = fs::remove_dir_all(new.path.join("work"));
        let _ = fs::remove_dir(new.path.join("empty"));
        fs::write(new.path.join(BUILT), "{}").context(what)?;
        self.layers.complete_built(new.number, &new.path)?;
        new.kept = true;
        Ok(new.number)
    }

    /// Whether a finished layer that is about to be kept holds anything.
    pub fn is_empty_layer(&self, new: &NewLayer) -> Result<bool> {
        let upper = &new.snapshot.upper;
        let mut entries = fs::read_dir(upper).context(|| format!("list {}", upper.display()))?;
        Ok(entries.next().is_none())
    }

    /// The directory of a built layer.
    pub fn built_layer(&self, number: u64) -> Option<PathBuf> {
        self.layers.built(number)
    }

    /// All built layers.
    pub fn built_layers(&self) -> Vec<u64> {
        self.layers.all_built()
    }

    /// The build cache does not need the layer any more. Whether its files went away.
    pub fn release_layer(&self, number: u64) -> Result<bool> {
        self.layers.release_built(number)
    }

    /// Everything written to layers reaches the disk.
    pub fn sync_layers(&self) -> Result<()> {
        self.layers.sync()
    }

    /// Packs a built layer; `None` if nothing is in it.
    pub fn pack_built(
        &self,
        lease: &Lease,
        number: u64,
        options: &PackOptions,
    ) -> Result<Option<Packed>> {
        let Some(directory) = self.layers.built(number) else {
            let message = format!("there is no built layer {number}");
            return Err(crate::Error::Invalid(message));
        };
        let packed = self.pack_layer(lease, &directory, options)?;
        let Some(packed) = packed else {
            return Ok(None);
        };
        lease.protect(&packed.diff_id);
        // With times changed, what an image unpacks is not what lies here.
        if options.mtime_max.is_none() {
            self.serve_images(number, &packed.diff_id)?;
        }
        Ok(Some(packed))
    }

    /// Unpacks a layer whose blob is here, and holds it as a built one; its number. Layers of ours
    /// need nothing of what lies below them; one that does is refused.
    pub fn unpack_built(
        &self,
        lease: &Lease,
        layer: &Descriptor,
        diff_id: &hull_oci::Digest,
    ) -> Result<u64> {
        let (layers, ids) = (std::slice::from_ref(layer), std::slice::from_ref(diff_id));
        self.unpack_layers(lease, layers, ids, &|_| Ok(None), &mut |_| {})?;
        let adopted = self.layers.adopt(diff_id)?;
        adopted.ok_or_else(|| {
            let message = format!("the layer {} needs others below it", layer.digest);
            crate::Error::Invalid(message)
        })
    }

    /// Lets a built layer serve images that have a layer of that content.
    fn serve_images(&self, number: u64, diff_id: &hull_oci::Digest) -> Result<()> {
        let Some(directory) = self.layers.built(number) else {
            return Ok(());
        };
        let usage = crate::snapshot::usage(&directory)?;
        let record = Record {
            diff_id: diff_id.clone(),
            chain_id: None,
            bytes: usage.bytes,
            entries: usage.inodes,
        };
        self.layers.name_built(number, record)
    }

    /// Packs several built layers (lowest first) over `below` (uppermost first) as one.
    pub fn pack_squashed(
        &self,
        lease: &Lease,
        below: &[PathBuf],
        numbers: &[u64],
        options: &PackOptions,
    ) -> Result<Option<Packed>> {
        use crate::snapshot::Snapshotter as _;
        let new = self.begin_layer(below)?;
        {
            let overlay = Overlay::with(self.layers.trash().clone());
            let root = overlay.mount(new.snapshot())?;
            for number in numbers {
                let Some(directory) = self.layers.built(*number) else {
                    return Err(crate::Error::Invalid(format!(
                        "there is no built layer {number}"
                    )));
                };
                let (reader, writer) = std::io::pipe().context(|| "merge layers")?;
                std::thread::scope(|scope| {
                    let packing =
                        scope.spawn(move || crate::diff::layer_tar(&directory, None, writer));
                    let applied = crate::tar::extract::apply(&root, reader);
                    let packed = packing
                        .join()
                        .unwrap_or_else(|p| std::panic::resume_unwind(p));
                    packed.and(applied)
                })?;
            }
        }
        let number = self.keep_layer(new)?;
        let packed = self.pack_built(lease, number, options);
        self.release_layer(number)?;
        packed
    }

    /// Stores the documents of an image of `layers` (lowest first), and unpacks what is missing.
    /// The lease alone keeps it.
    pub fn put_built(
        &self,
        lease: &Lease,
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Descriptor> {
        let config_descriptor = self.put_blob(lease, media_type::CONFIG, &to_json(config)?)?;
        let mut manifest = Manifest::new(config_descriptor, layers);
        manifest.annotations.clone_from(annotations);
        let mut target = self.put_blob(lease, media_type::MANIFEST, &to_json(&manifest)?)?;
        target.platform = Some(config.platform());
        self.ensure_unpacked(lease, &manifest, config, &mut |_| {})?;
        Ok(target)
    }

    /// Gives what was brought in its names; with none, keeps it without one.
    pub fn name_built(&self, target: &Descriptor, names: &[Reference]) -> Result<()> {
        if names.is_empty() {
            return self.keep_unnamed(target.clone());
        }
        for name in names {
            self.set_name(name, target.clone())?;
        }
        Ok(())
    }
}

impl Overlay {
    /// Layers as one root (uppermost first), read-only and mounted nowhere.
    pub fn mount_layers(&self, layers: &[PathBuf]) -> Result<Root> {
        self.mount_layers_as(layers, None)
    }

    /// The same; with `owners`, a user namespace, files belong to whom its ids are.
    pub fn mount_layers_as(
        &self,
        layers: &[PathBuf],
        owners: Option<BorrowedFd<'_>>,
    ) -> Result<Root> {
        crate::snapshot::mount_read_only(layers, owners)
            .map(Root::from_fd)
            .context(|| {
                let first = layers.first().map_or(Path::new(""), PathBuf::as_path);
                format!("mount the layers of {}", first.display())
            })
    }
}
