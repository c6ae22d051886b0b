//! Extended attributes of the entries of a directory that is held open.
//!
//! An entry is named by its directory and its bare name, and is never followed if it is a link.
//! The kernel has such calls only since 6.13 (`getxattrat` …); until those are everywhere the way
//! leads through `/proc/self/fd`, which pins the directory just as well.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

use rustix::{
    fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr},
    io::Errno,
};

/// The kernel's limit for a value, and for the list of names.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The names of all attributes of the entry `name` of `directory` (`.`: the directory itself). A
/// file system without attributes has none.
pub fn list(directory: impl AsFd, name: &OsStr) -> io::Result<Vec<OsString>> {
    let path = path(&directory, name)?;
    // Most files have none: ask before making room for the longest list.
    match llistxattr(&path, &mut [0u8; 0][..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut buffer = vec![0u8; VALUE_BYTES_MAX];
    let length = llistxattr(&path, &mut buffer[..])?;
    let names = buffer[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty());
    Ok(names
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect())
}

/// The value of the attribute, if the entry has it.
pub fn get(directory: impl AsFd, name: &OsStr, attribute: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let path = path(&directory, name)?;
    let size = match lgetxattr(&path, attribute, &mut [0u8; 0][..]) {
        Ok(size) => size,
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut buffer = vec![0u8; size.max(1)];
    match lgetxattr(&path, attribute, &mut buffer[..]) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(Errno::NODATA) => Ok(None),
        // It grew meanwhile: the longest there can be.
        Err(Errno::RANGE) => {
            let mut buffer = vec![0u8; VALUE_BYTES_MAX];
            let length = lgetxattr(&path, attribute, &mut buffer[..])?;
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets the attribute, whether the entry has it or not.
pub fn set(directory: impl AsFd, name: &OsStr, attribute: &OsStr, value: &[u8]) -> io::Result<()> {
    Ok(lsetxattr(
        path(&directory, name)?,
        attribute,
        value,
        XattrFlags::empty(),
    )?)
}

/// The entry's path below `/proc/self/fd`. A name is one component: anything else is refused.
fn path(directory: &impl AsFd, name: &OsStr) -> io::Result<OsString> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b".." || bytes.contains(&b'/') {
        return Err(Errno::INVAL.into());
    }
    let mut path = OsString::from(format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()));
    path.push(name);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::beneath::Root;

    #[test]
    fn attributes_are_of_the_entry_and_not_of_what_it_points_at() {
        let path = std::env::temp_dir().join(format!("hull-xattr-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        symlink("file", path.join("link")).unwrap();
        let root = Root::new(&path).unwrap();
        let (file, link) = (OsStr::new("file"), OsStr::new("link"));
        let attribute = OsStr::new("user.hull");

        assert!(list(&root, file).unwrap().is_empty());
        set(&root, file, attribute, b"value\0x").unwrap();
        assert_eq!(list(&root, file).unwrap(), [attribute]);
        assert_eq!(get(&root, file, attribute).unwrap().unwrap(), b"value\0x");
        assert_eq!(get(&root, link, attribute).unwrap(), None);
        assert!(
            set(&root, link, attribute, b"x").is_err(),
            "links carry no user attributes"
        );
        for bad in ["", "..", "a/b"] {
            assert!(list(&root, OsStr::new(bad)).is_err(), "{bad}");
        }
        fs::remove_dir_all(&path).unwrap();
    }
}
