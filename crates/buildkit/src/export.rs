//! Results on their way to where the client wants them.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hull_build::{
    Builder, Built,
    export::{ImageOutput, Naming},
};
use hull_oci::{Descriptor, Reference};
use tokio::sync::mpsc;

use crate::{
    building, cache, contexts,
    events::Step,
    grpc::{Code, Status},
    job::Job,
    layout,
    output::{Kind, Output},
    service::{Front, Push},
    session::{Session, send_directory, send_stream},
    solved::Solved,
};

/// What clients read from the answer to a solve.
const DIGEST: &str = "containerimage.digest";
const DESCRIPTOR: &str = "containerimage.descriptor";
const NAME: &str = "image.name";
const CACHE_MANIFEST: &str = "cache.manifest";

/// The client's store that an OCI layout goes to.
const EXPORT: &str = "export";

/// How often a growing directory is told of.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Written into the stream to the client at once.
const PIECE_BYTES: usize = 256 << 10;

/// Pieces on their way: a slow client makes the export wait.
const PIECES: usize = 4;

/// What shall become of a result.
pub(crate) struct Wanted {
    pub(crate) outputs: Vec<Output>,
    /// Where its steps are to be taken.
    pub(crate) exports: Vec<cache::Export>,
}

/// An export under way.
struct Export<'a> {
    front: &'a Front,
    job: &'a Arc<Job>,
    session: &'a Arc<Session>,
    solved: &'a Arc<Solved>,
    /// Images tell of their steps.
    inline_cache: bool,
}

/// Makes all outputs; returns what clients want to know of them.
pub(crate) async fn all(
    front: &Front,
    job: &Arc<Job>,
    session: &Arc<Session>,
    solved: &Arc<Solved>,
    wanted: &Wanted,
) -> Result<HashMap<String, String>, Status> {
    let is_inline = |export: &cache::Export| export.to == cache::To::Inline;
    let export = Export {
        front,
        job,
        session,
        solved,
        inline_cache: wanted.exports.iter().any(is_inline) || solved.inline_cache,
    };
    let mut response = HashMap::new();
    for output in &wanted.outputs {
        match &output.kind {
            Kind::Image { .. } => response.extend(export.image(output).await?),
            Kind::DockerArchive { names }
            | Kind::Oci {
                names,
                is_tar: true,
            } => {
                response.extend(export.archive(output, names).await?);
            }
            Kind::Oci { is_tar: false, .. } => response.extend(export.layout(output).await?),
            Kind::Tar | Kind::Local if solved.attest.is_any() => {
                return Err(Status::invalid(
                    "attestations belong to images: choose --output type=image or type=oci, or \
                     leave --attest, --sbom and --provenance out",
                ));
            }
            Kind::Tar => export.tar(output.id, output.split).await?,
            Kind::Local => export.local(output.id, output.split).await?,
        }
    }
    for one in &wanted.exports {
        match export.cache(one).await {
            Ok(told) => response.extend(told),
            Err(status) if one.ignore_error => {
                tracing::warn!(%status, "a build's cache is not exported");
            }
            Err(status) => return Err(status),
        }
    }
    Ok(response)
}

