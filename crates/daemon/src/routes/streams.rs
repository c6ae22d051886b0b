//! Answers that do not end at once: attach, logs, stats, wait.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use hull_api::{
    query::Query,
    stream::{self, Stream},
    types::ContainerWait,
};
use hull_engine::{
    Engine,
    container::{
        attach::{AttachOptions, Attached},
        logs::Logs,
        stats::Stats,
        wait::WaitFor,
    },
    logs::{LogQuery, LogRecord, LogStream},
    record::Record,
    state::State,
};
use jiff::Timestamp;
use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
};

use crate::{
    convert::{stats as to_wire, time},
    http::{
        answer::{Answer, Failure, Outcome, flowing, json, stream_media},
        body,
        hijack::{Hijack, Taken},
        request::Request,
        websocket,
    },
};

/// Between two samples: clients compute rates from what a second brought.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// How much of a terminal's output goes into one frame at most.
const OUTPUT_BUFFER: usize = 16 * 1024;

/// How long the last words of a websocket's client may take to go in.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Copies both ways until the container's side ends. The client's end of input ends the
/// container's input and nothing else.
pub(super) async fn join(client: Taken, inside: std::os::unix::net::UnixStream) {
    join_until(client, inside, Frames::AsTheyAre, std::future::ready(())).await;
}

/// What becomes of the frames that tell a container's outputs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frames {
    AsTheyAre,
    /// A terminal's output has none, and the client reads frames.
    Added,
    /// The client reads none.
    Taken,
}

impl Frames {
    /// Between a process, with a terminal or without, and a client that expects one or not.
    pub(super) fn between(process_has_terminal: bool, client_expects_one: bool) -> Self {
        match (process_has_terminal, client_expects_one) {
            (true, false) => Self::Added,
            (false, true) => Self::Taken,
            (true, true) | (false, false) => Self::AsTheyAre,
        }
    }

    /// Copies output to its end.
    async fn copy(
        self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        match self {
            Self::AsTheyAre => io::copy(from, to).await.map(drop),
            Self::Added => {
                let mut buffer = vec![0; OUTPUT_BUFFER];
                loop {
                    let read = from.read(&mut buffer).await?;
                    if read == 0 {
                        return Ok(());
                    }
                    let framed = stream::frame(Stream::Stdout, &buffer[..read]);
                    to.write_all(&framed).await?;
                }
            }
            Self::Taken => {
                let mut head = [0; stream::HEADER_BYTES];
                while from.read_exact(&mut head).await.is_ok() {
                    let [.., a, b, c, d] = head;
                    let length = u32::from_be_bytes([a, b, c, d]);
                    io::copy(&mut (&mut *from).take(length.into()), to).await?;
                }
                Ok(())
            }
        }
    }
}

/// As [`join`]; the client hears of the end only after `over`.
pub(super) async fn join_until(
    client: Taken,
    inside: std::os::unix::net::UnixStream,
    frames: Frames,
    over: impl Future<Output = ()>,
) {
    let inside = match asynchronous(inside) {
        Ok(inside) => inside,
        Err(error) => return tracing::error!(%error, "cannot use a container's streams"),
    };
    let left = client.left();
    let (mut from_client, mut to_client) = io::split(client);
    let (mut from_inside, mut to_inside) = io::split(inside);
    let input = async {
        if io::copy(&mut from_client, &mut to_inside).await.is_ok() {
            let _ = to_inside.shutdown().await;
        }
        // All it said is inside. Whoever hung up waits for no answer.
        left.await;
    };
    let output = async {
        let _ = frames.copy(&mut from_inside, &mut to_client).await;
        over.await;
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = input => {}
        () = output => {}
    }
}

