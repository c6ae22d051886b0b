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
    fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr},
    io::Errno,
};

/// The kernel's limit for a value, and for the list of names.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The names of all attributes of the entry `name` of `directory` (`.`: the directory itself). A
/// file system without attributes has none.
pub fn list(directory: impl AsFd, name: &OsStr) -> io::Result<Vec<OsString>> {
    let path = path(&directory, name)?;
    match read(|buffer| llistxattr(&path, buffer)) {
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        list => Ok(names(&list?)),
    }
}

/// The value of the attribute, if the entry has it.
pub fn get(directory: impl AsFd, name: &OsStr, attribute: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let path = path(&directory, name)?;
    match read(|buffer| lgetxattr(&path, attribute, buffer)) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        value => Ok(Some(value?)),
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

/// As [`list`], of an open file.
pub fn list_open(file: impl AsFd) -> io::Result<Vec<OsString>> {
    match read(|buffer| flistxattr(&file, buffer)) {
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        list => Ok(names(&list?)),
    }
}

/// As [`get`], of an open file.
pub fn get_open(file: impl AsFd, attribute: &OsStr) -> io::Result<Option<Vec<u8>>> {
    match read(|buffer| fgetxattr(&file, attribute, buffer)) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        value => Ok(Some(value?)),
    }
}

/// As [`set`], of an open file.
pub fn set_open(file: impl AsFd, attribute: &OsStr, value: &[u8]) -> io::Result<()> {
    Ok(fsetxattr(file, attribute, value, XattrFlags::empty())?)
}

fn names(list: &[u8]) -> Vec<OsString> {
    let names = list.split(|&b| b == 0).filter(|name| !name.is_empty());
    names
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect()
}

/// Reads into a small buffer, and into the largest there can be only where that is too small: most
/// files have no attributes at all.
fn read(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0u8; 256];
    match call(&mut small) {
        Err(Errno::RANGE) => {}
        length => return Ok(small[..length?].to_vec()),
    }
    let mut large = vec![0u8; VALUE_BYTES_MAX];
    let length = call(&mut large)?;
    large.truncate(length);
    Ok(large)
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
