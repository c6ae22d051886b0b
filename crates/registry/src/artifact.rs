//! Artifacts of parts: a stream, cut by whoever sends it, that a registry keeps as any image.
//!
//! The manifest lists the parts in the order of the stream; its configuration says what they are.
//! A push sends the parts the registry lacks. A pull keeps them in the store while it goes on, so
//! that one that broke off goes on where it was.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use hull_image::Store;
use hull_image::parts::Part;
use hull_image::store::Lease;
use hull_oci::{Descriptor, Manifest, Reference, media_type};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::client::{Client, Credentials, Session, Uploaded};
use crate::progress::{Amount, Counter, Event, Progress, Stage};
use crate::wire::MANIFEST_BYTES_MAX;
use crate::{Error, Result};

/// What is said about an artifact is small.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Parts that are here before the reader takes them.
const READY: usize = 2;

/// What kind of thing an artifact is, in media types.
#[derive(Debug, Clone, Copy)]
pub struct ArtifactKind {
    /// As people call it: `a volume`.
    pub what: &'static str,
    /// The manifest's `artifactType`.
    pub artifact: &'static str,
    /// Its configuration's.
    pub config: &'static str,
    /// Its parts'.
    pub part: &'static str,
}

/// An artifact that is to be pushed.
#[derive(Debug, Clone)]
pub struct PushArtifact {
    /// With a tag.
    pub reference: Reference,
    /// For whom.
    pub credentials: Option<Credentials>,
    /// What it is.
    pub kind: ArtifactKind,
    /// What is said about it.
    pub config: Vec<u8>,
    /// How its name is shown by others.
    pub title: String,
    /// Bytes of the stream, as far as they are known before.
    pub bytes: u64,
}

/// What a push did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Parts in all.
    pub parts: usize,
    /// Parts that the registry lacked.
    pub sent_parts: usize,
    /// Their bytes.
    pub sent_bytes: u64,
}

/// Pushes an artifact whose parts come one by one.
pub async fn push(
    client: &Client,
    order: &PushArtifact,
    mut parts: mpsc::Receiver<Result<Part>>,
    progress: &Progress,
) -> Result<Sent> {
    let reference = order.reference.clone().or_latest();
    let Some(tag) = reference.tag().map(str::to_owned) else {
        return Err(Error::Invalid("cannot push a digest reference".to_owned()));
    };
    let session = client.session(&reference, order.credentials.as_ref())?;
    let mut config = Descriptor::of(order.kind.config, &order.config);
    config.data = None;
    let shown = Descriptor {
        size: order.bytes,
        ..config.clone()
    };
    progress.say(Event::Pushing(reference.clone()));
    let counter = Arc::new(Counter::new(progress, &shown, Stage::Uploading));
    let mut uploads = Uploads::new(&session, client.settings().uploads, counter);
    let mut layers = Vec::new();
    while let Some(part) = parts.recv().await {
        let part = part?;
        layers.push(Descriptor::new(
            order.kind.part,
            part.digest.clone(),
            part.size,
        ));
        uploads.begin(part).await?;
    }
    let mut sent = uploads.end().await?;
    sent.parts = layers.len();
    let file = unnamed(&order.config).map_err(|source| disk("keep a configuration", source))?;
    let uploaded = session
        .upload(&config, file, None, Arc::new(|_| {}))
        .await?;
    let stage = match (uploaded, sent.sent_parts) {
        (Uploaded::Exists, 0) => Stage::AlreadyThere,
        _ => Stage::Uploaded,
    };
    progress.layer(&config.digest, stage);
    let mut manifest = Manifest::new(config, layers);
    manifest.artifact_type = Some(order.kind.artifact.to_owned());
    let title = "org.opencontainers.image.title".to_owned();
    manifest.annotations.insert(title, order.title.clone());
    let bytes =
        serde_json::to_vec(&manifest).map_err(|error| Error::Internal(error.to_string()))?;
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(Error::Invalid(format!(
            "{} is too large for one manifest: it has {} parts",
            order.title, sent.parts
        )));
    }
    let target = Descriptor::of(media_type::MANIFEST, &bytes);
    if !session.has_manifest(&tag, &target.digest).await? {
        session
            .put_manifest(&tag, media_type::MANIFEST, bytes.into())
            .await?;
    }
    progress.say(Event::Pushed {
        reference,
        target: Box::new(target),
    });
    Ok(sent)
}

