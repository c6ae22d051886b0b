//! A connection of the daemon's: requests in, answers and events out.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use hull_shim::{
    codec::{self, CodecError, Decoder},
    protocol::{Event, Exit, Request},
};
use serde::Serialize;

use crate::{
    outbox::{Gone, Outbox},
    poll::{Interest, Poll, Token},
};

/// A daemon that does not take its answers is let go. Answers are short, so this is thousands.
const UNSENT_BYTES_MAX: u64 = 4 << 20;

/// Bytes taken at a time.
const RECEIVE_BYTES: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: UnixStream,
    decoder: Decoder,
    /// Files that came along and no request has taken.
    pub(crate) fds: Vec<OwnedFd>,
    outbox: Outbox,
    /// Events go here. Requests may come all the same: a daemon that has heard of the exit lets the
    /// shim go without another connection, for which it may have no descriptor.
    pub(crate) is_events: bool,
    /// Ends of exec sessions that were told here and may not be out yet: nothing else knows of them.
    told: Vec<(String, Exit)>,
    interest: Interest,
}

impl Connection {
    pub(crate) fn new(socket: UnixStream, number: u32, poll: &Poll) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        poll.add(&socket, Token::Connection(number), Interest::READ)?;
        Ok(Self {
            socket,
            decoder: Decoder::default(),
            fds: Vec::new(),
            outbox: Outbox::unbounded(),
            is_events: false,
            told: Vec::new(),
            interest: Interest::READ,
        })
    }

    /// Takes what has come. `Err`: the other side is gone.
    pub(crate) fn receive(&mut self) -> Result<(), Gone> {
        let mut bytes = [0; RECEIVE_BYTES];
        loop {
            match hull_sys::fdpass::receive(&self.socket, &mut bytes, &mut self.fds) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.decoder.push(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    /// The next request, if all of it has come.
    pub(crate) fn next(&mut self) -> Result<Option<Request>, CodecError> {
        self.decoder.next()
    }

    /// Sends an answer or an event, now or when there is room.
    pub(crate) fn send<T: Serialize>(&mut self, message: &T) -> Result<(), Gone> {
        let frame = codec::encode(message).map_err(|_| Gone)?;
        self.outbox.push(self.socket.as_fd(), &[&frame])?;
        if self.outbox.len() > UNSENT_BYTES_MAX {
            Err(Gone)
        } else {
            Ok(())
        }
    }

    /// Sends an event.
    pub(crate) fn tell(&mut self, event: &Event) -> Result<(), Gone> {
        if let Event::ExecExited { id, exit } = event {
            self.told.push((id.clone(), exit.clone()));
        }
        self.send(event)?;
        self.forget_what_is_out();
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Gone> {
        self.outbox.flush(self.socket.as_fd())?;
        self.forget_what_is_out();
        Ok(())
    }

    fn forget_what_is_out(&mut self) {
        if self.outbox.is_empty() {
            self.told.clear();
        }
    }

    /// What was told and may never have left.
    pub(crate) fn into_untold(self) -> Vec<(String, Exit)> {
        self.told
    }

    pub(crate) fn update_interest(&mut self, number: u32, poll: &Poll) -> Result<(), Gone> {
        let interest = Interest {
            read: true,
            write: !self.outbox.is_empty(),
        };
        if interest == self.interest {
            return Ok(());
        }
        self.interest = interest;
        poll.modify(&self.socket, Token::Connection(number), interest)
            .map_err(|_| Gone)
    }

    /// The socket, and what was read of what comes after the requests.
    pub(crate) fn into_raw(mut self, poll: &Poll) -> Result<(UnixStream, Vec<u8>), Gone> {
        // The answer must be out: after it the bytes are the process's.
        self.outbox.flush(self.socket.as_fd())?;
        if !self.outbox.is_empty() {
            return Err(Gone);
        }
        poll.remove(&self.socket);
        Ok((self.socket, self.decoder.into_rest()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_end_of_a_session_is_kept_until_it_is_out() {
        let (mut daemon, ours) = UnixStream::pair().unwrap();
        let poll = Poll::new().unwrap();
        let mut connection = Connection::new(ours, 1, &poll).unwrap();
        let ended = |id: &str| Event::ExecExited {
            id: id.to_owned(),
            exit: Exit {
                code: 0,
                finished_at_ns: 2,
                started_at_ns: 1,
                out_of_memory: false,
            },
        };
        connection.tell(&ended("heard")).unwrap();
        assert_eq!(connection.told.len(), 0);
        while connection.outbox.is_empty() {
            connection.send(&"x".repeat(50_000)).unwrap();
        }
        connection.tell(&ended("waiting")).unwrap();
        assert_eq!(connection.told[0].0, "waiting");
        daemon.set_nonblocking(true).unwrap();
        while !connection.told.is_empty() {
            while daemon.read(&mut [0; 50_000]).is_ok() {}
            connection.flush().unwrap();
        }
        while connection.tell(&ended("lost")).is_ok() {
            let _ = connection.send(&"x".repeat(50_000));
        }
        let untold = connection.into_untold();
        assert!(untold.iter().any(|(id, _)| id == "lost"));
    }
}