fn asynchronous(stream: std::os::unix::net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// What an attach asks for.
struct Wanted {
    options: AttachOptions,
    stream: bool,
    logs: bool,
}

impl Wanted {
    fn of(query: &Query) -> Self {
        let keys = query.text("detachKeys");
        Self {
            options: AttachOptions {
                stdin: query.flag("stdin"),
                stdout: query.flag("stdout"),
                stderr: query.flag("stderr"),
                detach_keys: (!keys.is_empty()).then(|| keys.to_owned()),
            },
            stream: query.flag("stream"),
            logs: query.flag("logs"),
        }
    }
}

pub(super) async fn attach(request: Request) -> Outcome {
    let (attached, past, tty) = attached(&request).await?;
    let upgrade = request.wants_upgrade();
    let media = stream_media(!tty && upgrade, request.version);
    Ok(Answer::Hijack(Hijack::stream(
        upgrade,
        media,
        move |mut client| async move {
            if let Some(past) = past
                && past.copy(false, &mut client).await.is_err()
            {
                return;
            }
            let inside = tokio::select! {
                inside = follow(attached) => inside,
                () = client.left() => return,
            };
            match inside {
                Some(inside) => join(client, inside).await,
                None => {
                    let _ = client.shutdown().await;
                }
            }
        },
    )))
}

pub(super) async fn attach_socket(request: Request) -> Outcome {
    let (attached, past, tty) = attached(&request).await?;
    // A websocket's client knows no frames but its own.
    let frames = Frames::between(tty, true);
    let hijack = websocket::upgrade(&request.headers, move |client| async move {
        // What was said so far goes the same way.
        let (mut ours, theirs) = io::duplex(OUTPUT_BUFFER);
        let mut pump = tokio::spawn(async move {
            if let Some(past) = past
                && past.copy(true, &mut ours).await.is_err()
            {
                return;
            }
            let Some(Ok(inside)) = follow(attached).await.map(asynchronous) else {
                return;
            };
            let (mut from_client, mut to_client) = io::split(ours);
            let (mut from_inside, mut to_inside) = io::split(inside);
            let input = async {
                if io::copy(&mut from_client, &mut to_inside).await.is_ok() {
                    let _ = to_inside.shutdown().await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = input => {}
                _ = frames.copy(&mut from_inside, &mut to_client) => {}
            }
        });
        if let Err(error) = websocket::bridge(client, theirs).await {
            tracing::debug!(%error, "a websocket broke off");
        }
        // What was typed last still goes in; nobody waits for an answer to it.
        let _ = tokio::time::timeout(LAST_WORDS_WITHIN, &mut pump).await;
        pump.abort();
    })?;
    Ok(Answer::Hijack(hijack))
}

async fn follow(attached: Option<Attached>) -> Option<std::os::unix::net::UnixStream> {
    attached?.stream().await
}

/// A place at the container's streams, what it said so far, and whether it has a terminal: each as
/// far as the request asks for it.
async fn attached(request: &Request) -> Result<(Option<Attached>, Option<Past>, bool), Failure> {
    let engine = &request.app.engine;
    let record = engine.container(request.name())?;
    let id = &record.id;
    let refused = |text: String| Failure::new(http::StatusCode::CONFLICT, text);
    match record.state {
        State::Paused(_) => {
            return Err(refused(format!(
                "container {id} is paused, unpause the container before attach"
            )));
        }
        State::Restarting { .. } => {
            return Err(refused(format!(
                "container {id} is restarting, wait until the container is running"
            )));
        }
        _ => {}
    }
    let wanted = Wanted::of(&request.query);
    let past = match wanted.logs {
        false => None,
        true => Some(Past {
            logs: engine.logs(request.name(), LogQuery::default()).await?,
            shape: Shape {
                stdout: wanted.options.stdout,
                stderr: wanted.options.stderr,
                timestamps: false,
                details: false,
            },
        }),
    };
    let attached = match wanted.stream {
        false => None,
        true => Some(engine.attach(request.name(), &wanted.options).await?),
    };
    Ok((attached, past, record.config.tty))
}

/// A log on its way to a client.
struct Past {
    logs: Logs,
    shape: Shape,
}

impl Past {
    /// Copies it, in frames or `plain`.
    async fn copy(mut self, plain: bool, client: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut writer = Writer::new(self.shape, plain || self.logs.tty);
        while let Some(batch) = self.logs.next().await {
            let batch = batch.map_err(io::Error::other)?;
            client.write_all(&writer.bytes(&batch)).await?;
        }
        Ok(())
    }
}

pub(super) async fn logs(request: Request) -> Outcome {
    let query = &request.query;
    let shape = Shape {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
    };
    if !shape.stdout && !shape.stderr {
        return Err(Failure::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let now = Timestamp::now();
    let wanted = LogQuery {
        tail: query.text("tail").parse().ok(),
        since_ns: query.moment("since", now)?.map(time::nanos),
        // 0 is how clients say "to the end".
        until_ns: query
            .moment("until", now)?
            .map(time::nanos)
            .filter(|until| *until != 0),
        follow: query.flag("follow"),
    };
    let mut logs = request.app.engine.logs(request.name(), wanted).await?;
    let media = stream_media(!logs.tty, request.version);
    let (sender, answer) = body::channel();
    tokio::spawn(async move {
        let mut writer = Writer::new(shape, logs.tty);
        loop {
            let batch = tokio::select! {
                batch = logs.next() => batch,
                () = sender.gone() => return,
            };
            match batch {
                None => return,
                Some(Ok(batch)) => {
                    let bytes = writer.bytes(&batch);
                    if !bytes.is_empty() && sender.send(bytes).await.is_err() {
                        return;
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "a log cannot be read on");
                    return sender.fail(io::Error::other(error)).await;
                }
            }
        }
    });
    Ok(flowing(media, answer))
}

/// Which lines, and what stands before each.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a parameter of the request"
)]
struct Shape {
    stdout: bool,
    stderr: bool,
    timestamps: bool,
    details: bool,
}

/// Turns records into the bytes of an answer.
struct Writer {
    shape: Shape,
    tty: bool,
    /// Whether the last piece of each stream ended its line.
    at_start: [bool; 2],
}

impl Writer {
    fn new(shape: Shape, tty: bool) -> Self {
        Self {
            shape,
            tty,
            at_start: [true; 2],
        }
    }

    fn bytes(&mut self, records: &[LogRecord]) -> BytesMut {
        let mut bytes = BytesMut::new();
        for record in records {
            let (wanted, stream, index) = match record.stream {
                LogStream::Stdout => (self.shape.stdout, Stream::Stdout, 0),
                LogStream::Stderr => (self.shape.stderr, Stream::Stderr, 1),
            };
            if !wanted {
                continue;
            }
            let prefix = if self.at_start[index] {
                self.prefix(record)
            } else {
                String::new()
            };
            self.at_start[index] = record.bytes.ends_with(b"\n");
            if !self.tty {
                let length = prefix.len() + record.bytes.len();
                let length = u32::try_from(length).expect("a log's line is a few kilobytes");
                bytes.put_slice(&stream::header(stream, length));
            }
            bytes.put_slice(prefix.as_bytes());
            bytes.put_slice(&record.bytes);
        }
        bytes
    }

    fn prefix(&self, record: &LogRecord) -> String {
        let mut prefix = String::new();
        if self.shape.timestamps {
            // Always nine digits, so that columns stand below each other.
            prefix = format!("{:.9} ", time::moment(record.time_ns));
        }
        if self.shape.details && !record.attributes.is_empty() {
            prefix.push_str(&details(&record.attributes));
            prefix.push(' ');
        }
        prefix
    }
}

/// `name=value,name=value`, escaped as in a query.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pair = |(name, value): (&String, &String)| {
        format!(
            "{}={}",
            hull_api::query::encoded(name),
            hull_api::query::encoded(value)
        )
    };
    attributes.iter().map(pair).collect::<Vec<_>>().join(",")
}

