//! Files that containers are handed and that lie on no disk in the clear: secrets.
//!
//! What a container is handed is kept sealed (AES-256-GCM) in its bundle, so that it is there again
//! after any restart. The key is random, made with the first secret, and lies in the data root for
//! root alone: a bundle, a record or a container's layer that gets about gives nothing away; who
//! has all of the data root has its key as well.
//!
//! ```text
//! <data-root>/seal.key              32 bytes, 0600
//! <data-root>/containers/<id>/sealed     "HULLSEAL1" | nonce, 12 bytes | sealed JSON
//! <exec-root>/containers/<id>/sealed/<n> while a start goes on: the files, in memory
//! ```
//! A start lays the files into a file system of memory that is never swapped (ramfs), has each
//! mounted at its place in the container, and takes the file system out of the host's sight: the
//! container's own mounts are all that is left of it, and go with the container's processes.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use hull_sys::{
    beneath::Root,
    idmap::Mappings,
    mount::{self, FileSystem, attr},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Attempt, Error, Result},
    record::{MountKind, MountPoint, Record},
    remap::Remap,
    services::Services,
    user::User,
};

const MAGIC: &[u8] = b"HULLSEAL1";
const KEY_BYTES: usize = 32;
/// The name in a bundle, and in a directory of a run.
const NAME: &str = "sealed";
/// What a container may be handed in all: it is memory that cannot be swapped.
const BYTES_MAX: usize = 8 << 20;
/// Each is a mount of its own.
const FILES_MAX: usize = 512;

/// A file that a container is handed. It has no `Debug` form, which would tell what is in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedFile {
    /// Where in the container.
    pub path: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Its owner; `None`: the container's user.
    pub uid: Option<u32>,
    /// Its group; `None`: the container user's.
    pub gid: Option<u32>,
}

/// Whether these are the files that a container is handed, as far as somebody knows what they hold.
pub(crate) fn are_same(
    mut own: Vec<SealedFile>,
    files: &[SealedFile],
    unknown: &BTreeSet<String>,
) -> bool {
    for (own, file) in own.iter_mut().zip(files) {
        if own.path == file.path && unknown.contains(&file.path) {
            own.content.clone_from(&file.content);
        }
    }
    own == files
}

/// Checks what a container is to be handed.
pub(crate) fn check(files: &[SealedFile]) -> Result<()> {
    let bytes: usize = files.iter().map(|file| file.content.len()).sum();
    if bytes > BYTES_MAX || files.len() > FILES_MAX {
        return Err(Error::Invalid(format!(
            "a container can be handed {FILES_MAX} sealed files of {BYTES_MAX} bytes in all, not {} of {bytes}",
            files.len()
        )));
    }
    let is_place = |path: &str| path.starts_with('/') && !path.ends_with('/');
    match files.iter().find(|file| !is_place(&file.path)) {
        Some(file) => Err(Error::Invalid(format!(
            "a sealed file needs an absolute path, not {:?}",
            file.path
        ))),
        None => Ok(()),
    }
}

/// Keeps what a container is handed from its next start on, instead of what it was handed before.
pub(crate) fn keep(services: &Services, record: &Record, files: &[SealedFile]) -> Result<()> {
    let bundle = services.paths.bundle(&record.id);
    let path = bundle.join(NAME);
    let attempt = || format!("write {}", path.display());
    if files.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).attempt(attempt),
            _ => Ok(()),
        };
    }
    let key = match read_key(services)? {
        Some(key) => key,
        None => make_key(services)?,
    };
    let sealed = seal(&key, record.id.as_str(), files)?;
    let new = path.with_extension("new");
    write_durably(&new, &sealed, true).attempt(attempt)?;
    fs::rename(&new, &path).attempt(attempt)?;
    sync_directory(&bundle).attempt(attempt)
}

/// What a container is handed; `None`: nothing.
pub(crate) fn open(services: &Services, record: &Record) -> Result<Option<Vec<SealedFile>>> {
    let path = services.paths.bundle(&record.id).join(NAME);
    let sealed = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.attempt(|| format!("read {}", path.display()))?,
    };
    let files = read_key(services)?.and_then(|key| unseal(&key, record.id.as_str(), &sealed));
    files.map(Some).ok_or_else(|| {
        Error::Unavailable(format!(
            "the secrets of container {} cannot be opened: {} is not the key they were sealed with, or they are damaged: make the container again",
            record.name,
            services.paths.seal_key().display(),
        ))
    })
}

/// A container's files, ready to be mounted. Dropped, it leaves nothing on the host.
pub(crate) struct Unsealed {
    directory: PathBuf,
    pub(crate) mounts: Vec<MountPoint>,
}

impl Unsealed {
    /// Lays out what a container is handed; `None`: it is handed nothing.
    pub(crate) fn of(services: &Services, record: &Record, user: &User) -> Result<Option<Self>> {
        let Some(files) = open(services, record)? else {
            return Ok(None);
        };
        let directory = services.paths.run(&record.id).join(NAME);
        let ids = services.remap_of(&record.host).map(Remap::ids);
        let laid_out = Self::lay_out(directory, &files, user, ids);
        laid_out
            .attempt(|| format!("lay out the secrets of container {}", record.name))
            .map(Some)
    }

    fn lay_out(
        directory: PathBuf,
        files: &[SealedFile],
        user: &User,
        ids: Option<&Mappings>,
    ) -> io::Result<Self> {
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        // From here on it cleans up after itself.
        let mut unsealed = Self {
            directory,
            mounts: Vec::new(),
        };
        let memory = FileSystem::new("ramfs")?;
        memory.set_option("mode=0700")?;
        let memory = memory.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        let target = Root::new(&unsealed.directory)?;
        mount::attach(memory.as_fd(), target.as_fd())?;
        for (number, file) in files.iter().enumerate() {
            let source = unsealed.directory.join(number.to_string());
            write_for(&source, file, user, ids)?;
            unsealed.mounts.push(MountPoint {
                kind: MountKind::Bind,
                source,
                destination: file.path.clone(),
                read_only: true,
                ..MountPoint::default()
            });
        }
        Ok(unsealed)
    }
}

