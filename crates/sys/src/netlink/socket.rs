//! Sends requests and reads answers. The kernel works requests off inside the send call, so an
//! answer is there when the send returns; only dumps come in portions.

#![expect(unsafe_code, reason = "rustix lacks netlink's socket options")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname,
    netlink::{NETFILTER, SocketAddrNetlink},
    recv, send, socket_with,
};

use super::message::{ACKNOWLEDGE, Attributes, Message, Packet, packets, u32_at};

/// The kernel fills dumps in pieces of at most 32 KiB; notifications are smaller.
const BUFFER_SIZE: usize = 64 * 1024;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The error code, then the request's header; attributes follow.
const ERROR_FIXED: usize = 20;
const ERROR_TEXT: u16 = 1;

const SOL_NETLINK: i32 = 270;
const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_CAP_ACK: i32 = 10;
const NETLINK_EXT_ACK: i32 = 11;
const NETLINK_GET_STRICT_CHK: i32 = 12;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// Sending or receiving failed.
    #[error("cannot talk to the kernel over netlink")]
    Transfer(#[source] io::Error),
    /// The kernel said no.
    #[error("cannot {action}{detail}")]
    Refused {
        /// What was asked.
        action: String,
        /// The kernel's own words in brackets, or empty.
        detail: String,
        /// The error number.
        source: io::Error,
    },
}

impl Error {
    /// The error number the kernel gave.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(source) | Self::Transfer(source) | Self::Refused { source, .. } => {
                source.raw_os_error()
            }
        }
    }

    /// There is no such link, table, route …
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.errno(),
            Some(libc::ENODEV | libc::ENOENT | libc::ENXIO)
        )
    }

    /// It is there already.
    pub fn is_already_there(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
}

/// Which part of the kernel a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// nftables and connection tracking.
    Netfilter,
}

