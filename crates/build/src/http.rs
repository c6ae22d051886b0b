//! Fetches addresses: `ADD https://…`, and contexts that are one.

use std::io::{self, Read};
use std::sync::mpsc;
use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};

use crate::cancel::Cancel;

/// How long a server may take to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// For the whole of a file.
const BODY_WITHIN: Duration = Duration::from_secs(3600);

/// What an address gave.
pub(crate) struct Answer {
    /// Its bytes.
    pub(crate) content: Box<dyn Read + Send>,
    /// Seconds since 1970: when the server says that it changed.
    pub(crate) modified: Option<i64>,
    /// What the server says it is.
    pub(crate) media: String,
}

/// Read at once.
const PIECE_BYTES: usize = 128 << 10;
/// Pieces that wait to be read.
const PIECES: usize = 4;
/// How often it is looked whether the build is to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Fetches an address. Blocks, but stops when the build does: the server is waited for elsewhere.
pub(crate) fn get(url: &str, cancel: &Cancel) -> Result<Answer, String> {
    let (tell, told) = mpsc::sync_channel(1);
    let (pieces, inbox) = mpsc::sync_channel(PIECES);
    let address = url.to_owned();
    let fetching = move || {
        let answer = ask(&address).map(|mut answer| {
            let content = std::mem::replace(&mut answer.content, Box::new(io::empty()));
            (answer, content)
        });
        match answer {
            Ok((answer, content)) => {
                if tell.send(Ok(answer)).is_ok() {
                    carry(content, &pieces);
                }
            }
            Err(why) => drop(tell.send(Err(why))),
        }
    };
    std::thread::Builder::new()
        .name("fetch".to_owned())
        .spawn(fetching)
        .map_err(|error| error.to_string())?;
    let answer = wait(&told, cancel).ok_or("it broke off")?;
    Ok(Answer {
        content: Box::new(Pieces {
            inbox,
            cancel: cancel.clone(),
            rest: io::Cursor::default(),
        }),
        ..answer?
    })
}

/// What comes next; `None`: nothing does, or the build stops.
fn wait<T>(inbox: &mpsc::Receiver<T>, cancel: &Cancel) -> Option<T> {
    loop {
        match inbox.recv_timeout(LOOK_INTERVAL) {
            Ok(next) => return Some(next),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) if cancel.is_cancelled() => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Reads everything, as long as somebody takes it. An empty piece is the end.
fn carry(mut content: impl Read, pieces: &mpsc::SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = content.read(&mut piece).map(|read| {
            piece.truncate(read);
            piece
        });
        let is_last = read.as_ref().map_or(true, Vec::is_empty);
        if pieces.send(read).is_err() || is_last {
            return;
        }
    }
}

/// Pieces that another thread reads.
struct Pieces {
    inbox: mpsc::Receiver<io::Result<Vec<u8>>>,
    cancel: Cancel,
    rest: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.rest.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let piece = wait(&self.inbox, &self.cancel);
        let piece = piece.ok_or_else(|| io::Error::other("it broke off"))??;
        if piece.is_empty() {
            // Whoever asks once more hears the same.
            self.inbox = ended();
        }
        self.rest = io::Cursor::new(piece);
        self.rest.read(buffer)
    }
}

/// An inbox that tells the end.
fn ended() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (pieces, inbox) = mpsc::sync_channel(1);
    let _ = pieces.send(Ok(Vec::new()));
    inbox
}

fn ask(url: &str) -> Result<Answer, String> {
    // Certificates are judged as all programs of this host judge them.
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .build();
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(ANSWER_WITHIN))
        .timeout_recv_response(Some(ANSWER_WITHIN))
        .timeout_recv_body(Some(BODY_WITHIN))
        .user_agent("hull")
        .tls_config(tls)
        .build();
    let agent: ureq::Agent = config.into();
    let answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let modified = header("last-modified").and_then(|text| {
        let time = jiff::fmt::rfc2822::parse(&text).ok()?;
        Some(time.timestamp().as_second())
    });
    let media = header("content-type").unwrap_or_default();
    Ok(Answer {
        content: Box::new(answer.into_body().into_reader()),
        modified,
        media,
    })
}
