//! This machine's end: paths into a tar, a tar into paths.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use tar::{Archive, Builder, Entry, EntryType, Header};

use super::plan::{Kind, Rename};
use super::records::{Plain, attribute};
use crate::packing::{Packer, set_attributes};

/// What is looked at at a time for holes, which file systems keep in blocks of 4 KiB and more.
const PIECE_BYTES: usize = 64 << 10;

/// What stands at a path.
pub(super) fn kind(path: &str) -> Kind {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Kind::Directory,
        Ok(_) => Kind::File,
        Err(_) => Kind::Missing,
    }
}

/// Writes a path and all below it as a tar whose names begin with `base`.
pub(super) fn pack(path: &Path, base: &str, output: impl Write) -> io::Result<()> {
    let mut builder = Builder::new(output);
    builder.follow_symlinks(false);
    append(&mut builder, &mut Packer::default(), path, Path::new(base))?;
    builder.into_inner()?.flush()
}

fn append(
    builder: &mut Builder<impl Write>,
    packer: &mut Packer,
    path: &Path,
    name: &Path,
) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return packer.add(builder, path, &metadata, name);
    }
    builder.append_dir(name, path)?;
    let mut children: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
    children.sort_by_key(fs::DirEntry::file_name);
    for child in children {
        append(
            builder,
            packer,
            &child.path(),
            &name.join(child.file_name()),
        )?;
    }
    Ok(())
}

/// Unpacks a tar below `directory`. The tar comes from a container and is not trusted: no name
/// leads out of `directory`, and no link in it is walked through.
pub(super) fn unpack(
    input: impl Read,
    directory: &Path,
    rename: Option<&Rename>,
    keep_owner: bool,
) -> io::Result<u64> {
    let mut archive = Archive::new(Plain::new(input));
    archive.set_preserve_ownerships(keep_owner);
    let mut directories = Vec::new();
    let mut copied = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let Some(name) = target_name(&entry.path()?, rename) else {
            continue;
        };
        copied += entry.size();
        let target = directory.join(&name);
        check_parents(directory, &name)?;
        if entry.header().entry_type().is_dir() {
            make_directory(&target)?;
            let whose = match keep_owner {
                true => Some(owner(entry.header())?),
                false => None,
            };
            directories.push((target, entry.header().mode()?, whose));
            continue;
        }
        replace(&mut entry, &target, directory, rename, keep_owner)?;
    }
    // Last, because a directory that may not be written still takes its content.
    for (path, mode, whose) in directories.into_iter().rev() {
        // A link, the user's own or the archive's: what it leads to is not the archive's to change.
        if !fs::symlink_metadata(&path)?.is_dir() {
            continue;
        }
        if let Some(whose) = whose {
            std::os::unix::fs::lchown(&path, whose.0, whose.1)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777))?;
    }
    Ok(copied)
}

fn make_directory(target: &Path) -> io::Result<()> {
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() => Ok(()),
        // The target itself may be a link to a directory: that is the user's own.
        Ok(found) if found.is_symlink() && target.is_dir() => Ok(()),
        Ok(_) => {
            fs::remove_file(target)?;
            fs::create_dir(target)
        }
        Err(_) => fs::create_dir(target),
    }
}

fn replace(
    entry: &mut Entry<'_, impl Read>,
    target: &Path,
    directory: &Path,
    rename: Option<&Rename>,
    keep_owner: bool,
) -> io::Result<()> {
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() => {
            return Err(io::Error::other(format!(
                "cannot overwrite directory {} with non-directory",
                target.display()
            )));
        }
        Ok(_) => fs::remove_file(target)?,
        Err(_) => {}
    }
    if entry.header().entry_type() == EntryType::Link {
        let link = entry.link_name()?.unwrap_or_default();
        let Some(name) = target_name(&link, rename) else {
            return Ok(());
        };
        check_parents(directory, &name)?;
        return fs::hard_link(directory.join(name), target);
    }
    let kind = entry.header().entry_type();
    match kind {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            write_file(entry, target, keep_owner)
        }
        EntryType::Fifo | EntryType::Char | EntryType::Block => {
            make_special(entry.header(), target, keep_owner)
        }
        _ => {
            entry.set_preserve_permissions(true);
            entry.set_unpack_xattrs(false);
            entry.unpack(target).map(drop)
        }
    }
}

