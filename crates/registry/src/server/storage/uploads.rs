//! Blobs on their way in. What an upload has is in its file: it goes on after a crash.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use hull_oci::{Algorithm, Digest, Hasher};

use super::{During, Result, Storage, StorageError};
use crate::server::answer::Code;
use crate::server::name::RepositoryName;

/// What names an upload: 32 hex digits nobody can guess.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(String);

/// Uploads by id. Their hashes are remembered between requests; after a restart, computed again. Who holds an
/// upload's place is alone with its file.
#[derive(Debug, Default)]
pub(super) struct Open(HashMap<UploadId, Arc<tokio::sync::Mutex<Option<Progress>>>>);

/// The right to an upload's file.
type Held = tokio::sync::OwnedMutexGuard<Option<Progress>>;

/// How far an upload is.
pub(super) struct Progress {
    hasher: Hasher,
    size: u64,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.size)
    }
}

/// An upload that one request works on.
pub(crate) struct Upload {
    pub(crate) id: UploadId,
    writer: UploadWriter,
}

/// Takes an upload's bytes in. It holds the upload itself: its request may end (the client left) while a thread
/// still writes, and until that has ended nobody else may.
pub(crate) struct UploadWriter {
    file: File,
    hasher: Hasher,
    size: u64,
    storage: Arc<Storage>,
    held: Held,
}

impl UploadId {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 32 && text.bytes().all(is_hex)).then(|| Self(text.to_owned()))
    }

    fn random() -> Result<Self> {
        let mut bytes = [0_u8; 16];
        let random = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&random, &mut bytes)
            .map_err(|_| io::Error::other("the kernel gives no random bytes"))
            .during(|| "name an upload".to_owned())?;
        let mut text = String::new();
        for byte in bytes {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Ok(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Storage {
    /// Begins an upload into a repository.
    pub(crate) fn begin_upload(&self, name: &RepositoryName) -> Result<UploadId> {
        let id = UploadId::random()?;
        let directory = self.upload_path(&id);
        let make = || -> io::Result<()> {
            fs::create_dir(&directory)?;
            fs::write(directory.join("repository"), name.as_str())?;
            File::create(directory.join("data")).map(drop)
        };
        make().during(|| format!("make {}", directory.display()))?;
        Ok(id)
    }

    /// An upload of this repository, for one request alone; `None`: there is none.
    pub(crate) async fn open_upload(
        self: &Arc<Self>,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<Option<Upload>> {
        let directory = self.upload_path(id);
        if fs::read_to_string(directory.join("repository"))
            .ok()
            .as_deref()
            != Some(name.as_str())
        {
            return Ok(None);
        }
        let held = self.slot(id).lock_owned().await;
        let (storage, id) = (Arc::clone(self), id.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let writer = storage.open_writer(&id, held)?;
            Ok(writer.map(|writer| Upload { id, writer }))
        });
        opened
            .await
            .map_err(io::Error::other)
            .during(|| "open an upload".to_owned())?
    }

    fn slot(&self, id: &UploadId) -> Arc<tokio::sync::Mutex<Option<Progress>>> {
        let mut open = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(open.0.entry(id.clone()).or_default())
    }

    /// `None`: it ended while this request waited for its turn.
    fn open_writer(
        self: &Arc<Self>,
        id: &UploadId,
        mut held: Held,
    ) -> Result<Option<UploadWriter>> {
        let path = self.upload_path(id).join("data");
        let what = || format!("open the upload {}", id.as_str());
        let mut file = match File::options().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget_slot(id);
                return Ok(None);
            }
            Err(error) => return Err(error).during(what),
        };
        let length = file.metadata().during(what)?.len();
        let Progress { hasher, size } = match held.take() {
            Some(progress) if progress.size == length => progress,
            // A restart, or a request that ended without giving its hash back.
            _ => hash(&mut file, Algorithm::Sha256).during(what)?,
        };
        let storage = Arc::clone(self);
        Ok(Some(UploadWriter {
            file,
            hasher,
            size,
            storage,
            held,
        }))
    }

    /// Gives an upload up.
    pub(crate) fn cancel_upload(&self, upload: Upload) -> Result<()> {
        self.forget_upload(&upload.id)?;
        self.release(upload.size());
        Ok(())
    }

    /// Makes an upload a blob of the repository, if its digest is right.
    pub(crate) fn finish_upload(
        &self,
        upload: Upload,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        let Upload { id, mut writer } = upload;
        let what = || format!("store the blob {digest}");
        let actual = if digest.algorithm() == Algorithm::Sha256 {
            writer.hasher.clone().finish()
        } else {
            writer.file = File::open(self.upload_path(&id).join("data")).during(what)?;
            hash(&mut writer.file, digest.algorithm())
                .during(what)?
                .hasher
                .finish()
        };
        if actual != *digest {
            self.forget_upload(&id)?;
            self.release(writer.size);
            return Err(StorageError::Refused {
                code: Code::DigestInvalid,
                message: format!("the content has the digest {actual}, not {digest}"),
            });
        }
        writer.file.sync_data().during(what)?;
        let _linking = self.linking();
        let data = self.upload_path(&id).join("data");
        if !self.place(&data, &self.blob_path(digest)).during(what)? {
            self.release(writer.size);
        }
        self.link(name, digest)?;
        self.forget_upload(&id)
    }

    /// For who holds the upload: whoever waits for that finds that there is none any more. So the file goes
    /// first, and the place last.
    pub(super) fn forget_upload(&self, id: &UploadId) -> Result<()> {
        let directory = self.upload_path(id);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.during(|| format!("remove {}", directory.display()))?,
        }
        self.forget_slot(id);
        Ok(())
    }

    pub(super) fn forget_slot(&self, id: &UploadId) {
        let mut open = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        open.0.remove(id);
    }

    /// Holds an upload, unless a request works on it.
    pub(super) fn hold(&self, id: &UploadId) -> Option<Held> {
        self.slot(id).try_lock_owned().ok()
    }

    fn upload_path(&self, id: &UploadId) -> PathBuf {
        self.root.join("uploads").join(id.as_str())
    }
}

