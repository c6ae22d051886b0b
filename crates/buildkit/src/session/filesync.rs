//! A client's directory, brought here.
//!
//! The client walks its directory and sends an entry at a time, then an empty one. Meanwhile the
//! daemon asks, by number, for the content of what it does not have yet, and gets it in pieces, an
//! empty one last. When all is here it says so, and both are done.
//!
//! The client sends several files at once, so small ones are asked for as they are named and wait in
//! memory until they are whole. Large ones are asked for one by one, when the small ones are here,
//! and go to the disk as they come.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, Read},
    path::Path,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use rustix::fs::FileType;
use tokio::sync::mpsc;

use super::{mode, registry::Session};
use crate::{
    grpc::{Code, Incoming, Outgoing, Status},
    proto::{Packet, PacketType, Stat},
};

const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// Packets read ahead of the disk.
const PACKETS: usize = 64;

/// The largest file that waits in memory. Clients send four at once.
const SMALL_BYTES_MAX: i64 = 1 << 20;

/// A file that was small may have grown since it was named, but not beyond this.
const GROWN_BYTES_MAX: usize = 16 << 20;

/// Contents that wait in memory, together. Clients send four files at once.
const WAITING_BYTES_MAX: usize = 128 << 20;

/// Entries of a directory: each waits in memory until its content is here.
const ENTRIES_MAX: u64 = 5_000_000;

/// The longest path, and the longest target of a link, as everywhere in Linux.
const PATH_BYTES_MAX: usize = 4096;

/// What to bring.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The client's name for the directory: `context`, `dockerfile`, or that of a named context.
    pub name: String,
    /// Only what matches; empty: everything.
    pub include: Vec<String>,
    /// Not what matches, in the language of `.dockerignore`.
    pub exclude: Vec<String>,
    /// Only these paths, and what the links among them lead to; empty: everything.
    pub follow: Vec<String>,
}

/// How much was brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries the client has.
    pub entries: u64,
    /// Files whose content travelled.
    pub files: u64,
    /// Bytes that travelled.
    pub bytes: u64,
}

/// How an entry looks, besides what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// What becomes equal to the client's directory. What is not told of is not there any more.
pub trait Replica: Send + 'static {
    /// Whether the file is here already, and looks the same: then it stays.
    fn keep(&mut self, path: &Path, size: u64, look: Look) -> bool;
    /// A file with this content.
    fn file(&mut self, path: &Path, content: &mut dyn Read, look: Look) -> Result<(), String>;
    /// A directory; it comes before what is in it.
    fn directory(&mut self, path: &Path, look: Look) -> Result<(), String>;
    /// A symbolic link.
    fn symlink(&mut self, path: &Path, target: &[u8], look: Look) -> Result<(), String>;
    /// Another name of a file that was told of.
    fn hard_link(&mut self, path: &Path, target: &Path, look: Look) -> Result<(), String>;
}

/// Makes a replica equal to the client's directory. `progress` hears of bytes as they come.
pub async fn receive<R: Replica>(
    session: &Session,
    request: &Request,
    replica: R,
    progress: impl Fn(u64) + Send,
) -> Result<(R, Report), Status> {
    if !session.serves(METHOD) {
        let message = "the client offers no files (no local sources enabled)";
        return Err(Status::new(Code::Unknown, message));
    }
    let (mut outgoing, mut incoming) = session.channel().open(METHOD, metadata(request)).await?;
    let (packets, inbox) = mpsc::channel(PACKETS);
    // As many as the client has files. A bound here could stop both sides: the client stops reading
    // what is asked for while it waits for the daemon to read, which would wait for the client.
    let (asked, mut outbox) = mpsc::unbounded_channel();
    let writing = tokio::task::spawn_blocking(move || Receiver::new(replica, inbox, asked).run());

    let reading = read(&mut incoming, packets, progress);
    let asking = ask(&mut outgoing, &mut outbox);
    let (read, asked) = tokio::join!(reading, asking);
    let written = writing.await;
    let report = written.map_err(|_| Status::new(Code::Internal, "writing files broke off"))?;
    // The disk's trouble explains the others', if it has any.
    let report = match report {
        Err(ReceiveError::Incomplete) => {
            read?;
            asked?;
            return Err(Status::gone(
                "the client stopped in the middle of its files",
            ));
        }
        Err(error) => return Err(Status::new(Code::Unknown, error.to_string())),
        Ok(report) => report,
    };
    // The client may have ended the call by now.
    outgoing.finish();
    while incoming.next::<Packet>().await?.is_some() {}
    Ok(report)
}