/// Makes a new file; where it says nothing, it takes no room.
fn write_file(entry: &mut Entry<'_, impl Read>, target: &Path, keep_owner: bool) -> io::Result<()> {
    let mut file = fs::OpenOptions::new();
    let file = file.write(true).create_new(true).mode(0o600);
    let mut file = file.open(target)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = fill(entry, &mut piece)?;
        match &piece[..length] {
            [] => break,
            said if said.iter().any(|byte| *byte != 0) => file.write_all(said)?,
            _ => drop(file.seek(SeekFrom::Current(i64::try_from(length).unwrap_or(0)))?),
        }
    }
    let end = file.stream_position()?;
    file.set_len(end)?;
    let attributes = attributes_of(entry)?;
    let header = entry.header();
    if keep_owner {
        let owner = owner(header)?;
        std::os::unix::fs::fchown(&file, owner.0, owner.1)?;
        // Another owner's file would lose its capabilities.
        set_attributes(&file, &attributes);
    }
    file.set_permissions(fs::Permissions::from_mode(header.mode()? & 0o7777))?;
    let seconds = header.mtime()?.cast_signed();
    let length = Duration::from_secs(seconds.unsigned_abs());
    let modified = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(length),
        false => UNIX_EPOCH.checked_add(length),
    };
    let Some(modified) = modified else {
        return Ok(());
    };
    file.set_times(
        fs::FileTimes::new()
            .set_accessed(modified)
            .set_modified(modified),
    )
}

fn attributes_of(entry: &mut Entry<'_, impl Read>) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for one in entry.pax_extensions()?.into_iter().flatten() {
        let one = one?;
        if let Ok(key) = one.key() {
            found.extend(attribute(key, one.value_bytes()));
        }
    }
    Ok(found)
}

