//! Results, brought to the client: a stream of bytes into a file there, or a directory.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use hull_sys::{beneath::Root, xattr};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use tokio::sync::mpsc;

use super::{mode, registry::Session};
use crate::{
    grpc::{Code, Incoming, Outgoing, Status},
    proto::{Packet, PacketType, Stat, control::BytesMessage},
};

const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";

/// Which of the solve's exporters a stream belongs to.
const EXPORTER_ID: &str = "buildkit-attachable-exporter-id";

/// Read from a file at once.
const PIECE_BYTES: usize = 64 << 10;

/// The largest message sent: clients take 4 MiB.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Packets made ahead of the network.
const PACKETS: usize = 16;

/// Sends bytes into the file that the client opened for exporter `id`.
pub async fn send_stream(
    session: &Session,
    id: usize,
    words: &[(String, String)],
    mut pieces: mpsc::Receiver<Result<Bytes, io::Error>>,
) -> Result<(), Status> {
    let (mut outgoing, mut incoming) = open(session, id, words).await?;
    let sending = async {
        while let Some(piece) = pieces.recv().await {
            let piece = piece
                .map_err(|error| Broken::Here(Status::new(Code::Unknown, error.to_string())))?;
            for data in piece.chunks(MESSAGE_BYTES_MAX) {
                let data = data.to_vec();
                let sent = outgoing.send(&BytesMessage { data }).await;
                sent.map_err(Broken::There)?;
            }
        }
        outgoing.finish();
        Ok(())
    };
    let ended = async {
        while incoming.next::<BytesMessage>().await?.is_some() {}
        Ok(())
    };
    finished(sending, ended).await
}

/// Which side of a stream broke it.
enum Broken {
    /// What is to be sent cannot be made.
    Here(Status),
    There(Status),
}

/// A root, and the directory of the result that it becomes; empty: the result itself.
pub type Part = (PathBuf, Arc<Root>);

/// Sends what is below roots (in the order of their directories) into the directory that the client
/// chose for exporter `id`. `progress` hears of bytes as they go.
pub async fn send_directory(
    session: &Session,
    id: usize,
    parts: Vec<Part>,
    progress: impl Fn(u64) + Send,
) -> Result<(), Status> {
    let (mut outgoing, mut incoming) = open(session, id, &[]).await?;
    let (packets, mut outbox) = mpsc::channel::<Packet>(PACKETS);
    let offering = offer(parts, &mut incoming, packets);
    // It owns the outbox: what makes packets must not wait for one that has given up.
    let sending = async move {
        while let Some(packet) = outbox.recv().await {
            progress(packet.data.len() as u64);
            outgoing.send(&packet).await?;
        }
        outgoing.finish();
        Ok::<_, Status>(())
    };
    let (offered, sent) = tokio::join!(offering, sending);
    offered?;
    sent?;
    while incoming.next::<Packet>().await?.is_some() {}
    Ok(())
}

/// The sending side of a tree's way: names all that is below the roots, and answers what the other
/// side asks for, until it has all it wants.
pub(super) async fn offer(
    parts: Vec<Part>,
    incoming: &mut Incoming,
    packets: mpsc::Sender<Packet>,
) -> Result<(), Status> {
    let files = Arc::new(Numbered::default());
    let naming = name_all(parts, packets.clone(), Arc::clone(&files));
    let answering = answer(incoming, packets, files);
    let (mut naming, mut answering) = (pin!(naming), pin!(answering));
    tokio::select! {
        named = &mut naming => match named {
            Ok(()) => answering.await,
            // The client's own word on a failure says more than the stream that it broke.
            Err(gone) if gone.code == Code::Unavailable => answering.await.and(Err(gone)),
            // It would wait for what does not come any more.
            Err(failed) => Err(failed),
        },
        answered = &mut answering => match answered {
            Ok(()) => naming.await,
            Err(failed) => Err(failed),
        },
    }
}

/// Waits for both ends; the client's own word on a failure says more than the broken stream. What
/// fails here ends it at once: the client waits for what does not come any more.
async fn finished(
    sending: impl Future<Output = Result<(), Broken>>,
    ended: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    let (mut sending, mut ended) = (pin!(sending), pin!(ended));
    let sent = tokio::select! {
        sent = &mut sending => sent,
        ended = &mut ended => {
            ended?;
            return sending.await.map_err(|(Broken::Here(status) | Broken::There(status))| status);
        }
    };
    match sent {
        Ok(()) => ended.await,
        Err(Broken::Here(status)) => Err(status),
        Err(Broken::There(status)) => ended.await.and(Err(status)),
    }
}

