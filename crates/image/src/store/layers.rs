//! Unpacked layers: `layers/<n>/fs` with `layer.json` beside it, each once.
//!
//! A layer is unpacked by itself and shared by all images that have it, whatever lies below: it is
//! known by its diff id. The exception is a layer that needs what lies below: directories it uses
//! without describing them get the owner and mode they have there, and hard links to files of
//! lower layers become copies. Such a layer is known by its chain id.
//!
//! The layers of an image are unpacked in parallel, each by two threads: one reads, checks and
//! decompresses the blob, the other computes the diff id and creates the files. A layer is
//! complete when its directory has its number for a name; it reaches the disk in its own time
//! ([`settle`](super::settle)).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hull_oci::{Descriptor, Digest, ImageConfig, Manifest, chain_ids};
use hull_sys::beneath::Root;
use serde::{Deserialize, Serialize};

use super::built::BUILT;
use super::early::Early;
use super::settle::{Settler, sync};
use super::{Lease, Store, unpack};
use crate::error::{Context as _, Error, Result};
use crate::tar::extract::Extracted;
use crate::trash::Trash;

/// What a layer that is not complete is called, before its number.
pub(super) const NEW: &str = ".new-";
/// The threads that unpack layers at the same time; each has a second one at its side.
const WORKERS_MAX: usize = 4;

/// Something that goes on while an image is brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnpackEvent {
    /// A layer of an archive is being read.
    Read {
        /// The digest that stands in its name in the archive, or that of its name.
        layer: Digest,
        /// Bytes read.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A layer is being unpacked: bytes of its blob read, and how many there are.
    Progress {
        /// The layer's diff id.
        layer: Digest,
        /// Bytes read.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A layer is complete.
    Done {
        /// The layer's diff id.
        layer: Digest,
    },
}

/// The unpacked layers.
pub(super) struct Layers {
    pub(super) dir: PathBuf,
    pub(super) trash: Trash,
    state: Mutex<State>,
    /// Rung when a claim ends.
    unclaimed: Condvar,
    settler: Settler,
}

#[derive(Default)]
pub(super) struct State {
    by_diff_id: HashMap<Digest, Arc<Layer>>,
    by_chain_id: HashMap<Digest, Arc<Layer>>,
    /// The diff ids of layers that somebody unpacks now: nobody else does.
    pub(super) claimed: HashSet<Digest>,
    /// Layers that the build cache holds, by number.
    pub(super) built: HashSet<u64>,
    pub(super) last: u64,
    /// How often a layer came or went.
    pub(super) changes: u64,
    /// Layers that a power cut may have damaged: found when the directory was opened.
    doubtful: Vec<Arc<Layer>>,
}

/// Opens the bytes of a layer's blob that is still arriving; `None`: take them from the store. What
/// such a reader gives up to its end has been checked against the blob's digest.
pub type ArrivingLayers<'a> =
    dyn Fn(&Descriptor) -> Result<Option<Box<dyn Read + Send>>> + Sync + 'a;

/// Where an image's layers come from, but for those that are in the store.
pub(super) struct Origin<'a> {
    pub(super) arriving: &'a ArrivingLayers<'a>,
    pub(super) early: Option<&'a Early<'a>>,
}

/// Layers that one operation unpacks. It waits for nothing while it has a claim, so no two
/// operations wait for one another.
struct Claim<'a>(&'a Layers, Vec<Digest>);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        for digest in &self.1 {
            state.claimed.remove(digest);
        }
        drop(state);
        self.0.unclaimed.notify_all();
    }
}

/// One unpacked layer.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) number: u64,
    pub(super) record: Record,
}

impl Layer {
    /// What it is known by.
    pub(super) fn id(&self) -> &Digest {
        self.record
            .chain_id
            .as_ref()
            .unwrap_or(&self.record.diff_id)
    }
}

/// What `layer.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) diff_id: Digest,
    /// Set if the layer holds copies of what lies below it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) chain_id: Option<Digest>,
    /// Bytes of files' content.
    pub(super) bytes: u64,
    /// Entries.
    pub(super) entries: u64,
}

/// A layer to unpack.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) position: usize,
    pub(super) descriptor: &'a Descriptor,
    pub(super) diff_id: &'a Digest,
}

