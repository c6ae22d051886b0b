//! Layers of an archive are unpacked while the archive is read, before anybody knows whether an
//! image needs them. What turns out to be of use is taken; the rest is thrown away.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use hull_oci::Digest;

use super::layers::{Job, Layers};
use super::unpack;
use crate::compression::Compression;
use crate::error::Result;
use crate::tar::extract::Extracted;

/// Smaller layers are unpacked in no time.
const BYTES_MIN: u64 = 1 << 20;
/// Layers unpacked at the same time; each has two threads, beside the one that reads the archive.
const AT_ONCE_MAX: usize = 2;
/// Pieces on their way: a few MiB at most.
const PIECES_MAX: usize = 8;

/// A layer without a place in an image yet.
pub(super) struct Unpacked {
    pub(super) number: u64,
    /// Where its files are.
    pub(super) path: PathBuf,
    pub(super) extracted: Extracted,
    diff_id: Digest,
}

/// What was unpacked early, by the blobs' digests.
pub(super) struct Early<'a> {
    layers: &'a Layers,
    /// Of the blobs that are here: a file of the same size is most likely one of them.
    known_sizes: HashSet<u64>,
    running: AtomicUsize,
    done: Mutex<HashMap<Digest, Unpacked>>,
}

/// The way of a blob's bytes to the threads that unpack it.
pub(super) struct Tee {
    pieces: SyncSender<Vec<u8>>,
    digest: SyncSender<Digest>,
}

impl<'a> Early<'a> {
    pub(super) fn new(layers: &'a Layers, known_sizes: HashSet<u64>) -> Self {
        Self {
            layers,
            known_sizes,
            running: AtomicUsize::new(0),
            done: Mutex::default(),
        }
    }

    /// Begins to unpack a file of the archive that begins so, if it looks like a new layer.
    pub(super) fn begin<'scope, 'env>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        start: &[u8],
        size: u64,
    ) -> Result<Option<Tee>> {
        let is_worth_it = size >= BYTES_MIN && !self.known_sizes.contains(&size);
        if !is_worth_it
            || !looks_like_a_layer(start)
            || self.running.load(Ordering::Relaxed) >= AT_ONCE_MAX
        {
            return Ok(None);
        }
        let (number, place) = self.layers.begin()?;
        self.running.fetch_add(1, Ordering::Relaxed);
        let (pieces, arriving) = sync_channel(PIECES_MAX);
        let (digest, named) = sync_channel(1);
        scope.spawn(move || {
            let path = place.join("fs");
            let unpacked = unpack::stream(Pieces::new(arriving), &path);
            match (unpacked, named.recv()) {
                (Ok((extracted, diff_id)), Ok(digest)) => {
                    let unpacked = Unpacked {
                        number,
                        path,
                        extracted,
                        diff_id,
                    };
                    let before = self.done().insert(digest, unpacked);
                    before.iter().for_each(|before| self.discard(before));
                }
                // It may be no layer at all. If it is, whoever needs it hears what is wrong with it.
                (unpacked, _) => {
                    let error = unpacked.err();
                    tracing::debug!(?error, "a file of an archive was unpacked for nothing");
                    self.throw_away(&place);
                }
            }
            self.running.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(Some(Tee { pieces, digest }))
    }

    /// The layer that a job asks for, if it was unpacked early.
    pub(super) fn take(&self, job: &Job<'_>) -> Option<Unpacked> {
        let mut done = self.done();
        let is_it = done.get(&job.descriptor.digest)?.diff_id == *job.diff_id;
        is_it.then(|| done.remove(&job.descriptor.digest)).flatten()
    }

    fn done(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Unpacked>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn discard(&self, unpacked: &Unpacked) {
        if let Some(place) = unpacked.path.parent() {
            self.throw_away(place);
        }
    }

    fn throw_away(&self, place: &std::path::Path) {
        if let Err(error) = self.layers.trash.put(place) {
            tracing::warn!(path = %place.display(), %error, "cannot remove an unpacked layer");
        }
    }
}

impl Drop for Early<'_> {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.done());
        left.values().for_each(|unpacked| self.discard(unpacked));
    }
}

impl Tee {
    /// Passes bytes on. Whether somebody still takes them.
    pub(super) fn send(&self, piece: &[u8]) -> bool {
        self.pieces.send(piece.to_vec()).is_ok()
    }

    /// That was all of the blob with this digest. (Without this it is thrown away.)
    pub(super) fn end(self, digest: Digest) {
        let _ = self.digest.send(digest);
    }
}

/// Pieces as one stream.
struct Pieces {
    arriving: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Pieces {
    fn new(arriving: Receiver<Vec<u8>>) -> Self {
        Self {
            arriving,
            piece: io::Cursor::default(),
        }
    }
}

impl unpack::Blob for Pieces {
    fn name(&self) -> String {
        "a layer of the archive".to_owned()
    }

    fn check(self) -> Result<()> {
        // Whoever writes the blob sums it.
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.piece.read(buffer)?;
            if got > 0 || buffer.is_empty() {
                return Ok(got);
            }
            match self.arriving.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

pub(super) fn looks_like_a_layer(start: &[u8]) -> bool {
    match Compression::detect(start) {
        Compression::Gzip | Compression::Zstd => true,
        Compression::None => start.get(257..262) == Some(b"ustar"),
        Compression::Bzip2 | Compression::Xz => false,
    }
}