/// As much as there is, up to the whole of `piece`.
fn fill(input: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < piece.len() {
        match input.read(&mut piece[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Makes a pipe, or a device as far as this user may.
fn make_special(header: &Header, target: &Path, keep_owner: bool) -> io::Result<()> {
    let kind = match header.entry_type() {
        EntryType::Char => FileType::CharacterDevice,
        EntryType::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    // A pipe's header may have none.
    let number = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
    let device = makedev(number(header.device_major()), number(header.device_minor()));
    let mode = header.mode()? & 0o7777;
    mknodat(CWD, target, kind, Mode::from_raw_mode(mode), device)?;
    if keep_owner {
        let owner = owner(header)?;
        std::os::unix::fs::lchown(target, owner.0, owner.1)?;
    }
    fs::set_permissions(target, fs::Permissions::from_mode(mode))
}

fn owner(header: &Header) -> io::Result<(Option<u32>, Option<u32>)> {
    let number = |id: u64| u32::try_from(id).map(Some).map_err(io::Error::other);
    Ok((number(header.uid()?)?, number(header.gid()?)?))
}

/// Where an entry goes, relative to the directory; nothing for the directory itself.
fn target_name(path: &Path, rename: Option<&Rename>) -> Option<PathBuf> {
    let mut name = PathBuf::new();
    for component in path.components() {
        if let Component::Normal(part) = component {
            name.push(part);
        }
    }
    let Some(rename) = rename else {
        return (!name.as_os_str().is_empty()).then_some(name);
    };
    // An archive of a directory's content has no first name: all of it goes below the new one.
    let rest = match rename.from.as_str() {
        "." | "/" => name,
        from => name.strip_prefix(from).map(Path::to_owned).unwrap_or(name),
    };
    let renamed = Path::new(&rename.to).join(rest);
    Some(renamed.components().collect())
}

/// Refuses a name whose parents, below `directory`, are links.
fn check_parents(directory: &Path, name: &Path) -> io::Result<()> {
    let mut path = directory.to_owned();
    let Some(parent) = name.parent() else {
        return Ok(());
    };
    for part in parent.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                return Err(io::Error::other(format!(
                    "the archive leads through the link {}",
                    path.display()
                )));
            }
            Ok(_) => {}
            Err(_) => fs::create_dir(&path)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hull-cp-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_tree_survives_the_way_there_and_back() {
        let scratch = Scratch::new("tree");
        let source = scratch.0.join("s");
        fs::create_dir_all(source.join("d")).unwrap();
        fs::write(source.join("d/f"), "text").unwrap();
        fs::hard_link(source.join("d/f"), source.join("h")).unwrap();
        let file = fs::File::open(source.join("d/f")).unwrap();
        set_attributes(&file, &[("user.a".to_owned(), b"b\nc".to_vec())]);
        std::os::unix::fs::symlink("/etc/passwd", source.join("l")).unwrap();
        fs::set_permissions(source.join("d"), fs::Permissions::from_mode(0o555)).unwrap();
        let mut tar = Vec::new();
        pack(&source, "s", &mut tar).unwrap();
        let rename = Rename {
            from: "s".into(),
            to: "t".into(),
        };
        let owned = rustix::process::getuid().is_root();
        unpack(tar.as_slice(), &scratch.0, Some(&rename), owned).unwrap();
        let target = scratch.0.join("t");
        assert_eq!(fs::read_to_string(target.join("d/f")).unwrap(), "text");
        use std::os::unix::fs::MetadataExt as _;
        let number = |name: &str| fs::metadata(target.join(name)).unwrap().ino();
        assert_eq!(number("d/f"), number("h"));
        let value = |path: PathBuf| {
            let mut value = [0; 8];
            let length = rustix::fs::getxattr(path, "user.a", &mut value).unwrap_or(0);
            value[..length].to_vec()
        };
        if owned {
            assert_eq!(value(target.join("d/f")), value(source.join("d/f")));
        }
        assert_eq!(
            fs::read_link(target.join("l")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert_eq!(
            fs::metadata(target.join("d")).unwrap().permissions().mode() & 0o777,
            0o555
        );
    }

    #[test]
    fn pipes_and_holes_arrive_as_such() {
        use std::os::unix::fs::FileTypeExt;
        let scratch = Scratch::new("holes");
        let source = scratch.0.join("s");
        fs::create_dir(&source).unwrap();
        mknodat(
            CWD,
            source.join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o640),
            0,
        )
        .unwrap();
        let file = fs::File::create(source.join("file")).unwrap();
        file.set_len(8 << 20).unwrap();
        let mut file = &file;
        file.seek(SeekFrom::Start(4 << 20)).unwrap();
        file.write_all(b"in the middle").unwrap();
        let mut tar = Vec::new();
        pack(&source, "t", &mut tar).unwrap();
        unpack(tar.as_slice(), &scratch.0, None, false).unwrap();
        let target = scratch.0.join("t");
        let pipe = fs::metadata(target.join("pipe")).unwrap();
        assert!(pipe.file_type().is_fifo() && pipe.permissions().mode() & 0o777 == 0o640);
        use std::os::unix::fs::MetadataExt as _;
        let copied = fs::metadata(target.join("file")).unwrap();
        assert!(copied.blocks() * 512 < 1 << 20, "{}", copied.blocks());
        assert!(fs::read(source.join("file")).unwrap() == fs::read(target.join("file")).unwrap());
    }

    #[test]
    fn what_a_link_leads_to_is_not_changed() {
        let scratch = Scratch::new("modes");
        let (inside, outside) = (scratch.0.join("in"), scratch.0.join("out"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o700)).unwrap();
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "l", &outside).unwrap();
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o777);
        // No time that there is.
        header.set_mtime(u64::MAX);
        builder.append_data(&mut header, "l", io::empty()).unwrap();
        let tar = builder.into_inner().unwrap();
        unpack(tar.as_slice(), &inside, None, false).unwrap();
        assert_eq!(
            fs::metadata(&outside).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn a_hostile_archive_stays_inside() {
        let scratch = Scratch::new("hostile");
        let inside = scratch.0.join("in");
        fs::create_dir(&inside).unwrap();
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "link", "..").unwrap();
        let mut header = Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, "link/escaped", &b"x"[..])
            .unwrap();
        let tar = builder.into_inner().unwrap();
        let error = unpack(tar.as_slice(), &inside, None, false).unwrap_err();
        assert!(
            error.to_string().contains("leads through the link"),
            "{error}"
        );
        assert!(!scratch.0.join("escaped").exists());
        assert_eq!(
            target_name(Path::new("../../x/./y"), None),
            Some("x/y".into())
        );
    }
}
