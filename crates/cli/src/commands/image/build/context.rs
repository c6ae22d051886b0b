//! The context of a build: a directory, an archive, an address, or nothing but a Dockerfile.
//!
//! Of a directory, the daemon is told what it holds, and gets only what it does not have from the
//! last build. A git repository is cloned here, by the system's git, and is a directory then.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use hull_api::Client;
use hull_api::client::{from_bytes, from_reader};
use hull_api::types::{BuildCache, BuildExtras, ContextEntry, ContextListing};
use hull_context::{EntryKind, Ignore, is_repository};

use super::cache::Imports;
use super::repository::Clone;
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::packing::Packer;
use crate::ui;

/// The name of the main context.
const MAIN: &str = "context";
/// Dockerfiles are short.
const DOCKERFILE_BYTES_MAX: u64 = 4 << 20;
/// Longer than a tick of the kernel's clock for files: within one, a file may change twice.
const TICK_NS: i64 = 20_000_000;

/// Where the files come from.
enum Source {
    Directory(PathBuf),
    /// An archive from the standard input.
    Archive(Vec<u8>),
    Address(String),
    /// No files at all.
    Nothing,
}

/// A context.
pub(super) struct Context {
    source: Source,
    /// The Dockerfile's name, in the context or for messages.
    name: String,
    /// Its text, if it is not in the context.
    text: Option<String>,
    /// What a file beside it says is ignored, if it is not in the context.
    own_ignore: Option<String>,
    /// Removed when the build is over.
    _clone: Option<Clone>,
}

impl Context {
    /// The context that the operand and `--file` name; of a repository with or without its `.git`.
    pub(super) fn open(operand: &str, file: &str, keeps_git: bool) -> Result<Self> {
        let (source, clone) = match operand {
            "-" => return Self::from_stdin(file),
            url if is_repository(url) => {
                let clone = Clone::of(url, keeps_git)?;
                let directory = clone.directory().to_owned();
                (Source::Directory(directory), Some(clone))
            }
            url if url.starts_with("http://") || url.starts_with("https://") => {
                (Source::Address(url.to_owned()), None)
            }
            path => {
                let is_directory = std::fs::metadata(path)
                    .map_err(|_| {
                        Error::new(format!(
                            "unable to prepare context: path {path:?} not found"
                        ))
                    })?
                    .is_dir();
                if !is_directory {
                    let message =
                        format!("unable to prepare context: path {path:?} is not a directory");
                    return Err(Error::new(message));
                }
                (Source::Directory(PathBuf::from(path)), None)
            }
        };
        // Of an address the file is in it, unless it is said to be of this machine.
        let is_of_clone = clone.is_some() && !matches!(file, "" | "-") && !file.starts_with('/');
        let (name, text) = match is_of_clone {
            true => (file.trim_start_matches("./").to_owned(), None),
            false => dockerfile(&source, file)?,
        };
        let own_ignore = match text {
            Some(_) if file != "-" => ignore_beside(file)?,
            _ => None,
        };
        if let (Source::Directory(directory), None, None) = (&source, &clone, &text) {
            has_dockerfile(directory, &name)?;
        }
        Ok(Self {
            source,
            name,
            text,
            own_ignore,
            _clone: clone,
        })
    }

    /// An archive, or the text of a Dockerfile.
    fn from_stdin(file: &str) -> Result<Self> {
        if file == "-" {
            let message = "invalid argument: can't use stdin for both build context and dockerfile";
            return Err(Error::new(message));
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| Error::io("read", "/dev/stdin", &error))?;
        if is_archive(&bytes) {
            return Ok(Self {
                source: Source::Archive(bytes),
                name: file.to_owned(),
                text: None,
                own_ignore: None,
                _clone: None,
            });
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::new("the standard input is neither an archive nor a Dockerfile"))?;
        Ok(Self {
            source: Source::Nothing,
            name: "Dockerfile".to_owned(),
            text: Some(text),
            own_ignore: None,
            _clone: None,
        })
    }

    pub(super) fn dockerfile_name(&self) -> &str {
        &self.name
    }

    /// The address the daemon shall fetch.
    pub(super) fn remote(&self) -> Option<&str> {
        match &self.source {
            Source::Address(url) => Some(url),
            _ => None,
        }
    }

    /// Brings the context to the daemon.
    pub(super) async fn send(&self, client: &Client, extras: &mut BuildExtras) -> Result<()> {
        extras.dockerfile.clone_from(&self.text);
        extras.ignore.clone_from(&self.own_ignore);
        let id = match &self.source {
            Source::Nothing | Source::Address(_) => return Ok(()),
            Source::Directory(directory) => {
                let ignore = self.ignore(directory)?;
                let always = [self.name.as_str(), ".dockerignore"];
                send_directory(client, directory, &ignore, &always).await?
            }
            Source::Archive(bytes) => send_archive(client, bytes).await?,
        };
        extras.contexts.insert(MAIN.to_owned(), id);
        Ok(())
    }

