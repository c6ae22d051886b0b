//! Files of a result, out of their archive into a directory.

use std::fs::{self, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// Unpacks an archive. Returns the devices that only root could have made.
pub(super) fn unpack(archive: impl Read, directory: &Path) -> io::Result<Vec<String>> {
    let mut archive = Archive::new(BufReader::new(archive));
    archive.set_preserve_permissions(true);
    let directory = directory.canonicalize()?;
    // Last, and the deepest first: some may not be written into any more.
    let mut directories = Vec::new();
    let mut left_out = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::Directory => directories.push(entry),
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                if !make_node(&entry, &directory)? {
                    left_out.push(entry.path()?.display().to_string());
                }
            }
            _ => drop(entry.unpack_in(&directory)?),
        }
    }
    directories.sort_by(|one, other| other.path_bytes().cmp(&one.path_bytes()));
    for mut entry in directories {
        entry.unpack_in(&directory)?;
    }
    Ok(left_out)
}

/// A FIFO or a device; `false`: it may not be made by this user.
fn make_node<R: Read>(entry: &Entry<'_, R>, directory: &Path) -> io::Result<bool> {
    let below: PathBuf = entry
        .path()?
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    let is_clean = below
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let path = directory.join(&below);
    let parent = path.parent().unwrap_or(directory);
    // A link of the archive's, or of an earlier one, may lead anywhere: looked at before anything is made.
    let there = parent.ancestors().find(|one| one.exists());
    let there = there.unwrap_or(directory).canonicalize()?;
    if !is_clean || !there.starts_with(directory) {
        let message = format!("{} leads out of the directory", below.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    fs::create_dir_all(parent)?;
    let header = entry.header();
    let mode = header.mode()? & 0o7777;
    let kind = match header.entry_type() {
        EntryType::Char => FileType::CharacterDevice,
        EntryType::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let number = |part: Option<u32>| part.unwrap_or(0);
    let device = match kind {
        FileType::Fifo => 0,
        _ => makedev(
            number(header.device_major()?),
            number(header.device_minor()?),
        ),
    };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match mknodat(CWD, &path, kind, Mode::from_raw_mode(mode), device) {
        Ok(()) => fs::set_permissions(&path, Permissions::from_mode(mode)).map(|()| true),
        Err(Errno::PERM) if kind != FileType::Fifo => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

    use tar::{Builder, Header};

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("hull-files-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn archive(members: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, target) in members {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_size(0);
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
            if *kind == EntryType::Symlink {
                builder.append_link(&mut header, path, target).unwrap();
            } else {
                builder.append_data(&mut header, path, io::empty()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn fifos_and_devices_are_what_they_were() {
        let dir = Scratch::new("nodes");
        let bytes = archive(&[
            ("d/fifo", EntryType::Fifo, ""),
            ("null", EntryType::Char, ""),
        ]);
        let left_out = unpack(&bytes[..], &dir.0).unwrap();
        let fifo = fs::symlink_metadata(dir.0.join("d/fifo")).unwrap();
        assert!(fifo.file_type().is_fifo() && fifo.mode() & 0o777 == 0o640);
        match fs::symlink_metadata(dir.0.join("null")) {
            Ok(null) => {
                assert!(null.file_type().is_char_device());
                assert_eq!(null.rdev(), makedev(1, 3));
            }
            Err(_) => assert_eq!(left_out, ["null"]),
        }
    }

    #[test]
    fn no_node_is_made_elsewhere() {
        let dir = Scratch::new("out");
        let (inside, outside) = (dir.0.join("in"), dir.0.join("out"));
        fs::create_dir_all(&inside).unwrap();
        fs::create_dir_all(&outside).unwrap();
        let bytes = archive(&[
            ("link", EntryType::Symlink, "../out"),
            ("link/fifo", EntryType::Fifo, ""),
        ]);
        assert!(unpack(&bytes[..], &inside).is_err());
        // The link is there from before, and what lies below is missing.
        let bytes = archive(&[("link/new/fifo", EntryType::Fifo, "")]);
        assert!(unpack(&bytes[..], &inside).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
