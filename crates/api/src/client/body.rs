//! Bodies that flow: uploads from a reader, answers that come piece by piece.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Response, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

use super::ClientError;
use crate::{
    decode::{self, DecodeError},
    stream::{self, FrameReader},
};

/// Why the source of an upload failed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// What is uploaded.
pub type RequestBody = UnsyncBoxBody<Bytes, BodyError>;

/// Bytes read from an upload's source at once.
const UPLOAD_BYTES: usize = 64 * 1024;

pub(super) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Uploads what a reader gives, up to its end.
pub fn from_reader(reader: impl AsyncRead + Send + 'static) -> RequestBody {
    ReaderBody {
        reader: Box::pin(reader),
        buffer: vec![0; UPLOAD_BYTES],
    }
    .boxed_unsync()
}

/// Uploads bytes in memory.
pub fn from_bytes(bytes: impl Into<Bytes>) -> RequestBody {
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Uploads pieces as they come, up to their end.
pub fn from_pieces(pieces: mpsc::Receiver<Bytes>) -> RequestBody {
    Pieces(pieces).boxed_unsync()
}

struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

struct ReaderBody {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    buffer: Vec<u8>,
}

impl Body for ReaderBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut buffer = ReadBuf::new(&mut this.buffer);
        let read = ready!(this.reader.as_mut().poll_read(context, &mut buffer));
        let piece = Bytes::copy_from_slice(buffer.filled());
        Poll::Ready(match read {
            Err(error) => Some(Err(error.into())),
            Ok(()) if piece.is_empty() => None,
            Ok(()) => Some(Ok(Frame::data(piece))),
        })
    }
}

/// An answer's bytes as they come.
#[derive(Debug)]
pub struct ByteStream {
    body: Incoming,
    media: Option<String>,
    /// What it answers, for who is told that it broke off.
    path: String,
}

/// What an answer is to. It travels with the answer, so that its end can be told from a break of a named operation.
#[derive(Debug, Clone)]
pub(super) struct AnswerTo(pub(super) String);

impl ByteStream {
    pub(super) fn new(answer: Response<Incoming>) -> Self {
        let media = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        Self {
            media: media.map(str::to_owned),
            path: match answer.extensions().get() {
                Some(AnswerTo(path)) => path.clone(),
                None => String::new(),
            },
            body: answer.into_body(),
        }
    }

    /// Whether the answer says that it comes in frames.
    pub fn is_framed(&self) -> bool {
        self.media.as_deref() == Some(stream::MULTIPLEXED)
    }

    /// The next piece; `None`: the end.
    pub async fn next_piece(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            match self.body.frame().await? {
                Err(source) => {
                    let path = self.path.clone();
                    return Some(Err(ClientError::Exchange { path, source }));
                }
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
            }
        }
    }

    /// The pieces as JSON documents.
    pub fn json<T: DeserializeOwned>(self) -> JsonStream<T> {
        JsonStream {
            bytes: self,
            buffer: BytesMut::new(),
            item: PhantomData,
        }
    }

    /// The pieces as frames.
    pub fn frames(self) -> FrameStream {
        FrameStream {
            bytes: self,
            reader: FrameReader::new(),
        }
    }
}

/// JSON documents one after another.
#[derive(Debug)]
pub struct JsonStream<T> {
    bytes: ByteStream,
    buffer: BytesMut,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonStream<T> {
    /// The next document; `None`: the end.
    pub async fn next_item(&mut self) -> Option<Result<T, ClientError>> {
        loop {
            match first_document(&mut self.buffer) {
                Ok(Some(document)) => return Some(self.item(document)),
                Ok(None) => {}
                Err(source) => return Some(Err(malformed(source.into()))),
            }
            let Some(piece) = self.bytes.next_piece().await else {
                return self.rest();
            };
            match piece {
                Ok(piece) => self.buffer.extend_from_slice(&piece),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// What is left at the end must be nothing.
    fn rest(&mut self) -> Option<Result<T, ClientError>> {
        let rest = self.buffer.split();
        let broken = serde_json::from_slice::<serde_json::Value>(rest.trim_ascii()).err()?;
        (!rest.trim_ascii().is_empty()).then(|| Err(malformed(broken.into())))
    }

    fn item(&self, document: serde_json::Value) -> Result<T, ClientError> {
        decode::from_value(document).map_err(|source| malformed(source.into()))
    }
}

fn malformed(source: DecodeError) -> ClientError {
    ClientError::Answer {
        path: "a stream".into(),
        source,
    }
}

/// Takes the first whole document out of the buffer.
fn first_document(buffer: &mut BytesMut) -> Result<Option<serde_json::Value>, serde_json::Error> {
    let mut documents = serde_json::Deserializer::from_slice(buffer).into_iter();
    let first = documents.next();
    let used = documents.byte_offset();
    match first {
        None => Ok(None),
        Some(Ok(document)) => {
            buffer.advance(used);
            Ok(Some(document))
        }
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(error),
    }
}

/// Frames one after another.
#[derive(Debug)]
pub struct FrameStream {
    bytes: ByteStream,
    reader: FrameReader,
}

impl FrameStream {
    /// The next frame; `None`: the end.
    pub async fn next_frame(&mut self) -> Option<Result<stream::Frame, ClientError>> {
        loop {
            match self.reader.next_frame() {
                Ok(Some(frame)) => return Some(Ok(frame)),
                Ok(None) => {}
                Err(error) => return Some(Err(error.into())),
            }
            match self.bytes.next_piece().await? {
                Ok(piece) => self.reader.push(&piece),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_taken_one_by_one_however_they_arrive() {
        let wire = b"{\"a\":1}\r\n{\"a\":2} [3]\n";
        for portion in 1..=wire.len() {
            let mut buffer = BytesMut::new();
            let mut got = Vec::new();
            for piece in wire.chunks(portion) {
                buffer.extend_from_slice(piece);
                while let Some(document) = first_document(&mut buffer).unwrap() {
                    got.push(document.to_string());
                }
            }
            assert_eq!(got, ["{\"a\":1}", "{\"a\":2}", "[3]"]);
        }
        assert!(first_document(&mut BytesMut::from(&b"nonsense"[..])).is_err());
    }
}