/// A netlink socket of the namespace it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> Result<Self, Error> {
        Self::open_raw(protocol).map_err(Error::Open)
    }

    /// Opens one that is sent the notifications of `groups`, and never blocks.
    pub fn subscribe(protocol: Protocol, groups: &[u32]) -> Result<Self, Error> {
        let socket = Self::open_raw(protocol).map_err(Error::Open)?;
        for group in groups {
            socket
                .set(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, *group)
                .map_err(Error::Open)?;
        }
        rustix::io::ioctl_fionbio(&socket.fd, true).map_err(|e| Error::Open(e.into()))?;
        Ok(socket)
    }

    fn open_raw(protocol: Protocol) -> io::Result<Self> {
        let number = match protocol {
            // NETLINK_ROUTE is 0, which rustix spells so.
            Protocol::Route => None,
            Protocol::Netfilter => Some(NETFILTER),
        };
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            number,
        )?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        let port = SocketAddrNetlink::try_from(getsockname(&fd)?)?.pid();
        let socket = Self {
            fd,
            port,
            sequence: 0,
            buffer: Vec::new(),
        };
        for option in [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK] {
            // Refinements of newer kernels: without them errors say less and dumps say more.
            let _ = socket.set(SOL_NETLINK, option, 1);
        }
        Ok(socket)
    }

    /// The number by which notifications name this socket as their cause.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sends all requests at once and waits for each to be done; gives what was answered.
    ///
    /// All are attempted; the first refusal is the error.
    pub fn exchange(&mut self, messages: &[Message]) -> Result<Vec<Answer>, Error> {
        let first = self.send(messages, true)?;
        let mut answers = Vec::new();
        let mut open = vec![true; messages.len()];
        let mut refusal: Option<(usize, Error)> = None;
        while open.contains(&true) {
            let length = self.receive(RecvFlags::empty()).map_err(Error::Transfer)?;
            for packet in packets(&self.buffer[..length]) {
                let index = packet.sequence.wrapping_sub(first) as usize;
                let Some(message) = messages.get(index) else {
                    continue;
                };
                match outcome(&packet, message) {
                    Outcome::Data => answers.push(Answer::new(index, &packet)),
                    Outcome::Done => open[index] = false,
                    Outcome::Refused(error) => {
                        open[index] = false;
                        if refusal.as_ref().is_none_or(|(earlier, _)| index < *earlier) {
                            refusal = Some((index, error));
                        }
                    }
                }
            }
        }
        refusal.map_or(Ok(answers), |(_, error)| Err(error))
    }

    /// Sends requests that form one transaction: all or nothing.
    pub(crate) fn transact(&mut self, messages: &[Message]) -> Result<(), Error> {
        let first = self.send(messages, false)?;
        let mut outcome_of_all = None;
        loop {
            let length = match self.receive(RecvFlags::DONTWAIT) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::Transfer(error)),
            };
            for packet in packets(&self.buffer[..length]) {
                let index = packet.sequence.wrapping_sub(first) as usize;
                let Some(message) = messages.get(index) else {
                    continue;
                };
                match outcome(&packet, message) {
                    Outcome::Data => {}
                    Outcome::Done => drop(outcome_of_all.get_or_insert(Ok(()))),
                    Outcome::Refused(error) if !matches!(outcome_of_all, Some(Err(_))) => {
                        outcome_of_all = Some(Err(error));
                    }
                    Outcome::Refused(_) => {}
                }
            }
        }
        let silent = || Error::Transfer(io::Error::other("the transaction was not acknowledged"));
        outcome_of_all.unwrap_or_else(|| Err(silent()))
    }

    /// Calls `see` with each notification that waits. `false`: some were lost.
    pub fn notifications(&mut self, mut see: impl FnMut(&Packet<'_>)) -> Result<bool, Error> {
        let mut complete = true;
        loop {
            match self.receive(RecvFlags::DONTWAIT) {
                Ok(length) => packets(&self.buffer[..length]).for_each(|packet| see(&packet)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(complete),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => complete = false,
                Err(error) => return Err(Error::Transfer(error)),
            }
        }
    }

    fn send(&mut self, messages: &[Message], acknowledge: bool) -> Result<u32, Error> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(messages.iter().map(|m| m.bytes.len()).sum());
        for message in messages {
            self.sequence = self.sequence.wrapping_add(1);
            if acknowledge && !message.is_dump() {
                let mut message = message.clone();
                message.flag(ACKNOWLEDGE);
                message.write(self.sequence, &mut bytes);
            } else {
                message.write(self.sequence, &mut bytes);
            }
        }
        self.make_room(bytes.len()).map_err(Error::Transfer)?;
        loop {
            match send(&self.fd, &bytes, SendFlags::empty()) {
                Ok(_) => return Ok(first),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::Transfer(errno.into())),
            }
        }
    }

    /// A message must fit the send buffer, and root may ask for more than the usual limit.
    fn make_room(&self, length: usize) -> io::Result<()> {
        const USUAL: usize = 96 * 1024;
        if length > USUAL {
            let wanted = u32::try_from(length).map_err(io::Error::other)?;
            self.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, wanted)?;
            self.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted)?;
        }
        Ok(())
    }

    fn receive(&mut self, flags: RecvFlags) -> io::Result<usize> {
        self.buffer.resize(BUFFER_SIZE, 0);
        loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), flags) {
                Ok((length, _)) => return Ok(length.min(BUFFER_SIZE)),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn set(&self, level: i32, option: i32, value: u32) -> io::Result<()> {
        // SAFETY: the value is a live u32 and its size is passed along.
        let code = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<u32>() as libc::socklen_t,
            )
        };
        if code == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A message that answers a request.
#[derive(Debug)]
pub struct Answer {
    /// Which of the requests, counted from 0.
    pub request: usize,
    /// What it is; the numbers belong to the protocol.
    pub kind: u16,
    /// Fixed part and attributes.
    pub payload: Vec<u8>,
}

impl Answer {
    fn new(request: usize, packet: &Packet<'_>) -> Self {
        Self {
            request,
            kind: packet.kind,
            payload: packet.payload.to_vec(),
        }
    }
}

enum Outcome {
    Data,
    Done,
    Refused(Error),
}

fn outcome(packet: &Packet<'_>, message: &Message) -> Outcome {
    if packet.kind != ERROR && packet.kind != DONE {
        return Outcome::Data;
    }
    let code = u32_at(packet.payload, 0).unwrap_or(0).cast_signed();
    if code == 0 {
        return Outcome::Done;
    }
    let text = Attributes::after(packet.payload, ERROR_FIXED).text(ERROR_TEXT);
    Outcome::Refused(Error::Refused {
        action: message.action.to_string(),
        detail: text.map(|text| format!(" ({text})")).unwrap_or_default(),
        source: io::Error::from_raw_os_error(code.wrapping_neg()),
    })
}
