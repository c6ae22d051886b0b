//! A daemon that answers as told and remembers what it was asked.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method, path without its version, and query.
    pub(crate) line: String,
    pub(crate) body: String,
}

/// What is answered.
pub(crate) struct Answer {
    bytes: Vec<u8>,
    /// Whether the connection is kept open after it.
    stays: bool,
}

impl Answer {
    /// A JSON document.
    pub(crate) fn json(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::raw(
            format!(
                "HTTP/1.1 {status} X\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .as_bytes(),
        )
    }

    /// A connection handed over, with frames on it, and its end.
    pub(crate) fn frames(frames: &[(u8, &str)]) -> Self {
        let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        let mut bytes = head.as_bytes().to_vec();
        for (stream, text) in frames {
            let length = u32::try_from(text.len()).unwrap().to_be_bytes();
            bytes.extend_from_slice(&[*stream, 0, 0, 0]);
            bytes.extend_from_slice(&length);
            bytes.extend_from_slice(text.as_bytes());
        }
        Self::raw(&bytes)
    }

    /// Bytes as they are.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            stays: false,
        }
    }

    /// A body that is begun and not gone on with, on a connection that stays.
    pub(crate) fn stalled(body: &str) -> Self {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{body}");
        Self {
            bytes: text.into_bytes(),
            stays: true,
        }
    }

    /// A stream that goes on, and is cut.
    pub(crate) fn cut(piece: &str) -> Self {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = match piece.len() {
            0 => String::new(),
            length => format!("{length:x}\r\n{piece}\r\n"),
        };
        Self::raw(format!("{head}{chunk}").as_bytes())
    }

    /// A body that breaks off.
    pub(crate) fn broken(body: &str) -> Self {
        let length = body.len() + 1000;
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        Self::raw(text.as_bytes())
    }
}

/// The daemon; it goes with the test.
pub(crate) struct Daemon {
    path: PathBuf,
    requests: Arc<Mutex<Vec<Request>>>,
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Daemon {
    /// Answers by method and path (without version and query).
    pub(crate) fn start(answer: fn(&str) -> Answer) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hull-mock-{}-{number}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let remembered = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let remembered = Arc::clone(&remembered);
                std::thread::spawn(move || serve(stream, answer, &remembered));
            }
        });
        Self { path, requests }
    }

    /// The address.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).unwrap();
    }
}

fn serve(stream: UnixStream, answer: fn(&str) -> Answer, requests: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut words = first.split_whitespace();
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let target = match target.strip_prefix("/v1.50") {
        Some(rest) => rest,
        None => target,
    };
    let body = String::from_utf8(body).unwrap();
    requests.lock().unwrap().push(Request {
        line: format!("{method} {target}"),
        body,
    });
    let path = target.split('?').next().unwrap();
    let answer = match path {
        "/_ping" => Answer::raw(b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        path => answer(&format!("{method} {path}")),
    };
    let mut stream = stream;
    stream.write_all(&answer.bytes).unwrap();
    if answer.stays {
        // Until the client has gone.
        _ = stream.read(&mut [0]);
    }
}
