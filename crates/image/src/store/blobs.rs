//! Bytes under their digests: `blobs/<algorithm>/<hex>`, filled through `ingest/`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hull_oci::{Algorithm, Digest, Hasher};

use super::Lease;
use super::entries::RESERVE;
use super::partial::{self, Writing};
use crate::account;
use crate::error::{Context as _, Error, Result};
use crate::trash::Trash;

/// The largest document (manifest, index, configuration) that is read into memory. Registries
/// refuse manifests over 4 MiB; configurations of images with long histories come close.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 8 << 20;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The blobs of a store.
pub(super) struct Blobs {
    dir: PathBuf,
    ingest: PathBuf,
    pub(super) partial: PathBuf,
    trash: Trash,
    serial: Arc<AtomicU64>,
    pub(super) writing: Writing,
    /// Those the disk is known to have.
    settled: Mutex<HashSet<Digest>>,
}

/// When blobs last came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment([Option<SystemTime>; 2]);

/// Two changes of a directory can bear the same time within one tick of the kernel's clock.
const CLOCK_GRAIN: Duration = Duration::from_millis(100);

/// A blob on its way in: written, then committed or dropped without a trace.
pub struct BlobWriter {
    file: File,
    path: Option<PathBuf>,
    blobs: PathBuf,
    hasher: Hasher,
    size: u64,
    expected: Option<Digest>,
}

