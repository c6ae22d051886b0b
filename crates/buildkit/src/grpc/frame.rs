//! Messages on a stream: each is a flag, a length and that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, client::ResponseFuture};
use prost::Message;

use super::status::{Code, Status};

/// Flag and length.
const HEAD_BYTES: usize = 5;

/// The largest message taken: what Docker's own daemon takes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A message as it stands on the stream.
pub(super) fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEAD_BYTES + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("messages made here are far below 4 GiB"));
    message
        .encode(&mut frame)
        .expect("the buffer was made for the message");
    frame.freeze()
}

/// Takes the first whole message off the buffer. `None`: more bytes are needed.
fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some((head, _)) = buffer.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let [flag, length @ ..] = *head;
    if flag != 0 {
        return Err(Status::unimplemented("compressed messages are not taken"));
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(Status::new(
            Code::ResourceExhausted,
            format!("a message of {length} bytes is larger than {MESSAGE_BYTES_MAX}"),
        ));
    }
    if buffer.len() < HEAD_BYTES + length {
        return Ok(None);
    }
    buffer.advance(HEAD_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The messages that come in on a stream, one after the other.
#[derive(Debug)]
pub struct Incoming {
    source: Source,
    buffer: BytesMut,
}

/// Where they come from.
#[derive(Debug)]
enum Source {
    /// A client's request.
    Request(RecvStream),
    /// A server's answer whose head has not come yet.
    Awaited(ResponseFuture),
    /// A server's answer.
    Answer(RecvStream),
    /// All has come.
    Ended,
}

impl Incoming {
    pub(super) fn request(stream: RecvStream) -> Self {
        Self::of(Source::Request(stream))
    }

    pub(super) fn answer(future: ResponseFuture) -> Self {
        Self::of(Source::Awaited(future))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; `None` after the last, if the call ended well.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(bytes) = take(&mut self.buffer)? {
                return M::decode(bytes).map(Some).map_err(|error| {
                    Status::invalid(format!("a message cannot be understood: {error}"))
                });
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The one message of a request or an answer that has only one.
    pub async fn only<M: Message + Default>(&mut self) -> Result<M, Status> {
        let message = self.next().await?;
        message.ok_or_else(|| Status::invalid("the message is missing"))
    }

    /// Reads on. `false`: all has come.
    async fn fill(&mut self) -> Result<bool, Status> {
        if let Source::Awaited(future) = &mut self.source {
            let (head, body) = future.await?.into_parts();
            if head.status != http::StatusCode::OK {
                return Err(Status::gone(format!("the answer is {}", head.status)));
            }
            self.source = Source::Answer(body);
            if head.headers.contains_key("grpc-status") {
                self.source = Source::Ended;
                return Status::from_headers(&head.headers).map(|()| false);
            }
        }
        let stream = match &mut self.source {
            Source::Request(stream) | Source::Answer(stream) => stream,
            Source::Awaited(_) | Source::Ended => return Ok(false),
        };
        if let Some(piece) = stream.data().await {
            let piece = piece?;
            let _ = stream.flow_control().release_capacity(piece.len());
            self.buffer.extend_from_slice(&piece);
            return Ok(true);
        }
        if !self.buffer.is_empty() {
            return Err(Status::new(Code::DataLoss, "a message broke off"));
        }
        let ended = std::mem::replace(&mut self.source, Source::Ended);
        if let Source::Answer(mut stream) = ended {
            let trailers = stream.trailers().await?;
            Status::from_headers(&trailers.unwrap_or_default())?;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::control::BytesMessage;

    #[test]
    fn what_is_too_large_or_compressed_is_refused() {
        let mut compressed = BytesMut::from(&[1, 0, 0, 0, 0][..]);
        assert_eq!(take(&mut compressed).unwrap_err().code, Code::Unimplemented);
        let mut large = BytesMut::from(&[0, 0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(take(&mut large).unwrap_err().code, Code::ResourceExhausted);
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_they_are_cut(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0usize..205,
        ) {
            let frame = encode(&BytesMessage { data: data.clone() });
            let cut = cut.min(frame.len());
            let mut buffer = BytesMut::from(&frame[..cut]);
            if cut < frame.len() {
                prop_assert_eq!(take(&mut buffer).unwrap(), None);
            }
            buffer.extend_from_slice(&frame[cut..]);
            let bytes = take(&mut buffer).unwrap().unwrap();
            prop_assert_eq!(BytesMessage::decode(bytes).unwrap().data, data);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = take(&mut BytesMut::from(&bytes[..]));
        }
    }
}
