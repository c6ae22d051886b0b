//! The side that calls.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{SendStream, client};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    frame::{Incoming, encode},
    status::{Code, Status},
};

/// Bytes a stream may have under way before it is read: files come this way.
const WINDOW_BYTES: u32 = 4 << 20;

/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The largest head of an answer: a status may carry a file's text.
const HEADERS_BYTES_MAX: u32 = 1 << 20;

/// The way to the other side; cheap to clone.
#[derive(Debug, Clone)]
pub struct Channel(client::SendRequest<Bytes>);

/// What moves the bytes of a channel: must be awaited for anything to happen.
pub type Connection<I> = client::Connection<I, Bytes>;

/// The messages that go out on a stream.
#[derive(Debug)]
pub struct Outgoing(SendStream<Bytes>);

impl Channel {
    /// Says hello over a connection.
    pub async fn over<I>(io: I) -> Result<(Self, Connection<I>), Status>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let (requests, connection) = client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .enable_push(false)
            .handshake(io)
            .await?;
        Ok((Self(requests), connection))
    }

    /// Begins a call whose messages flow both ways. The call is given up when both ends are dropped.
    pub async fn open(
        &self,
        method: &str,
        metadata: HeaderMap,
    ) -> Result<(Outgoing, Incoming), Status> {
        let uri: Uri = format!("http://localhost{method}")
            .parse()
            .map_err(|_| Status::invalid(format!("{method} is no method's name")))?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = metadata;
        let headers = request.headers_mut();
        let media = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, media);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let mut requests = self.0.clone().ready().await?;
        let (answer, stream) = requests.send_request(request, false)?;
        Ok((Outgoing(stream), Incoming::answer(answer)))
    }

    /// A call with one message each way.
    pub async fn unary<A: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
    ) -> Result<A, Status> {
        let (mut outgoing, mut incoming) = self.open(method, HeaderMap::new()).await?;
        outgoing.send(message).await?;
        outgoing.finish();
        incoming.only().await
    }
}

impl Outgoing {
    /// Sends a message, when the other side takes it.
    pub async fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        write(&mut self.0, encode(message)).await
    }

    /// Says that no message follows. A side that has answered and closed the stream meanwhile has
    /// heard enough: its answer tells whether that was well.
    pub fn finish(&mut self) {
        let _ = self.0.send_data(Bytes::new(), true);
    }
}

/// Writes bytes as fast as the other side takes them.
pub(super) async fn write(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Status> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room.ok_or_else(|| Status::new(Code::Cancelled, "the stream has ended"))??;
        let piece = bytes.split_to(room.min(bytes.len()));
        if !piece.is_empty() {
            stream.send_data(piece, false)?;
        }
    }
    Ok(())
}