impl Blobs {
    /// Opens or makes the layout in `root`; half-written blobs of an earlier life are removed,
    /// but for those that a later attempt goes on with.
    pub(super) fn open(root: &Path, trash: Trash) -> Result<Self> {
        let (dir, ingest) = (root.join("blobs"), root.join("ingest"));
        // The directory stays: on a full disk there would be no room for another.
        for left in fs::read_dir(&ingest).into_iter().flatten().flatten() {
            trash.put(&left.path())?;
        }
        for wanted in [&dir.join("sha256"), &ingest] {
            fs::create_dir_all(wanted).context(|| format!("make {}", wanted.display()))?;
        }
        let partial = partial::open(root)?;
        let layout = root.join("oci-layout");
        if !layout.exists() {
            replace_file(&layout, LAYOUT.as_bytes())?;
        }
        Ok(Self {
            dir,
            ingest,
            partial,
            trash,
            serial: Arc::default(),
            writing: Writing::default(),
            settled: Mutex::default(),
        })
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Its size in bytes, if it is here.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|meta| meta.len())
    }

    pub(super) fn open_file(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).context(|| format!("open the blob {digest}"))
    }

    /// The whole of a document, checked against its digest.
    pub(super) fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open_file(digest)?;
        file.take(DOCUMENT_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .context(|| format!("read the blob {digest}"))?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "the document {digest} is too large"
            )));
        }
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        check(digest, hasher.finish())?;
        Ok(bytes)
    }

    /// A new blob. Without `expected`, its address is what its bytes say.
    pub(super) fn writer(&self, expected: Option<Digest>) -> Result<BlobWriter> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let path = self.ingest.join(serial.to_string());
        let file = File::create_new(&path).context(|| format!("make {}", path.display()))?;
        let algorithm = expected
            .as_ref()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        let (blobs, hasher) = (self.dir.clone(), Hasher::new(algorithm));
        Ok(BlobWriter {
            file,
            path: Some(path),
            blobs,
            hasher,
            size: 0,
            expected,
        })
    }

    /// Those of these blobs that are here reach the disk, and so do their names.
    pub(super) fn sync(&self, digests: &HashSet<Digest>) -> Result<()> {
        let mut fresh: Vec<_> = digests.difference(&self.settled()).cloned().collect();
        fresh.retain(|digest| self.has(digest));
        for digest in &fresh {
            let file = self.open_file(digest)?;
            file.sync_data()
                .context(|| format!("sync the blob {digest}"))?;
        }
        let directories: HashSet<_> = fresh
            .iter()
            .map(|digest| digest.algorithm().name())
            .collect();
        for name in directories {
            let path = self.dir.join(name);
            let directory = File::open(&path).and_then(|directory| directory.sync_all());
            directory.context(|| format!("sync {}", path.display()))?;
        }
        self.settled().extend(fresh);
        Ok(())
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All digests here.
    pub(super) fn list(&self) -> Result<Vec<Digest>> {
        let mut found = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let Ok(entries) = fs::read_dir(self.dir.join(algorithm)) else {
                continue;
            };
            for entry in entries {
                let entry = entry.context(|| format!("list {}", self.dir.display()))?;
                let name = entry.file_name();
                found.extend(format!("{algorithm}:{}", name.to_string_lossy()).parse::<Digest>());
            }
        }
        Ok(found)
    }

    /// As long as this stays the same, the same blobs are here, whoever brings or takes them. `None`:
    /// the last change is so fresh that the next one could bear the same time.
    pub(super) fn moment(&self) -> Option<Moment> {
        let now = SystemTime::now();
        let changed = ["sha256", "sha512"].map(|algorithm| {
            let meta = fs::metadata(self.dir.join(algorithm));
            meta.and_then(|meta| meta.modified()).ok()
        });
        let is_old =
            |time: &SystemTime| now.duration_since(*time).is_ok_and(|age| age > CLOCK_GRAIN);
        changed
            .iter()
            .flatten()
            .all(is_old)
            .then_some(Moment(changed))
    }

    /// The sizes of all blobs here.
    pub(super) fn sizes(&self) -> Result<HashSet<u64>> {
        let all = self.list()?;
        Ok(all.iter().filter_map(|digest| self.size(digest)).collect())
    }

    /// Bytes of disk it takes.
    pub(super) fn allocated(&self, digest: &Digest) -> u64 {
        account::allocated_alone(&self.path(digest))
    }

    /// Bytes of disk that blobs on their way in take.
    pub(super) fn partial_bytes(&self) -> u64 {
        let places = [&self.ingest, &self.partial];
        let bytes = places.map(|place| {
            let all = account::allocated(place).unwrap_or(0);
            all.saturating_sub(account::allocated_alone(place))
        });
        bytes.iter().sum()
    }

    /// Bytes of disk that everything but blobs takes.
    pub(super) fn frame_bytes(&self) -> u64 {
        let root = self.dir.parent().unwrap_or(&self.dir);
        let files = [
            "oci-layout",
            "index.json",
            "index.damaged",
            "used.json",
            RESERVE,
        ];
        let files = files.map(|name| root.join(name));
        let algorithms = ["sha256", "sha512"].map(|name| self.dir.join(name));
        let directories = [root, &self.dir, &self.ingest, &self.partial];
        let all = directories
            .into_iter()
            .chain(files.iter().map(PathBuf::as_path));
        all.chain(algorithms.iter().map(PathBuf::as_path))
            .map(account::allocated_alone)
            .sum()
    }

    /// What lies among the blobs and is none.
    pub(super) fn foreign(&self) -> Result<Vec<PathBuf>> {
        let what = || format!("list {}", self.dir.display());
        let mut found = Vec::new();
        for place in fs::read_dir(&self.dir).context(what)? {
            let place = place.context(what)?;
            let algorithm = place.file_name();
            let algorithm = algorithm.to_string_lossy();
            if !["sha256", "sha512"].contains(&algorithm.as_ref()) || !place.path().is_dir() {
                found.push(place.path());
                continue;
            }
            for entry in fs::read_dir(place.path()).context(what)? {
                let entry = entry.context(what)?;
                let name = format!("{algorithm}:{}", entry.file_name().to_string_lossy());
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                if name.parse::<Digest>().is_err() || !is_file {
                    found.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    /// Takes away what is no blob.
    pub(super) fn discard(&self, path: &Path) -> Result<()> {
        self.trash.put(path)
    }

    /// Takes the blob away; its bytes.
    pub(super) fn remove(&self, digest: &Digest) -> Result<u64> {
        let size = self.size(digest).unwrap_or(0);
        self.settled().remove(digest);
        self.trash.put(&self.path(digest))?;
        Ok(size)
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.algorithm().name()).join(digest.hex())
    }
}

impl BlobWriter {
    /// Puts the blob in its place, once its digest is what was expected.
    pub fn commit(mut self) -> Result<(Digest, u64)> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(Algorithm::Sha256));
        let digest = hasher.finish();
        if let Some(expected) = &self.expected {
            check(expected, digest.clone())?;
        }
        let dir = self.blobs.join(digest.algorithm().name());
        fs::create_dir_all(&dir).context(|| format!("make {}", dir.display()))?;
        let here = fs::metadata(dir.join(digest.hex()));
        if here.is_ok_and(|known| known.len() == self.size) {
            // The disk may have that one already; dropping this writer removes the newcomer.
            return Ok((digest, self.size));
        }
        let path = self
            .path
            .take()
            .expect("taken only here, and commit consumes the writer");
        fs::rename(&path, dir.join(digest.hex())).context(|| format!("place the blob {digest}"))?;
        Ok((digest, self.size))
    }
}

impl BlobWriter {
    /// The digest of what was written so far.
    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// As [`commit`](Self::commit), for a blob whose digest nobody knew: protected before it is
    /// visible.
    pub(super) fn commit_leased(mut self, lease: &Lease) -> Result<(Digest, u64)> {
        lease.protect(&self.digest());
        self.expected = None;
        self.commit()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What stays is removed when the store is next opened.
            let _ = fs::remove_file(path);
        }
    }
}

/// Fails unless both are the same.
pub(super) fn check(expected: &Digest, actual: Digest) -> Result<()> {
    if *expected == actual {
        return Ok(());
    }
    Err(Error::Mismatch {
        expected: expected.clone(),
        actual,
    })
}

/// Replaces a small file whole: readers and crashes see the old or the new one.
pub(super) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().context(|| format!("write {}", path.display()))
}
