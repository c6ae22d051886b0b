//! A body that is given to a client and kept at the same time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hull_oci::Digest;
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

use super::Registry;
use super::answer::Body;
use super::name::RepositoryName;
use super::storage::Upload;
use crate::pump::{Limits, pump};

/// Pieces between the one who fetches and the client.
const PIECES: usize = 16;

/// Passes a body on, and makes it a blob once it is whole and its digest right. A client that goes
/// away does not stop that: the next one will ask for the same.
pub(super) fn tee(
    body: Incoming,
    upload: Upload,
    registry: &Arc<Registry>,
    name: &RepositoryName,
    digest: &Digest,
) -> Body {
    let (to_client, from_upstream) = mpsc::channel(PIECES);
    let (registry, name, digest) = (Arc::clone(registry), name.clone(), digest.clone());
    tokio::spawn(async move {
        let (writer, give_back) = upload.take_writer();
        let writer = Keeper {
            writer,
            failed: None,
        };
        let limits = Limits {
            bytes_max: u64::MAX,
            patience: registry.patience,
        };
        let metrics = registry.metrics.clone();
        let copied = Copied {
            body,
            to_client: Some(to_client.clone()),
            sending: None,
        };
        let (writer, outcome) =
            pump(copied, writer, 0, limits, |bytes| metrics.fetched(bytes)).await;
        let Some(Keeper { writer, failed }) = writer else {
            return;
        };
        let upload = give_back(writer);
        let storage = Arc::clone(&registry.storage);
        let ended = match (outcome, failed) {
            (Ok(_), Some(error)) => {
                tracing::warn!(%digest, %error, "a blob of the upstream is not kept");
                tokio::task::spawn_blocking(move || storage.cancel_upload(upload)).await
            }
            (Ok(_), None) => {
                tokio::task::spawn_blocking(move || storage.finish_upload(upload, &name, &digest))
                    .await
            }
            (Err(error), _) => {
                tracing::warn!(%digest, %error, "a blob did not come whole from the upstream");
                let _ = to_client
                    .send(Err(io::Error::other(error.to_string())))
                    .await;
                tokio::task::spawn_blocking(move || storage.cancel_upload(upload)).await
            }
        };
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "a blob of the upstream cannot be kept");
            let _ = to_client.send(Err(io::Error::other(error))).await;
        }
    });
    Received(from_upstream).boxed_unsync()
}

/// Keeps what comes as long as there is room; the client gets all of it either way.
struct Keeper<W> {
    writer: W,
    failed: Option<io::Error>,
}

impl<W: io::Write> io::Write for Keeper<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            self.failed = self.writer.write_all(bytes).err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.failed {
            Some(_) => Ok(()),
            None => self.writer.flush(),
        }
    }
}

type Piece = io::Result<Bytes>;
/// Whether the client took it.
type Sending = std::pin::Pin<Box<dyn Future<Output = bool> + Send>>;

/// The upstream's body; each piece goes to the client as well, at the client's pace.
struct Copied {
    body: Incoming,
    to_client: Option<mpsc::Sender<Piece>>,
    sending: Option<(Bytes, Sending)>,
}

impl hyper::body::Body for Copied {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        use std::task::{Poll, ready};
        loop {
            if let Some((piece, sending)) = &mut self.sending {
                let piece = piece.clone();
                let was_taken = ready!(sending.as_mut().poll(context));
                self.sending = None;
                if !was_taken {
                    self.to_client = None;
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let frame = ready!(std::pin::Pin::new(&mut self.body).poll_frame(context));
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(frame);
            };
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            let Some(sender) = self.to_client.clone() else {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            };
            let copy = piece.clone();
            self.sending = Some((
                piece,
                Box::pin(async move { sender.send(Ok(copy)).await.is_ok() }),
            ));
        }
    }
}

struct Received(mpsc::Receiver<Piece>);

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