    fn ignore(&self, directory: &Path) -> Result<Ignore> {
        if let Some(text) = &self.own_ignore {
            return Ignore::parse(text)
                .map_err(|error| Error::new(format!("{}.dockerignore: {error}", self.name)));
        }
        let own = directory.join(format!("{}.dockerignore", self.name));
        let path = if self.text.is_none() && own.exists() {
            own
        } else {
            directory.join(".dockerignore")
        };
        read_ignore(&path)
    }
}

fn read_ignore(path: &Path) -> Result<Ignore> {
    // A link of a repository's may lead to a device.
    let is_none = |found: std::fs::Metadata| !found.is_file() || found.len() > DOCKERFILE_BYTES_MAX;
    if std::fs::metadata(path).is_ok_and(is_none) {
        let message = format!("{}: it is no file of patterns", path.display());
        return Err(Error::new(message));
    }
    match std::fs::read(path) {
        Ok(text) => Ignore::parse(&String::from_utf8_lossy(&text))
            .map_err(|error| Error::new(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ignore::default()),
        Err(error) => Err(Error::io("read", &path.to_string_lossy(), &error)),
    }
}

/// The Dockerfile's name in the context, or its text if it is elsewhere.
fn dockerfile(source: &Source, file: &str) -> Result<(String, Option<String>)> {
    let Source::Directory(directory) = source else {
        return Ok((file.to_owned(), None));
    };
    if file.is_empty() {
        return Ok(("Dockerfile".to_owned(), None));
    }
    if file == "-" {
        let mut text = String::new();
        let read = std::io::stdin()
            .lock()
            .take(DOCKERFILE_BYTES_MAX)
            .read_to_string(&mut text);
        read.map_err(|error| Error::io("read", "/dev/stdin", &error))?;
        return Ok(("Dockerfile".to_owned(), Some(text)));
    }
    let canonical = |path: &Path| std::fs::canonicalize(path).ok();
    if let (Some(path), Some(base)) = (canonical(Path::new(file)), canonical(directory))
        && let Ok(name) = path.strip_prefix(&base)
    {
        return Ok((name.to_string_lossy().into_owned(), None));
    }
    let in_context = directory.join(file);
    if !Path::new(file).exists() && in_context.exists() {
        return Ok((file.to_owned(), None));
    }
    let text = std::fs::read_to_string(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => no_dockerfile(Path::new(file)),
        _ => {
            let error = Error::io("open", file, &error);
            Error::new(format!("failed to read dockerfile: {}", error.message()))
        }
    })?;
    let name = Path::new(file).file_name().unwrap_or_default();
    Ok((name.to_string_lossy().into_owned(), Some(text)))
}

/// What a file beside a Dockerfile says is ignored.
fn ignore_beside(file: &str) -> Result<Option<String>> {
    let path = format!("{file}.dockerignore");
    match std::fs::read(&path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path, &error)),
    }
}

/// Refuses a directory without its Dockerfile before it is sent.
fn has_dockerfile(directory: &Path, name: &str) -> Result<()> {
    // The default name is found whatever its case.
    let others = (name == "Dockerfile").then_some("dockerfile");
    let mut names = std::iter::once(name).chain(others);
    if names.any(|name| directory.join(name).exists()) {
        return Ok(());
    }
    let error = no_dockerfile(&directory.join(name));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut near: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|file| {
            let file = file.to_lowercase();
            file.contains("dockerfile") && !file.ends_with("ignore") || file == "containerfile"
        })
        .collect();
    near.sort();
    Err(match near.first() {
        Some(file) => {
            let path = directory.join(file);
            error.with_hint(format!("there is {file}: `-f {}`", path.display()))
        }
        None => {
            error.with_hint("`-f FILE` names another one, `-f -` reads it from the standard input")
        }
    })
}

/// A Dockerfile that is missing, in Docker's words.
fn no_dockerfile(path: &Path) -> Error {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Error::new(format!(
        "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {}: no such file or directory",
        path.display()
    ))
}

/// Brings a named context: a directory; what else it may be, the daemon finds by itself.
pub(super) async fn send_named(
    client: &Client,
    name: &str,
    value: &str,
    extras: &mut BuildExtras,
) -> Result<()> {
    if value.contains("://") && !is_repository(value) {
        if value.starts_with("oci-layout://") || value.starts_with("target:") {
            let message = format!("the context {name}={value} is not available in this version");
            return Err(Error::new(message));
        }
        extras.named.insert(name.to_owned(), value.to_owned());
        return Ok(());
    }
    let cloned;
    let directory = if is_repository(value) {
        cloned = Clone::of(value, false)?;
        cloned.directory()
    } else {
        Path::new(value)
    };
    let ignore = read_ignore(&directory.join(".dockerignore"))?;
    let id = send_directory(client, directory, &ignore, &[".dockerignore"]).await?;
    extras.contexts.insert(name.to_owned(), id);
    Ok(())
}

