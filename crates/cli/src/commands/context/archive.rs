//! A context as a tar archive (or, to be read, a zip archive): `meta.json`, and its keys below `tls/docker`.

use std::io::{Cursor, Read};

use tar::{Archive, Builder, EntryType, Header};
use zip::ZipArchive;

use crate::context::store::{KEY_FILES, Keys, Metadata};
use crate::error::{Error, Result};
use crate::ui;

/// No description and no key is larger.
const PART_MAX: u64 = 10 << 20;
/// Tar comes in blocks of this size.
const TAR_BLOCK: usize = 512;
/// How a zip archive begins.
const ZIP: &[u8] = b"PK";

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

/// Reads a context, from a tar or a zip archive.
///
/// # Errors
/// Bytes that are no such archive.
pub(crate) fn read(bytes: &[u8]) -> Result<(Metadata, Keys)> {
    let mut parts = Parts::default();
    match bytes.starts_with(ZIP) {
        true => read_zip(bytes, &mut parts)?,
        false => read_tar(bytes, &mut parts)?,
    }
    let metadata = parts
        .metadata
        .ok_or_else(|| Error::new("invalid context: no metadata found"))?;
    Ok((metadata, parts.keys))
}

/// What has been found so far.
#[derive(Default)]
struct Parts {
    metadata: Option<Metadata>,
    keys: Keys,
}

impl Parts {
    /// Takes a file of the archive.
    fn take(&mut self, path: &str, content: impl Read) -> Result<()> {
        let broken = |error: std::io::Error| Error::new(format!("{path} of the archive: {error}"));
        let mut bytes = Vec::new();
        content
            .take(PART_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(broken)?;
        if bytes.len() as u64 > PART_MAX {
            return Err(Error::new(format!(
                "{path} of the archive is larger than {} MiB",
                PART_MAX >> 20
            )));
        }
        let words: Vec<&str> = path.split('/').collect();
        match words[..] {
            ["meta.json"] => {
                let found = serde_json::from_slice(&bytes)
                    .map_err(|error| Error::new(format!("meta.json of the context: {error}")))?;
                self.metadata = Some(found);
            }
            ["tls", "docker", file] if KEY_FILES.contains(&file) => {
                self.keys.insert(file.to_owned(), bytes);
            }
            // Contexts of old had another endpoint beside it, which nobody asks any more.
            ["tls", endpoint, file] if endpoint != "docker" && file != ".." => ui::warn(&format!(
                "{path} is left out: only keys of the endpoint docker are of use"
            )),
            _ => return Err(Error::new(format!("unexpected context file: {path:?}"))),
        }
        Ok(())
    }
}

fn read_tar(bytes: &[u8], parts: &mut Parts) -> Result<()> {
    let broken = |_| {
        Error::new(match bytes.len() {
            0..TAR_BLOCK => "unexpected EOF",
            _ => "archive/tar: invalid tar header",
        })
    };
    for entry in Archive::new(Cursor::new(bytes)).entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if entry.header().entry_type() != EntryType::Directory {
            parts.take(path.trim_start_matches("./"), entry)?;
        }
    }
    Ok(())
}

fn read_zip(bytes: &[u8], parts: &mut Parts) -> Result<()> {
    let broken = |error: zip::result::ZipError| Error::new(format!("zip: {error}"));
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(broken)?;
        let path = entry.name().map_err(broken)?.into_owned();
        if !entry.is_dir() {
            parts.take(&path, entry)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::{SimpleFileOptions, ZipWriter};

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

    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (path, bytes) in files {
            writer
                .start_file(*path, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn a_zip_archive_is_as_good() {
        let meta = br#"{"Name":"far","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://far:1"}}}"#;
        let bytes = zipped(&[
            ("meta.json", meta),
            ("tls/docker/ca.pem", b"ca"),
            ("tls/kubernetes/ca.pem", b"k"),
        ]);
        let (metadata, keys) = read(&bytes).unwrap();
        assert_eq!(metadata.place().host, "tcp://far:1");
        assert_eq!(keys, Keys::from([("ca.pem".to_owned(), b"ca".to_vec())]));
        let error = |bytes: &[u8]| read(bytes).unwrap_err().message().to_owned();
        assert!(error(&bytes[..bytes.len() / 2]).starts_with("zip: "));
        assert!(error(&zipped(&[("other", b"")])).contains("unexpected context file"));
        assert!(error(&zipped(&[("tls/docker/../../x", b"")])).contains("unexpected context file"));
        assert_eq!(error(&zipped(&[])), "invalid context: no metadata found");
        let bomb = vec![0; 11 << 20];
        assert!(error(&zipped(&[("meta.json", &bomb)])).contains("larger than 10 MiB"));
    }
}
