//! A file of this machine as what is sent.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use tokio::io::AsyncRead;

use crate::error::{Error, Result};

/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// The content of a file, read on a thread of its own.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn file(path: &str) -> Result<impl AsyncRead + Send + 'static> {
    let failed = |error| Error::io("open", path, &error);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Error::new(format!("read {path}: is a directory")));
    }
    let (here, mut there) = UnixStream::pair().map_err(failed)?;
    // Not joined: it ends when the file does, or when nobody takes what it read.
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = file.read(&mut buffer) {
            if there.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    here.set_nonblocking(true).map_err(failed)?;
    tokio::net::UnixStream::from_std(here).map_err(failed)
}