/// Brings caches of this host. One that is not there yet is no mistake: the first build makes it.
pub(super) async fn send_caches(
    client: &Client,
    imports: Imports,
    extras: &mut BuildExtras,
) -> Result<()> {
    extras.cache_from.extend(imports.registries);
    for directory in imports.directories {
        if !directory.join("index.json").is_file() {
            let shown = directory.display();
            ui::warn(&format!(
                "local cache import at {shown} not found: it has no index.json"
            ));
            continue;
        }
        extras.cache_from.push(BuildCache {
            kind: "local".to_owned(),
            reference: send_directory(client, &directory, &Ignore::default(), &[]).await?,
            ..BuildCache::default()
        });
    }
    Ok(())
}

async fn send_directory(
    client: &Client,
    directory: &Path,
    ignore: &Ignore,
    always: &[&str],
) -> Result<String> {
    let shown = directory.to_string_lossy();
    let now_ns = jiff::Timestamp::now().as_nanosecond();
    let settled = i64::try_from(now_ns).unwrap_or(0) - TICK_NS;
    let entries = hull_context::walk(directory, ignore, always)
        .map_err(|error| Error::io("read", &shown, &error))?;
    let listing = ContextListing {
        key: key(directory),
        entries: entries.iter().map(|entry| listed(entry, settled)).collect(),
    };
    let needs = client.build_context(&listing).await.map_err(failure)?;
    let needs = needs.ok_or_else(|| {
        Error::new("this daemon takes no builds from hull: use its own client (docker build)")
    })?;
    if !needs.files.is_empty() {
        let paths: Vec<PathBuf> = needs
            .files
            .iter()
            .filter_map(|position| entries.get(*position))
            .map(|entry| entry.path.clone())
            .collect();
        let body = from_reader(pack(directory.to_owned(), paths)?);
        client
            .build_context_files(&needs.id, body)
            .await
            .map_err(failure)?;
    }
    Ok(needs.id)
}

/// An archive is unpacked by the daemon as any context is; it is new each time.
async fn send_archive(client: &Client, bytes: &[u8]) -> Result<String> {
    let listing = ContextListing {
        key: format!("archive {}", std::process::id()),
        entries: vec![ContextEntry {
            path: ".hull-archive".to_owned(),
            kind: "a".to_owned(),
            ..ContextEntry::default()
        }],
    };
    let needs = client.build_context(&listing).await.map_err(failure)?;
    let needs = needs.ok_or_else(|| {
        Error::new("this daemon takes no builds from hull: use its own client (docker build)")
    })?;
    let body = from_bytes(bytes.to_vec());
    client
        .build_context_files(&needs.id, body)
        .await
        .map_err(failure)?;
    Ok(needs.id)
}

/// Names a directory on this host, so that the daemon finds what it had of it.
fn key(directory: &Path) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let path = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let device = std::fs::metadata(&path).map_or(0, |metadata| metadata.dev());
    format!("{host} {device} {}", path.display())
}

/// What the daemon is told of an entry. One that changed after `settled` may change once more
/// without another time.
fn listed(entry: &hull_context::Entry, settled: i64) -> ContextEntry {
    let mut listed = ContextEntry {
        path: entry.path.to_string_lossy().into_owned(),
        mode: entry.mode,
        mtime_ns: entry.mtime_ns,
        ..ContextEntry::default()
    };
    let kind = match &entry.kind {
        EntryKind::File(size) => {
            listed.size = *size;
            listed.ctime_ns = Some(entry.ctime_ns)
                .filter(|time| *time < settled)
                .unwrap_or(0);
            listed.inode = entry.inode;
            "f"
        }
        EntryKind::Directory => "d",
        EntryKind::Symlink(target) => {
            listed.link = target.to_string_lossy().into_owned();
            "l"
        }
    };
    kind.clone_into(&mut listed.kind);
    listed
}

/// The files as an archive, made on a thread of its own.
fn pack(directory: PathBuf, paths: Vec<PathBuf>) -> Result<tokio::net::UnixStream> {
    let failed = |error| Error::io("send", "the context", &error);
    let (here, there) = UnixStream::pair().map_err(failed)?;
    // Not joined: the daemon tells what it misses if this ends early.
    std::thread::spawn(move || {
        let mut builder = tar::Builder::new(std::io::BufWriter::with_capacity(256 << 10, there));
        builder.follow_symlinks(false);
        for path in paths {
            let from = directory.join(&path);
            let found = std::fs::metadata(&from);
            // Each by itself: the daemon knows no links among them.
            let mut packer = Packer::plain();
            let added = found.and_then(|found| packer.add(&mut builder, &from, &found, &path));
            if added.is_err() {
                return;
            }
        }
        let _ = builder.into_inner().and_then(|mut out| out.flush());
    });
    here.set_nonblocking(true).map_err(failed)?;
    tokio::net::UnixStream::from_std(here).map_err(failed)
}

fn is_archive(bytes: &[u8]) -> bool {
    let magic: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    magic.iter().any(|magic| bytes.starts_with(magic)) || bytes.get(257..262) == Some(b"ustar")
}