impl Drop for Unsealed {
    fn drop(&mut self) {
        let gone = mount::detach(&self.directory).and_then(|()| fs::remove_dir(&self.directory));
        if let Err(error) = gone {
            tracing::warn!(path = %self.directory.display(), %error, "cannot take secrets out of sight");
        }
    }
}

/// Takes away what a daemon that was killed in the middle of a start left in a run's directory.
pub(crate) fn clear(run_dir: &Path) {
    let directory = run_dir.join(NAME);
    // As a rule there is no such thing.
    let _ = mount::detach(&directory).and_then(|()| fs::remove_dir(&directory));
}

fn write_for(
    path: &Path,
    file: &SealedFile,
    user: &User,
    ids: Option<&Mappings>,
) -> io::Result<()> {
    write_durably(path, &file.content, false)?;
    let inside = (file.uid.unwrap_or(user.uid), file.gid.unwrap_or(user.gid));
    let outside = ids.and_then(|ids| ids.outside(inside));
    let (uid, gid) = outside.unwrap_or(inside);
    std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode & 0o7777))
}

/// Writes a file for root alone; what was there is replaced if `again`.
fn write_durably(path: &Path, content: &[u8], again: bool) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(again)
        .truncate(again)
        .create_new(!again)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

fn read_key(services: &Services) -> Result<Option<[u8; KEY_BYTES]>> {
    let path = services.paths.seal_key();
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).attempt(|| format!("read {}", path.display())),
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(key)),
            Err(_) => Err(Error::Internal(format!(
                "{} is no key: put the right one back, or remove it and make the containers that have secrets again",
                path.display()
            ))),
        },
    }
}

/// Makes the key, or takes the one that somebody else has made in this moment.
fn make_key(services: &Services) -> Result<[u8; KEY_BYTES]> {
    let path = services.paths.seal_key();
    let attempt = || format!("make {}", path.display());
    let key: [u8; KEY_BYTES] = random()?;
    let new = path.with_extension(format!("new-{:016x}", u64::from_ne_bytes(random()?)));
    let made = write_durably(&new, &key, false).and_then(|()| fs::hard_link(&new, &path));
    let _ = fs::remove_file(&new);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_key(services)?
            .ok_or_else(|| Error::Internal(format!("{} is gone", path.display()))),
        Err(error) => Err(error).attempt(attempt),
        Ok(()) => {
            sync_directory(services.paths.data()).attempt(attempt)?;
            Ok(key)
        }
    }
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::Internal("the kernel gives no random bytes".to_owned()))?;
    Ok(bytes)
}

/// `of`: the container's id, so that nothing sealed for one can be slipped to another.
fn seal(key: &[u8; KEY_BYTES], of: &str, files: &[SealedFile]) -> Result<Vec<u8>> {
    let wrong = || Error::Internal("cannot seal what a container is handed".to_owned());
    let nonce: [u8; NONCE_LEN] = random()?;
    let mut body = serde_json::to_vec(files).map_err(|_| wrong())?;
    let (cipher, nonce_used) = (
        cipher(key).ok_or_else(wrong)?,
        Nonce::assume_unique_for_key(nonce),
    );
    cipher
        .seal_in_place_append_tag(nonce_used, Aad::from(of), &mut body)
        .map_err(|_| wrong())?;
    Ok([MAGIC, &nonce, &body].concat())
}

/// `None`: another key, another container, or damaged.
fn unseal(key: &[u8; KEY_BYTES], of: &str, sealed: &[u8]) -> Option<Vec<SealedFile>> {
    let (nonce, body) = sealed.strip_prefix(MAGIC)?.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let plain = cipher(key)?.open_in_place(nonce, Aad::from(of), &mut body);
    serde_json::from_slice(plain.ok()?).ok()
}

fn cipher(key: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key)
        .ok()
        .map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &[u8]) -> SealedFile {
        SealedFile {
            path: path.to_owned(),
            content: content.to_vec(),
            mode: 0o444,
            uid: None,
            gid: Some(7),
        }
    }

    #[test]
    fn only_the_same_key_opens_and_only_for_the_same_container() {
        let files = [file("/run/secrets/token", b"hush, hush")];
        let sealed = seal(&[1; KEY_BYTES], "aa", &files).unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"hush"));
        let opened = unseal(&[1; KEY_BYTES], "aa", &sealed);
        assert!(opened.is_some_and(|opened| opened == files));
        assert!(unseal(&[2; KEY_BYTES], "aa", &sealed).is_none());
        assert!(unseal(&[1; KEY_BYTES], "ab", &sealed).is_none());
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(unseal(&[1; KEY_BYTES], "aa", &damaged).is_none());
        assert!(unseal(&[1; KEY_BYTES], "aa", b"HULLSEAL1").is_none());
        assert_ne!(sealed, seal(&[1; KEY_BYTES], "aa", &files).unwrap());
    }

    #[test]
    fn what_cannot_be_handed_is_refused() {
        assert!(check(&[file("/a", b"")]).is_ok());
        for path in ["", "a", "/a/", "/"] {
            let refused = check(&[file(path, b"")]).unwrap_err().to_string();
            assert!(refused.contains("absolute path"), "{refused}");
        }
        assert!(check(&[file("/a", &vec![0; BYTES_MAX + 1])]).is_err());
        assert!(check(&vec![file("/a", b""); FILES_MAX + 1]).is_err());
    }
}
