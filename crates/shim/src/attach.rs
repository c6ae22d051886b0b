//! A client that is attached to a process.

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    path::Path,
};

use hull_shim::protocol::Attach;
use rustix::io::Errno;

use crate::{
    escape::Escape,
    log::Stream,
    outbox::{Gone, Outbox, SPILL_BYTES_MAX},
    poll::{Interest, Poll, Token},
};

/// Docker's number for the stream that carries an error of the daemon's side.
const STREAM_SYSTEM_ERROR: u8 = 3;

/// No more than this is read from a client at a time: as much as a pipe takes.
const INPUT_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Client {
    socket: UnixStream,
    /// The process it is attached to.
    pub(crate) process: u32,
    stdout: bool,
    stderr: bool,
    /// With 8-byte headers: not for a terminal.
    is_framed: bool,
    escape: Option<Escape>,
    /// Read ahead with the request.
    early: Vec<u8>,
    /// It may still write to stdin.
    pub(crate) is_typing: bool,
    outbox: Outbox,
    interest: Interest,
    /// The process has nothing more to say: go when all is delivered.
    is_finishing: bool,
    /// The other side is gone for good; what it wrote may still be read.
    pub(crate) is_hung: bool,
}

/// What a client typed.
#[derive(Debug)]
pub(crate) enum Typed {
    Bytes(Vec<u8>),
    /// These, and then the keys that let it go.
    Detach(Vec<u8>),
    Nothing,
    /// It will type no more.
    End,
}

impl Client {
    /// `early` came with the request.
    pub(crate) fn new(
        socket: UnixStream,
        request: Attach,
        (process, has_terminal): (u32, bool),
        early: Vec<u8>,
        spill_directory: &Path,
    ) -> Self {
        let mut outbox = Outbox::spilling(spill_directory, SPILL_BYTES_MAX);
        if !has_terminal {
            let text = "output lost: this client fell too far behind\n";
            let mut farewell = header(STREAM_SYSTEM_ERROR, text.len()).to_vec();
            farewell.extend_from_slice(text.as_bytes());
            outbox.set_farewell(farewell);
        }
        Self {
            socket,
            process,
            stdout: request.stdout,
            stderr: request.stderr,
            is_framed: !has_terminal,
            escape: Escape::new(request.detach_keys).filter(|_| has_terminal),
            early,
            is_typing: request.stdin,
            outbox,
            interest: Interest::default(),
            is_finishing: false,
            is_hung: false,
        }
    }

    pub(crate) fn register(&mut self, number: u32, poll: &Poll) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        poll.add(&self.socket, Token::Client(number), self.interest)
    }

    /// Passes on what the process wrote.
    pub(crate) fn deliver(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Gone> {
        let (wanted, number) = match stream {
            Stream::Stdout => (self.stdout, 1),
            Stream::Stderr => (self.stderr, 2),
        };
        if !wanted || self.is_hung {
            return Ok(());
        }
        let header = header(number, bytes.len());
        let parts: [&[u8]; 2] = if self.is_framed {
            [&header, bytes]
        } else {
            [&[], bytes]
        };
        self.outbox.push(self.socket.as_fd(), &parts)?;
        self.is_finishing |= self.outbox.is_overrun();
        Ok(())
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        self.outbox.flush(self.socket.as_fd()).map(drop)
    }

    /// Output waits for this client.
    pub(crate) fn is_behind(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The process has nothing more to say.
    pub(crate) fn finish(&mut self) {
        self.is_finishing = true;
        self.is_typing = false;
    }

    /// Nothing more will happen with it.
    pub(crate) fn is_done(&self) -> bool {
        (self.is_finishing && self.outbox.is_empty()) || (self.is_hung && !self.is_typing)
    }

    /// The other side is gone: nothing more to send, and no more to hear of the socket.
    pub(crate) fn hang_up(&mut self, poll: &Poll) {
        self.is_hung = true;
        self.outbox = Outbox::unbounded();
        poll.remove(&self.socket);
    }

    /// What was typed since.
    pub(crate) fn typed(&mut self) -> Typed {
        if !self.is_typing {
            return Typed::Nothing;
        }
        let mut bytes = std::mem::take(&mut self.early);
        if bytes.is_empty() {
            bytes.resize(INPUT_BYTES, 0);
            match rustix::io::read(&self.socket, &mut bytes) {
                Ok(0) => return Typed::End,
                Ok(count) => bytes.truncate(count),
                Err(Errno::AGAIN | Errno::INTR) => return Typed::Nothing,
                Err(_) => return Typed::End,
            }
        }
        let Some(escape) = &mut self.escape else {
            return Typed::Bytes(bytes);
        };
        let mut passed = Vec::with_capacity(bytes.len());
        match escape.filter(&bytes, &mut passed) {
            true => Typed::Detach(passed),
            false => Typed::Bytes(passed),
        }
    }

    /// Waits for what matters now. `takes_input`: the process's stdin has room.
    pub(crate) fn update_interest(&mut self, number: u32, takes_input: bool, poll: &Poll) {
        let interest = Interest {
            read: self.is_typing && takes_input,
            write: !self.outbox.is_empty(),
        };
        if interest != self.interest && !self.is_hung {
            self.interest = interest;
            if poll
                .modify(&self.socket, Token::Client(number), interest)
                .is_err()
            {
                self.hang_up(poll);
            }
        }
    }

    /// Ends the connection so that the other side sees an end and not an error: the kernel makes
    /// one of input that nobody read.
    pub(crate) fn close(self, poll: &Poll) {
        poll.remove(&self.socket);
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let mut rest = [0; 4096];
        while matches!(rustix::io::read(&self.socket, &mut rest), Ok(count) if count > 0) {}
    }
}

/// Docker's header: the stream, and how many bytes follow.
fn header(stream: u8, length: usize) -> [u8; 8] {
    let mut header = [stream, 0, 0, 0, 0, 0, 0, 0];
    // Reads are far shorter than 4 GiB.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    header[4..].copy_from_slice(&length.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_the_stream_and_the_length() {
        assert_eq!(header(2, 0x0102), [2, 0, 0, 0, 0, 0, 1, 2]);
    }
}