/// Parts on their way, several at a time.
struct Uploads {
    session: Session,
    counter: Arc<Counter>,
    turns: Arc<Semaphore>,
    running: JoinSet<Result<u64>>,
    known: HashSet<hull_oci::Digest>,
    sent: Sent,
}

impl Uploads {
    fn new(session: &Session, at_once: usize, counter: Arc<Counter>) -> Self {
        Self {
            session: session.clone(),
            counter,
            turns: Arc::new(Semaphore::new(at_once.max(1))),
            running: JoinSet::new(),
            known: HashSet::new(),
            sent: Sent::default(),
        }
    }

    /// Waits for a turn: parts that wait take disk.
    async fn begin(&mut self, part: Part) -> Result<()> {
        if !self.known.insert(part.digest.clone()) {
            self.counter.add(part.plain_bytes);
            return Ok(());
        }
        let turns = Arc::clone(&self.turns);
        let turn = turns
            .acquire_owned()
            .await
            .map_err(|error| Error::Internal(error.to_string()))?;
        while let Some(outcome) = self.running.try_join_next() {
            self.took(outcome?)?;
        }
        let (session, counter) = (self.session.clone(), Arc::clone(&self.counter));
        self.running.spawn(async move {
            let _turn = turn;
            let descriptor = Descriptor::new("", part.digest, part.size);
            let uploaded = session
                .upload(&descriptor, part.file, None, Arc::new(|_| {}))
                .await?;
            counter.add(part.plain_bytes);
            Ok(match uploaded {
                Uploaded::Exists => 0,
                Uploaded::Mounted(_) | Uploaded::Sent => part.size,
            })
        });
        Ok(())
    }

    fn took(&mut self, outcome: Result<u64>) -> Result<()> {
        let bytes = outcome?;
        self.sent.sent_bytes += bytes;
        self.sent.sent_parts += usize::from(bytes > 0);
        Ok(())
    }

    async fn end(mut self) -> Result<Sent> {
        while let Some(outcome) = self.running.join_next().await {
            self.took(outcome?)?;
        }
        Ok(self.sent)
    }
}

/// An artifact at a registry, found and looked at.
pub struct Artifact {
    session: Session,
    store: Arc<Store>,
    lease: Arc<Lease>,
    downloads: usize,
    /// Its manifest.
    pub target: Descriptor,
    /// What it says of itself.
    pub config: Bytes,
    parts: Vec<Descriptor>,
}

/// Finds an artifact of a kind.
pub async fn find(
    client: &Client,
    store: &Arc<Store>,
    reference: &Reference,
    credentials: Option<&Credentials>,
    kind: ArtifactKind,
) -> Result<Artifact> {
    let reference = reference.clone().or_latest();
    let session = client.session(&reference, credentials)?;
    let which = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    let fetched = session.manifest(&which).await?;
    let other = || {
        Error::Invalid(format!(
            "{} is not {}: images are pulled with `pull`",
            reference.familiar(),
            kind.what
        ))
    };
    if !media_type::is_manifest(&fetched.media_type) {
        return Err(other());
    }
    let manifest: Manifest = serde_json::from_slice(&fetched.bytes).map_err(|_| other())?;
    if manifest.artifact_type.as_deref() != Some(kind.artifact)
        || manifest.config.media_type != kind.config
        || manifest
            .layers
            .iter()
            .any(|part| part.media_type != kind.part)
    {
        return Err(other());
    }
    let config = session
        .small_blob(&manifest.config, CONFIG_BYTES_MAX)
        .await?;
    let size = fetched.bytes.len() as u64;
    Ok(Artifact {
        session,
        store: Arc::clone(store),
        lease: Arc::new(store.lease()),
        downloads: client.settings().downloads.max(1),
        target: Descriptor::new(&fetched.media_type, fetched.digest, size),
        config,
        parts: manifest.layers,
    })
}