impl Layers {
    /// Opens the directory and reads what is there; what is incomplete is removed.
    pub(super) fn open(dir: &Path, trash: Trash) -> Result<Self> {
        fs::create_dir_all(dir).context(|| format!("make {}", dir.display()))?;
        let layers = Self {
            dir: dir.to_owned(),
            trash,
            state: Mutex::default(),
            unclaimed: Condvar::new(),
            settler: Settler::new(dir)?,
        };
        for entry in fs::read_dir(dir).context(|| format!("list {}", dir.display()))? {
            let path = entry.context(|| format!("list {}", dir.display()))?.path();
            match read_layer(&path) {
                Some(layer) => {
                    let mut state = layers.lock();
                    if path.join(BUILT).exists() {
                        state.built.insert(layer.number);
                    }
                    let is_doubtful = layers.settler.is_doubtful(&path, layer.number);
                    let layer = state.add(layer);
                    state.doubtful.extend(is_doubtful.then_some(layer));
                }
                None if read_built(&path).is_some() => layers.lock().add_built(read_built(&path)),
                None => {
                    tracing::warn!(path = %path.display(), "removing an incomplete layer");
                    layers.trash.put(&path)?;
                }
            }
        }
        Ok(layers)
    }

    /// The layer with this diff id, or this one at exactly this place.
    pub(super) fn find(&self, diff_id: &Digest, chain_id: &Digest) -> Option<Arc<Layer>> {
        let state = self.lock();
        state
            .by_diff_id
            .get(diff_id)
            .or_else(|| state.by_chain_id.get(chain_id))
            .cloned()
    }

    /// The layer that is known by exactly this digest.
    pub(super) fn exactly(&self, id: &Digest) -> Option<Arc<Layer>> {
        let state = self.lock();
        // The lowest layer of an image has its diff id for a chain id.
        state
            .by_diff_id
            .get(id)
            .or_else(|| state.by_chain_id.get(id))
            .cloned()
    }

    /// The layers that a power cut may have damaged, lower ones first; whoever takes them makes them anew.
    pub(super) fn take_doubtful(&self) -> Vec<Arc<Layer>> {
        let mut doubtful = std::mem::take(&mut self.lock().doubtful);
        doubtful.sort_by_key(|layer| layer.number);
        doubtful
    }

    /// The directory with the layer's files.
    pub(super) fn path(&self, layer: &Layer) -> PathBuf {
        self.dir.join(layer.number.to_string()).join("fs")
    }

    /// All layers.
    pub(super) fn all(&self) -> Vec<Arc<Layer>> {
        let state = self.lock();
        state
            .by_diff_id
            .values()
            .chain(state.by_chain_id.values())
            .cloned()
            .collect()
    }

    /// Takes the layer away.
    pub(super) fn remove(&self, layer: &Layer) -> Result<()> {
        let mut state = self.lock();
        state.changes += 1;
        match &layer.record.chain_id {
            Some(chain_id) => state.by_chain_id.remove(chain_id),
            None => state.by_diff_id.remove(&layer.record.diff_id),
        };
        let path = self.dir.join(layer.number.to_string());
        if state.built.contains(&layer.number) {
            return self.trash.put(&path.join("layer.json"));
        }
        self.trash.put(&path)
    }

    /// Where a built layer is to be written.
    pub(super) fn begin_empty(&self) -> Result<(u64, PathBuf)> {
        let (number, path) = self.begin()?;
        fs::remove_dir(path.join("fs")).context(|| format!("make {}", path.display()))?;
        Ok((number, path))
    }

    /// Makes a built layer visible.
    pub(super) fn complete_built(&self, number: u64, from: &Path) -> Result<()> {
        let to = self.dir.join(number.to_string());
        fs::rename(from, &to).context(|| format!("complete {}", to.display()))?;
        self.lock().add_built(Some(number));
        Ok(())
    }

    /// The files of a built layer.
    pub(super) fn built(&self, number: u64) -> Option<PathBuf> {
        let held = self.lock().built.contains(&number);
        held.then(|| self.dir.join(number.to_string()).join("fs"))
    }

    /// The numbers of all built layers.
    pub(super) fn all_built(&self) -> Vec<u64> {
        self.lock().built.iter().copied().collect()
    }

    /// Gives a built layer up. Whether its files went away: not if an image has it.
    pub(super) fn release_built(&self, number: u64) -> Result<bool> {
        let mut state = self.lock();
        if !state.built.remove(&number) {
            return Ok(false);
        }
        state.changes += 1;
        let path = self.dir.join(number.to_string());
        if state
            .by_diff_id
            .values()
            .any(|layer| layer.number == number)
        {
            self.trash.put(&path.join(BUILT))?;
            return Ok(false);
        }
        self.trash.put(&path)?;
        Ok(true)
    }

