//! What waits to be sent to a client that reads slowly.
//!
//! A little is kept in memory, the rest in a file without a name, so that a client that does not
//! read costs neither the container its time nor the shim its memory:
//!
//! ```text
//! push ──▶ socket, if nothing waits
//!      └─▶ memory (MEMORY_BYTES_MAX) ──▶ spill file (SPILL_BYTES_MAX) ──▶ overrun
//! ```
//!
//! After an overrun nothing more is taken; what waits is delivered, and then a farewell that says
//! what happened.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, Mode, OFlags},
    io::Errno,
};

/// What is kept in memory for one client: as much as a pipe holds.
const MEMORY_BYTES_MAX: usize = 64 << 10;

/// How far a client may fall behind. A foreground `run` piped into something slow needs room, a
/// disk has an end.
pub(crate) const SPILL_BYTES_MAX: u64 = 1 << 30;

/// Disk space is given back in steps of this.
const PUNCH_BYTES: u64 = 4 << 20;

/// The other side is gone.
#[derive(Debug)]
pub(crate) struct Gone;

#[derive(Debug)]
pub(crate) struct Outbox {
    memory: Vec<u8>,
    /// How much of `memory` is sent.
    sent: usize,
    spill: Option<Spill>,
    /// Where spill files go; `None`: memory only, of any length. (For few and short messages.)
    directory: Option<PathBuf>,
    spill_bytes_max: u64,
    farewell: Option<Vec<u8>>,
    is_overrun: bool,
}

#[derive(Debug)]
struct Spill {
    file: File,
    read_at: u64,
    write_at: u64,
    punched_to: u64,
}

impl Outbox {
    /// With a spill file in `directory` when it is needed.
    pub(crate) fn spilling(directory: &Path, spill_bytes_max: u64) -> Self {
        Self {
            directory: Some(directory.to_owned()),
            spill_bytes_max,
            ..Self::unbounded()
        }
    }

    /// Memory only. The caller looks at [`len`](Self::len).
    pub(crate) fn unbounded() -> Self {
        Self {
            memory: Vec::new(),
            sent: 0,
            spill: None,
            directory: None,
            spill_bytes_max: 0,
            farewell: None,
            is_overrun: false,
        }
    }

    /// What is sent last, after an overrun.
    pub(crate) fn set_farewell(&mut self, farewell: Vec<u8>) {
        self.farewell = Some(farewell);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> u64 {
        let spilled = self
            .spill
            .as_ref()
            .map_or(0, |spill| spill.write_at - spill.read_at);
        (self.memory.len() - self.sent) as u64 + spilled
    }

    /// Nothing more is taken: the client fell too far behind.
    pub(crate) fn is_overrun(&self) -> bool {
        self.is_overrun
    }

    /// Sends `parts` after all that waits, or keeps them: all of them or, after an overrun, none.
    pub(crate) fn push(&mut self, socket: BorrowedFd<'_>, parts: &[&[u8]]) -> Result<(), Gone> {
        if self.is_overrun {
            return Ok(());
        }
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut sent = 0;
        if self.is_empty() {
            let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            sent = progress(rustix::io::writev(socket, &slices))?;
            if sent == total {
                return Ok(());
            }
        }
        let mut skip = sent;
        let mut rest = Vec::with_capacity(total - sent);
        for part in parts {
            let from = skip.min(part.len());
            rest.extend_from_slice(&part[from..]);
            skip -= from;
        }
        self.keep(rest);
        Ok(())
    }

    /// Sends what waits, as far as the socket takes it. True: nothing waits any more.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Gone> {
        loop {
            if self.sent == self.memory.len() {
                self.refill();
                if self.memory.is_empty() {
                    return Ok(true);
                }
            }
            match progress(rustix::io::write(socket, &self.memory[self.sent..]))? {
                0 => return Ok(false),
                count => self.sent += count,
            }
        }
    }

    fn keep(&mut self, bytes: Vec<u8>) {
        let fits = self.memory.len() - self.sent + bytes.len() <= MEMORY_BYTES_MAX;
        if self.directory.is_none() || (self.spill.is_none() && (fits || self.is_empty())) {
            self.memory.drain(..self.sent);
            self.sent = 0;
            self.memory.extend(bytes);
        } else if self.spill(&bytes).is_err() {
            self.is_overrun = true;
        }
    }

