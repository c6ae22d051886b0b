//! Unix sockets below paths of any length.
//!
//! The kernel takes 107 bytes. A longer path is reached through `/proc/self/fd/N/NAME`, where N is
//! its directory, opened.

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

/// The socket's name in the run directory.
pub const NAME: &str = "shim.sock";

/// The longest path that `sockaddr_un` holds.
const PATH_BYTES_MAX: usize = 107;

/// Connects to the socket at `path`.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let (path, _directory) = short(path)?;
    UnixStream::connect(path)
}

/// Listens at `path`, which only the owner may connect to. What lies there already is replaced.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let (path, _directory) = short(path)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

/// A path that fits, and what must stay open while it is used.
fn short(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().as_bytes().len() <= PATH_BYTES_MAX {
        return Ok((path.to_owned(), None));
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a socket");
    let directory = path.parent().ok_or_else(invalid)?;
    let name = path.file_name().ok_or_else(invalid)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    Ok((short, Some(directory)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_path_of_any_length_is_bound_for_its_owner_only_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        for depth in [0, 200] {
            let directory = directory.path().join("d".repeat(depth.max(1)));
            std::fs::create_dir(&directory).unwrap();
            let path = directory.join(NAME);
            drop(listen(&path).unwrap());
            let _listener = listen(&path).unwrap();
            connect(&path).unwrap();
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