pub(super) async fn stats(request: Request) -> Outcome {
    let engine = request.app.engine.clone();
    let record = engine.container(request.name())?;
    let first = engine.stats(record.id.as_str()).await?;
    if request.query.flag_or("stream", true) {
        let (sender, answer) = body::channel();
        tokio::spawn(stream_stats(engine, record, first, sender));
        return Ok(flowing("application/json", answer));
    }
    if request.query.flag("one-shot") || !record.state.is_running() {
        return Ok(json(&to_wire::to_wire(&record, &first, None)));
    }
    tokio::time::sleep(STATS_EVERY).await;
    let second = engine.stats(record.id.as_str()).await?;
    Ok(json(&to_wire::to_wire(&record, &second, Some(&first))))
}

/// A sample a second, until the client leaves or the container is gone.
async fn stream_stats(engine: Engine, record: Arc<Record>, first: Stats, sender: body::Sender) {
    let mut before = None;
    let mut sample = first;
    let mut clock = tokio::time::interval(STATS_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    clock.tick().await;
    loop {
        let wire = to_wire::to_wire(&record, &sample, before.as_ref());
        let mut line = serde_json::to_vec(&wire).expect("samples always have a JSON form");
        line.push(b'\n');
        if sender.send(line).await.is_err() {
            return;
        }
        tokio::select! {
            _ = clock.tick() => {}
            () = sender.gone() => return,
        }
        let Ok(next) = engine.stats(record.id.as_str()).await else {
            return;
        };
        before = Some(std::mem::replace(&mut sample, next));
    }
}

pub(super) fn wait(request: Request) -> Outcome {
    let until = match request.query.text("condition") {
        "" | "not-running" => WaitFor::NotRunning,
        "next-exit" => WaitFor::NextExit,
        "removed" => WaitFor::Removed,
        other => return Err(Failure::invalid(format!("invalid condition: \"{other}\""))),
    };
    let waiting = request.app.engine.wait(request.name(), until)?;
    let (sender, answer) = body::channel();
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = waiting.ended() => ended,
            () = sender.gone() => return,
        };
        let Some(ended) = ended else {
            return sender.fail(io::Error::other("the daemon stops")).await;
        };
        let body = ContainerWait {
            status_code: i64::from(ended.code),
            // Why a start failed is told to who started it.
            error: None,
        };
        let mut bytes = serde_json::to_vec(&body).expect("the answer always has a JSON form");
        bytes.push(b'\n');
        let _ = sender.send(bytes).await;
    });
    // The head goes out at once: clients start the container when they have it.
    Ok(flowing("application/json", answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: LogStream, text: &str) -> LogRecord {
        let attributes = BTreeMap::from([("a b".to_owned(), "1".to_owned())]);
        let bytes = text.as_bytes().to_vec();
        LogRecord {
            stream,
            time_ns: 1_700_000_000_000_000_000,
            bytes,
            attributes,
        }
    }

    #[test]
    fn a_line_in_pieces_gets_one_prefix() {
        let shape = Shape {
            stdout: true,
            stderr: false,
            timestamps: true,
            details: true,
        };
        let mut writer = Writer::new(shape, true);
        let records = [
            record(LogStream::Stdout, "long "),
            record(LogStream::Stderr, "not wanted\n"),
            record(LogStream::Stdout, "line\n"),
        ];
        let got = String::from_utf8(writer.bytes(&records).to_vec()).unwrap();
        assert_eq!(got, "2023-11-14T22:13:20.000000000Z a%20b=1 long line\n");
    }

    #[test]
    fn without_a_terminal_each_piece_is_framed() {
        let shape = Shape {
            stdout: true,
            stderr: true,
            timestamps: false,
            details: false,
        };
        let mut writer = Writer::new(shape, false);
        let records = [
            record(LogStream::Stdout, "a\n"),
            record(LogStream::Stderr, "b\n"),
        ];
        let got = writer.bytes(&records);
        assert_eq!(got[..], *b"\x01\0\0\0\0\0\0\x02a\n\x02\0\0\0\0\0\0\x02b\n");
    }
}