    fn spill(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.len() + bytes.len() as u64 > self.spill_bytes_max {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let spill = match (&mut self.spill, &self.directory) {
            (Some(spill), _) => spill,
            (empty, Some(directory)) => empty.insert(Spill::new(directory)?),
            (None, None) => return Err(io::ErrorKind::Unsupported.into()),
        };
        // What a full disk takes only in part is overwritten or never read.
        spill.file.write_all_at(bytes, spill.write_at)?;
        spill.write_at += bytes.len() as u64;
        Ok(())
    }

    /// Takes the next piece of what waits into memory; nothing, if nothing waits.
    fn refill(&mut self) {
        self.sent = 0;
        self.memory.clear();
        if let Some(spill) = &mut self.spill {
            if spill.read(&mut self.memory).is_err() {
                // The disk lost it: no later byte may pass for the next one.
                self.is_overrun = true;
                self.memory.clear();
            }
            if self.memory.is_empty() {
                self.spill = None;
            }
        }
        if self.memory.is_empty() {
            self.memory = match self.is_overrun {
                true => self.farewell.take().unwrap_or_default(),
                false => Vec::new(),
            };
        }
    }
}

impl Spill {
    fn new(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(
            directory,
            flags,
            Mode::from_raw_mode(0o600),
        )?);
        Ok(Self {
            file,
            read_at: 0,
            write_at: 0,
            punched_to: 0,
        })
    }

    fn read(&mut self, memory: &mut Vec<u8>) -> io::Result<()> {
        let left = usize::try_from(self.write_at - self.read_at).unwrap_or(usize::MAX);
        memory.resize(left.min(MEMORY_BYTES_MAX), 0);
        self.file.read_exact_at(memory, self.read_at)?;
        self.read_at += memory.len() as u64;
        if self.read_at - self.punched_to >= PUNCH_BYTES {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Where it cannot be done, the space comes back with the file's end.
            let length = self.read_at - self.punched_to;
            let _ = rustix::fs::fallocate(self.file.as_fd(), flags, self.punched_to, length);
            self.punched_to = self.read_at;
        }
        Ok(())
    }
}

/// Bytes that went out; none, if the socket is full.
pub(crate) fn progress(result: Result<usize, Errno>) -> Result<usize, Gone> {
    match result {
        Ok(count) => Ok(count),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        Err(_) => Err(Gone),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    /// Reads and flushes until both have nothing left.
    fn receive(outbox: &mut Outbox, ours: &UnixStream, theirs: &mut UnixStream) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let empty = outbox.flush(ours.as_fd()).unwrap();
            let before = all.len();
            let _ = theirs.read_to_end(&mut all);
            if empty && all.len() == before {
                return all;
            }
        }
    }

    #[test]
    fn nothing_is_lost_or_reordered_between_socket_memory_and_file() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = pair();
        let mut outbox = Outbox::spilling(directory.path(), 1 << 30);
        let mut expected = Vec::new();
        for n in 0..3000_u32 {
            let body = vec![n as u8; 1 + (n as usize * 37) % 5000];
            outbox
                .push(ours.as_fd(), &[&n.to_be_bytes(), &body])
                .unwrap();
            expected.extend(n.to_be_bytes());
            expected.extend(body);
            if n % 1000 == 500 {
                assert!(outbox.memory.capacity() <= 4 * MEMORY_BYTES_MAX);
                let seen = receive(&mut outbox, &ours, &mut theirs);
                assert_eq!(seen, expected);
                expected.clear();
            }
        }
        assert_eq!(receive(&mut outbox, &ours, &mut theirs), expected);
        assert!(outbox.is_empty() && outbox.spill.is_none());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_client_too_far_behind_gets_what_was_kept_and_a_farewell() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, mut theirs) = pair();
        let mut outbox = Outbox::spilling(directory.path(), 1 << 20);
        outbox.set_farewell(b"too slow".to_vec());
        let mut pushed = 0;
        while !outbox.is_overrun() {
            outbox.push(ours.as_fd(), &[&[7; 1000]]).unwrap();
            pushed += 1000;
        }
        let seen = receive(&mut outbox, &ours, &mut theirs);
        assert_eq!(seen.len(), pushed - 1000 + 8);
        assert!(seen.ends_with(b"\x07too slow"));
    }

    #[test]
    fn a_client_that_left_is_noticed() {
        let (ours, theirs) = pair();
        drop(theirs);
        assert!(Outbox::unbounded().push(ours.as_fd(), &[b"x"]).is_err());
    }
}
