//! A container's files: look, copy in and out, export, what changed, commit.

use std::{
    fs::File,
    io::{BufReader, BufWriter, ErrorKind, Write},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    thread,
};

use hull_image::{
    Change, Snapshotter as _,
    archive::{PackOptions, PathStat},
};
use tokio::sync::oneshot;

use crate::{
    Engine,
    error::{Attempt, Error, Result},
    events::Subject,
    quota::within_limits,
    record::Record,
    services::Services,
};

use super::view::{Purpose, View};

/// What a pipe holds that an archive goes through, if the kernel lets it: with less, its two ends
/// wait for each other all the time.
const PIPE_HOLDS: usize = 1 << 20;

/// The stack of a thread that carries bytes.
const STACK: usize = 1 << 20;

/// A tar archive being written: read it from the pipe, then ask how it went.
#[derive(Debug)]
pub struct Outgoing {
    /// The reading end of a pipe.
    pub pipe: OwnedFd,
    /// Whether all of it was written.
    pub done: oneshot::Receiver<Result<()>>,
}

/// How an archive is unpacked into a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    /// A directory never replaces a file, nor a file a directory.
    pub no_overwrite_dir_non_dir: bool,
    /// Everything will belong to the container's user.
    pub copy_uid_gid: bool,
}

impl Engine {
    /// What a path of the container is.
    pub async fn archive_stat(&self, reference: &str, path: &str) -> Result<PathStat> {
        let (services, record, path) = self.with_path(reference, path)?;
        self.services()
            .block(move || {
                let root = services.root_of(&record, Purpose::Read)?;
                hull_image::archive::stat(&root, &path).map_err(|e| no_path(e, &record, &path))
            })
            .await?
    }

    /// A path of the container as a tar archive.
    pub async fn archive_get(&self, reference: &str, path: &str) -> Result<(PathStat, Outgoing)> {
        let (services, record, path) = self.with_path(reference, path)?;
        let (root, stat) = self
            .services()
            .block({
                let (record, path) = (Arc::clone(&record), path.clone());
                move || -> Result<_> {
                    let root = services.root_of(&record, Purpose::Read)?;
                    let stat = hull_image::archive::stat(&root, &path)
                        .map_err(|error| no_path(error, &record, &path))?;
                    Ok((root, stat))
                }
            })
            .await??;
        self.say_path(&record, "archive-path");
        let pack = move |root: &View, pipe: &mut dyn Write| {
            let options = PackOptions {
                owners: root.owners().cloned(),
                ..PackOptions::default()
            };
            Ok(hull_image::archive::pack_with(root, &path, pipe, options)?)
        };
        Ok((stat, outgoing(root, pack)?))
    }

    /// Unpacks a tar archive, compressed or not, read from `pipe`, into a directory of the
    /// container.
    pub async fn archive_put(
        &self,
        reference: &str,
        path: &str,
        options: PutOptions,
        pipe: OwnedFd,
    ) -> Result<()> {
        let (services, record, path) = self.with_path(reference, path)?;
        if record.host.readonly_rootfs && record.mounts.is_empty() {
            let text = "container rootfs is marked read-only";
            return Err(Error::Forbidden(text.to_owned()));
        }
        let owner = Arc::clone(&record);
        carried(move || {
            let root = services.root_of(&owner, Purpose::Write)?;
            let user = &owner.config.user;
            // Whose container names nobody keeps the archive's owners.
            let new_owner = match options.copy_uid_gid && !user.is_empty() {
                true => Some(super::start::resolve_user(&services, &owner, user, &[])?),
                false => None,
            };
            let put = hull_image::archive::UnpackOptions {
                refuses_marks: false,
                no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
                owner: new_owner.map(|user| (user.uid, user.gid)),
                describes_base: false,
                owners: root.owners().cloned(),
            };
            let reader = BufReader::with_capacity(256 << 10, File::from(pipe));
            as_root_of(&root, || {
                hull_image::archive::unpack(&root, &path, reader, put)
                    .map_err(|error| not_put(error, &services, &owner, &path))
            })
        })
        .await?;
        self.say_path(&record, "extract-to-dir");
        Ok(())
    }

    /// All of the container's files as a tar archive.
    pub async fn export(&self, reference: &str) -> Result<Outgoing> {
        let (services, record, _) = self.with_path(reference, "/")?;
        let owner = Arc::clone(&record);
        let root = self
            .services()
            .block(move || services.layers_to_read(&owner).map(View::plain))
            .await??;
        self.say_path(&record, "export");
        outgoing(root, |root, pipe| {
            Ok(hull_image::archive::export(root, pipe)?)
        })
    }

