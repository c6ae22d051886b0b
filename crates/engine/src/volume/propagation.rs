//! Whether the host's mounts let travel what a bind wants to: `shared` on a private mount would start, and
//! nothing would ever travel. The texts are Docker's.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use crate::{
    error::{Attempt, Error, Result},
    model::Propagation::{Rshared, Rslave, Shared, Slave},
    record::{MountKind, MountPoint},
};

const TABLE: &str = "/proc/self/mountinfo";

/// Checks the binds of a container that starts. `root`: the daemon's data, around which `slave` is forgiven.
pub(crate) fn check(mounts: &[MountPoint], root: &Path) -> Result<()> {
    let mut binds = mounts.iter().filter(|mount| mount.kind == MountKind::Bind);
    binds.try_for_each(|mount| check_one(mount, root))
}

fn check_one(mount: &MountPoint, root: &Path) -> Result<()> {
    let (marks, wanted): (&[&str], _) = match mount.propagation {
        Some(Shared | Rshared) => (&["shared:"], "shared"),
        Some(Slave | Rslave) => (&["shared:", "master:"], "shared or slave"),
        _ => return Ok(()),
    };
    let source = &mount.source;
    let attempt = || format!("look for the mount of {}", source.display());
    let real = fs::canonicalize(source).attempt(attempt)?;
    let table = fs::read(TABLE).attempt(attempt)?;
    let Some((place, has_mark)) = mount_of(&String::from_utf8_lossy(&table), &real, marks) else {
        return Ok(());
    };
    let is_forgiven = marks.len() > 1 && (real.starts_with(root) || root.starts_with(&real));
    match has_mark || is_forgiven {
        true => Ok(()),
        false => Err(Error::Internal(format!(
            "path {} is mounted on {} but it is not a {wanted} mount",
            source.display(),
            place.display()
        ))),
    }
}

/// Where the mount is that a path is on, and whether it has one of the marks.
fn mount_of(table: &str, path: &Path, marks: &[&str]) -> Option<(PathBuf, bool)> {
    let places = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let place = unescaped(fields.next()?);
        let mut optional = fields.skip(1).take_while(|field| *field != "-");
        let has_mark = optional.any(|field| marks.iter().any(|mark| field.starts_with(mark)));
        path.starts_with(&place).then_some((place, has_mark))
    });
    // The deepest; of several at one place the last, which lies on top.
    places.max_by_key(|(place, _)| place.components().count())
}

/// The table writes blanks and backslashes as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(|_| byte == b'\\') {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_and_the_uppermost_decides() {
        let table = "22 1 0:1 / / rw shared:1 - ext4 a rw\n\
                     23 22 0:2 / /srv rw - tmpfs b rw\n\
                     24 22 0:3 / /srv/my\\040data rw,nosuid master:7 - tmpfs c rw\n\
                     25 22 0:4 / /top rw - tmpfs d rw\n\
                     26 25 0:5 / /top rw shared:9 master:2 - tmpfs e rw\n";
        let of = |path: &str, marks: &[&str]| {
            let (place, has_mark) = mount_of(table, Path::new(path), marks).unwrap();
            (place.to_str().unwrap().to_owned(), has_mark)
        };
        assert_eq!(of("/home/x", &["shared:"]), ("/".to_owned(), true));
        assert_eq!(of("/srvx", &["shared:"]), ("/".to_owned(), true));
        assert_eq!(of("/srv/a", &["shared:"]), ("/srv".to_owned(), false));
        let data = "/srv/my data".to_owned();
        assert_eq!(of("/srv/my data/x", &["shared:"]), (data.clone(), false));
        assert_eq!(of("/srv/my data/x", &["shared:", "master:"]), (data, true));
        assert_eq!(of("/top", &["shared:"]), ("/top".to_owned(), true));
    }
}
