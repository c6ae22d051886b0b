//! Finds a log's files.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::source::Source;

/// Nobody keeps more files of one log.
const FILES_MAX: u32 = 10_000;

/// All files of a log, open, oldest first.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) sources: Vec<Source>,
}

/// Opens the newest first: a rotation meanwhile moves files towards what is still to be opened, so
/// that one may be met twice but none is missed.
pub(super) fn open_chain(path: &Path) -> io::Result<Chain> {
    let mut sources: Vec<Source> = open_newest(path)?.into_iter().collect();
    for index in 1..FILES_MAX {
        // Plain first: a file is removed only after its compressed form is in place.
        let source = match open(&older(path, index, ""))? {
            Some(file) => Source::plain(file)?,
            None => match open(&older(path, index, ".gz"))? {
                Some(file) => Source::compressed(file)?,
                None => break,
            },
        };
        if !sources
            .iter()
            .any(|other| other.identity() == source.identity())
        {
            sources.push(source);
        }
    }
    sources.reverse();
    Ok(Chain { sources })
}

/// The file that is being written.
pub(super) fn open_newest(path: &Path) -> io::Result<Option<Source>> {
    open(path)?.map(Source::plain).transpose()
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn older(path: &Path, index: u32, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{index}{suffix}"));
    name.into()
}
