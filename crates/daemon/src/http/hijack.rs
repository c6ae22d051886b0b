//! Taking a connection away from HTTP.
//!
//! A handler that wants the raw connection (attach, exec, websockets) returns a [`Hijack`]. The
//! service hands it to the connection's owner and then waits for ever; the owner takes the
//! connection apart, which drops the waiting service, writes the head itself and gives both
//! directions to the handler's task. That serves clients that ask for an upgrade (101) and those
//! that do not (200 and raw bytes) alike.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::mpsc,
};

use super::socket::Connection;

/// What runs on a connection that was taken.
pub(crate) type Task = Box<dyn FnOnce(Taken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The order to take a connection.
pub(crate) struct Hijack {
    /// 101 or 200.
    pub(crate) status: StatusCode,
    /// 101's words differ from HTTP's usual ones.
    pub(crate) reason: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) task: Task,
}

/// Where a service puts its order.
pub(crate) type Desk = mpsc::Sender<Hijack>;

/// A connection that was taken: what the client sent already, then the rest.
pub(crate) struct Taken {
    pending: Bytes,
    io: Connection,
}

impl Taken {
    /// A connection of which some was read already.
    pub(super) fn new(pending: Bytes, io: Connection) -> Self {
        Self { pending, io }
    }

    /// Ends when the client is gone for good.
    pub(crate) fn left(&self) -> impl Future<Output = ()> + Send + use<> {
        let watch = self.io.hangup();
        async move {
            match watch {
                Ok(watch) => {
                    let _ = watch.readable().await;
                }
                // Without a descriptor for it, a write will tell.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Whether what was read already begins so.
    pub(super) fn begins_with(&self, start: &[u8]) -> bool {
        self.pending.starts_with(start)
    }

    /// What of that is left, and the connection.
    pub(super) fn into_parts(self) -> (Bytes, Connection) {
        (self.pending, self.io)
    }
}

impl Hijack {
    /// For attach and exec: 101 if the client asked for an upgrade, 200 otherwise.
    pub(crate) fn stream<F, T>(upgrade: bool, media: &'static str, task: F) -> Self
    where
        F: FnOnce(Taken) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static(media));
        if upgrade {
            headers.insert("connection", http::HeaderValue::from_static("Upgrade"));
            headers.insert("upgrade", http::HeaderValue::from_static("tcp"));
        }
        Self {
            status: if upgrade {
                StatusCode::SWITCHING_PROTOCOLS
            } else {
                StatusCode::OK
            },
            reason: if upgrade { "UPGRADED" } else { "OK" },
            headers,
            task: Box::new(move |taken| Box::pin(task(taken))),
        }
    }

    /// Writes the head and runs the task. `pending` came after the request.
    pub(super) async fn run(self, mut io: Connection, pending: Bytes) {
        let mut head =
            format!("HTTP/1.1 {} {}\r\n", self.status.as_u16(), self.reason).into_bytes();
        for (name, value) in &self.headers {
            head.extend_from_slice(title_case(name.as_str()).as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        if io.write_all(&head).await.is_ok() && io.flush().await.is_ok() {
            // Some clients read the head through a buffer they then throw away, and with it
            // whatever came along.
            io.drained().await;
            (self.task)(Taken { pending, io }).await;
        }
    }
}

/// `content-type` as `Content-Type`, which some clients insist on.
pub(super) fn title_case(name: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending.has_remaining() {
            let fits = self.pending.len().min(buffer.remaining());
            buffer.put_slice(&self.pending.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
