//! Looks for what is damaged, missing or nobody's, and mends it.
//!
//! Everything is compared both ways: what the list of names needs must be there and sound, what is
//! there must be needed. A damaged blob is taken away, so that the next pull or load brings it
//! again; a damaged layer is unpacked again, in the same place, for containers know it by its path.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hull_oci::{Descriptor, Digest, Hasher, chain_ids};
use hull_sys::beneath::Root;

use super::layers::{Job, Layer};
use super::{Store, unpack};
use crate::account;
use crate::compression::decompress;
use crate::error::{Context as _, Error, Result};
use crate::verify;

/// Fewer system calls than with smaller ones.
const HASH_BYTES: usize = 1 << 20;

/// How to look.
pub struct Fsck<'a> {
    /// Mend what is found.
    pub repair: bool,
    /// Compare every byte, not only what there is and how large it is.
    pub contents: bool,
    /// Who uses a layer's directory at this moment: it cannot be replaced under him.
    pub busy: &'a dyn Fn(&Path) -> Option<String>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of trouble.
    pub trouble: Trouble,
    /// The thing.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
    /// Bytes of disk it takes in vain.
    pub bytes: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is not as it was made.
    Damaged,
    /// It should be there.
    Missing,
    /// Nobody needs it.
    Orphan,
}

/// What came of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was only looked at.
    Found,
    /// It is mended: how.
    Mended(&'static str),
    /// It cannot be mended here: why, and what helps.
    Unmended(String),
}

