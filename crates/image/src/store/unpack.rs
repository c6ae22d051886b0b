//! From blobs to directories: the pipeline behind [`layers`](super::layers).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use hull_oci::{Algorithm, Digest, Hasher};
use hull_sys::beneath::Root;
use hull_sys::xattr;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use super::blobs::{Blobs, check};
use super::layers::{ArrivingLayers, Job, UnpackEvent};
use crate::compression::decompress;
use crate::dir::{Dir, file_type, is_whiteout};
use crate::error::{Context as _, Error, Result};
use crate::tar::extract::{Extracted, Options, extract};

/// A piece of a layer on its way from one thread to the other. A few of them are enough to keep
/// both busy, and bound the memory of a layer to a few MiB.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_MAX: usize = 8;
/// Bytes between two reports of progress.
const REPORT_BYTES: u64 = 4 << 20;

/// Where the bytes of layers come from.
pub(super) struct Source<'a> {
    pub(super) blobs: &'a Blobs,
    pub(super) arriving: &'a ArrivingLayers<'a>,
}

/// Unpacks each job into the directory of the same position. The results keep the jobs' order.
pub(super) fn all(
    source: &Source<'_>,
    jobs: &[Job<'_>],
    places: &[(u64, PathBuf)],
    workers: usize,
    progress: &mut dyn FnMut(UnpackEvent),
) -> Result<Vec<Extracted>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Mutex<Vec<Option<Result<Extracted>>>> =
        Mutex::new(jobs.iter().map(|_| None).collect());
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        for _ in 0..workers.min(jobs.len()) {
            let (sender, next, failed, results) = (sender.clone(), &next, &failed, &results);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { break };
                    let result = one(source, job, &places[at].1, &sender);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    lock(results)[at] = Some(result);
                }
            });
        }
        drop(sender);
        receiver.iter().for_each(progress);
    });
    let results = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // The first failure stops all; what it left undone is not itself a failure.
    let mut done = Vec::new();
    let mut missing = false;
    for result in results {
        match result {
            Some(result) => done.push(result?),
            None => missing = true,
        }
    }
    if missing {
        return Err(Error::Invalid("a layer was not unpacked".to_owned()));
    }
    Ok(done)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Unpacks one layer with two threads.
fn one(
    source: &Source<'_>,
    job: &Job<'_>,
    place: &Path,
    events: &Sender<UnpackEvent>,
) -> Result<Extracted> {
    let blob = match (source.arriving)(job.descriptor)? {
        // Its digest is checked by whoever brings it in.
        Some(reader) => Checked::new(reader, None, job, events),
        None => {
            let digest = &job.descriptor.digest;
            let hasher = Hasher::new(digest.algorithm());
            let file = source.blobs.open_file(digest)?;
            Checked::new(Box::new(file), Some(hasher), job, events)
        }
    };
    let (extracted, diff_id) = stream(blob, place)?;
    check(job.diff_id, diff_id)?;
    // Nobody listens any more if the caller gave up.
    let _ = events.send(UnpackEvent::Done {
        layer: job.diff_id.clone(),
    });
    Ok(extracted)
}

/// The bytes of a blob.
pub(super) trait Blob: Read + Send {
    /// What they are called in errors.
    fn name(&self) -> String;
    /// After the last byte: whether they were the right ones.
    fn check(self) -> Result<()>;
}

/// Unpacks a blob with two threads; its diff id.
pub(super) fn stream(blob: impl Blob, place: &Path) -> Result<(Extracted, Digest)> {
    let root = Root::new(place).context(|| format!("open {}", place.display()))?;
    let (sender, receiver) = sync_channel(CHUNKS_MAX);
    thread::scope(|scope| {
        let inflating = scope.spawn(move || inflate(blob, sender));
        let mut source = Chunks::new(receiver);
        let options = Options {
            is_layer: true,
            ..Options::default()
        };
        let extracted = extract(&root, options, &mut source);
        let extracted = extracted.and_then(|extracted| source.finish().map(|()| extracted));
        let inflated = inflating
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A damaged blob explains whatever the other thread made of it.
        match (inflated, extracted) {
            (
                Err(error @ (Error::Mismatch { .. } | Error::Interrupted(_) | Error::Io { .. })),
                _,
            ) => Err(error),
            (_, Err(error)) | (Err(error), _) => Err(error),
            (Ok(diff_id), Ok(extracted)) => Ok((extracted, diff_id)),
        }
    })
}

