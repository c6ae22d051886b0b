//! A blocking client. (The daemon speaks the same frames over an asynchronous stream, with
//! [`codec`](crate::codec).)

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::{
    codec::{self, CodecError, HEADER_BYTES},
    protocol::{Attach, ErrorKind, Event, Reply, Request},
    socket,
};

/// Why a shim's answer is missing, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket cannot be reached, or the connection broke.
    #[error("cannot speak with the shim")]
    Io(#[from] io::Error),
    /// What came is no frame.
    #[error("cannot understand the shim")]
    Codec(#[from] CodecError),
    /// The shim refused.
    #[error("{message}")]
    Refused {
        /// What kind of failure.
        kind: ErrorKind,
        /// In the shim's words.
        message: String,
    },
}

/// One connection to a shim.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the socket at `path`.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Ok(Self {
            stream: socket::connect(path)?,
        })
    }

    /// Uses a stream that is connected already.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// Waits no longer than this for each answer. `None`: for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), ClientError> {
        Ok(self.stream.set_read_timeout(timeout)?)
    }

    /// Asks and returns the answer; a [`Reply::Error`] becomes [`ClientError::Refused`].
    pub fn request(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Reply, ClientError> {
        self.send(request, fds)?;
        match self.receive()? {
            Reply::Error { kind, message } => Err(ClientError::Refused { kind, message }),
            reply => Ok(reply),
        }
    }

    /// Turns the connection into the streams of a process, which may be silent for any time.
    pub fn attach(mut self, attach: Attach) -> Result<UnixStream, ClientError> {
        self.request(&Request::Attach(attach), &[])?;
        self.set_timeout(None)?;
        Ok(self.stream)
    }

    /// Turns the connection into a stream of events.
    pub fn events(mut self) -> Result<Events, ClientError> {
        self.request(&Request::Events, &[])?;
        Ok(Events { client: self })
    }

    fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
        let frame = codec::encode(request)?;
        let sent = hull_sys::fdpass::send(self.stream.as_fd(), &frame, fds)?;
        self.stream.write_all(&frame[sent..])?;
        Ok(())
    }

    /// Reads exactly one frame, so that what follows stays in the stream.
    fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header)?;
        let mut body = vec![0; codec::length(header)?];
        self.stream.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body).map_err(CodecError::from)?)
    }
}

/// What happens in a container, as it happens.
#[derive(Debug)]
pub struct Events {
    client: Client,
}

impl Events {
    /// Waits for the next event.
    pub fn wait(&mut self) -> Result<Event, ClientError> {
        self.client.receive()
    }

    /// The stream itself, with nothing read ahead.
    #[must_use]
    pub fn into_stream(self) -> UnixStream {
        self.client.stream
    }
}
