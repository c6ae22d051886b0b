//! The container's or volume's end: archives through the API.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hull_api::client::{FilesOf, RequestBody, from_pieces, from_reader};
use hull_api::types::PathStat;
use hull_api::{Client, ClientError};
use tokio::io::AsyncWriteExt;

use super::plan::{Kind, base, decide, split};
use super::{flow, local};
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::options::environment::plain;
use crate::terminal::Input;
use crate::ui;

/// Go's bits for a directory and a symbolic link, which the API uses.
const MODE_DIRECTORY: u32 = 1 << 31;
const MODE_SYMLINK: u32 = 1 << 27;
/// The end of a tar read from the standard input that goes through a socket pair.
const DESCRIPTION: &str = "/dev/stdin";

/// Copies a path of a container here; `-` is the standard output.
pub(in crate::commands) async fn fetch(
    client: &Client,
    of: FilesOf<'_>,
    path: &str,
    to: &str,
    follow_link: bool,
    keep_owner: bool,
) -> Result<u64> {
    let mut path = path.to_owned();
    let mut name = base(&path);
    if follow_link {
        let found = client.path_stat(of, &path).await;
        let found = found.map_err(|error| missing(error, of, &path))?;
        if found.mode & MODE_SYMLINK != 0 {
            path = resolved(&path, &found.link_target);
            // The archive has the name of what the link leads to, the copy that of the link.
        }
    }
    let archive = client.copy_out(of, &path).await;
    let (stat, mut stream) = archive.map_err(|error| missing(error, of, &path))?;
    if to == "-" {
        let mut copied = 0;
        while let Some(piece) = stream.next_piece().await {
            let piece = piece.map_err(failure)?;
            copied += piece.len() as u64;
            ui::out_bytes(&piece)?;
        }
        return Ok(copied);
    }
    let source = if stat.mode & MODE_DIRECTORY == 0 {
        Kind::File
    } else {
        Kind::Directory
    };
    let in_archive = base(&path);
    let mut plan = decide(&in_archive, source, to, local::kind(to))?;
    if plan.rename.is_none() && name != in_archive {
        let to = std::mem::take(&mut name);
        plan.rename = Some(super::plan::Rename {
            from: in_archive,
            to,
        });
    }
    let directory = PathBuf::from(&plan.directory);
    if !directory.is_dir() {
        return Err(Error::new(format!(
            "invalid output path: directory {:?} does not exist",
            plan.directory
        )));
    }
    let (pieces, reader) = flow::read();
    let rename = plan.rename;
    let unpacking =
        std::thread::spawn(move || local::unpack(reader, &directory, rename.as_ref(), keep_owner));
    while let Some(piece) = stream.next_piece().await {
        // When the other side stopped, its result says why.
        if pieces.send(piece.map_err(failure)?).await.is_err() {
            break;
        }
    }
    drop(pieces);
    finished(unpacking).await
}

/// Copies a path of this machine into a container; `-` is a tar from the standard input.
pub(in crate::commands) async fn send(
    client: &Client,
    from: &str,
    of: FilesOf<'_>,
    path: &str,
    follow_link: bool,
    keep_owner: bool,
) -> Result<u64> {
    let (target, at_target) = target(client, of, path).await?;
    if path.is_empty() {
        // Docker's words.
        let error = Error::new("no such directory");
        return Err(error.with_hint(format!("name a path, for example {}:/", of.name())));
    }
    if from == "-" {
        if at_target != Kind::Directory {
            return Err(Error::new(format!(
                "destination \"{}:{path}\" must be a directory",
                of.name()
            )));
        }
        let body = standard_input()?;
        client
            .copy_in(of, &target, body, keep_owner)
            .await
            .map_err(failure)?;
        return Ok(0);
    }
    let no_entry = |error: &std::io::Error| {
        Error::new(format!("lstat {}: {}", first_missing(from), plain(error)))
    };
    let mut metadata = std::fs::symlink_metadata(from).map_err(|error| no_entry(&error))?;
    let mut source = PathBuf::from(from);
    // A slash after a link means what it leads to.
    if metadata.is_symlink() && (follow_link || from.ends_with('/') || from.ends_with("/.")) {
        source = std::fs::canonicalize(from).map_err(|error| no_entry(&error))?;
        metadata = std::fs::metadata(&source).map_err(|error| no_entry(&error))?;
    }
    if from.ends_with('/') && !metadata.is_dir() {
        return Err(Error::new(format!("lstat {from}: not a directory")));
    }
    let kind = if metadata.is_dir() {
        Kind::Directory
    } else {
        Kind::File
    };
    let own = own_name(from, &source);
    let plan = decide(&own, kind, &target, at_target)?;
    let name = plan.rename.map_or(own, |rename| rename.to);
    let (writer, pieces) = flow::written();
    let packing = std::thread::spawn(move || local::pack(&source, &name, writer).map(|()| 0));
    let body = from_pieces(pieces);
    let sent = client.copy_in(of, &plan.directory, body, keep_owner).await;
    let copied = finished(packing).await;
    sent.map_err(|error| missing(error, of, path))?;
    copied.map(|_| metadata.len())
}