/// The first thread: reads and checks the blob, decompresses it, sends the pieces; the diff id.
/// (Creating files is the longer work, so both sums are this thread's.)
fn inflate(mut blob: impl Blob, sender: SyncSender<io::Result<Vec<u8>>>) -> Result<Digest> {
    let name = blob.name();
    let what = || format!("read {name}");
    let sent = send_plain(&mut blob, &sender);
    // The digest covers what the decompressor had no use for, too.
    io::copy(&mut blob, &mut io::sink()).context(what)?;
    blob.check()?;
    sent.or_else(|error| {
        let copy = io::Error::new(error.kind(), error.to_string());
        let _ = sender.send(Err(error));
        Err(copy).context(what)
    })
}

fn send_plain(
    blob: &mut impl Blob,
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> io::Result<Digest> {
    let (_, mut plain) = decompress(blob)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        plain
            .by_ref()
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk)?;
        hasher.update(&chunk);
        // If the other side gave up, that is what will be told.
        if chunk.is_empty() || sender.send(Ok(chunk)).is_err() {
            return Ok(hasher.finish());
        }
    }
}

/// A blob being read: hashed, and its progress reported.
struct Checked<'a> {
    reader: Box<dyn Read + Send>,
    hasher: Option<Hasher>,
    read: u64,
    reported: u64,
    job: &'a Job<'a>,
    events: &'a Sender<UnpackEvent>,
}

impl<'a> Checked<'a> {
    fn new(
        reader: Box<dyn Read + Send>,
        hasher: Option<Hasher>,
        job: &'a Job<'a>,
        events: &'a Sender<UnpackEvent>,
    ) -> Self {
        Self {
            reader,
            hasher,
            read: 0,
            reported: 0,
            job,
            events,
        }
    }
}

impl Blob for Checked<'_> {
    fn name(&self) -> String {
        format!("the layer {}", self.job.descriptor.digest)
    }

    fn check(self) -> Result<()> {
        match self.hasher {
            Some(hasher) => check(&self.job.descriptor.digest, hasher.finish()),
            None => Ok(()),
        }
    }
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..got]);
        }
        self.read += got as u64;
        if self.read - self.reported >= REPORT_BYTES {
            self.reported = self.read;
            let (layer, total) = (self.job.diff_id.clone(), self.job.descriptor.size);
            let _ = self.events.send(UnpackEvent::Progress {
                layer,
                current: self.read,
                total,
            });
        }
        Ok(got)
    }
}

/// The second thread's end: the pieces as one stream.
struct Chunks {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Chunks {
    fn new(receiver: Receiver<io::Result<Vec<u8>>>) -> Self {
        Self {
            receiver,
            chunk: Vec::new(),
            at: 0,
        }
    }