impl Upload {
    /// How much there is.
    pub(crate) fn size(&self) -> u64 {
        self.writer.size
    }

    /// Takes the writer out; it must be given back.
    pub(crate) fn take_writer(self) -> (UploadWriter, impl FnOnce(UploadWriter) -> Self) {
        let Self { id, writer } = self;
        (writer, move |writer| Self { id, writer })
    }

    /// Remembers how far it is for the next request.
    pub(crate) fn pause(self) {
        let UploadWriter {
            hasher,
            size,
            mut held,
            ..
        } = self.writer;
        *held = Some(Progress { hasher, size });
    }
}

impl Write for UploadWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.storage
            .reserve(bytes.len() as u64)
            .map_err(io::Error::other)?;
        let written = self
            .file
            .write(bytes)
            .inspect_err(|_| self.storage.release(bytes.len() as u64))?;
        self.storage.release((bytes.len() - written) as u64);
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn hash(file: &mut File, algorithm: Algorithm) -> io::Result<Progress> {
    use std::io::Seek as _;
    file.rewind()?;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            return Ok(Progress { hasher, size });
        }
        hasher.update(&buffer[..got]);
        size += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (tempfile::TempDir, Arc<Storage>, RepositoryName) {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(Storage::open(directory.path(), 0).unwrap());
        (directory, storage, RepositoryName::parse("app").unwrap())
    }

    async fn upload_of(storage: &Arc<Storage>, name: &RepositoryName, bytes: &[u8]) -> Upload {
        let id = storage.begin_upload(name).unwrap();
        let mut upload = storage.open_upload(name, &id).await.unwrap().unwrap();
        upload.writer.write_all(bytes).unwrap();
        upload
    }

    #[tokio::test]
    async fn nobody_goes_on_with_an_upload_that_a_thread_still_writes_to() {
        let (_directory, storage, name) = storage();
        let upload = upload_of(&storage, &name, b"half").await;
        let id = upload.id.clone();
        let (mut writer, give_back) = upload.take_writer();
        // The request ends; what it gave to a thread does not.
        drop(give_back);
        assert!(storage.hold(&id).is_none());
        writer.write_all(b" and half").unwrap();
        drop(writer);
        let upload = storage.open_upload(&name, &id).await.unwrap().unwrap();
        assert_eq!(upload.size(), 13);
        let digest = Digest::of(b"half and half");
        storage.finish_upload(upload, &name, &digest).unwrap();
        assert!(storage.open_blob(&name, &digest).unwrap().is_some());
    }

    #[tokio::test]
    async fn the_same_blob_twice_at_once_is_counted_once() {
        let (_directory, storage, name) = storage();
        let (bytes, digest) = (vec![7; 100_000], Digest::of(&[7; 100_000]));
        for _ in 0..20 {
            let mut finishing = Vec::new();
            let barrier = Arc::new(std::sync::Barrier::new(4));
            for _ in 0..4 {
                let upload = upload_of(&storage, &name, &bytes).await;
                let (storage, name, digest) = (storage.clone(), name.clone(), digest.clone());
                let barrier = Arc::clone(&barrier);
                finishing.push(std::thread::spawn(move || {
                    barrier.wait();
                    storage.finish_upload(upload, &name, &digest).unwrap();
                }));
            }
            finishing.into_iter().for_each(|it| it.join().unwrap());
            assert_eq!(storage.used(), 100_000);
            fs::remove_file(storage.blob_path(&digest)).unwrap();
            storage.release(100_000);
        }
    }

    #[tokio::test]
    async fn an_upload_is_given_up_once() {
        let (_directory, storage, name) = storage();
        let kept = upload_of(&storage, &name, b"kept").await;
        let upload = upload_of(&storage, &name, b"given up").await;
        let id = upload.id.clone();
        assert_eq!(storage.used(), 12);
        // Others wait for their turn: to give it up, and to collect it.
        let waiting = {
            let (storage, name, id) = (storage.clone(), name.clone(), id.clone());
            tokio::spawn(async move { storage.open_upload(&name, &id).await.unwrap().is_some() })
        };
        tokio::task::yield_now().await;
        let collected = storage.collect(std::time::Duration::ZERO).unwrap();
        assert_eq!(collected.uploads, 0, "somebody works on both");
        storage.cancel_upload(upload).unwrap();
        assert!(!waiting.await.unwrap());
        assert_eq!(storage.used(), 4);
        assert!(!storage.uploads.lock().unwrap().0.contains_key(&id));
        drop(kept);
        let collected = storage.collect(std::time::Duration::ZERO).unwrap();
        assert_eq!((collected.uploads, storage.used()), (1, 0));
    }
}