/// What the copy is called: the last name, and of `.` or `..` that of the directory they mean.
fn own_name(from: &str, source: &Path) -> String {
    match base(from) {
        name if name == ".." => std::fs::canonicalize(source)
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or(name),
        name => name,
    }
}

/// What stands at the path in the container, with a link at its end followed once.
async fn target(client: &Client, of: FilesOf<'_>, path: &str) -> Result<(String, Kind)> {
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let found: std::result::Result<PathStat, ClientError> = client.path_stat(of, &path).await;
    let (path, found) = match found {
        Ok(found) if found.mode & MODE_SYMLINK != 0 => {
            let path = resolved(&path, &found.link_target);
            let found = client.path_stat(of, &path).await;
            (path, found)
        }
        found => (path, found),
    };
    match found {
        Ok(found) if found.mode & MODE_DIRECTORY != 0 => Ok((path, Kind::Directory)),
        Ok(_) => Ok((path, Kind::File)),
        Err(error) if error.is_not_found() && is_about_owner(&error) => Err(failure(error)),
        Err(ClientError::Refused { .. }) => Ok((path, Kind::Missing)),
        Err(error) => Err(failure(error)),
    }
}

fn is_about_owner(error: &ClientError) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("no such container") || text.contains("no such volume")
}

fn missing(error: ClientError, of: FilesOf<'_>, path: &str) -> Error {
    if error.is_not_found() && !is_about_owner(&error) && error.to_string().is_empty() {
        return Error::new(format!(
            "Error response from daemon: Could not find the file {path} in {}",
            owner(of)
        ));
    }
    failure(error)
}

fn owner(of: FilesOf<'_>) -> String {
    match of {
        FilesOf::Container(name) => format!("container {name}"),
        FilesOf::Volume(name) => format!("volume {name}"),
    }
}

/// Where a link at `path` leads.
fn resolved(path: &str, link: &str) -> String {
    if link.starts_with('/') {
        return link.to_owned();
    }
    let (directory, _) = split(path);
    format!("{}/{link}", directory.trim_end_matches('/'))
}

fn pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().map_err(|error| Error::io("pipe", DESCRIPTION, &error))
}

fn tokio_stream(stream: UnixStream) -> Result<tokio::net::UnixStream> {
    stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(stream))
        .map_err(|error| Error::io("pipe", DESCRIPTION, &error))
}

/// The standard input as a body.
pub(in crate::commands) fn standard_input() -> Result<RequestBody> {
    let (here, there) = pair()?;
    let mut there = tokio_stream(there)?;
    tokio::spawn(async move {
        let mut input = Input::open();
        while let Some(piece) = input.next().await {
            if there.write_all(&piece).await.is_err() {
                return;
            }
        }
        _ = there.shutdown().await;
    });
    Ok(from_reader(tokio_stream(here)?))
}

/// The result of the thread at the other end of the pair.
async fn finished(thread: std::thread::JoinHandle<std::io::Result<u64>>) -> Result<u64> {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    match joined {
        Ok(Ok(result)) => result.map_err(|error| Error::new(plain(&error))),
        _ => Err(Error::new("copying failed unexpectedly")),
    }
}

/// The first part of a path that is not there, as Docker names it: links are followed up to it, and what is missing right
/// below a directory is joined to that with a slash of its own (so in the root there are two).
fn first_missing(path: &str) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    let mut known = PathBuf::from("/");
    let parts: Vec<_> = whole.components().skip(1).collect();
    for (at, part) in parts.iter().enumerate() {
        match std::fs::canonicalize(known.join(part)) {
            Ok(real) => known = real,
            Err(_) if at + 1 == parts.len() => {
                return format!("{}/{}", known.display(), part.as_os_str().to_string_lossy());
            }
            Err(_) => return known.join(part).display().to_string(),
        }
    }
    whole.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::first_missing;

    #[test]
    fn what_is_missing_is_named_as_docker_names_it() {
        assert_eq!(first_missing("/nope-nope"), "//nope-nope");
        assert_eq!(first_missing("/nope-nope/a/b"), "/nope-nope");
        assert_eq!(first_missing("/proc/self/../nope/x"), "/proc/nope");
        assert_eq!(first_missing("/etc/nope-nope"), "/etc/nope-nope");
    }
}