/// The stream of an artifact while it comes. It ends when all of it came, and fails else. Reading
/// blocks.
pub struct Incoming {
    parts: mpsc::Receiver<Result<File, String>>,
    left: usize,
    current: Option<File>,
}

impl Artifact {
    /// The stream, and what must go on meanwhile for it to come.
    pub fn bring(
        self,
        progress: Progress,
    ) -> (Incoming, impl Future<Output = Result<()>> + Send + 'static) {
        let (sender, parts) = mpsc::channel(READY);
        let incoming = Incoming {
            parts,
            left: self.parts.len(),
            current: None,
        };
        (incoming, self.deliver(sender, progress))
    }

    async fn deliver(
        self,
        sender: mpsc::Sender<Result<File, String>>,
        progress: Progress,
    ) -> Result<()> {
        let total = self.parts.iter().map(|part| part.size).sum();
        let shown = Descriptor {
            size: total,
            ..self.target.clone()
        };
        let counter = Arc::new(Counter::new(&progress, &shown, Stage::Downloading));
        let (_downloads, arrivals) = self.download(&counter);
        for (part, arrival) in self.parts.iter().zip(arrivals) {
            let arrived = arrival
                .await
                .unwrap_or_else(|_| Err(Error::Internal("a transfer broke off".to_owned())));
            if let Err(error) = arrived {
                let _ = sender.send(Err(error.to_string())).await;
                return Err(error);
            }
            let (store, digest) = (Arc::clone(&self.store), part.digest.clone());
            let file = tokio::task::spawn_blocking(move || store.open_blob(&digest)).await??;
            // Whoever stopped reading knows why.
            if sender.send(Ok(file)).await.is_err() {
                return Ok(());
            }
        }
        progress.layer(
            &self.target.digest,
            Stage::Downloading(Amount {
                current: total,
                total,
            }),
        );
        progress.layer(&self.target.digest, Stage::Downloaded);
        Ok(())
    }

    /// Fetches in the order of the stream, several parts at a time.
    fn download(
        &self,
        counter: &Arc<Counter>,
    ) -> (JoinSet<()>, Vec<oneshot::Receiver<Result<()>>>) {
        let turns = Arc::new(Semaphore::new(self.downloads));
        let (mut downloads, mut arrivals) = (JoinSet::new(), Vec::new());
        for part in &self.parts {
            let (tell, arrival) = oneshot::channel();
            arrivals.push(arrival);
            let (session, store) = (self.session.clone(), Arc::clone(&self.store));
            let (lease, turns) = (Arc::clone(&self.lease), Arc::clone(&turns));
            let (part, counter) = (part.clone(), Arc::clone(counter));
            downloads.spawn(async move {
                let Ok(_turn) = turns.acquire().await else {
                    return;
                };
                lease.protect(&part.digest);
                let fetched = if store.has_whole(&part) {
                    counter.add(part.size);
                    Ok(())
                } else {
                    session
                        .fetch(&store, &lease, &part, &|_| {}, &|bytes| counter.add(bytes))
                        .await
                };
                let _ = tell.send(fetched);
            });
        }
        (downloads, arrivals)
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(file) = &mut self.current {
                let got = file.read(buffer)?;
                if got > 0 {
                    return Ok(got);
                }
                self.current = None;
            }
            if self.left == 0 {
                return Ok(0);
            }
            match self.parts.blocking_recv() {
                Some(Ok(file)) => (self.current, self.left) = (Some(file), self.left - 1),
                Some(Err(why)) => return Err(io::Error::other(why)),
                None => return Err(io::Error::other("the transfer broke off")),
            }
        }
    }
}

/// A small file in memory, for what is sent from files.
fn unnamed(bytes: &[u8]) -> io::Result<File> {
    use std::io::Write as _;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("config", flags)?);
    file.write_all(bytes)?;
    Ok(file)
}

fn disk(what: &str, source: io::Error) -> Error {
    Error::Image(hull_image::Error::Io {
        what: what.to_owned(),
        source,
    })
}