    /// Lets a built layer serve images, unless another one with the same content does already.
    pub(super) fn name_built(&self, number: u64, record: Record) -> Result<()> {
        let mut state = self.lock();
        if state.by_diff_id.contains_key(&record.diff_id) || !state.built.contains(&number) {
            return Ok(());
        }
        let place = self.dir.join(number.to_string());
        self.settler.mark(&place)?;
        write_record(&place, &record)?;
        state.add(Layer { number, record });
        self.settler.settle(number);
        Ok(())
    }

    /// Lets the build cache hold the layer with this diff id, too; its number.
    pub(super) fn adopt(&self, diff_id: &Digest) -> Result<Option<u64>> {
        let mut state = self.lock();
        let Some(number) = state.by_diff_id.get(diff_id).map(|layer| layer.number) else {
            return Ok(None);
        };
        let mark = self.dir.join(number.to_string()).join(BUILT);
        fs::write(&mark, "{}").context(|| format!("write {}", mark.display()))?;
        state.add_built(Some(number));
        Ok(Some(number))
    }

    /// As long as this stays the same, the same layers are here.
    pub(super) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// What was deleted lies there.
    pub(super) fn trash(&self) -> &Trash {
        &self.trash
    }

    /// Everything written reaches the disk.
    pub(super) fn sync(&self) -> Result<()> {
        sync(&self.dir)
    }

    /// An empty directory to unpack into, removed when the store is next opened unless completed.
    pub(super) fn begin(&self) -> Result<(u64, PathBuf)> {
        let number = {
            let mut state = self.lock();
            state.last += 1;
            state.last
        };
        let path = self.dir.join(format!("{NEW}{number}"));
        fs::create_dir_all(path.join("fs")).context(|| format!("make {}", path.display()))?;
        Ok((number, path))
    }

    /// Makes an unpacked layer visible, unless the same one came from elsewhere meanwhile (a build, say):
    /// containers may stand on that, so it stays the one that is known, and the newcomer is left to the caller's
    /// undo.
    fn complete(&self, number: u64, record: Record) -> Result<Arc<Layer>> {
        let (from, to) = (
            self.dir.join(format!("{NEW}{number}")),
            self.dir.join(number.to_string()),
        );
        write_record(&from, &record)?;
        self.settler.mark(&from)?;
        let layer = {
            let mut state = self.lock();
            if let Some(known) = state.same(&record) {
                return Ok(known);
            }
            fs::rename(&from, &to).context(|| format!("complete {}", to.display()))?;
            state.add(Layer { number, record })
        };
        self.settler.settle(number);
        Ok(layer)
    }

    /// Takes those of the layers that nobody unpacks. (A layer that an image has twice is one.)
    fn claim<'a>(&self, missing: Vec<Job<'a>>) -> (Claim<'_>, Vec<Job<'a>>) {
        let mut state = self.lock();
        let mut own = HashSet::new();
        let mut jobs = Vec::new();
        for job in missing {
            if own.contains(job.diff_id) || state.claimed.insert(job.diff_id.clone()) {
                own.insert(job.diff_id.clone());
                jobs.push(job);
            }
        }
        (Claim(self, own.into_iter().collect()), jobs)
    }

    /// Waits until nobody unpacks one of these.
    fn wait_for(&self, diff_ids: &[Digest]) {
        let mut state = self.lock();
        while diff_ids.iter().any(|id| state.claimed.contains(id)) {
            state = self
                .unclaimed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add_built(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            self.changes += 1;
            self.last = self.last.max(number);
            self.built.insert(number);
        }
    }

    /// The layer that is known by what this one would be known by.
    fn same(&self, record: &Record) -> Option<Arc<Layer>> {
        let known = match &record.chain_id {
            Some(chain_id) => self.by_chain_id.get(chain_id),
            None => self.by_diff_id.get(&record.diff_id),
        };
        known.cloned()
    }

    fn add(&mut self, layer: Layer) -> Arc<Layer> {
        self.changes += 1;
        self.last = self.last.max(layer.number);
        let layer = Arc::new(layer);
        let (map, id) = match &layer.record.chain_id {
            Some(chain_id) => (&mut self.by_chain_id, chain_id),
            None => (&mut self.by_diff_id, &layer.record.diff_id),
        };
        map.insert(id.clone(), Arc::clone(&layer));
        layer
    }
}