    /// What differs from the image.
    pub async fn changes(&self, reference: &str) -> Result<Vec<Change>> {
        let record = self.find(reference)?.record();
        let snapshots = self.services().snapshots.clone();
        Ok(self
            .services()
            .block(move || snapshots.changes(&record.snapshot))
            .await??)
    }

    fn with_path(
        &self,
        reference: &str,
        path: &str,
    ) -> Result<(Arc<Services>, Arc<Record>, String)> {
        if path.is_empty() {
            return Err(Error::Invalid("no path given".to_owned()));
        }
        let record = self.find(reference)?.record();
        Ok((Arc::clone(self.services()), record, path.to_owned()))
    }

    fn say_path(&self, record: &Record, action: &str) {
        let attributes = record.event_attributes();
        let id = record.id.as_str();
        self.services()
            .events
            .publish(Subject::Container, action, id, attributes);
    }
}

/// Makes files as root of the container, where that is not the host's: in its layers the host's is
/// nobody, and nobody can make none.
fn as_root_of<T>(root: &View, job: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some((user, group)) = root.owners().and_then(|owners| owners.outside((0, 0))) else {
        return job();
    };
    hull_sys::process::making_files_as(user, group, job)
        .attempt(|| "become root of the container".to_owned())?
}

/// What the kernel says of a path that somebody named is about that path, and no failure of the daemon's own.
fn not_put(error: hull_image::Error, services: &Services, record: &Record, path: &str) -> Error {
    let hull_image::Error::Io { what, source } = &error else {
        return no_path(error, record, path);
    };
    let told = |why: &str| {
        format!(
            "cannot {what} in {path} of container {}: {why}",
            record.name
        )
    };
    match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Error::NoSuchPath(told("no such file or directory"))
        }
        ErrorKind::PermissionDenied => Error::Forbidden(told("permission denied")),
        // Where no room is left for what the kernel keeps besides, it mounts layers so that they can only be read.
        ErrorKind::ReadOnlyFilesystem if is_full(services.paths.data()) => {
            Error::Internal(told("no space left on device"))
        }
        ErrorKind::ReadOnlyFilesystem => Error::Forbidden(told("read-only file system")),
        ErrorKind::StorageFull => Error::Internal(told("no space left on device")),
        _ => error.into(),
    }
}

fn is_full(directory: &Path) -> bool {
    rustix::fs::statvfs(directory).is_ok_and(|found| found.f_bavail == 0 || found.f_favail == 0)
}

/// Docker's text for a path that is not there, also because what is above it is a file.
fn no_path(error: hull_image::Error, record: &Record, path: &str) -> Error {
    let is_below_file = |error: &hull_image::Error| matches!(error, hull_image::Error::Io { source, .. } if source.kind() == ErrorKind::NotADirectory);
    if error.kind() == hull_image::Kind::NotFound || is_below_file(&error) {
        return Error::NoSuchPath(format!(
            "Could not find the file {} in container {}",
            path, record.name
        ));
    }
    error.into()
}

/// An archive of a container's root.
fn outgoing(
    root: View,
    pack: impl FnOnce(&View, &mut dyn Write) -> Result<()> + Send + 'static,
) -> Result<Outgoing> {
    write_out(move |pipe| {
        let mut pipe = BufWriter::with_capacity(256 << 10, pipe);
        pack(&root, &mut pipe)?;
        pipe.flush().attempt(|| "write the archive".to_owned())
    })
}

/// Runs what carries a client's bytes on a thread of its own: a client that stands still must not
/// take a thread from the work that ends by itself.
pub(crate) fn carry(job: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new()
        .name("bytes".to_owned())
        .stack_size(STACK)
        .spawn(job);
    started.map(drop).attempt(|| "start a thread".to_owned())
}

/// Runs what unpacks a client's bytes, and waits for its outcome.
pub(crate) async fn carried<T: Send + 'static>(
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (report, done) = oneshot::channel();
    carry(move || {
        let _ = report.send(within_limits(job));
    })?;
    done.await
        .map_err(|_| Error::Internal("a job broke off".to_owned()))?
}

/// Writes into a pipe on a thread that may block.
pub(crate) fn write_out(
    write: impl FnOnce(File) -> Result<()> + Send + 'static,
) -> Result<Outgoing> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .attempt(|| "make a pipe".to_owned())?;
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_HOLDS);
    let (report, done) = oneshot::channel();
    carry(move || {
        let _ = report.send(write(File::from(writer)));
    })?;
    Ok(Outgoing { pipe: reader, done })
}