async fn open(
    session: &Session,
    id: usize,
    words: &[(String, String)],
) -> Result<(Outgoing, Incoming), Status> {
    if !session.serves(METHOD) {
        let message = "the client has no place for this output";
        return Err(Status::new(Code::Unknown, message));
    }
    let mut metadata = HeaderMap::new();
    metadata.insert(EXPORTER_ID, HeaderValue::from(id));
    for (key, value) in words {
        let key = HeaderName::from_bytes(format!("exporter-md-{key}").to_lowercase().as_bytes());
        if let (Ok(key), Ok(value)) = (key, HeaderValue::from_str(value)) {
            metadata.insert(key, value);
        }
    }
    session.channel().open(METHOD, metadata).await
}

/// The files the client may ask for, by number.
#[derive(Debug, Default)]
struct Numbered(std::sync::Mutex<HashMap<u32, Offered>>);

/// A file: its root, and where it is there.
type Offered = (Arc<Root>, PathBuf);

impl Numbered {
    fn files(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Offered>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Names all entries, then says so.
async fn name_all(
    parts: Vec<Part>,
    packets: mpsc::Sender<Packet>,
    files: Arc<Numbered>,
) -> Result<(), Status> {
    let walking = tokio::task::spawn_blocking(move || {
        let mut next = 0;
        for (below, root) in parts {
            let mut walk = Walk {
                root,
                below,
                packets: packets.clone(),
                files: Arc::clone(&files),
                next,
                links: HashMap::new(),
            };
            walk.own_directory()?;
            walk.tree()?;
            next = walk.next;
        }
        send(&packets, Packet::default())
    });
    let walked = walking.await;
    walked.map_err(|_| Status::new(Code::Internal, "reading the result broke off"))?
}

/// The walk over a directory, in the order that the protocol wants.
struct Walk {
    root: Arc<Root>,
    /// The directory of the result that the root becomes.
    below: PathBuf,
    packets: mpsc::Sender<Packet>,
    files: Arc<Numbered>,
    next: u32,
    links: Links,
}

/// The first name of each file that has several, by device and inode.
type Links = HashMap<(u64, u64), String>;

impl Walk {
    /// Tells of the directory that the root becomes, if it is one of several.
    fn own_directory(&mut self) -> Result<(), Status> {
        if self.below.as_os_str().is_empty() {
            return Ok(());
        }
        self.next += 1;
        let stat = Stat {
            path: self.below.to_string_lossy().into_owned(),
            mode: mode::travelling(0o040_755),
            ..Stat::default()
        };
        self.send(Packet {
            stat: Some(stat),
            ..Packet::default()
        })
    }

    /// Tells of all that is below the root. Directories lie in one another deeper than a thread's
    /// stack reaches: those that are open wait in a list.
    fn tree(&mut self) -> Result<(), Status> {
        let mut open = vec![self.open(PathBuf::new())?];
        while let Some((path, directory, names)) = open.last_mut() {
            let Some(name) = names.next() else {
                open.pop();
                continue;
            };
            let path = path.join(&name);
            let stat = stat_of(directory, &name, &self.below.join(&path));
            let mut stat = stat.map_err(|error| unreadable(&path, error))?;
            let kind = mode::kind(stat.mode);
            note_link(&mut self.links, directory, &name, &mut stat);
            if kind == FileType::RegularFile {
                let file = (Arc::clone(&self.root), path.clone());
                self.files.files().insert(self.next, file);
            }
            self.next += 1;
            self.send(Packet {
                stat: Some(stat),
                ..Packet::default()
            })?;
            if kind == FileType::Directory {
                open.push(self.open(path)?);
            }
        }
        Ok(())
    }

    fn open(&self, path: PathBuf) -> Result<Open, Status> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = self.root.open(&path, flags, Mode::empty());
        let directory = directory.map_err(|error| unreadable(&path, error))?;
        let names = names(&directory).map_err(|error| unreadable(&path, error))?;
        Ok((path, directory, names.into_iter()))
    }

    fn send(&self, packet: Packet) -> Result<(), Status> {
        send(&self.packets, packet)
    }
}

/// A directory under way: where it is, itself, and the names in it that are still to come.
type Open = (PathBuf, OwnedFd, std::vec::IntoIter<OsString>);

/// A further name of a file that was named before is told as a link to it.
fn note_link(links: &mut Links, directory: &OwnedFd, name: &OsStr, stat: &mut Stat) {
    let Ok(found) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return;
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_nlink < 2 {
        return;
    }
    let inode = (found.st_dev, found.st_ino);
    match links.get(&inode) {
        Some(first) => {
            stat.linkname.clone_from(first);
            stat.size = 0;
        }
        None => {
            links.insert(inode, stat.path.clone());
        }
    }
}

fn send(packets: &mpsc::Sender<Packet>, packet: Packet) -> Result<(), Status> {
    let sent = packets.blocking_send(packet);
    sent.map_err(|_| Status::gone("the client stopped in the middle of the result"))
}

/// Answers what the client asks for, until it has all.
async fn answer(
    incoming: &mut Incoming,
    packets: mpsc::Sender<Packet>,
    files: Arc<Numbered>,
) -> Result<(), Status> {
    // One after the other, in a thread of its own, and no bound on what is asked: see `filesync`.
    let (asked, mut inbox) = mpsc::unbounded_channel();
    let sender = packets.clone();
    let sending = tokio::task::spawn_blocking(move || {
        while let Some(id) = inbox.blocking_recv() {
            let file = files.files().remove(&id);
            let (root, path) =
                file.ok_or_else(|| Status::invalid(format!("invalid file id {id}")))?;
            send_file(&root, &path, id, &sender)?;
        }
        Ok(())
    });
    let mut outcome = Ok(());
    loop {
        let packet = match incoming.next::<Packet>().await {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(status) => {
                outcome = Err(status);
                break;
            }
        };
        match packet.r#type() {
            // Nobody sends any more: the other side is told why, not left waiting.
            PacketType::PacketReq if asked.send(packet.id).is_err() => break,
            PacketType::PacketReq => {}
            PacketType::PacketErr => {
                let message = String::from_utf8_lossy(&packet.data).into_owned();
                let message = format!("error from receiver: {message}");
                outcome = Err(Status::new(Code::Unknown, message));
                break;
            }
            PacketType::PacketFin => {
                let _ = packets.send(packet).await;
                break;
            }
            _ => {}
        }
    }
    drop(asked);
    let sent = sending.await;
    let sent = sent.map_err(|_| Status::new(Code::Internal, "reading the result broke off"))?;
    outcome.and(sent)
}

