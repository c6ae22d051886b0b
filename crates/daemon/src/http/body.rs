//! Bodies of answers that flow: from a task, from a pipe.

use std::{
    io,
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use tokio::{io::AsyncReadExt, net::unix::pipe, sync::mpsc};

/// The body of an answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// The body of a request: on its way, or read already.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Arriving(Incoming),
    Read(Option<Bytes>),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Arriving(body) => Pin::new(body).poll_frame(context),
            Self::Read(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Arriving(body) => body.is_end_stream(),
            Self::Read(bytes) => bytes.is_none(),
        }
    }
}

/// Pieces on their way to the client: a slow client makes the task wait.
const PIECES: usize = 4;

/// Bytes read from a pipe at once.
const PIPE_BYTES: usize = 256 * 1024;
/// What a pipe holds that an archive goes through, if the kernel lets it: with less, its two ends
/// wait for each other all the time.
const PIPE_HOLDS: usize = 1 << 20;

/// What a client may still send after its request was answered…
const DISCARDED_MAX: usize = 256 << 20;
/// …and how long it may take.
const DISCARDED_WITHIN: Duration = Duration::from_secs(10);

/// Gives pieces to a body. Sending fails when the client is gone.
#[derive(Debug, Clone)]
pub(crate) struct Sender(mpsc::Sender<io::Result<Bytes>>);

/// The client is gone.
#[derive(Debug)]
pub(crate) struct Gone;

struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

/// A body and the end that feeds it.
pub(crate) fn channel() -> (Sender, AnswerBody) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (Sender(sender), Pieces(receiver).boxed_unsync())
}

impl Sender {
    /// Sends a piece, when the client takes it.
    pub(crate) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(piece.into())).await.map_err(|_| Gone)
    }

    /// Breaks the answer off, so that the client knows that it is not whole.
    pub(crate) async fn fail(&self, error: io::Error) {
        let _ = self.0.send(Err(error)).await;
    }

    /// Waits until the client is gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Sends all that comes out of a pipe.
pub(crate) async fn pump_pipe(pipe: OwnedFd, sender: &Sender) -> io::Result<()> {
    let mut pipe = pipe::Receiver::from_owned_fd(pipe)?;
    let mut buffer = bytes::BytesMut::new();
    loop {
        buffer.reserve(PIPE_BYTES);
        if pipe.read_buf(&mut buffer).await? == 0 || sender.send(buffer.split()).await.is_err() {
            return Ok(());
        }
    }
}

/// A request's body as a pipe that blocking code reads. The task that fills it ends with the body,
/// or when the reader is gone; it tells whether the body came whole.
pub(crate) fn into_pipe(
    mut body: RequestBody,
) -> io::Result<(OwnedFd, tokio::task::JoinHandle<io::Result<()>>)> {
    use tokio::io::AsyncWriteExt;
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_HOLDS);
    let mut writer = pipe::Sender::from_owned_fd(writer)?;
    let filling = tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame.map_err(io::Error::other)?.into_data()
                && let Err(error) = writer.write_all(&piece).await
            {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    return Err(error);
                }
                // The reader has read all it wants, or failed and says so itself.
                discard(&mut body).await;
                return Ok(());
            }
        }
        Ok(())
    });
    Ok((reader, filling))
}

/// A client that is still sending does not see the answer: what it sends is taken, within bounds.
pub(crate) async fn discard(body: &mut RequestBody) {
    let taken = async {
        let mut left = DISCARDED_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // One that is slower than that loses the connection, as if its request were endless.
    let _ = tokio::time::timeout(DISCARDED_WITHIN, taken).await;
}
