//! Secrets in one file that only the kernel can open for its user.
//!
//! The file (`$XDG_DATA_HOME/hull/credentials`) is sealed with AES-256-GCM; the key is random, made
//! with the first secret, and lies in the kernel's keyring alone. A stolen disk or backup gives
//! nothing away; with a reboot the key is gone, and who needs a password logs in once more. With the
//! last secret, the file and its key are taken away.
//!
//! ```text
//! "HULLKEYS1" | first 8 bytes of the key's SHA-256 | nonce, 12 bytes | sealed JSON
//! ```

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hull_sys::keyring::{Key, Keyring};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const MAGIC: &[u8] = b"HULLKEYS1";
const KEY_BYTES: usize = 32;
const MARK_BYTES: usize = 8;
const HEAD_BYTES: usize = MAGIC.len() + MARK_BYTES + NONCE_LEN;

/// By server.
pub(super) type Secrets = BTreeMap<String, Secret>;

/// What is kept for a server.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secret {
    pub(super) username: String,
    pub(super) secret: String,
}

/// The file, and the keyring that opens it.
pub(super) struct Vault {
    path: PathBuf,
    ring: Keyring,
    /// The key's name: one for each file.
    name: CString,
}

impl Vault {
    /// The user's own.
    pub(super) fn at_home() -> Result<Self> {
        let directory = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let data = directory("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| directory("HOME").map(|home| PathBuf::from(home).join(".local/share")));
        let data = data.ok_or_else(|| Error::new("neither HOME nor XDG_DATA_HOME is set"))?;
        Self::at(data.join("hull/credentials"))
    }

    fn at(path: PathBuf) -> Result<Self> {
        let ring = Keyring::lasting().map_err(|error| keyring_error(&error))?;
        let name = CString::new(format!("hull-credentials:{}", path.display()))
            .map_err(|_| Error::new(format!("{} is no path", path.display())))?;
        Ok(Self { path, ring, name })
    }

    /// All secrets; none, if the key is gone.
    pub(super) fn read(&self) -> Result<Secrets> {
        let sealed = match fs::read(&self.path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Secrets::new()),
            Err(error) => return Err(Error::io("open", &self.shown(), &error)),
        };
        // Sealed with a key that is no more: as good as no file at all.
        match self.key()?.map(|key| open(&sealed, &key)) {
            Some(Some(opened)) => Ok(opened.unwrap_or_default()),
            None if sealed.starts_with(MAGIC) => Ok(Secrets::new()),
            None | Some(None) => Err(self.damaged()),
        }
    }

    /// Changes the secrets, alone.
    pub(super) fn change(&self, change: impl FnOnce(&mut Secrets)) -> Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| Error::io("mkdir", &directory.to_string_lossy(), &error))?;
        let lock = File::open(directory)
            .and_then(|lock| {
                rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
                Ok(lock)
            })
            .map_err(|error| Error::io("lock", &directory.to_string_lossy(), &error))?;
        let mut secrets = self.read()?;
        change(&mut secrets);
        if secrets.is_empty() {
            self.remove()?;
        } else {
            self.write(&secrets)?;
        }
        drop(lock);
        Ok(())
    }

    fn write(&self, secrets: &Secrets) -> Result<()> {
        let key = match self.key()? {
            Some(key) => key,
            None => self.make_key()?,
        };
        let sealed = seal(secrets, &key)?;
        let new = self.path.with_extension("new");
        let write = || {
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&sealed)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|error| Error::io("write", &self.shown(), &error))
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &self.shown(), &error));
            }
            _ => {}
        }
        if let Some(key) = self.find_key()? {
            self.ring
                .remove(key)
                .map_err(|error| keyring_error(&error))?;
        }
        Ok(())
    }

    fn find_key(&self) -> Result<Option<Key>> {
        self.ring
            .find(&self.name)
            .map_err(|error| keyring_error(&error))
    }

    fn key(&self) -> Result<Option<[u8; KEY_BYTES]>> {
        let Some(key) = self.find_key()? else {
            return Ok(None);
        };
        key.read().map(Some).map_err(|error| keyring_error(&error))
    }

    fn make_key(&self) -> Result<[u8; KEY_BYTES]> {
        let key = random()?;
        self.ring
            .put(&self.name, &key)
            .map_err(|error| keyring_error(&error))?;
        Ok(key)
    }

    fn shown(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    fn damaged(&self) -> Error {
        Error::new(format!(
            "{} is damaged: remove it, and log in again",
            self.path.display()
        ))
    }
}

