//! A tree's index on disk: a header line, then one record an entry.
//!
//! A damaged or unknown index counts as none: the tree is filled anew.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hull_oci::Digest;

use super::{Entries, Entry, IdleTree, Kind, Meta};

const MAGIC: &[u8] = b"hull tree 3\n";

/// Where the index of the tree at `place` is.
pub(super) fn of(place: &Path) -> PathBuf {
    place.join("index")
}

/// It holds still, and was used now.
pub(super) fn touch(place: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(of(place))?;
    file.set_modified(SystemTime::now())
}

/// Reads the index of the tree at `place`.
pub(super) fn read(place: &Path) -> Option<Entries> {
    let bytes = fs::read(of(place)).ok()?;
    parse(&bytes)
}

/// Whether there is an index in today's form.
pub(super) fn is_known(place: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    let read = fs::File::open(of(place)).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == MAGIC
}

/// What a tree takes and when it was last used.
pub(super) fn summary(place: &Path) -> Option<IdleTree> {
    let used = fs::metadata(of(place)).ok()?.modified().ok()?;
    let used = used.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    let sizes = read(place)?.into_values().map(|entry| match entry.kind {
        Kind::File { size, .. } => size,
        _ => 0,
    });
    Some(IdleTree {
        path: place.to_owned(),
        bytes: sizes.sum(),
        used: i64::try_from(used).ok()?,
    })
}

/// Writes it, whole.
pub(super) fn write(place: &Path, entries: &Entries) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + entries.len() * 128);
    bytes.extend_from_slice(MAGIC);
    for (path, entry) in entries {
        put(&mut bytes, path.as_os_str().as_bytes());
        let (letter, size, text) = match &entry.kind {
            Kind::File { size, digest } => (b'f', *size, digest.as_str().as_bytes()),
            Kind::Directory => (b'd', 0, &b""[..]),
            Kind::Symlink(target) => (b'l', 0, &target[..]),
        };
        bytes.push(letter);
        put(&mut bytes, text);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&entry.meta.mode.to_le_bytes());
        bytes.extend_from_slice(&entry.meta.uid.to_le_bytes());
        bytes.extend_from_slice(&entry.meta.gid.to_le_bytes());
        bytes.extend_from_slice(&entry.meta.mtime_ns.to_le_bytes());
        bytes.extend_from_slice(&entry.meta.change.0.to_le_bytes());
        bytes.extend_from_slice(&entry.meta.change.1.to_le_bytes());
    }
    let new = place.join("index.new");
    let mut file = fs::File::create(&new)?;
    file.write_all(&bytes)?;
    fs::rename(new, of(place))
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text);
}

fn parse(bytes: &[u8]) -> Option<Entries> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut entries = Entries::new();
    while !rest.is_empty() {
        let path = PathBuf::from(OsString::from_vec(text(&mut rest)?.to_vec()));
        let letter = take::<1>(&mut rest)?[0];
        let words = text(&mut rest)?;
        let size = u64::from_le_bytes(take(&mut rest)?);
        let kind = match letter {
            b'f' => Kind::File {
                size,
                digest: std::str::from_utf8(words).ok()?.parse::<Digest>().ok()?,
            },
            b'd' => Kind::Directory,
            b'l' => Kind::Symlink(words.to_vec()),
            _ => return None,
        };
        let meta = Meta {
            mode: u32::from_le_bytes(take(&mut rest)?),
            uid: u32::from_le_bytes(take(&mut rest)?),
            gid: u32::from_le_bytes(take(&mut rest)?),
            mtime_ns: i64::from_le_bytes(take(&mut rest)?),
            change: (
                i64::from_le_bytes(take(&mut rest)?),
                u64::from_le_bytes(take(&mut rest)?),
            ),
        };
        entries.insert(path, Entry { kind, meta });
    }
    Some(entries)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
pub(super) fn parse_for_test(bytes: &[u8]) -> Option<Entries> {
    parse(bytes)
}
