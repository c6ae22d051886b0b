//! The words between the process that makes a container and the one that becomes it.
//!
//! A word is one letter and a text. Between the two it travels over a socket pair that keeps
//! messages apart; from whoever starts a container later, over a stream, one word each way. That the
//! program runs is told by silence: its `execve` closes the socket.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use hull_sys::fdpass;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::{Error, StartError};

/// Error texts are cut here.
const WORD_BYTES_MAX: usize = 16 << 10;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    /// Heard before its time.
    early: RefCell<Option<(Word, Vec<OwnedFd>)>>,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// To the child: go on. With its pid in the caller's pid namespace.
    Go(String),
    /// To the child: execute the program.
    Start,
    /// From the stage before the child: the child's pid.
    Pid(String),
    /// From the child: run the hooks of the runtime's side.
    Hooks,
    /// From the child: all is made. A terminal's master comes along.
    Ready,
    /// From the child: a step failed.
    Failed(String),
    /// From the child: no such program.
    NotFound(String),
    /// From the child: no program one may execute.
    NotExecutable(String),
}

impl Word {
    fn parts(&self) -> (u8, &str) {
        match self {
            Self::Go(text) => (b'g', text),
            Self::Start => (b's', ""),
            Self::Pid(text) => (b'p', text),
            Self::Hooks => (b'h', ""),
            Self::Ready => (b'r', ""),
            Self::Failed(text) => (b'f', text),
            Self::NotFound(text) => (b'n', text),
            Self::NotExecutable(text) => (b'x', text),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (letter, text) = bytes.split_first()?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some(match letter {
            b'g' => Self::Go(text),
            b's' => Self::Start,
            b'p' => Self::Pid(text),
            b'h' => Self::Hooks,
            b'r' => Self::Ready,
            b'f' => Self::Failed(text),
            b'n' => Self::NotFound(text),
            b'x' => Self::NotExecutable(text),
            _ => return None,
        })
    }
}

impl Channel {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (one, other) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        Ok((Self::new(one), Self::new(other)))
    }

    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            early: RefCell::default(),
        }
    }

    /// The next [`hear`](Self::hear) gives this.
    pub(crate) fn hear_again(&self, word: (Word, Vec<OwnedFd>)) {
        self.early.replace(Some(word));
    }

    pub(crate) fn say(&self, word: &Word) -> io::Result<()> {
        self.say_with(word, &[])
    }

    pub(crate) fn say_with(&self, word: &Word, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let (letter, text) = word.parts();
        let text = &text.as_bytes()[..text.len().min(WORD_BYTES_MAX - 1)];
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.push(letter);
        bytes.extend(text);
        fdpass::send(&self.socket, &bytes, fds)?;
        Ok(())
    }

    /// From now on [`hear`](Self::hear) gives up after this long.
    pub(crate) fn hear_within(&self, patience: std::time::Duration) -> io::Result<()> {
        use rustix::net::sockopt::{Timeout, set_socket_timeout};
        Ok(set_socket_timeout(
            &self.socket,
            Timeout::Recv,
            Some(patience),
        )?)
    }

    /// `None`: the other end is gone.
    pub(crate) fn hear(&self) -> io::Result<Option<(Word, Vec<OwnedFd>)>> {
        if let Some(word) = self.early.take() {
            return Ok(Some(word));
        }
        let mut bytes = vec![0; WORD_BYTES_MAX];
        let mut fds = Vec::new();
        let length = loop {
            match fdpass::receive(&self.socket, &mut bytes, &mut fds) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The other end left without hearing us out. What it had said comes after this.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                result => break result?,
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let word = Word::parse(&bytes[..length]);
        let word = word.ok_or_else(|| io::Error::other("an unknown word on the channel"))?;
        Ok(Some((word, fds)))
    }

    /// Lets the program start and waits for word of it.
    pub(crate) fn start(&self) -> Result<(), StartError> {
        let gone = |_| StartError::State("the container's process is gone".into());
        self.say(&Word::Start).map_err(gone)?;
        self.outcome()
    }

    /// Waits for silence, the sign that the program was executed.
    pub(crate) fn outcome(&self) -> Result<(), StartError> {
        match self.hear() {
            Ok(None) => Ok(()),
            Ok(Some((word, _))) => Err(start_error(word)),
            Err(error) => Err(StartError::Other(format!("wait for the program: {error}"))),
        }
    }
}

/// A word that stands for a failure, as an error.
fn start_error(word: Word) -> StartError {
    match word {
        Word::NotFound(text) => StartError::NotFound(text),
        Word::NotExecutable(text) => StartError::NotExecutable(text),
        Word::Failed(text) => StartError::Other(text),
        other => StartError::Other(format!("unexpected word {other:?} from the container")),
    }
}

/// The same, before the program was to start.
pub(crate) fn create_error(word: Word) -> Error {
    match word {
        Word::NotFound(text) | Word::NotExecutable(text) | Word::Failed(text) => {
            Error::Inside(text)
        }
        other => Error::Inside(format!("unexpected word {other:?} from the container")),
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_one_by_one_and_an_end_is_none() {
        let (ours, theirs) = Channel::pair().unwrap();
        let words = [
            Word::Go("7".into()),
            Word::Failed("because".into()),
            Word::Ready,
        ];
        for word in &words {
            ours.say(word).unwrap();
        }
        drop(ours);
        for word in words {
            assert_eq!(theirs.hear().unwrap().unwrap().0, word);
        }
        assert!(theirs.hear().unwrap().is_none());
    }

    #[test]
    fn last_words_of_one_who_did_not_listen_arrive() {
        let (ours, theirs) = Channel::pair().unwrap();
        ours.say(&Word::Go("7".into())).unwrap();
        theirs.say(&Word::Failed("because".into())).unwrap();
        drop(theirs);
        assert_eq!(
            ours.hear().unwrap().unwrap().0,
            Word::Failed("because".into())
        );
        assert!(ours.hear().unwrap().is_none());
    }

    #[test]
    fn silence_means_that_the_program_runs() {
        let (ours, theirs) = Channel::pair().unwrap();
        drop(theirs);
        assert!(ours.outcome().is_ok());
        let (ours, theirs) = Channel::pair().unwrap();
        theirs.say(&Word::NotFound("no".into())).unwrap();
        assert!(matches!(ours.outcome(), Err(StartError::NotFound(_))));
    }
}
