//! Reading what came out of a build.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
};

use hull_sys::beneath::Root;
use rustix::fs::{FileType, Mode, OFlags};

use crate::{
    building,
    grpc::{Code, Status},
    job::Job,
    proto::{
        Stat,
        gateway::{
            FileRange, ReadDirRequest, ReadDirResponse, ReadFileRequest, ReadFileResponse,
            StatFileRequest, StatFileResponse,
        },
    },
    service::Front,
    session::{names, stat_of},
};

/// The most that is read of a file at once: an answer must fit into a message.
const READ_BYTES_MAX: u64 = 12 << 20;

/// A file's content, or a part of it.
pub(super) async fn read(
    front: &Front,
    job: &Job,
    request: ReadFileRequest,
) -> Result<ReadFileResponse, Status> {
    let path = request.file_path;
    with_root(front, job, &request.r#ref, move |root| {
        let data = content(root, &path, request.range)?;
        Ok(ReadFileResponse { data })
    })
    .await
}

/// The entries of a directory.
pub(super) async fn list(
    front: &Front,
    job: &Job,
    request: ReadDirRequest,
) -> Result<ReadDirResponse, Status> {
    if !request.include_pattern.is_empty() {
        return Err(Status::unimplemented(
            "a directory is listed whole, without a pattern",
        ));
    }
    let path = request.dir_path;
    with_root(front, job, &request.r#ref, move |root| {
        let entries = entries(root, &path).map_err(|error| failed("read", &path, &error))?;
        Ok(ReadDirResponse { entries })
    })
    .await
}

/// What there is at a path.
pub(super) async fn stat(
    front: &Front,
    job: &Job,
    request: StatFileRequest,
) -> Result<StatFileResponse, Status> {
    let path = request.path;
    with_root(front, job, &request.r#ref, move |root| {
        let stat = stat_at(root, &path).map_err(|error| failed("stat", &path, &error))?;
        Ok(StatFileResponse { stat: Some(stat) })
    })
    .await
}

/// Does something with the files of a result.
async fn with_root<T: Send + 'static>(
    front: &Front,
    job: &Job,
    result: &str,
    work: impl FnOnce(&Root) -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let (builder, solved) = (Arc::clone(front.builder()), job.result(result)?);
    let working = tokio::task::spawn_blocking(move || {
        let built = solved.built.as_ref();
        let built = built.ok_or_else(|| Status::new(Code::NotFound, "the result has no files"))?;
        let root = built.root(&builder, &built.platforms[0]);
        work(&root.map_err(|error| building::status(&error))?)
    });
    let worked = working.await;
    worked.map_err(|_| Status::new(Code::Internal, "reading broke off"))?
}

fn content(root: &Root, path: &str, range: Option<FileRange>) -> Result<Vec<u8>, Status> {
    let read = || -> io::Result<Vec<u8>> {
        // A device that a step made is not even opened: it would be the host's.
        let found = root.stat(path)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file"));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut file = File::from(root.open(path, flags, Mode::empty())?);
        let range = range.unwrap_or_default();
        if let Ok(offset @ 1..) = u64::try_from(range.offset) {
            file.seek(SeekFrom::Start(offset))?;
        }
        let limit = u64::try_from(range.length)
            .ok()
            .filter(|length| *length > 0);
        let mut data = Vec::new();
        let most = limit.unwrap_or(u64::MAX).min(READ_BYTES_MAX + 1);
        file.take(most).read_to_end(&mut data)?;
        Ok(data)
    };
    let data = read().map_err(|error| failed("open", path, &error))?;
    if data.len() as u64 > READ_BYTES_MAX {
        let message = format!("{path} is larger than {READ_BYTES_MAX} bytes: read it in parts");
        return Err(Status::new(Code::ResourceExhausted, message));
    }
    Ok(data)
}

fn entries(root: &Root, path: &str) -> io::Result<Vec<Stat>> {
    let directory = root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let names = names(&directory)?;
    names
        .iter()
        .map(|name| stat_of(&directory, name, Path::new(name)))
        .collect()
}

fn stat_at(root: &Root, path: &str) -> io::Result<Stat> {
    match root.parent(path) {
        Ok((directory, name)) => stat_of(&directory, &name, Path::new(&name)),
        // The root, or a path that ends in `.` or `..`.
        Err(_) => {
            let directory = root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            stat_of(&directory, OsStr::new("."), Path::new("."))
        }
    }
}

fn failed(what: &str, path: &str, error: &io::Error) -> Status {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::Unknown,
    };
    Status::new(code, format!("{what} {path}: {error}"))
}