impl Store {
    /// Unpacks what is missing of the manifest's layers, whose blobs are all here.
    pub(super) fn ensure_unpacked(
        &self,
        lease: &Lease,
        manifest: &Manifest,
        config: &ImageConfig,
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<Vec<PathBuf>> {
        self.unpack(lease, manifest, config, &|_| Ok(None), progress)
    }

    /// Unpacks what is missing of the manifest's layers, also while their blobs are still on their
    /// way in. Their directories, lowest first.
    pub fn unpack(
        &self,
        lease: &Lease,
        manifest: &Manifest,
        config: &ImageConfig,
        arriving: &ArrivingLayers<'_>,
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<Vec<PathBuf>> {
        let diff_ids = &config.rootfs.diff_ids;
        self.unpack_layers(lease, &manifest.layers, diff_ids, arriving, progress)
    }

    /// As [`unpack`](Self::unpack), for layers (lowest first) and their diff ids, which may belong to
    /// no image yet.
    pub fn unpack_layers(
        &self,
        lease: &Lease,
        layers: &[Descriptor],
        diff_ids: &[Digest],
        arriving: &ArrivingLayers<'_>,
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<Vec<PathBuf>> {
        let origin = Origin {
            arriving,
            early: None,
        };
        self.unpack_from(&origin, lease, layers, diff_ids, progress)
    }

    pub(super) fn unpack_from(
        &self,
        origin: &Origin<'_>,
        lease: &Lease,
        layers: &[Descriptor],
        diff_ids: &[Digest],
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<Vec<PathBuf>> {
        let chain = chain_ids(diff_ids);
        diff_ids
            .iter()
            .chain(&chain)
            .for_each(|digest| lease.protect(digest));
        if layers.len() != diff_ids.len() {
            let (layers, ids) = (layers.len(), diff_ids.len());
            let message = format!("the manifest has {layers} layers, its configuration {ids}");
            return Err(Error::Invalid(message));
        }
        loop {
            if let Some(directories) = self.directories(diff_ids, &chain) {
                return Ok(directories);
            }
            let missing = self.missing(layers, diff_ids, &chain);
            let (claim, jobs) = self.layers.claim(missing);
            if jobs.is_empty() {
                drop(claim);
                self.layers.wait_for(diff_ids);
                continue;
            }
            self.unpack_jobs(origin, &jobs, diff_ids, &chain, progress)?;
            drop(claim);
        }
    }

    /// The layers' directories, if all are there.
    fn directories(&self, diff_ids: &[Digest], chain: &[Digest]) -> Option<Vec<PathBuf>> {
        let find = |(diff_id, chain_id)| {
            self.layers
                .find(diff_id, chain_id)
                .map(|layer| self.layers.path(&layer))
        };
        diff_ids.iter().zip(chain).map(find).collect()
    }

    fn missing<'a>(
        &self,
        layers: &'a [Descriptor],
        diff_ids: &'a [Digest],
        chain: &[Digest],
    ) -> Vec<Job<'a>> {
        let layers = layers.iter().zip(diff_ids).enumerate();
        let jobs = layers.map(|(position, (descriptor, diff_id))| Job {
            position,
            descriptor,
            diff_id,
        });
        jobs.filter(|job| {
            self.layers
                .find(job.diff_id, &chain[job.position])
                .is_none()
        })
        .collect()
    }

    fn unpack_jobs(
        &self,
        origin: &Origin<'_>,
        jobs: &[Job<'_>],
        diff_ids: &[Digest],
        chain: &[Digest],
        progress: &mut dyn FnMut(UnpackEvent),
    ) -> Result<()> {
        let mut undo = Undo(&self.layers, Vec::new());
        let mut early = Vec::new();
        let (mut rest, mut places) = (Vec::new(), Vec::new());
        for job in jobs {
            let unpacked = origin.early.and_then(|early| early.take(job));
            if let Some(unpacked) = &unpacked {
                undo.1.extend(unpacked.path.parent().map(Path::to_owned));
                progress(UnpackEvent::Done {
                    layer: job.diff_id.clone(),
                });
            } else {
                let (number, path) = self.layers.begin()?;
                undo.1.push(path.clone());
                places.push((number, path.join("fs")));
                rest.push(*job);
            }
            early.push(unpacked);
        }
        let workers = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(WORKERS_MAX);
        let source = unpack::Source {
            blobs: &self.blobs,
            arriving: origin.arriving,
        };
        let unpacked = unpack::all(&source, &rest, &places, workers, progress)?;
        let mut unpacked = places.into_iter().zip(unpacked);
        for (job, early) in jobs.iter().zip(early) {
            let early = early.map(|it| ((it.number, it.path), it.extracted));
            let Some(((number, path), extracted)) = early.or_else(|| unpacked.next()) else {
                break;
            };
            let (chain, below) = (&chain[..=job.position], &diff_ids[..job.position]);
            self.complete(chain, below, job, (number, &path), extracted)?;
        }
        Ok(())
    }

    /// Adds what the layer needs from below, and makes it visible.
    fn complete(
        &self,
        chain: &[Digest],
        below: &[Digest],
        job: &Job<'_>,
        (number, path): (u64, &Path),
        extracted: Extracted,
    ) -> Result<()> {
        let needs_below = !extracted.implied.is_empty() || !extracted.unresolved.is_empty();
        let id = &chain[job.position];
        if !needs_below && self.layers.find(job.diff_id, id).is_some() {
            // The image has the same layer twice; one will do.
            return Ok(());
        }
        let mut record = Record {
            diff_id: job.diff_id.clone(),
            chain_id: None,
            bytes: extracted.bytes,
            entries: extracted.count,
        };
        if needs_below {
            let Some(mut lower) = self.directories(below, chain) else {
                // Somebody else unpacks what lies below: this one's turn comes after that.
                return Ok(());
            };
            lower.reverse();
            let root = Root::new(path).context(|| format!("open {}", path.display()))?;
            unpack::complete_from_below(&root, &lower, &extracted)?;
            record.chain_id = chain.last().cloned();
        }
        self.layers.complete(number, record)?;
        Ok(())
    }
}

/// Puts unfinished layers into the trash.
struct Undo<'a>(&'a Layers, Vec<PathBuf>);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for path in self.1.drain(..) {
            // Completed ones have been renamed; `put` takes what is missing for done.
            if let Err(error) = self.0.trash.put(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an unfinished layer");
            }
        }
    }
}