/// A file's content in pieces, an empty one last.
fn send_file(
    root: &Root,
    path: &Path,
    id: u32,
    packets: &mpsc::Sender<Packet>,
) -> Result<(), Status> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = root.open(path, flags, Mode::empty());
    let mut file: fs::File = file.map_err(|error| unreadable(path, error))?.into();
    // Another's socket may stand here as a file: it has no content.
    let is_file = file
        .metadata()
        .is_ok_and(|found| found.mode() & 0o170_000 == 0o100_000);
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = if is_file {
            file.read(&mut buffer)
        } else {
            Ok(0)
        };
        let read = read.map_err(|error| unreadable(path, error))?;
        let sent = packets.blocking_send(Packet {
            r#type: PacketType::PacketData.into(),
            id,
            data: buffer[..read].to_vec(),
            ..Packet::default()
        });
        sent.map_err(|_| Status::gone("the client stopped in the middle of the result"))?;
        if read == 0 {
            return Ok(());
        }
    }
}

/// An entry of a directory as it travels.
pub(crate) fn stat_of(directory: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<Stat> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "its name is not UTF-8");
    let mut stat = Stat {
        path: path.to_str().ok_or_else(unreadable)?.to_owned(),
        mode: mode::travelling(found.st_mode),
        uid: found.st_uid,
        gid: found.st_gid,
        mod_time: found.st_mtime * 1_000_000_000 + i64::try_from(found.st_mtime_nsec).unwrap_or(0),
        ..Stat::default()
    };
    match mode::kind(stat.mode) {
        FileType::Directory => {}
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            stat.linkname = target.to_string_lossy().into_owned();
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            stat.devmajor = i64::from(rustix::fs::major(found.st_rdev));
            stat.devminor = i64::from(rustix::fs::minor(found.st_rdev));
        }
        _ => stat.size = found.st_size,
    }
    for attribute in xattr::list(directory, name)? {
        let Some(text) = attribute.to_str().filter(|text| text.starts_with("user.")) else {
            continue;
        };
        if let Some(value) = xattr::get(directory, name, &attribute)? {
            stat.xattrs.insert(text.to_owned(), value);
        }
    }
    Ok(stat)
}

/// The names in a directory, ascending.
pub(crate) fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn unreadable(path: &Path, error: io::Error) -> Status {
    Status::new(
        Code::Unknown,
        format!("cannot read {}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_travels_with_its_number() {
        let root = Root::new("/dev").unwrap();
        let directory = root.open("", OFlags::RDONLY, Mode::empty()).unwrap();
        let stat = stat_of(&directory, OsStr::new("null"), Path::new("null")).unwrap();
        assert_eq!((stat.devmajor, stat.devminor), (1, 3));
    }
}
