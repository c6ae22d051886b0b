//! Blobs that arrive piece by piece over a connection that may break: `partial/<digest>`.
//!
//! What has arrived stays when the writer is dropped, also when the daemon ends, and the next
//! writer goes on from there. While a blob arrives it can be read from its beginning: a reader
//! waits for what is to come, and meets the end only when the digest was right.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hull_oci::{Digest, Hasher};

use super::blobs::{Blobs, check};
use super::{Lease, Store};
use crate::error::{Context as _, Error, Result};

/// The directory of partial blobs.
const DIRECTORY: &str = "partial";
/// How long what has arrived of a blob is kept for somebody to go on with.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const READ_BYTES: usize = 256 << 10;

/// The digests that have a writer: one at a time.
pub(super) type Writing = Arc<Mutex<HashSet<Digest>>>;

/// A blob on its way in. Dropped, it keeps what has arrived for the next attempt.
pub struct PartialBlob {
    file: File,
    path: PathBuf,
    place: PathBuf,
    digest: Digest,
    hasher: Hasher,
    arrival: Arc<Arrival>,
    writing: Writing,
}

/// Reads a blob while it arrives.
pub struct ArrivingBlob {
    file: File,
    at: u64,
    arrival: Arc<Arrival>,
}

/// What writer and readers share.
struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    arrived: u64,
    end: End,
}

enum End {
    Open,
    Verified,
    Broken(String),
}

impl Store {
    /// Begins or goes on with bringing in the blob `digest`, from where the last attempt ended.
    /// `None`: somebody else is at it.
    pub fn resume_blob(&self, lease: &Lease, digest: &Digest) -> Result<Option<PartialBlob>> {
        lease.protect(digest);
        self.blobs.resume(digest)
    }
}

impl Blobs {
    fn resume(&self, digest: &Digest) -> Result<Option<PartialBlob>> {
        if !lock(&self.writing).insert(digest.clone()) {
            return Ok(None);
        }
        let opened = self.open_partial(digest);
        if opened.is_err() {
            lock(&self.writing).remove(digest);
        }
        opened.map(Some)
    }

    fn open_partial(&self, digest: &Digest) -> Result<PartialBlob> {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        let path = self.partial.join(name);
        let what = || format!("go on with {}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = options.open(&path).context(what)?;
        let mut hasher = Hasher::new(digest.algorithm());
        let arrived = hash_to_end(&mut file, &mut hasher).context(what)?;
        let place = self.path(digest);
        if let Some(directory) = place.parent() {
            fs::create_dir_all(directory).context(|| format!("make {}", directory.display()))?;
        }
        let state = State {
            arrived,
            end: End::Open,
        };
        Ok(PartialBlob {
            file,
            path,
            place,
            digest: digest.clone(),
            hasher,
            arrival: Arc::new(Arrival {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
            writing: Arc::clone(&self.writing),
        })
    }
}

impl Blobs {
    /// Takes the beginnings of blobs away that nobody writes to at this moment.
    pub(super) fn remove_partial(&self) -> Result<()> {
        let what = || format!("list {}", self.partial.display());
        for entry in fs::read_dir(&self.partial).context(what)? {
            let entry = entry.context(what)?;
            let name = entry.file_name();
            let digest = name.to_string_lossy().replacen('-', ":", 1);
            let writing = lock(&self.writing);
            let is_written = digest
                .parse::<Digest>()
                .is_ok_and(|digest| writing.contains(&digest));
            if !is_written {
                let path = entry.path();
                fs::remove_file(&path).context(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Opens or makes the directory; partial blobs nobody has gone on with for long are removed.
pub(super) fn open(root: &Path) -> Result<PathBuf> {
    let directory = root.join(DIRECTORY);
    fs::create_dir_all(&directory).context(|| format!("make {}", directory.display()))?;
    let what = || format!("list {}", directory.display());
    for entry in fs::read_dir(&directory).context(what)? {
        let entry = entry.context(what)?;
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified.map(|time| time.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age > KEPT) {
            let path = entry.path();
            fs::remove_file(&path).context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(directory)
}

fn hash_to_end(file: &mut File, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut length = 0;
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            return Ok(length);
        }
        hasher.update(&buffer[..got]);
        length += got as u64;
    }
}

impl PartialBlob {
    /// How many bytes have arrived: from there the next piece is wanted.
    pub fn arrived(&self) -> u64 {
        self.arrival.lock().arrived
    }

    /// Whose bytes these are.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// A reader from the blob's beginning. It fails when this writer is dropped.
    pub fn reader(&self) -> Result<ArrivingBlob> {
        let what = || format!("read {}", self.path.display());
        Ok(ArrivingBlob {
            file: File::open(&self.path).context(what)?,
            at: 0,
            arrival: Arc::clone(&self.arrival),
        })
    }

    /// Puts the blob in its place, once its digest is right. What is wrong is thrown away, for no
    /// attempt can ever complete it.
    pub fn commit(self) -> Result<u64> {
        let checked = check(&self.digest, self.hasher.clone().finish());
        let placed = checked.and_then(|()| {
            self.put_in_place()
                .context(|| format!("place the blob {}", self.digest))
        });
        match placed {
            Ok(()) => self.arrival.finish(End::Verified),
            Err(error) => {
                let _ = fs::remove_file(&self.path);
                self.arrival.finish(End::Broken(error.to_string()));
                return Err(error);
            }
        }
        Ok(self.arrived())
    }

    /// One that is there already stays: the disk may have that one, and rely on it an image that has a name.
    fn put_in_place(&self) -> io::Result<()> {
        let here = fs::metadata(&self.place);
        if here.is_ok_and(|known| known.len() == self.arrived()) {
            return fs::remove_file(&self.path);
        }
        fs::rename(&self.path, &self.place)
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.arrival.lock().arrived += written as u64;
        self.arrival.changed.notify_all();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for PartialBlob {
    fn drop(&mut self) {
        self.arrival
            .finish(End::Broken("the transfer broke off".to_owned()));
        if self.arrived() == 0 {
            let _ = fs::remove_file(&self.path);
        }
        lock(&self.writing).remove(&self.digest);
    }
}

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first end counts.
    fn finish(&self, end: End) {
        let mut state = self.lock();
        if matches!(state.end, End::Open) {
            state.end = end;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until there is more than `at`, or an end; 0 is the end.
    fn wait_past(&self, at: u64) -> Result<u64> {
        let mut state = self.lock();
        loop {
            match &state.end {
                _ if state.arrived > at => return Ok(state.arrived - at),
                End::Open => {}
                End::Verified => return Ok(0),
                End::Broken(why) => return Err(Error::Interrupted(why.clone())),
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl ArrivingBlob {
    /// Another reader of the same blob, from its beginning.
    pub fn again(&self) -> Result<Self> {
        let file = self.file.try_clone().context(|| "read a blob")?;
        let arrival = Arc::clone(&self.arrival);
        Ok(Self {
            file,
            at: 0,
            arrival,
        })
    }
}

impl Read for ArrivingBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let there = self.arrival.wait_past(self.at)?;
        let wanted = buffer
            .len()
            .min(usize::try_from(there).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

fn lock(writing: &Writing) -> MutexGuard<'_, HashSet<Digest>> {
    writing.lock().unwrap_or_else(PoisonError::into_inner)
}
