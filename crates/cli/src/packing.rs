//! Files into a tar: as long as they are when they are begun, with their holes, attributes and further
//! names. A file that grows meanwhile would else put whatever it says among the tar's own entries.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, XattrFlags};
use rustix::io::Errno;
use tar::{Builder, EntryType, GnuExtSparseHeader, Header};

/// Where a file's attributes stand in a tar, as all tars have it.
const ATTRIBUTE: &str = "SCHILY.xattr.";

/// What an attribute and all names of them may take: the kernel's own limits.
const ATTRIBUTE_MAX: usize = 64 << 10;

/// What all names mostly take.
const ATTRIBUTES_USUAL: usize = 256;

/// Puts what is no directory into a tar, each file once.
#[derive(Default)]
pub(crate) struct Packer {
    /// Files of several names that are in it, by device and number.
    linked: HashMap<(u64, u64), PathBuf>,
    /// Nobody wants to know of attributes.
    is_plain: bool,
}

impl Packer {
    /// For content alone.
    pub(crate) fn plain() -> Self {
        Self {
            is_plain: true,
            ..Self::default()
        }
    }

    /// Adds what `path` is under `name`. Sockets do not travel.
    pub(crate) fn add(
        &mut self,
        builder: &mut Builder<impl Write>,
        path: &Path,
        metadata: &Metadata,
        name: &Path,
    ) -> io::Result<()> {
        let kind = metadata.file_type();
        if metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            if let Some(first) = self.linked.get(&file) {
                let mut header = header(metadata, EntryType::Link);
                return builder.append_link(&mut header, name, first);
            }
            if !kind.is_socket() {
                self.linked.insert(file, name.to_owned());
            }
        }
        if kind.is_file() {
            let file = File::open(path)?;
            // What was opened is what counts.
            let metadata = file.metadata()?;
            if metadata.is_file() {
                let attributes = match self.is_plain {
                    true => Vec::new(),
                    false => attributes(&file),
                };
                return append(builder, (path, &file), &metadata, &attributes, name);
            }
        }
        if kind.is_symlink() {
            return builder.append_path_with_name(path, name);
        }
        let kind = match () {
            () if kind.is_fifo() => EntryType::Fifo,
            () if kind.is_char_device() => EntryType::Char,
            () if kind.is_block_device() => EntryType::Block,
            () => return Ok(()),
        };
        let mut header = header(metadata, kind);
        header.set_device_major(rustix::fs::major(metadata.rdev()))?;
        header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
        builder.append_data(&mut header, name, io::empty())
    }
}

fn header(metadata: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(metadata);
    header.set_size(0);
    header.set_entry_type(kind);
    header
}

fn append(
    builder: &mut Builder<impl Write>,
    (path, file): (&Path, &File),
    metadata: &Metadata,
    attributes: &[(String, Vec<u8>)],
    name: &Path,
) -> io::Result<()> {
    if !attributes.is_empty() {
        let pairs = attributes.iter();
        builder.append_pax_extensions(pairs.map(|(name, value)| (name.as_str(), &value[..])))?;
    }
    let size = metadata.len();
    let parts = parts(file, size);
    let mut content = Content {
        path,
        file,
        parts: parts.clone(),
        at: 0,
    };
    let mut header = header(metadata, EntryType::Regular);
    if parts == [(0, size)] || size == 0 {
        header.set_size(size);
        return builder.append_data(&mut header, name, content);
    }
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(parts.iter().map(|(_, length)| length).sum());
    let Some(gnu) = header.as_gnu_mut() else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    gnu.set_real_size(size);
    let mut left = parts.iter();
    for (place, (offset, length)) in gnu.sparse.iter_mut().zip(left.by_ref()) {
        place.set_offset(*offset);
        place.set_length(*length);
    }
    gnu.set_is_extended(left.len() > 0);
    let mut further = Vec::new();
    while left.len() > 0 {
        let mut more = GnuExtSparseHeader::new();
        for (place, (offset, length)) in more.sparse.iter_mut().zip(left.by_ref()) {
            place.set_offset(*offset);
            place.set_length(*length);
        }
        more.set_is_extended(left.len() > 0);
        further.extend_from_slice(more.as_bytes());
    }
    builder.append_data(&mut header, name, further.chain(&mut content))
}

