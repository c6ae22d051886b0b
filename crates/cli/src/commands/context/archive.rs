//! A context as a tar archive: `meta.json`, and its keys below `tls/docker`.

use std::io::{Cursor, Read};

use tar::{Archive, Builder, EntryType, Header};

use crate::context::store::{KEY_FILES, Keys, Metadata};
use crate::error::{Error, Result};

/// No description and no key is larger.
const PART_MAX: u64 = 10 << 20;
/// Tar comes in blocks of this size.
const TAR_BLOCK: usize = 512;
/// How a zip archive begins.
const ZIP: &[u8] = b"PK\x03\x04";

/// Writes a context.
///
/// # Errors
/// Never in practice: it goes into memory.
pub(crate) fn write(metadata: &Metadata, keys: &Keys) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::new(format!("cannot write the archive: {error}"));
    let description =
        serde_json::to_vec(metadata).map_err(|error| Error::new(error.to_string()))?;
    let mut builder = Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, bytes: Option<&[u8]>| {
        let mut header = Header::new_ustar();
        header.set_mode(mode);
        header.set_entry_type(match bytes {
            Some(_) => EntryType::Regular,
            None => EntryType::Directory,
        });
        header.set_size(bytes.map_or(0, <[u8]>::len) as u64);
        builder.append_data(&mut header, path, bytes.unwrap_or_default())
    };
    add("meta.json", 0o644, Some(&description)).map_err(failed)?;
    add("tls", 0o700, None).map_err(failed)?;
    if !keys.is_empty() {
        add("tls/docker", 0o700, None).map_err(failed)?;
    }
    for (file, bytes) in keys {
        add(&format!("tls/docker/{file}"), 0o600, Some(bytes)).map_err(failed)?;
    }
    builder.into_inner().map_err(failed)
}

/// Reads a context.
///
/// # Errors
/// Bytes that are no such archive.
pub(crate) fn read(bytes: &[u8]) -> Result<(Metadata, Keys)> {
    if bytes.starts_with(ZIP) {
        return Err(
            Error::new("the file is a zip archive: only tar can be imported")
                .with_hint("unzip it, then: tar c meta.json tls | hull context import NAME -"),
        );
    }
    let broken = |_| {
        Error::new(match bytes.len() {
            0..TAR_BLOCK => "unexpected EOF",
            _ => "archive/tar: invalid tar header",
        })
    };
    let (mut metadata, mut keys) = (None, Keys::new());
    for entry in Archive::new(Cursor::new(bytes)).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if entry.header().entry_type() == EntryType::Directory {
            continue;
        }
        let mut part = Vec::new();
        entry
            .by_ref()
            .take(PART_MAX)
            .read_to_end(&mut part)
            .map_err(broken)?;
        match path.as_str() {
            "meta.json" => {
                let found: Metadata = serde_json::from_slice(&part)
                    .map_err(|error| Error::new(format!("meta.json of the context: {error}")))?;
                metadata = Some(found);
            }
            path => match path.strip_prefix("tls/docker/") {
                Some(file) if KEY_FILES.contains(&file) => _ = keys.insert(file.to_owned(), part),
                _ => return Err(Error::new(format!("unexpected context file: {path:?}"))),
            },
        }
    }
    let metadata = metadata.ok_or_else(|| Error::new("invalid context: no metadata found"))?;
    Ok((metadata, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let metadata = Metadata {
            name: "far".to_owned(),
            ..Metadata::default()
        };
        let keys = Keys::from([("ca.pem".to_owned(), b"ca".to_vec())]);
        let (again, found) = read(&write(&metadata, &keys).unwrap()).unwrap();
        assert_eq!((again.name.as_str(), found), ("far", keys));
        assert!(read(b"nonsense").is_err() && read(b"").is_err());
    }
}