/// The number of the built layer at a path: `None` if it is not one.
fn read_built(path: &Path) -> Option<u64> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    (path.join(BUILT).exists() && path.join("fs").is_dir()).then_some(number)
}

/// Whole or not at all.
pub(super) fn write_record(directory: &Path, record: &Record) -> Result<()> {
    let (path, new) = (directory.join("layer.json"), directory.join("layer.new"));
    let write = || -> std::io::Result<()> {
        // After a power cut the mark is of use only if it is known what the layer was.
        let mut file = fs::File::create(&new)?;
        std::io::Write::write_all(&mut file, &serde_json::to_vec(record)?)?;
        file.sync_data()?;
        fs::rename(&new, &path)
    };
    write().context(|| format!("write {}", path.display()))
}

/// The complete layer at a path: `None` if it is not one.
fn read_layer(path: &Path) -> Option<Layer> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let bytes = fs::read(path.join("layer.json")).ok()?;
    let record = serde_json::from_slice(&bytes).ok()?;
    path.join("fs").is_dir().then_some(Layer { number, record })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_completed_twice_stays_the_first_one() {
        let directory = tempfile::tempdir().unwrap();
        let trash = Trash::open(directory.path()).unwrap();
        let dir = directory.path().join("layers");
        let layers = Layers::open(&dir, trash.clone()).unwrap();
        let diff_id = Digest::of(b"layer");
        for chain_id in [None, Some(Digest::of(b"chain"))] {
            let record = Record {
                diff_id: diff_id.clone(),
                chain_id,
                bytes: 0,
                entries: 0,
            };
            let complete = || {
                let (number, path) = layers.begin().unwrap();
                let layer = layers.complete(number, record.clone()).unwrap();
                (number, path, layer)
            };
            let (first, _, layer) = complete();
            assert_eq!(layer.number, first);
            let (second, left, layer) = complete();
            assert_eq!(layer.number, first, "a container may stand on it");
            assert!(left.exists() && !dir.join(second.to_string()).exists());
            assert!(layers.path(&layer).exists());
        }
        assert_eq!(layers.all().len(), 2);
    }
}