/// The file was sealed with a key that is no more.
struct Lost;

/// `None`: it is damaged.
fn open(sealed: &[u8], key: &[u8; KEY_BYTES]) -> Option<std::result::Result<Secrets, Lost>> {
    let (head, body) = sealed.split_at_checked(HEAD_BYTES)?;
    let rest = head.strip_prefix(MAGIC)?;
    let (own_mark, nonce) = rest.split_at_checked(MARK_BYTES)?;
    if own_mark != mark(key) {
        return Some(Err(Lost));
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let plain = cipher(key)?
        .open_in_place(nonce, Aad::from(MAGIC), &mut body)
        .ok()?;
    serde_json::from_slice(plain).ok().map(Ok)
}

fn seal(secrets: &Secrets, key: &[u8; KEY_BYTES]) -> Result<Vec<u8>> {
    let wrong = || Error::new("cannot seal the credentials");
    let nonce: [u8; NONCE_LEN] = random()?;
    let mut body = serde_json::to_vec(secrets).map_err(|_| wrong())?;
    cipher(key)
        .ok_or_else(wrong)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(MAGIC),
            &mut body,
        )
        .map_err(|_| wrong())?;
    Ok([MAGIC, &mark(key), &nonce, &body].concat())
}

fn cipher(key: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .ok()
        .map(LessSafeKey::new)
}

/// Tells one key from another, and nothing else about it.
fn mark(key: &[u8; KEY_BYTES]) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&digest(&SHA256, key).as_ref()[..MARK_BYTES]);
    mark
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::new("the kernel gives no random bytes"))?;
    Ok(bytes)
}

fn keyring_error(error: &io::Error) -> Error {
    Error::new(format!(
        "the kernel's keyring cannot be used here: {error}: choose another helper (credsStore) in config.json"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let secret = Secret {
            username: "me".to_owned(),
            secret: "very secret".to_owned(),
        };
        Secrets::from([("registry.example".to_owned(), secret)])
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_alone() {
        let (key, other) = ([7; KEY_BYTES], [8; KEY_BYTES]);
        let sealed = seal(&secrets(), &key).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        let opened = open(&sealed, &key).unwrap().ok().unwrap();
        assert_eq!(opened["registry.example"].secret, "very secret");
        assert!(matches!(open(&sealed, &other), Some(Err(Lost))));
        for at in [0, MAGIC.len() + MARK_BYTES, HEAD_BYTES, sealed.len() - 1] {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(open(&damaged, &key).is_none(), "byte {at}");
        }
        assert!(open(&sealed[..HEAD_BYTES - 1], &key).is_none());
    }

    #[test]
    fn a_vault_remembers_and_leaves_nothing_behind() {
        let directory =
            std::env::temp_dir().join(format!("hull-credentials-{}", std::process::id()));
        let vault = Vault::at(directory.join("hull/credentials")).unwrap();
        assert!(vault.read().unwrap().is_empty());
        vault.change(|kept| kept.extend(secrets())).unwrap();
        assert_eq!(vault.read().unwrap().len(), 1);
        // As after a reboot.
        let key = vault.find_key().unwrap().unwrap();
        vault.ring.remove(key).unwrap();
        assert!(vault.read().unwrap().is_empty());
        vault.change(|kept| kept.extend(secrets())).unwrap();
        assert_eq!(vault.read().unwrap()["registry.example"].username, "me");
        fs::write(&vault.path, "nonsense").unwrap();
        assert!(vault.read().is_err(), "a damaged file is told");
        fs::remove_file(&vault.path).unwrap();
        vault.change(|kept| kept.clear()).unwrap();
        assert!(!vault.path.exists() && vault.find_key().unwrap().is_none());
        fs::remove_dir_all(&directory).unwrap();
    }
}