/// Hands packets to the disk until the client says that it is done, or the disk has enough.
async fn read(
    incoming: &mut Incoming,
    packets: mpsc::Sender<Packet>,
    progress: impl Fn(u64),
) -> Result<(), Status> {
    while let Some(packet) = incoming.next::<Packet>().await? {
        progress(prost::Message::encoded_len(&packet) as u64);
        match packet.r#type() {
            PacketType::PacketFin => return Ok(()),
            PacketType::PacketErr => {
                let message = String::from_utf8_lossy(&packet.data).into_owned();
                return Err(Status::new(
                    Code::Unknown,
                    format!("error from sender: {message}"),
                ));
            }
            _ => {}
        }
        if packets.send(packet).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Passes on what the disk asks for.
async fn ask(
    outgoing: &mut Outgoing,
    outbox: &mut mpsc::UnboundedReceiver<Packet>,
) -> Result<(), Status> {
    while let Some(packet) = outbox.recv().await {
        outgoing.send(&packet).await?;
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiveError {
    #[error("{0}")]
    Replica(String),
    #[error("the client sends content nobody asked for ({0})")]
    Unasked(u32),
    #[error("{0} grew while it was being sent")]
    Grown(String),
    #[error(
        "the directory has more than {ENTRIES_MAX} entries: name what is not needed in .dockerignore"
    )]
    TooManyEntries,
    #[error("the client sends too many files at once")]
    TooMuchAtOnce,
    #[error("a path is longer than {PATH_BYTES_MAX} bytes: {0}...")]
    LongPath(String),
    #[error("the client stopped in the middle")]
    Incomplete,
}

/// The blocking side: packets in, files and requests out.
pub(super) struct Receiver<R> {
    replica: R,
    inbox: mpsc::Receiver<Packet>,
    asked: mpsc::UnboundedSender<Packet>,
    /// Small files under way.
    pending: HashMap<u32, (Stat, Vec<u8>)>,
    /// Bytes of their contents, together.
    waiting: usize,
    /// Large files that wait for their turn.
    large: VecDeque<(u32, Stat)>,
    links: Vec<Stat>,
    next: u32,
    report: Report,
}

impl<R: Replica> Receiver<R> {
    pub(super) fn new(
        replica: R,
        inbox: mpsc::Receiver<Packet>,
        asked: mpsc::UnboundedSender<Packet>,
    ) -> Self {
        Self {
            replica,
            inbox,
            asked,
            pending: HashMap::new(),
            waiting: 0,
            large: VecDeque::new(),
            links: Vec::new(),
            next: 0,
            report: Report::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<(R, Report), ReceiveError> {
        let outcome = self.take_all();
        let last = match &outcome {
            Ok(()) => Packet {
                r#type: PacketType::PacketFin.into(),
                ..Packet::default()
            },
            Err(error) => Packet {
                r#type: PacketType::PacketErr.into(),
                data: error.to_string().into_bytes(),
                ..Packet::default()
            },
        };
        let _ = self.asked.send(last);
        drop(self.asked);
        // The client's own end is still to come, and must find a reader.
        while self.inbox.blocking_recv().is_some() {}
        outcome.map(|()| (self.replica, self.report))
    }

    fn take_all(&mut self) -> Result<(), ReceiveError> {
        let mut all_named = false;
        while !all_named || !self.pending.is_empty() {
            let packet = self.inbox.blocking_recv().ok_or(ReceiveError::Incomplete)?;
            match (packet.r#type(), packet.stat) {
                (PacketType::PacketStat, Some(stat)) => self.entry(stat)?,
                (PacketType::PacketStat, None) => all_named = true,
                (PacketType::PacketData, _) => self.content(packet.id, &packet.data)?,
                _ => {}
            }
        }
        while let Some((id, stat)) = self.large.pop_front() {
            self.take_large(id, &stat)?;
        }
        for link in std::mem::take(&mut self.links) {
            let (path, target) = (Path::new(&link.path), Path::new(&link.linkname));
            let linked = self.replica.hard_link(path, target, look(&link));
            linked.map_err(ReceiveError::Replica)?;
        }
        Ok(())
    }

    fn entry(&mut self, mut stat: Stat) -> Result<(), ReceiveError> {
        let id = self.next;
        self.next = id.wrapping_add(1);
        self.report.entries += 1;
        if self.report.entries > ENTRIES_MAX {
            return Err(ReceiveError::TooManyEntries);
        }
        for text in [&stat.path, &stat.linkname] {
            if text.len() > PATH_BYTES_MAX {
                return Err(ReceiveError::LongPath(text.chars().take(60).collect()));
            }
        }
        // Nobody asks for them.
        stat.xattrs.clear();
        let (path, look) = (Path::new(&stat.path), look(&stat));
        let done = match mode::kind(stat.mode) {
            FileType::Directory => self.replica.directory(path, look),
            FileType::Symlink => self.replica.symlink(path, stat.linkname.as_bytes(), look),
            FileType::RegularFile if !stat.linkname.is_empty() => {
                self.links.push(stat);
                return Ok(());
            }
            FileType::RegularFile => {
                self.want(id, stat);
                return Ok(());
            }
            // Pipes, sockets and devices have no content that a build could take.
            _ => Ok(()),
        };
        done.map_err(ReceiveError::Replica)
    }

    /// Asks for a file's content, unless it is here.
    fn want(&mut self, id: u32, stat: Stat) {
        let size = u64::try_from(stat.size).unwrap_or(0);
        if self.replica.keep(Path::new(&stat.path), size, look(&stat)) {
            return;
        }
        self.report.files += 1;
        if stat.size > SMALL_BYTES_MAX {
            self.large.push_back((id, stat));
        } else {
            self.pending.insert(id, (stat, Vec::new()));
            self.ask(id);
        }
    }

    fn ask(&self, id: u32) {
        let _ = self.asked.send(Packet {
            r#type: PacketType::PacketReq.into(),
            id,
            ..Packet::default()
        });
    }

    /// A piece of a small file.
    fn content(&mut self, id: u32, data: &[u8]) -> Result<(), ReceiveError> {
        let (stat, content) = self.pending.get_mut(&id).ok_or(ReceiveError::Unasked(id))?;
        if !data.is_empty() {
            self.report.bytes += data.len() as u64;
            content.extend_from_slice(data);
            self.waiting += data.len();
            if self.waiting > WAITING_BYTES_MAX {
                return Err(ReceiveError::TooMuchAtOnce);
            }
            if content.len() > GROWN_BYTES_MAX {
                return Err(ReceiveError::Grown(stat.path.clone()));
            }
            return Ok(());
        }
        let path = Path::new(&stat.path);
        let written = self.replica.file(path, &mut content.as_slice(), look(stat));
        written.map_err(ReceiveError::Replica)?;
        self.waiting -= content.len();
        self.pending.remove(&id);
        Ok(())
    }

    fn take_large(&mut self, id: u32, stat: &Stat) -> Result<(), ReceiveError> {
        self.ask(id);
        let mut content = Content {
            id,
            inbox: &mut self.inbox,
            piece: Vec::new(),
            used: 0,
            has_ended: false,
            bytes: 0,
        };
        let written = self
            .replica
            .file(Path::new(&stat.path), &mut content, look(stat));
        self.report.bytes += content.bytes;
        if !content.has_ended && content.inbox.is_closed() {
            return Err(ReceiveError::Incomplete);
        }
        written.map_err(ReceiveError::Replica)
    }
}

/// A large file's content, as it comes.
struct Content<'a> {
    id: u32,
    inbox: &'a mut mpsc::Receiver<Packet>,
    piece: Vec<u8>,
    used: usize,
    has_ended: bool,
    bytes: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.piece.len() && !self.has_ended {
            let packet = self.inbox.blocking_recv();
            let packet = packet.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
            if packet.r#type() != PacketType::PacketData || packet.id != self.id {
                return Err(io::Error::other(
                    "the client sends content nobody asked for",
                ));
            }
            self.has_ended = packet.data.is_empty();
            self.bytes += packet.data.len() as u64;
            (self.piece, self.used) = (packet.data, 0);
        }
        let read = buffer.len().min(self.piece.len() - self.used);
        buffer[..read].copy_from_slice(&self.piece[self.used..self.used + read]);
        self.used += read;
        Ok(read)
    }
}

