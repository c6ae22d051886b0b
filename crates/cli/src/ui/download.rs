//! A stream of the daemon's into a file or the standard output.

use std::io::Write;
use std::path::{Path, PathBuf};

use hull_api::client::ByteStream;

use crate::connection::failure;
use crate::error::{Error, Result};
use crate::ui;

/// Whether a file can be made at `path`; the empty path is the standard output, unless that is a
/// terminal.
///
/// # Errors
/// What stands in the way, after `doing`.
pub(crate) fn check(path: &str, doing: &str) -> Result<()> {
    if path.is_empty() {
        return match ui::out_is_terminal() {
            true => Err(Error::new(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            )),
            false => Ok(()),
        };
    }
    let directory = Path::new(path)
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory
        && !directory.exists()
    {
        return Err(Error::new(format!(
            "{doing}: invalid output path: stat {}: no such file or directory",
            directory.display()
        )));
    }
    if Path::new(path).is_dir() {
        return Err(Error::new(format!("{doing}: {path:?} is a directory")));
    }
    Ok(())
}

/// Writes a stream; a file appears under its name only when it is whole.
///
/// # Errors
/// When the stream breaks or the file cannot be written.
pub(crate) async fn save(mut stream: ByteStream, path: &str) -> Result<()> {
    if path.is_empty() {
        while let Some(piece) = stream.next_piece().await {
            ui::out_bytes(&piece.map_err(failure)?)?;
        }
        return Ok(());
    }
    let unfinished = Unfinished(PathBuf::from(format!("{path}.{}.part", std::process::id())));
    let failed = |error| Error::io("write", path, &error);
    let mut file = std::fs::File::create(&unfinished.0).map_err(failed)?;
    while let Some(piece) = stream.next_piece().await {
        file.write_all(&piece.map_err(failure)?).map_err(failed)?;
    }
    std::fs::rename(&unfinished.0, path).map_err(failed)
}

/// A file that goes away unless it got its name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}
