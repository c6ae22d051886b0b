//! The standard output and error, written on a thread of their own, so that a slow reader of one
//! does not keep the input from flowing.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};
use crate::ui;

/// Pieces that wait to be written.
const QUEUE: usize = 16;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
}

/// The two outputs.
pub(crate) struct Output {
    pieces: mpsc::Sender<(Target, Bytes)>,
    result: oneshot::Receiver<Result<()>>,
}

impl Output {
    /// Begins to write.
    pub(crate) fn open() -> Self {
        let (pieces, mut queue) = mpsc::channel::<(Target, Bytes)>(QUEUE);
        let (done, result) = oneshot::channel();
        std::thread::spawn(move || {
            let mut outcome = Ok(());
            while let Some((target, bytes)) = queue.blocking_recv() {
                match target {
                    Target::Stdout => outcome = ui::out_bytes(&bytes),
                    Target::Stderr => ui::err_bytes(&bytes),
                }
                if outcome.is_err() {
                    break;
                }
            }
            _ = done.send(outcome);
        });
        Self { pieces, result }
    }

    /// Writes a piece; false when nobody reads any more.
    pub(crate) async fn write(&self, target: Target, bytes: Bytes) -> bool {
        self.pieces.send((target, bytes)).await.is_ok()
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// When it could not be.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.pieces);
        self.result.await.unwrap_or(Err(Error::Silent(1)))
    }
}