impl Finding {
    /// A finding nothing was done about yet.
    pub fn new(trouble: Trouble, object: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            trouble,
            object: object.into(),
            problem: problem.into(),
            bytes: 0,
            outcome: Outcome::Found,
        }
    }

    /// Mends it, if that is asked for.
    pub fn mend(
        mut self,
        repair: bool,
        how: &'static str,
        mend: impl FnOnce() -> Result<()>,
    ) -> Self {
        if repair {
            self.outcome = match mend() {
                Ok(()) => Outcome::Mended(how),
                Err(error) => Outcome::Unmended(error.to_string()),
            };
        }
        self
    }

    fn sized(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

impl Store {
    /// Compares the whole store with itself. Slow with `contents`: every byte is read.
    pub fn fsck(&self, order: &Fsck<'_>) -> Result<Vec<Finding>> {
        let mut found = self.check_list(order)?;
        let (blobs, damaged) = self.check_blobs(order)?;
        found.extend(blobs);
        found.extend(self.check_layers(order, &damaged)?);
        found.extend(self.check_images()?);
        found.extend(self.check_orphans(order)?);
        Ok(found)
    }

    /// A list of names that was set aside when the store was opened.
    fn check_list(&self, order: &Fsck<'_>) -> Result<Vec<Finding>> {
        let aside = self.entries.set_aside();
        if !aside.exists() {
            return Ok(Vec::new());
        }
        let problem = "was damaged and is set aside; names in it are lost, images are kept unnamed";
        let finding = Finding::new(Trouble::Damaged, aside.display().to_string(), problem)
            .sized(account::allocated_alone(&aside))
            .mend(order.repair, "removed", || {
                fs::remove_file(&aside).context(|| format!("remove {}", aside.display()))
            });
        Ok(vec![finding])
    }

    /// Also which of them are damaged: nothing can be compared with those.
    fn check_blobs(&self, order: &Fsck<'_>) -> Result<(Vec<Finding>, HashSet<Digest>)> {
        let (mut found, mut damaged) = (Vec::new(), HashSet::new());
        for path in self.blobs.foreign()? {
            let object = path.display().to_string();
            let finding = Finding::new(Trouble::Orphan, object, "is no blob")
                .sized(account::allocated(&path)?)
                .mend(order.repair, "removed", || self.blobs.discard(&path));
            found.push(finding);
        }
        let digests = if order.contents {
            self.blobs.list()?
        } else {
            Vec::new()
        };
        for digest in digests {
            // It may be gone by now.
            let Ok(file) = self.blobs.open_file(&digest) else {
                continue;
            };
            let problem = match hash(file, &digest) {
                Ok(actual) if actual == digest => continue,
                Ok(actual) => format!("has the content of {actual}"),
                Err(error) => format!("cannot be read: {error}"),
            };
            let size = self.blobs.size(&digest).unwrap_or(0);
            let finding = Finding::new(Trouble::Damaged, format!("blob {digest}"), problem)
                .sized(size)
                .mend(
                    order.repair,
                    "removed; a pull or load brings it again",
                    || {
                        self.trees.forget(&digest);
                        self.blobs.remove(&digest).map(drop)
                    },
                );
            found.push(finding);
            damaged.insert(digest);
        }
        Ok((found, damaged))
    }

    fn check_layers(&self, order: &Fsck<'_>, damaged: &HashSet<Digest>) -> Result<Vec<Finding>> {
        let mut found = Vec::new();
        for path in self.layers.foreign()? {
            let object = path.display().to_string();
            let finding = Finding::new(Trouble::Orphan, object, "is no layer")
                .sized(account::allocated(&path)?)
                .mend(order.repair, "removed", || self.layers.discard(&path));
            found.push(finding);
        }
        let mut layers = self.layers.all();
        // From below: mending a layer may need what lies under it.
        layers.sort_by_key(|layer| layer.number);
        for layer in layers {
            let path = self.layers.path(&layer);
            let finding = match fs::symlink_metadata(&path) {
                Ok(meta) if !meta.is_dir() => self.damaged(&path, "is no directory"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let object = format!("layer {}", path.display());
                    Finding::new(Trouble::Missing, object, "its directory is gone")
                }
                Err(error) => self.damaged(&path, format!("cannot be read: {error}")),
                Ok(_) if !order.contents => continue,
                Ok(_) => match self.difference(&layer, &path, damaged)? {
                    Some(difference) => self.damaged(&path, difference),
                    None => continue,
                },
            };
            found.push(finding.mend(order.repair, "unpacked again", || {
                if let Some(user) = (order.busy)(&path) {
                    return Err(Error::Conflict(format!(
                        "the running container {user} uses it: stop that and try again"
                    )));
                }
                self.unpack_again(&layer)
            }));
        }
        Ok(found)
    }

    fn damaged(&self, path: &Path, problem: impl Into<String>) -> Finding {
        Finding::new(
            Trouble::Damaged,
            format!("layer {}", path.display()),
            problem,
        )
    }

    /// What in the layer's directory is not as in its blob; a layer whose blob is not here, or damaged, cannot
    /// be compared.
    fn difference(
        &self,
        layer: &Layer,
        path: &Path,
        damaged: &HashSet<Digest>,
    ) -> Result<Option<String>> {
        let origin = self.origin(layer)?;
        let Some(origin) = origin.filter(|origin| !damaged.contains(&origin.blob.digest)) else {
            return Ok(None);
        };
        let Ok(file) = self.blobs.open_file(&origin.blob.digest) else {
            return Ok(None);
        };
        let what = || format!("read the blob {}", origin.blob.digest);
        let (_, plain) = decompress(file).context(what)?;
        let root = Root::new(path).context(|| format!("open {}", path.display()))?;
        let differences = match verify::differences(&root, plain) {
            // The blob is bad, which is told elsewhere; a file that is gives a difference.
            Err(Error::Tar(_) | Error::Io { .. }) => return Ok(None),
            differences => differences?,
        };
        let Some((first, problem)) = differences.first() else {
            return Ok(None);
        };
        let others = match differences.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        Ok(Some(format!("/{}: {problem}{others}", first.display())))
    }

    /// Makes layers anew that a power cut may have damaged; those that nothing is left of are let go.
    pub(super) fn remake_doubtful(&self) -> Result<()> {
        for layer in self.layers.take_doubtful() {
            let layer_id = layer.id();
            match self.unpack_again(&layer) {
                Ok(()) => {
                    tracing::warn!(%layer_id, "a layer had not reached the disk: unpacked again")
                }
                Err(error) => {
                    tracing::warn!(%layer_id, %error, "a layer did not reach the disk");
                    self.layers.remove(&layer)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the layer anew from its blob, in the same place.
    fn unpack_again(&self, layer: &Layer) -> Result<()> {
        let origin = self
            .origin(layer)?
            .filter(|origin| self.blobs.has(&origin.blob.digest));
        let Some(origin) = origin else {
            return Err(Error::Invalid(
                "its blob is not here: pull or load the image again".to_owned(),
            ));
        };
        let place = self.layers.begin()?;
        let unpacked = self.unpack_into(&place.1, &origin, layer);
        let replaced = unpacked.and_then(|()| self.layers.replace(layer, &place.1));
        if replaced.is_err() {
            self.layers.discard(&place.1)?;
        }
        replaced
    }

    fn unpack_into(&self, place: &Path, origin: &Origin, layer: &Layer) -> Result<()> {
        let files = place.join("fs");
        let job = Job {
            position: 0,
            descriptor: &origin.blob,
            diff_id: &layer.record.diff_id,
        };
        let source = unpack::Source {
            blobs: &self.blobs,
            arriving: &|_| Ok(None),
        };
        let places = [(0, files.clone())];
        let extracted = unpack::all(&source, &[job], &places, 1, &mut |_| {})?;
        let root = Root::new(&files).context(|| format!("open {}", files.display()))?;
        for extracted in &extracted {
            unpack::complete_from_below(&root, &origin.below, extracted)?;
        }
        Ok(())
    }

    /// Where the layer came from: an image that has it says so.
    fn origin(&self, layer: &Layer) -> Result<Option<Origin>> {
        for entry in self.entries.all().iter() {
            for member in self.members(&entry.target).unwrap_or_default() {
                let (Some(manifest), Some(config)) = (&member.manifest, &member.config) else {
                    continue;
                };
                let diff_ids = &config.rootfs.diff_ids;
                let chain = chain_ids(diff_ids);
                let is_here = |at: &usize| {
                    diff_ids[*at] == layer.record.diff_id
                        && layer
                            .record
                            .chain_id
                            .as_ref()
                            .is_none_or(|id| *id == chain[*at])
                };
                let Some(at) = (0..diff_ids.len()).find(is_here) else {
                    continue;
                };
                let Some(blob) = manifest.layers.get(at) else {
                    continue;
                };
                let below = (0..at).rev().filter_map(|at| {
                    let layer = self.layers.find(&diff_ids[at], &chain[at])?;
                    Some(self.layers.path(&layer))
                });
                return Ok(Some(Origin {
                    blob: blob.clone(),
                    below: below.collect(),
                }));
            }
        }
        Ok(None)
    }

    /// What images need and is not here.
    fn check_images(&self) -> Result<Vec<Finding>> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for entry in self.entries.all().iter() {
            if !seen.insert(entry.target.digest.clone()) {
                continue;
            }
            let shown = match &entry.name {
                Some(name) => name.familiar(),
                None => entry.target.digest.to_string(),
            };
            for missing in self.missing_of(&entry.target) {
                let mut finding = Finding::new(Trouble::Missing, format!("image {shown}"), missing);
                let hint = "pull or load the image again, or remove it";
                finding.outcome = Outcome::Unmended(hint.to_owned());
                found.push(finding);
            }
        }
        Ok(found)
    }

    fn missing_of(&self, target: &Descriptor) -> Vec<String> {
        let lacks = |digest: &Digest| format!("lacks the blob {digest}");
        if !self.blobs.has(&target.digest) {
            return vec![lacks(&target.digest)];
        }
        let members = match self.members(target) {
            Ok(members) => members,
            Err(error) => return vec![error.to_string()],
        };
        let mut missing = Vec::new();
        for member in members {
            // Platforms that were never fetched are no loss.
            let Some(manifest) = &member.manifest else {
                continue;
            };
            for part in manifest.layers.iter().chain([&manifest.config]) {
                match self.blobs.size(&part.digest) {
                    None if part.urls.is_none() => missing.push(lacks(&part.digest)),
                    Some(size) if size != part.size => missing.push(format!(
                        "needs {} bytes of the blob {}, which has {size}",
                        part.size, part.digest
                    )),
                    _ => {}
                }
            }
        }
        missing
    }

    fn check_orphans(&self, order: &Fsck<'_>) -> Result<Vec<Finding>> {
        let garbage = self.garbage()?;
        let mut found = Vec::new();
        for digest in garbage.blobs {
            let size = self.blobs.allocated(&digest);
            let object = format!("blob {digest}");
            found.push(Finding::new(Trouble::Orphan, object, "no image needs it").sized(size));
        }
        for layer in garbage.layers {
            let path = self.layers.path(&layer);
            let object = format!("layer {}", path.display());
            if self.layers.built(layer.number).is_some() {
                // The build cache needs it.
                continue;
            }
            let size = self.layers.disk(layer.number);
            found.push(Finding::new(Trouble::Orphan, object, "no image needs it").sized(size));
        }
        if order.repair && !found.is_empty() {
            self.collect_garbage()?;
            for finding in &mut found {
                finding.outcome = Outcome::Mended("removed");
            }
        }
        Ok(found)
    }
}

/// A layer's blob, and the directories below it in an image that has it, uppermost first.
struct Origin {
    blob: Descriptor,
    below: Vec<PathBuf>,
}

/// What the collector would take.
#[derive(Default)]
pub(super) struct Garbage {
    pub(super) blobs: Vec<Digest>,
    pub(super) layers: Vec<Arc<Layer>>,
    /// There would be more if nobody held it.
    pub(super) spares: bool,
}

fn hash(mut file: File, digest: &Digest) -> io::Result<Digest> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            got => hasher.update(&buffer[..got]),
        }
    }
}