/// Where a file says something: offsets and lengths, and its end if that is a hole.
fn parts(file: &File, size: u64) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(begin) => begin.min(size),
            // The rest is a hole.
            Err(Errno::NXIO) => size,
            // This file system knows of none.
            Err(_) => return vec![(0, size)],
        };
        if begin < size {
            let end = rustix::fs::seek(file, SeekFrom::Hole(begin)).unwrap_or(size);
            let end = end.clamp(begin + 1, size);
            parts.push((begin, end - begin));
            at = end;
        } else {
            parts.push((size, 0));
            at = size;
        }
    }
    parts
}

/// Those that mean something elsewhere: not what the kernel keeps for itself on this host.
fn attributes(file: &File) -> Vec<(String, Vec<u8>)> {
    // Most have none, or a few.
    let mut names = vec![0; ATTRIBUTES_USUAL];
    let mut listed = rustix::fs::flistxattr(file, &mut names[..]);
    if listed == Err(Errno::RANGE) {
        names.resize(ATTRIBUTE_MAX, 0);
        listed = rustix::fs::flistxattr(file, &mut names[..]);
    }
    let Ok(length) = listed else {
        return Vec::new();
    };
    let names = names[..length].split(|byte| *byte == 0);
    let names = names.filter_map(|name| std::str::from_utf8(name).ok());
    let names = names.filter(|name| is_portable(name));
    let value = |name: &str| {
        let mut value = vec![0; ATTRIBUTE_MAX];
        let length = rustix::fs::fgetxattr(file, name, &mut value[..]).ok()?;
        value.truncate(length);
        Some((format!("{ATTRIBUTE}{name}"), value))
    };
    names.filter_map(value).collect()
}

/// What means something elsewhere: not what a host's kernel goes by.
fn is_portable(name: &str) -> bool {
    name.starts_with("user.") || name == "security.capability"
}

/// Gives a file the attributes that a tar has of it, as far as this user and file system may.
pub(crate) fn set_attributes(file: &File, found: &[(String, Vec<u8>)]) {
    for (name, value) in found {
        if is_portable(name) {
            let _ = rustix::fs::fsetxattr(file, name, value, XattrFlags::empty());
        }
    }
}

/// Reads the parts of a file, and no more.
struct Content<'a> {
    path: &'a Path,
    file: &'a File,
    /// From the last one back to the next.
    parts: Vec<(u64, u64)>,
    at: usize,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((offset, length)) = self.parts.get_mut(self.at) {
            if *length == 0 {
                self.at += 1;
                continue;
            }
            let wanted = usize::try_from(*length).map_or(buffer.len(), |all| all.min(buffer.len()));
            let read = self.file.read_at(&mut buffer[..wanted], *offset)?;
            if read == 0 && wanted > 0 {
                let path = self.path.display();
                return Err(io::Error::other(format!(
                    "{path} became shorter while it was read"
                )));
            }
            *offset += read as u64;
            *length -= read as u64;
            return Ok(read);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_as_long_as_it_was_when_it_was_begun() {
        let path = std::env::temp_dir().join(format!("hull-packing-{}", std::process::id()));
        std::fs::write(&path, "begun").unwrap();
        let (file, metadata) = (
            File::open(&path).unwrap(),
            std::fs::metadata(&path).unwrap(),
        );
        let pack = || {
            let mut builder = Builder::new(Vec::new());
            append(&mut builder, (&path, &file), &metadata, &[], Path::new("f")).map(|()| builder)
        };
        // What grows is cut where it ended, what shrinks is told.
        std::fs::write(&path, vec![b'x'; 4096]).unwrap();
        let tar = pack().unwrap().into_inner().unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let all: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().size())
            .collect();
        assert_eq!(all, [5]);
        std::fs::write(&path, "be").unwrap();
        let mut content = Content {
            path: &path,
            file: &file,
            parts: vec![(0, 5)],
            at: 0,
        };
        let error = content
            .read_to_end(&mut Vec::new())
            .unwrap_err()
            .to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("became shorter"), "{error}");
    }
}