impl Export<'_> {
    /// Carries blocking work on the result out.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Builder, &Built) -> hull_build::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let (builder, solved) = (Arc::clone(self.front.builder()), Arc::clone(self.solved));
        let working = tokio::task::spawn_blocking(move || {
            let built = solved
                .built
                .as_ref()
                .expect("only what was built is exported");
            work(&builder, built)
        });
        let worked = working.await;
        worked
            .map_err(|_| Status::new(Code::Internal, "the export broke off"))?
            .map_err(|error| building::status(&error))
    }

    /// The image that an output makes.
    fn wanted(&self, output: &Output, names: &[Reference]) -> ImageOutput {
        ImageOutput {
            names: names.to_vec(),
            annotations: output.annotations.clone(),
            compression: output.compression,
            inline_cache: self.inline_cache,
            attest: self.solved.attest.clone(),
            ..ImageOutput::default()
        }
    }

    /// An image in the daemon's store.
    async fn image(&self, output: &Output) -> Result<HashMap<String, String>, Status> {
        let Kind::Image {
            names,
            naming,
            push,
            stays,
        } = &output.kind
        else {
            return Ok(HashMap::new());
        };
        let mut image = self.wanted(output, names);
        image.naming = *naming;
        let stays = *stays;
        let making = self.blocking(move |builder, built| match stays {
            true => built.image(builder, &image),
            false => built.unnamed_image(builder, &image),
        });
        let target = making.await?;
        let pushed = match naming {
            Naming::ByDigest => naming.names(names, &target.digest),
            _ => names.clone(),
        };
        if *push {
            for name in &pushed {
                self.push(name, &target).await?;
            }
        }
        Ok(self.told_of(&target, names).await)
    }

    /// Carries an image to its registry, as the client who asked for it.
    async fn push(&self, name: &Reference, target: &Descriptor) -> Result<(), Status> {
        let text = format!("pushing {name}");
        let step = Arc::new(Step::begin(&self.job.progress, &self.job.reference, &text));
        let pushed = self.push_with(name, target, Arc::clone(&step)).await;
        step.end(pushed)
    }

    async fn push_with(
        &self,
        name: &Reference,
        target: &Descriptor,
        teller: Arc<Step>,
    ) -> Result<(), Status> {
        let push = Push {
            reference: name.clone(),
            target: target.clone(),
            credentials: self.session.credentials(name.domain()).await?,
            tell: Box::new(move |layer, current, total| {
                teller.status(
                    &format!("pushing layer {layer}"),
                    current,
                    total,
                    current >= total,
                );
            }),
        };
        let pushed = Arc::clone(self.front.lender()).push(push).await;
        pushed.map_err(|why| Status::new(Code::Unknown, format!("failed to push {name}: {why}")))
    }

    /// An archive, into a file of the client's.
    async fn archive(
        &self,
        output: &Output,
        names: &[Reference],
    ) -> Result<HashMap<String, String>, Status> {
        let image = self.wanted(output, names);
        let (writer, pieces) = stream();
        let writing = self.blocking(move |builder, built| {
            let mut writer = writer;
            let target = built.archive(builder, &image, &mut writer);
            writer.end(target)
        });
        let sending = send_stream(self.session, output.id, &[], pieces);
        let (target, sent) = tokio::join!(writing, sending);
        let target = first_failure(target, sent)?;
        Ok(self.told_of(&target, names).await)
    }

    /// The files as an archive.
    async fn tar(&self, id: usize, split: Option<bool>) -> Result<(), Status> {
        let (writer, pieces) = stream();
        let writing = self.blocking(move |builder, built| {
            let mut writer = writer;
            let written = built.tar(builder, split, &mut writer);
            writer.end(written)
        });
        let sending = send_stream(self.session, id, &[], pieces);
        let (written, sent) = tokio::join!(writing, sending);
        first_failure(written, sent)
    }

    /// The files.
    async fn local(&self, id: usize, split: Option<bool>) -> Result<(), Status> {
        let step = Step::begin(
            &self.job.progress,
            &self.job.reference,
            "exporting to client directory",
        );
        step.end(self.send_files(id, split, &step).await)
    }

    async fn send_files(&self, id: usize, split: Option<bool>, step: &Step) -> Result<(), Status> {
        let roots = self
            .blocking(move |builder, built| built.roots(builder, split))
            .await?;
        let part = |(directory, root): (String, _)| (directory.into(), Arc::new(root));
        let parts = roots.into_iter().map(part).collect();
        let sent = std::sync::atomic::AtomicU64::new(0);
        let progress = |bytes: u64| {
            use std::sync::atomic::Ordering::Relaxed;
            let total = sent.fetch_add(bytes, Relaxed) + bytes;
            if bytes > 0 && total / PROGRESS_BYTES != (total - bytes) / PROGRESS_BYTES {
                step.status("copying files", total, 0, false);
            }
        };
        send_directory(self.session, id, parts, progress).await?;
        let total = sent.load(std::sync::atomic::Ordering::Relaxed);
        step.status("copying files", total, 0, true);
        Ok(())
    }

    /// An OCI layout, blob by blob, into a store of the client's.
    async fn layout(&self, output: &Output) -> Result<HashMap<String, String>, Status> {
        let step = Step::begin(
            &self.job.progress,
            &self.job.reference,
            "exporting to oci image layout",
        );
        let target = step.end(self.send_layout(output, &step).await)?;
        Ok(self.told_of(&target, &[]).await)
    }

    async fn send_layout(&self, output: &Output, step: &Step) -> Result<Descriptor, Status> {
        let image = self.wanted(output, &[]);
        let target = self
            .blocking(move |builder, built| built.unnamed_image(builder, &image))
            .await?;
        let store = Arc::clone(self.front.store());
        layout::send(&store, &self.session.store(EXPORT), &target, step).await?;
        Ok(target)
    }

    /// Takes the steps to where other daemons find them.
    async fn cache(&self, export: &cache::Export) -> Result<HashMap<String, String>, Status> {
        let all = export.all;
        let make = move |builder: &Builder, built: &Built| built.cache(builder, all);
        match &export.to {
            cache::To::Inline => Ok(HashMap::new()),
            cache::To::Registry(name) => {
                let reference: Reference = name.parse().map_err(|error| {
                    Status::invalid(format!("invalid cache reference {name:?}: {error}"))
                })?;
                let login = self.session.credentials(reference.domain()).await?;
                let login = login.map(contexts::login);
                let (cache, name) = (self.blocking(make).await?, name.clone());
                self.blocking(move |builder, built| {
                    built.push_cache(builder, &cache, &name, login.as_ref())
                })
                .await?;
                Ok(HashMap::new())
            }
            cache::To::Local(id) => {
                let cache = self.blocking(make).await?;
                let text = "exporting cache to client directory";
                let step = Step::begin(&self.job.progress, &self.job.reference, text);
                let (store, to) = (self.front.store(), self.session.store(id));
                step.end(layout::send(store, &to, &cache, &step).await)?;
                let told = serde_json::to_string(&cache).expect("a descriptor has a JSON form");
                Ok(HashMap::from([(CACHE_MANIFEST.to_owned(), told)]))
            }
        }
    }

    /// What clients want to know of an image.
    async fn told_of(&self, target: &Descriptor, names: &[Reference]) -> HashMap<String, String> {
        let descriptor = serde_json::to_vec(target).expect("a descriptor has a JSON form");
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut told = HashMap::from([
            (DIGEST.to_owned(), target.digest.to_string()),
            (DESCRIPTOR.to_owned(), STANDARD.encode(descriptor)),
        ]);
        if !names.is_empty() {
            told.insert(NAME.to_owned(), names.join(","));
        }
        told
    }
}

