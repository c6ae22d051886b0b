//! Blobs on their way in. What an upload has is in its file: it goes on after a crash.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use hull_oci::{Algorithm, Digest, Hasher};

use super::{During, Result, Storage, StorageError, rename_into};
use crate::server::answer::Code;
use crate::server::name::RepositoryName;

/// What names an upload: 32 hex digits nobody can guess.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(String);

/// Uploads by id. Their hashes are remembered between requests; after a restart, computed again.
#[derive(Debug, Default)]
pub(super) struct Open(HashMap<UploadId, Arc<tokio::sync::Mutex<Option<Progress>>>>);

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
    guard: tokio::sync::OwnedMutexGuard<Option<Progress>>,
}

/// Takes an upload's bytes in.
pub(crate) struct UploadWriter {
    file: File,
    hasher: Hasher,
    size: u64,
    storage: Arc<Storage>,
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
        let slot = {
            let mut open = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(open.0.entry(id.clone()).or_default())
        };
        let mut guard = slot.lock_owned().await;
        let progress = guard.take();
        let (storage, id) = (Arc::clone(self), id.clone());
        let opened = tokio::task::spawn_blocking(move || {
            storage
                .open_writer(&id, progress)
                .map(|writer| (id, writer))
        });
        let (id, writer) = opened
            .await
            .map_err(io::Error::other)
            .during(|| "open an upload".to_owned())??;
        // It may have ended while this request waited for its turn.
        Ok(writer.map(|writer| Upload { id, writer, guard }))
    }

    fn open_writer(
        self: &Arc<Self>,
        id: &UploadId,
        progress: Option<Progress>,
    ) -> Result<Option<UploadWriter>> {
        let path = self.upload_path(id).join("data");
        let what = || format!("open the upload {}", id.as_str());
        let mut file = match File::options().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).during(what),
        };
        let length = file.metadata().during(what)?.len();
        let Progress { hasher, size } = match progress {
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
        }))
    }

    /// Gives an upload up.
    pub(crate) fn cancel_upload(&self, upload: Upload) -> Result<()> {
        self.release(upload.size());
        self.forget_upload(&upload.id)
    }

    /// Makes an upload a blob of the repository, if its digest is right.
    pub(crate) fn finish_upload(
        &self,
        upload: Upload,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<()> {
        let Upload {
            id,
            mut writer,
            guard: _guard,
        } = upload;
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
            self.release(writer.size);
            self.forget_upload(&id)?;
            return Err(StorageError::Refused {
                code: Code::DigestInvalid,
                message: format!("the content has the digest {actual}, not {digest}"),
            });
        }
        writer.file.sync_data().during(what)?;
        let _linking = self.linking();
        let place = self.blob_path(digest);
        if place.exists() {
            self.release(writer.size);
        } else {
            rename_into(&self.upload_path(&id).join("data"), &place).during(what)?;
        }
        self.link(name, digest)?;
        self.forget_upload(&id)
    }

    pub(super) fn forget_upload(&self, id: &UploadId) -> Result<()> {
        self.uploads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .remove(id);
        let directory = self.upload_path(id);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.during(|| format!("remove {}", directory.display())),
        }
    }

    /// Whether a request works on it now.
    pub(super) fn is_uploading(&self, id: &UploadId) -> bool {
        let open = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        open.0.get(id).is_some_and(|slot| slot.try_lock().is_err())
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
        let Self { id, writer, guard } = self;
        (writer, move |writer| Self { id, writer, guard })
    }

    /// Remembers how far it is for the next request.
    pub(crate) fn pause(mut self) {
        *self.guard = Some(Progress {
            hasher: self.writer.hasher,
            size: self.writer.size,
        });
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
