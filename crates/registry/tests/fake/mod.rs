//! A registry that behaves as told, badly as a rule, and remembers what it was asked.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hull_image::Store;
use hull_oci::{Descriptor, Digest, Manifest, Platform, Reference, media_type};
use hull_registry::pull::{Pull, Pulled};
use hull_registry::{Client, Credentials, Progress, Settings};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// What is answered.
pub(crate) enum Answer {
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Promises all of it, and hangs up after so many bytes.
    Cut(u16, Vec<(&'static str, String)>, Vec<u8>, usize),
    /// A byte now and then.
    Trickle(Vec<u8>),
    /// Never.
    Silence,
    /// Not HTTP at all.
    Noise,
}

/// A fake registry.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn is_for(&self, digest: &Digest) -> bool {
        self.path.contains(digest.as_str())
    }

    /// Where the asked range begins.
    pub(crate) fn first_byte(&self) -> usize {
        let range = self
            .header("range")
            .and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        range.unwrap_or(0)
    }
}

pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer::Reply(200, Vec::new(), body.into())
}

pub(crate) fn status(code: u16) -> Answer {
    Answer::Reply(code, Vec::new(), Vec::new())
}

impl Fake {
    /// Starts one on a loopback port; it ends with the test's process.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let _ = converse(stream.unwrap(), &log, &*answer);
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Requests for a blob or manifest.
    pub(crate) fn asked_for(&self, digest: &Digest) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|seen| seen.is_for(digest) && seen.method == "GET")
            .collect()
    }
}

/// `None`: nobody asks anything.
fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
        if head == [0x16] {
            // A TLS hello: this one speaks none.
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let path = first.next().unwrap_or_default().to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length");
    let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Seen {
        method,
        path,
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }))
}

fn converse(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    answer: &dyn Fn(&Seen) -> Answer,
) -> std::io::Result<()> {
    let Some(seen) = read_request(&mut stream)? else {
        return Ok(());
    };
    log.lock().unwrap().push(seen.clone());
    let is_head = seen.method == "HEAD";
    let mut send = |code: u16,
                    headers: &[(&'static str, String)],
                    body: &[u8],
                    count: usize|
     -> std::io::Result<()> {
        let mut text = format!(
            "HTTP/1.1 {code} x\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes())?;
        if is_head {
            Ok(())
        } else {
            stream.write_all(&body[..count])
        }
    };
    match answer(&seen) {
        Answer::Reply(code, headers, body) => send(code, &headers, &body, body.len()),
        Answer::Cut(code, headers, body, count) => {
            send(code, &headers, &body, count.min(body.len()))
        }
        Answer::Trickle(body) => {
            send(200, &[], &body, 0)?;
            for byte in body {
                stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        }
        Answer::Silence => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Answer::Noise => stream.write_all(b"\0\0\0nonsense\r\n\r\n"),
    }
}

/// An image of one plain layer with random bytes, as a registry has it.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) blobs: HashMap<Digest, (String, Vec<u8>)>,
    pub(crate) manifest: Digest,
    pub(crate) layer: Digest,
}

pub(crate) const LAYER_BYTES: usize = 300_000;

impl Image {
    pub(crate) fn new(seed: u8) -> Self {
        let content: Vec<u8> = (0..LAYER_BYTES).map(|at| (at % 251) as u8 ^ seed).collect();
        let mut tar = Vec::new();
        let mut header = [0_u8; 512];
        header[..4].copy_from_slice(b"file");
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{LAYER_BYTES:011o}").as_bytes());
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(&content);
        tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
        let host = Platform::host();
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            host.architecture,
            Digest::of(&tar)
        );
        let layer = Descriptor::of(media_type::LAYER, &tar);
        let config_descriptor = Descriptor::of(media_type::CONFIG, config.as_bytes());
        let manifest = Manifest::new(config_descriptor.clone(), vec![layer.clone()]);
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let manifest_digest = Digest::of(&manifest);
        let octets = "application/octet-stream".to_owned();
        Self {
            layer: layer.digest.clone(),
            manifest: manifest_digest.clone(),
            blobs: HashMap::from([
                (layer.digest, (octets.clone(), tar)),
                (config_descriptor.digest, (octets, config.into_bytes())),
                (manifest_digest, (media_type::MANIFEST.to_owned(), manifest)),
            ]),
        }
    }

    pub(crate) fn bytes(&self, digest: &Digest) -> Vec<u8> {
        self.blobs[digest].1.clone()
    }

    /// As a good registry answers.
    pub(crate) fn answer(&self, seen: &Seen) -> Answer {
        let path = seen.path.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        let digest = last.parse().unwrap_or_else(|_| self.manifest.clone());
        if path == "/v2/" {
            return ok("{}");
        }
        let Some((media_type, bytes)) = self.blobs.get(&digest) else {
            return status(404);
        };
        let headers = vec![
            ("Content-Type", media_type.clone()),
            ("Docker-Content-Digest", digest.to_string()),
        ];
        match seen.first_byte() {
            0 => Answer::Reply(200, headers, bytes.clone()),
            first => partial(bytes, first),
        }
    }
}

/// The rest of some bytes.
pub(crate) fn partial(bytes: &[u8], first: usize) -> Answer {
    let range = format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len());
    Answer::Reply(206, vec![("Content-Range", range)], bytes[first..].to_vec())
}

/// A data root of its own, and a client.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
    pub(crate) store: Arc<Store>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&directory.path().join("image")).unwrap());
        Self { directory, store }
    }

    /// As after a restart.
    pub(crate) fn reopen(&mut self) {
        self.store = Arc::new(Store::open(&self.directory.path().join("image")).unwrap());
    }

    /// Layers that are complete.
    pub(crate) fn layers(&self) -> usize {
        let names = std::fs::read_dir(self.directory.path().join("layers")).unwrap();
        names
            .filter(|entry| {
                !entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with('.')
            })
            .count()
    }

    pub(crate) async fn pull(
        &self,
        settings: Settings,
        reference: &Reference,
    ) -> hull_registry::Result<Pulled> {
        self.pull_as(settings, reference, None).await
    }

    pub(crate) async fn pull_as(
        &self,
        settings: Settings,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> hull_registry::Result<Pulled> {
        let order = Pull {
            reference: reference.clone(),
            platform: None,
            credentials,
        };
        hull_registry::pull::pull(
            &Client::new(settings),
            &self.store,
            &order,
            &Progress::default(),
        )
        .await
    }
}

/// Quick enough for tests.
pub(crate) fn settings() -> Settings {
    Settings {
        attempts: 4,
        pause: Duration::from_millis(5),
        ..Settings::default()
    }
}

/// Mirrors for a registry, in a `certs.d` of its own.
pub(crate) fn with_mirrors(
    reference: &Reference,
    mirrors: &[&Fake],
) -> (tempfile::TempDir, Settings) {
    let certs = tempfile::tempdir().unwrap();
    let directory = certs.path().join(reference.domain());
    std::fs::create_dir(&directory).unwrap();
    let hosts: String = mirrors
        .iter()
        .map(|mirror| format!("[host.\"http://{}\"]\n", mirror.address))
        .collect();
    std::fs::write(directory.join("hosts.toml"), hosts).unwrap();
    let settings = Settings {
        certs: Some(certs.path().to_owned()),
        ..settings()
    };
    (certs, settings)
}
