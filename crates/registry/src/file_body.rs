//! A part of a file as a body, read as the other end takes it.

use std::fs::File;
use std::future::Future as _;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Bytes of a file in memory for one transfer.
const PIECE_BYTES: u64 = 64 << 10;

/// `length` bytes of a file from `first` on.
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    sent: Option<Box<dyn FnMut(u64) + Send>>,
}

impl FileBody {
    pub(crate) fn new(file: Arc<File>, first: u64, length: u64) -> Self {
        Self {
            file,
            at: first,
            left: length,
            reading: None,
            sent: None,
        }
    }

    /// Tells how many bytes went on their way, piece by piece.
    pub(crate) fn telling(mut self, sent: impl FnMut(u64) + Send + 'static) -> Self {
        self.sent = Some(Box::new(sent));
        self
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            let (file, at) = (Arc::clone(&self.file), self.at);
            let length = usize::try_from(self.left.min(PIECE_BYTES)).unwrap_or(0);
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, at)?;
                Ok(Bytes::from(piece))
            }));
        }
        let reading = self.reading.as_mut().expect("just set");
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let piece = read.map_err(io::Error::other).flatten()?;
        let length = piece.len() as u64;
        self.at += length;
        self.left -= length;
        if let Some(sent) = &mut self.sent {
            sent(length);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