/// Of two sides of a transfer, the one that failed by itself says more than the one it broke.
fn first_failure<T>(written: Result<T, Status>, sent: Result<(), Status>) -> Result<T, Status> {
    match (written, sent) {
        (Err(written), Err(sent)) if written.message.contains(GONE) => Err(sent),
        (Err(written), _) => Err(written),
        (Ok(_), Err(sent)) => Err(sent),
        (Ok(written), Ok(())) => Ok(written),
    }
}

/// What the writing side says when nobody reads.
const GONE: &str = "the client takes no more";

/// Blocking code's end of a stream to the client.
struct Writer {
    pieces: mpsc::Sender<Result<Bytes, io::Error>>,
    piece: Vec<u8>,
}

/// A stream: what is written at one end comes out as pieces at the other.
fn stream() -> (Writer, mpsc::Receiver<Result<Bytes, io::Error>>) {
    let (pieces, inbox) = mpsc::channel(PIECES);
    let writer = Writer {
        pieces,
        piece: Vec::with_capacity(PIECE_BYTES),
    };
    (writer, inbox)
}

impl Writer {
    /// Sends what is left if all was written, or breaks the stream off, so that the client does
    /// not take a part for the whole.
    fn end<T>(mut self, written: hull_build::Result<T>) -> hull_build::Result<T> {
        match &written {
            Ok(_) => {
                let _ = self.flush();
            }
            Err(error) => {
                let error = io::Error::other(error.to_string());
                let _ = self.pieces.blocking_send(Err(error));
            }
        }
        written
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let sent = self.pieces.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, GONE))
    }
}
