//! This machine's end: paths into a tar, a tar into paths.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, Entry, EntryType, Header};

use super::plan::{Kind, Rename};

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
    append(&mut builder, path, Path::new(base))?;
    builder.into_inner()?.flush()
}

fn append(builder: &mut Builder<impl Write>, path: &Path, name: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        builder.append_dir(name, path)?;
        let mut children: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            append(builder, &child.path(), &name.join(child.file_name()))?;
        }
        return Ok(());
    }
    if metadata.is_file() || metadata.is_symlink() {
        return builder.append_path_with_name(path, name);
    }
    append_special(builder, &metadata, name)
}

/// Devices and pipes travel without content; sockets do not travel.
fn append_special(
    builder: &mut Builder<impl Write>,
    metadata: &fs::Metadata,
    name: &Path,
) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    let mut header = Header::new_gnu();
    header.set_metadata(metadata);
    header.set_size(0);
    header.set_entry_type(match () {
        () if kind.is_fifo() => EntryType::Fifo,
        () if kind.is_char_device() => EntryType::Char,
        () if kind.is_block_device() => EntryType::Block,
        () => return Ok(()),
    });
    let device = metadata.rdev();
    header.set_device_major(rustix::fs::major(device))?;
    header.set_device_minor(rustix::fs::minor(device))?;
    builder.append_data(&mut header, name, io::empty())
}

/// Unpacks a tar below `directory`. The tar comes from a container and is not trusted: no name
/// leads out of `directory`, and no link in it is walked through.
pub(super) fn unpack(
    input: impl Read,
    directory: &Path,
    rename: Option<&Rename>,
    keep_owner: bool,
) -> io::Result<u64> {
    let mut archive = Archive::new(input);
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
            directories.push((target, entry.header().mode()?));
            continue;
        }
        replace(&mut entry, &target, directory, rename)?;
    }
    // Last, because a directory that may not be written still takes its content.
    for (path, mode) in directories.into_iter().rev() {
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
    entry.set_preserve_permissions(true);
    entry.set_unpack_xattrs(false);
    entry.unpack(target).map(drop)
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
        std::os::unix::fs::symlink("/etc/passwd", source.join("l")).unwrap();
        fs::set_permissions(source.join("d"), fs::Permissions::from_mode(0o555)).unwrap();
        let mut tar = Vec::new();
        pack(&source, "s", &mut tar).unwrap();
        let rename = Rename {
            from: "s".into(),
            to: "t".into(),
        };
        unpack(tar.as_slice(), &scratch.0, Some(&rename), false).unwrap();
        let target = scratch.0.join("t");
        assert_eq!(fs::read_to_string(target.join("d/f")).unwrap(), "text");
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
