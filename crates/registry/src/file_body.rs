//! A part of a file as a body, read as the other end takes it.
//!
//! What lies in the page cache is read on the spot; only what must come from the disk is read on
//! another thread. All bodies together hold little more than [`MEMORY_BYTES`]: the more is held, the
//! less is read at a time.

use std::fs::File;
use std::future::Future as _;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

/// Bytes of files in memory, over all transfers; the smallest pieces come on top.
const MEMORY_BYTES: u64 = 8 << 20;
/// A piece is this part of what is free of it, so that many that begin at once find room.
const SHARE: u64 = 16;
/// More at a time makes nothing quicker.
const PIECE_BYTES_MAX: u64 = 256 << 10;
/// Less at a time costs more than it saves.
const PIECE_BYTES_MIN: u64 = 16 << 10;

/// Bytes that were read and not yet sent.
static HELD: AtomicU64 = AtomicU64::new(0);

/// A piece of a file in memory, counted until it was sent.
struct Piece {
    bytes: Vec<u8>,
    counted: u64,
}

impl Piece {
    fn new(length: usize) -> Self {
        let counted = length as u64;
        HELD.fetch_add(counted, Ordering::Relaxed);
        Self {
            bytes: vec![0; length],
            counted,
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        HELD.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

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

    /// The next piece's length.
    fn length(&self) -> usize {
        let free = MEMORY_BYTES.saturating_sub(HELD.load(Ordering::Relaxed));
        let piece = (free / SHARE)
            .clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX)
            .min(self.left);
        usize::try_from(piece).unwrap_or(0)
    }

    /// What can be had without waiting for the disk; `None`: nothing.
    fn read_now(&self) -> Option<Bytes> {
        let mut piece = Piece::new(self.length());
        let slices = &mut [IoSliceMut::new(&mut piece.bytes)];
        loop {
            match preadv2(&self.file, slices, self.at, ReadWriteFlags::NOWAIT) {
                Ok(0) => return None,
                Ok(got) => {
                    piece.bytes.truncate(got);
                    return Some(Bytes::from_owner(piece));
                }
                Err(Errno::INTR) => {}
                // Not in memory, or a file system that does not tell: then it is waited for.
                Err(_) => return None,
            }
        }
    }

    fn read_elsewhere(&self) -> JoinHandle<io::Result<Bytes>> {
        let (file, at, length) = (Arc::clone(&self.file), self.at, self.length());
        tokio::task::spawn_blocking(move || {
            let mut piece = Piece::new(length);
            file.read_exact_at(&mut piece.bytes, at)?;
            Ok(Bytes::from_owner(piece))
        })
    }

    fn give(&mut self, piece: Bytes) -> Frame<Bytes> {
        let length = piece.len() as u64;
        self.at += length;
        self.left -= length;
        if let Some(sent) = &mut self.sent {
            sent(length);
        }
        Frame::data(piece)
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
            if let Some(piece) = self.read_now() {
                return Poll::Ready(Some(Ok(self.give(piece))));
            }
            self.reading = Some(self.read_elsewhere());
        }
        let reading = self.reading.as_mut().expect("just set");
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let piece = read.map_err(io::Error::other).flatten()?;
        Poll::Ready(Some(Ok(self.give(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_part_of_a_file_comes_whole() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let file = Arc::new(file);
        for (first, length) in [(0, 1_000_000), (17, 600_000), (999_999, 1), (5, 0)] {
            let body = FileBody::new(Arc::clone(&file), first, length);
            let got = body.collect().await.unwrap().to_bytes();
            let (first, length) = (first as usize, length as usize);
            assert!(
                got == bytes[first..first + length],
                "{length} bytes from {first} on"
            );
        }
        let short = FileBody::new(file, 999_999, 2).collect().await;
        assert!(short.is_err(), "a file that ends early is an error");
    }
}