fn look(stat: &Stat) -> Look {
    Look {
        mode: mode::permissions(stat.mode),
        mtime_ns: stat.mod_time,
    }
}

/// The request as headers. Values that are not ASCII are escaped, and a further header says so.
fn metadata(request: &Request) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let name = [request.name.clone()];
    for (key, values) in [
        ("dir-name", &name[..]),
        ("include-patterns", &request.include),
        ("exclude-patterns", &request.exclude),
        ("followpaths", &request.follow),
    ] {
        let plain = values
            .iter()
            .all(|value| value.bytes().all(|b| matches!(b, b' '..=b'~')));
        for value in values {
            let value = if plain {
                value.clone()
            } else {
                query_escaped(value)
            };
            let value = HeaderValue::from_str(&value).expect("visible ASCII by now");
            headers.append(key, value);
        }
        if !plain {
            let key = HeaderName::from_bytes(format!("{key}-encoded").as_bytes());
            headers.insert(key.expect("made of letters"), HeaderValue::from_static("1"));
        }
    }
    headers
}

/// As in a URL's query.
fn query_escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_travels_as_headers() {
        let headers = metadata(&Request {
            name: "context".to_owned(),
            exclude: vec!["*.o".to_owned(), "!keep".to_owned()],
            follow: vec!["grüße a".to_owned()],
            ..Request::default()
        });
        assert_eq!(headers["dir-name"], "context");
        let excluded: Vec<_> = headers.get_all("exclude-patterns").iter().collect();
        assert_eq!(excluded, ["*.o", "!keep"]);
        assert_eq!(headers["followpaths"], "gr%C3%BC%C3%9Fe+a");
        assert_eq!(headers["followpaths-encoded"], "1");
        assert!(!headers.contains_key("include-patterns"));
    }
}