    /// Takes the rest.
    fn finish(mut self) -> Result<()> {
        io::copy(&mut self, &mut io::sink()).context(|| "read a layer")?;
        Ok(())
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk?, 0),
                Err(_) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Gives the layer in `root` what it takes from the layers in `lower` (uppermost first): the looks
/// of directories it does not describe, and copies of files it links to.
pub(super) fn complete_from_below(
    root: &Root,
    lower: &[PathBuf],
    extracted: &Extracted,
) -> Result<()> {
    let open = |path: &PathBuf| Root::new(path).context(|| format!("open {}", path.display()));
    let lower: Vec<Root> = lower.iter().map(open).collect::<Result<_>>()?;
    // Deepest first: setting the looks of a child changes its parent's times.
    for path in extracted.implied.iter().rev() {
        let Some(below) = find_below(&lower, path)? else {
            continue;
        };
        if file_type(&below.stat(OsStr::new(".")).context(|| "look below")?) == FileType::Directory
        {
            copy_looks(&below, root, path).context(|| format!("complete {}", path.display()))?;
        }
    }
    for (link, target) in &extracted.unresolved {
        copy_file(&lower, root, link, target)?;
    }
    Ok(())
}

/// The uppermost directory below that has this path, if nothing above hides it.
fn find_below(lower: &[Root], path: &Path) -> Result<Option<Dir>> {
    for layer in lower {
        match place(layer, path)? {
            Place::Missing => {}
            Place::Hidden => return Ok(None),
            Place::Found(parent, name) => return Ok(parent.child(&name).ok()),
        }
    }
    Ok(None)
}

enum Place {
    Missing,
    Hidden,
    Found(Dir, std::ffi::OsString),
}

/// Where the path is in one layer; links are not followed.
fn place(layer: &Root, path: &Path) -> Result<Place> {
    let what = || format!("look for {} in a lower layer", path.display());
    let mut directory = Dir::open_in(layer, Path::new("")).context(what)?;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        match directory.stat_if_any(name).context(what)? {
            Some(stat) if is_whiteout(&stat) => return Ok(Place::Hidden),
            None if directory.is_opaque().context(what)? => return Ok(Place::Hidden),
            None => return Ok(Place::Missing),
            Some(_) if names.peek().is_none() => {
                return Ok(Place::Found(directory, name.to_owned()));
            }
            Some(stat) if file_type(&stat) != FileType::Directory => return Ok(Place::Hidden),
            Some(_) => directory = directory.child(name).context(what)?,
        }
    }
    Ok(Place::Missing)
}

fn copy_looks(below: &Dir, root: &Root, path: &Path) -> io::Result<()> {
    let dot = OsStr::new(".");
    let stat = below.stat(dot)?;
    let target = root.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(&target, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (attribute, value) in below.portable_xattrs(dot)? {
        xattr::set(&target, dot, &attribute, &value)?;
    }
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::futimens(&target, &times)?)
}

/// A hard link to a file of a lower layer becomes a copy of the file.
fn copy_file(lower: &[Root], root: &Root, link: &Path, target: &Path) -> Result<()> {
    let what = || format!("link {} to {}", link.display(), target.display());
    let absent = || Error::Tar(format!("the link {} has no target", link.display()));
    for layer in lower {
        let (directory, name) = match place(layer, target)? {
            Place::Missing => continue,
            Place::Hidden => return Err(absent()),
            Place::Found(directory, name) => (directory, name),
        };
        let stat = directory.stat(&name).context(what)?;
        let (parent, link_name) = root.parent(link).context(what)?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        match file_type(&stat) {
            FileType::RegularFile => {
                let mut source = directory.open_file(&name).context(what)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let mode = Mode::from_raw_mode(0o600);
                let copy = rustix::fs::openat(&parent, &link_name, flags | OFlags::CLOEXEC, mode)
                    .context(what)?;
                let mut copy = File::from(copy);
                io::copy(&mut source, &mut copy).context(what)?;
                copy.flush().context(what)?;
                rustix::fs::fchown(&copy, Some(uid), Some(gid)).context(what)?;
                rustix::fs::fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o7777))
                    .context(what)?;
            }
            FileType::Symlink => {
                let to = directory.read_link(&name).context(what)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&to), &parent, &link_name).context(what)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(&parent, &link_name, Some(uid), Some(gid), flags)
                    .context(what)?;
            }
            _ => return Err(absent()),
        }
        for (attribute, value) in directory.portable_xattrs(&name).context(what)? {
            xattr::set(&parent, &link_name, &attribute, &value).context(what)?;
        }
        return Ok(());
    }
    Err(absent())
}
