//! From a body on the network into a blocking writer.
//!
//! Pieces are gathered while the last ones are written, so that network, hashing and disk overlap;
//! two gatherings are all the memory a transfer takes, and none keeps a thread while it waits.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::task::JoinHandle;

/// Bytes gathered before they are written.
const GATHERED_BYTES: usize = 512 << 10;

/// What a transfer may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// More bytes than these are refused.
    pub(crate) bytes_max: u64,
    /// How long the other end may take for [`STEADY_BYTES`], or for nothing at all.
    pub(crate) patience: Duration,
}

/// What must come within each span of patience: less is an attempt to hold us up.
const STEADY_BYTES: u64 = 4 << 10;

/// Why a transfer ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    /// The other end broke off.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// It sends next to nothing.
    #[error("nothing came for {} seconds", .0.as_secs_f32())]
    Stalled(Duration),
    /// It sends more than there is.
    #[error("more than the {0} bytes that were announced came")]
    TooMuch(u64),
    /// Ours.
    #[error("cannot write: {0}")]
    Write(io::Error),
}

/// Writes the whole body. The writer comes back with whatever had been written, also after an error.
pub(crate) async fn pump<B, W>(
    mut body: B,
    writer: W,
    skip: u64,
    limits: Limits,
    mut arrived: impl FnMut(u64),
) -> (Option<W>, Result<u64, PumpError>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    W: Write + Send + 'static,
{
    let mut sink = Sink::Idle(Some(writer));
    let mut pieces: Vec<Bytes> = Vec::new();
    let (mut gathered, mut total, mut skip) = (0, 0_u64, skip);
    let mut pace = Pace::new(limits.patience);
    let ended = loop {
        let frame = match tokio::time::timeout(pace.left(), body.frame()).await {
            Err(_) => break Err(PumpError::Stalled(limits.patience)),
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(PumpError::Broken(error.to_string())),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(mut piece) = frame.into_data() else {
            continue;
        };
        if !pace.took(piece.len() as u64) {
            break Err(PumpError::Stalled(limits.patience));
        }
        let skipped = skip.min(piece.len() as u64);
        piece.advance(usize::try_from(skipped).unwrap_or(piece.len()));
        skip -= skipped;
        total += piece.len() as u64;
        if total > limits.bytes_max {
            break Err(PumpError::TooMuch(limits.bytes_max));
        }
        arrived(piece.len() as u64);
        gathered += piece.len();
        pieces.push(piece);
        if gathered >= GATHERED_BYTES {
            if let Err(error) = sink.write(std::mem::take(&mut pieces)).await {
                return (sink.into_writer().await.0, Err(PumpError::Write(error)));
            }
            gathered = 0;
        }
    };
    let written = sink.write(pieces).await;
    let (writer, last) = sink.into_writer().await;
    match written.and(last) {
        Err(error) => (writer, Err(PumpError::Write(error))),
        Ok(()) => (writer, ended.map(|()| total)),
    }
}

/// Where the writer is.
enum Sink<W> {
    Idle(Option<W>),
    Busy(JoinHandle<(W, io::Result<()>)>),
}

impl<W: Write + Send + 'static> Sink<W> {
    /// Has pieces written once those before are; an error is that of the pieces before.
    async fn write(&mut self, pieces: Vec<Bytes>) -> io::Result<()> {
        let writer = self.take().await?;
        *self = Self::Busy(tokio::task::spawn_blocking(move || {
            write_all(writer, pieces)
        }));
        Ok(())
    }

    async fn take(&mut self) -> io::Result<W> {
        let gone = || io::Error::other("the writer broke off");
        match self {
            Self::Idle(writer) => writer.take().ok_or_else(gone),
            Self::Busy(writing) => {
                let outcome = writing.await;
                *self = Self::Idle(None);
                match outcome.map_err(io::Error::other)? {
                    (writer, Ok(())) => Ok(writer),
                    (writer, Err(error)) => {
                        *self = Self::Idle(Some(writer));
                        Err(error)
                    }
                }
            }
        }
    }

    async fn into_writer(self) -> (Option<W>, io::Result<()>) {
        match self {
            Self::Idle(writer) => (writer, Ok(())),
            Self::Busy(writing) => match writing.await {
                Ok((writer, outcome)) => (Some(writer), outcome),
                Err(panic) => (None, Err(io::Error::other(panic))),
            },
        }
    }
}

fn write_all<W: Write>(mut writer: W, pieces: Vec<Bytes>) -> (W, io::Result<()>) {
    for piece in pieces {
        if let Err(error) = writer.write_all(&piece) {
            return (writer, Err(error));
        }
    }
    (writer, Ok(()))
}

/// Whether the other end keeps a steady pace.
struct Pace {
    patience: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: Instant::now(),
            bytes: 0,
        }
    }

    fn left(&self) -> Duration {
        self.patience
            .saturating_sub(self.since.elapsed())
            .max(Duration::from_millis(1))
    }

    /// Counts bytes; false when too few came in too long a time.
    fn took(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        if self.bytes >= STEADY_BYTES {
            (self.since, self.bytes) = (Instant::now(), 0);
            return true;
        }
        self.since.elapsed() < self.patience
    }
}
