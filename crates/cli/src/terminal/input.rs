//! The standard input, read on a thread of its own: a read there cannot be taken back.

use std::io::Read;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes read at once.
const PIECE: usize = 32 * 1024;
/// Pieces read ahead of what the container takes.
const AHEAD: usize = 4;

/// The standard input as it comes.
pub(crate) struct Input {
    pieces: mpsc::Receiver<Bytes>,
}

impl Input {
    /// Begins to read.
    pub(crate) fn open() -> Self {
        let (sender, pieces) = mpsc::channel(AHEAD);
        // Not joined: it may sit in a read until the program ends, which ends it.
        std::thread::spawn(move || {
            let mut buffer = vec![0; PIECE];
            let mut input = std::io::stdin();
            while let Ok(count @ 1..) = input.read(&mut buffer) {
                if sender
                    .blocking_send(Bytes::copy_from_slice(&buffer[..count]))
                    .is_err()
                {
                    return;
                }
            }
        });
        Self { pieces }
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.pieces.recv().await
    }
}
