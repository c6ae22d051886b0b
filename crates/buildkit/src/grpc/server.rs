//! The side that is called.

use std::{future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinSet,
};

use super::{
    client::write,
    frame::{Incoming, encode},
    status::{Code, Status},
};

/// Calls of one client at once. `buildx bake` makes a few dozen; a client that opens thousands is
/// broken or hostile.
const CALLS_MAX: u32 = 256;

/// Bytes a stream may have under way before it is read.
const WINDOW_BYTES: u32 = 1 << 20;

/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// The largest head of a call.
const HEADERS_BYTES_MAX: u32 = 1 << 20;

/// Messages on their way to the client: a slow client makes the call wait.
const REPLIES: usize = 4;

/// How long a connection may take to say hello.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What a call does when it is carried out.
pub type Running = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// What answers calls.
pub trait Service: Send + Sync + 'static {
    /// Carries a call out. The future is dropped when the client gives the call up.
    fn call(self: Arc<Self>, call: Call) -> Running;
}

/// A call from a client.
#[derive(Debug)]
pub struct Call {
    /// `/package.Service/Method`.
    pub method: String,
    /// What came along.
    pub metadata: HeaderMap,
    /// The client's messages.
    pub incoming: Incoming,
    replies: Replies,
}

/// The messages that go to the client.
#[derive(Debug)]
pub struct Replies(mpsc::Sender<Bytes>);

impl Replies {
    /// Sends a message to the client, when it takes it.
    pub async fn send(&self, message: &impl Message) -> Result<(), Status> {
        let sent = self.0.send(encode(message)).await;
        sent.map_err(|_| Status::new(Code::Cancelled, "the client gave the call up"))
    }
}

impl Call {
    /// Sends a message to the client, when it takes it.
    pub async fn reply(&self, message: &impl Message) -> Result<(), Status> {
        self.replies.send(message).await
    }

    /// Both directions, for those who read while they write.
    pub fn into_parts(self) -> (Incoming, Replies) {
        (self.incoming, self.replies)
    }

    /// A value that came along.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata
            .get(name)
            .and_then(|value| value.to_str().ok())
    }
}

/// Serves all calls of a connection until it ends; calls that still run then are given up.
pub async fn serve<I, S>(io: I, service: Arc<S>) -> Result<(), Status>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    S: Service,
{
    let handshake = server::Builder::new()
        .max_concurrent_streams(CALLS_MAX)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .handshake(io);
    let mut connection = tokio::time::timeout(HANDSHAKE, handshake)
        .await
        .map_err(|_| Status::new(Code::DeadlineExceeded, "the client does not speak HTTP/2"))??;
    let mut calls = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(accepted) => {
                    let (request, respond) = accepted?;
                    calls.spawn(answer(request, respond, Arc::clone(&service)));
                }
                None => return Ok(()),
            },
            Some(_) = calls.join_next() => {}
        }
    }
}

/// One call, from its head to its trailers.
async fn answer<S: Service>(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    service: Arc<S>,
) {
    let (head, body) = request.into_parts();
    let (replies, mut outbox) = mpsc::channel(REPLIES);
    let call = Call {
        method: head.uri.path().to_owned(),
        metadata: head.headers,
        incoming: Incoming::request(body),
        replies: Replies(replies),
    };
    tracing::trace!(method = call.method, "called");
    let mut running = JoinSet::new();
    running.spawn(service.call(call));

    let mut stream: Option<SendStream<Bytes>> = None;
    let outcome = loop {
        tokio::select! {
            biased;
            Some(piece) = outbox.recv() => {
                if send(&mut respond, &mut stream, piece).await.is_err() {
                    return;
                }
            }
            Some(ended) = running.join_next() => break ended,
            () = given_up(&mut respond, stream.as_mut()) => return,
        }
    };
    while let Ok(piece) = outbox.try_recv() {
        if send(&mut respond, &mut stream, piece).await.is_err() {
            return;
        }
    }
    let status = match outcome {
        Ok(Ok(())) => Status::new(Code::Ok, ""),
        Ok(Err(status)) => status,
        Err(panic) => {
            tracing::error!(%panic, "a call broke off");
            Status::new(
                Code::Internal,
                "the call broke off: this is a mistake in the daemon",
            )
        }
    };
    let _ = match stream {
        Some(mut stream) => stream.send_trailers(status.to_headers()),
        None => {
            let mut head = head_of_answer();
            head.headers_mut().extend(status.to_headers());
            respond.send_response(head, true).map(drop)
        }
    };
}

/// Sends a message, and the head before the first.
async fn send(
    respond: &mut SendResponse<Bytes>,
    stream: &mut Option<SendStream<Bytes>>,
    piece: Bytes,
) -> Result<(), Status> {
    let stream = match stream {
        Some(stream) => stream,
        None => stream.insert(respond.send_response(head_of_answer(), false)?),
    };
    write(stream, piece).await
}

/// Waits until the client gives the call up.
async fn given_up(respond: &mut SendResponse<Bytes>, stream: Option<&mut SendStream<Bytes>>) {
    let _ = match stream {
        Some(stream) => poll_fn(|context| stream.poll_reset(context)).await,
        None => poll_fn(|context| respond.poll_reset(context)).await,
    };
}

fn head_of_answer() -> Response<()> {
    let mut head = Response::new(());
    let media = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(http::header::CONTENT_TYPE, media);
    head
}
