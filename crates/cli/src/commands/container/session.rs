//! Taking part in the streams of a process: input pumped in, output taken apart, keys watched, the
//! terminal's size passed on.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use hull_api::Client;
use hull_api::client::Hijacked;
use hull_api::stream::{FrameReader, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::error::{Error, Result};
use crate::terminal::detach::DetachKeys;
use crate::terminal::{self, Input, Mode, Output, Signals, Target, signals};

/// Bytes read at once.
const PIECE: usize = 32 * 1024;
/// A process that has just started may not have its terminal yet: tries, and the pause between.
const RESIZE_TRIES: u32 = 10;
const RESIZE_PAUSE: Duration = Duration::from_millis(20);

/// How to take part.
pub(crate) struct Session {
    pub(crate) stream: Hijacked,
    pub(crate) tty: bool,
    /// Whether the standard input goes in.
    pub(crate) input: bool,
    pub(crate) keys: DetachKeys,
    pub(crate) signals: Signals,
}

/// How taking part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process closed its output.
    Closed,
    /// The user typed the keys; the process goes on.
    Detached,
}

impl Session {
    /// Pumps until one side ends it.
    ///
    /// # Errors
    /// When a stream breaks or the terminal refuses raw mode.
    pub(crate) async fn run(self) -> Result<End> {
        let framed = self.stream.framed().unwrap_or(!self.tty);
        let _raw = match self.tty && self.input {
            true => Mode::raw(self.signals)
                .map_err(|error| Error::io("make raw", "/dev/stdin", &error))?,
            false => None,
        };
        let (reader, writer) = self.stream.split();
        let output = Output::open();
        let keys = self.tty.then_some(self.keys);
        let ended = tokio::select! {
            result = pump_out(reader, &output, framed) => result.map(|()| End::Closed),
            () = pump_in(writer, self.input, keys) => Ok(End::Detached),
        };
        output.finish().await?;
        ended
    }
}

/// Copies the input in; returns only when the detach keys are typed.
async fn pump_in(mut writer: WriteHalf<Hijacked>, open: bool, mut keys: Option<DetachKeys>) {
    if open {
        let mut input = Input::open();
        while let Some(piece) = input.next().await {
            let (piece, detach) = match &mut keys {
                Some(keys) => keys.filter(&piece),
                None => (piece.to_vec(), false),
            };
            let written = writer.write_all(&piece).await;
            if detach {
                return;
            }
            if written.is_err() {
                break;
            }
        }
        // The end of the input, and of nothing else.
        _ = writer.shutdown().await;
    }
    std::future::pending().await
}

async fn pump_out(mut reader: ReadHalf<Hijacked>, output: &Output, framed: bool) -> Result<()> {
    let mut frames = FrameReader::new();
    let mut buffer = vec![0; PIECE];
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(Error::new(format!("reading the output failed: {error}"))),
        };
        if framed {
            frames.push(&buffer[..count]);
            if !write_frames(&mut frames, output).await? {
                return Ok(());
            }
        } else if !output
            .write(Target::Stdout, Bytes::copy_from_slice(&buffer[..count]))
            .await
        {
            return Ok(());
        }
    }
}

/// Writes the whole frames there are; false when nobody reads any more.
///
/// # Errors
/// A damaged frame, or a message of the daemon that ends the stream.
pub(crate) async fn write_frames(frames: &mut FrameReader, output: &Output) -> Result<bool> {
    while let Some(frame) = frames
        .next_frame()
        .map_err(|error| Error::new(error.to_string()))?
    {
        let target = match frame.stream {
            Stream::Stdin | Stream::Stdout => Target::Stdout,
            Stream::Stderr => Target::Stderr,
            Stream::SystemError => {
                let text = String::from_utf8_lossy(&frame.bytes).into_owned();
                return Err(Error::new(format!("error from daemon in stream: {text}")));
            }
        };
        if !output.write(target, frame.bytes).await {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whose terminal follows the user's.
#[derive(Debug, Clone)]
pub(crate) enum Resized {
    Container(String),
    Exec(String),
}

impl Resized {
    async fn resize(&self, client: &Client, rows: u16, columns: u16) -> bool {
        let result = match self {
            Self::Container(id) => client.container_resize(id, rows, columns).await,
            Self::Exec(id) => client.exec_resize(id, rows, columns).await,
        };
        result.is_ok()
    }
}

/// Passes the terminal's size on, now and whenever it changes, until the task is dropped.
pub(crate) fn follow_size(client: &Client, whose: Resized) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    let client = client.clone();
    tasks.spawn(async move {
        let Some(mut changes) = signals::resizes() else {
            return;
        };
        for _ in 0..RESIZE_TRIES {
            let Some((rows, columns)) = terminal::size() else {
                break;
            };
            if whose.resize(&client, rows, columns).await {
                break;
            }
            tokio::time::sleep(RESIZE_PAUSE).await;
        }
        while changes.recv().await.is_some() {
            if let Some((rows, columns)) = terminal::size() {
                whose.resize(&client, rows, columns).await;
            }
        }
    });
    tasks
}

/// Refuses a terminal for a process whose input is none.
///
/// # Errors
/// In Docker's words.
pub(crate) fn check_terminal(input: bool, tty: bool) -> Result<()> {
    if tty && input && !crate::ui::in_is_terminal() {
        return Err(Error::Failure(crate::error::Failure {
            message: "the input device is not a TTY".to_owned(),
            hint: None,
            code: 1,
        }));
    }
    Ok(())
}
