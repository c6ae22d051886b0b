//! Why a call failed.

use std::io;

use http::StatusCode;

use crate::{decode::DecodeError, stream::FrameError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text is no address of a daemon.
    #[error("unable to parse docker host `{host}`")]
    Address {
        /// What was given.
        host: String,
    },
    /// A thing that is asked for must have a name.
    #[error("invalid {kind} name or ID: value is empty")]
    Nameless {
        /// What kind of thing: `container`, `volume` …
        kind: &'static str,
    },
    /// Nobody answers there. The text is the one Docker's users know.
    #[error("Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")]
    Connect {
        /// Where.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The request cannot be written down (a name with a line feed, for example).
    #[error("cannot make the request")]
    Request {
        /// Why.
        source: http::Error,
    },
    /// The connection broke, before the answer or in the middle of it.
    #[error("error during connect: the daemon broke off its answer to {path}")]
    Exchange {
        /// The operation.
        path: String,
        /// Why.
        source: hyper::Error,
    },
    /// The daemon said no. The text is its own.
    #[error("{message}")]
    Refused {
        /// How it said so.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// It said no, and not why. The text is the one Docker's users know.
    #[error(
        "request returned {status} for API route and version {url}, check if the server supports the requested API version"
    )]
    Unexplained {
        /// How it said so.
        status: StatusCode,
        /// The request's address, as Docker's client writes it.
        url: String,
    },
    /// It sends us elsewhere, which no daemon does.
    #[error("error during connect: {method} {path}: unexpected redirect in response, to {to}")]
    Redirected {
        /// The operation.
        method: http::Method,
        /// And of what.
        path: String,
        /// Where to.
        to: String,
    },
    /// It would change something, and only what would be done is asked for.
    #[error("{method} {path} changes something, and is not sent in a dry run")]
    Withheld {
        /// What would be sent.
        method: http::Method,
        /// Where to.
        path: String,
    },
    /// The daemon did not hand the connection over.
    #[error("unable to upgrade to tcp, received {status}")]
    NotUpgraded {
        /// What it answered.
        status: StatusCode,
    },
    /// The answer is not of the expected shape.
    #[error("the daemon's answer to {path} is malformed")]
    Answer {
        /// The operation.
        path: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// There is no answer where there should be one.
    #[error("the daemon's answer to {path} is empty")]
    Empty {
        /// The operation.
        path: String,
    },
    /// The answer has the shape, and not what matters.
    #[error("the daemon's answer to {path} is malformed: it has no {what}")]
    Lacking {
        /// The operation.
        path: String,
        /// The member.
        what: &'static str,
    },
    /// It began to answer, and does not go on.
    #[error(
        "error during connect: the daemon stopped in the middle of its answer to {path} (nothing came for {seconds} seconds)"
    )]
    Stalled {
        /// The operation.
        path: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A stream of frames is damaged.
    #[error("the stream is damaged")]
    Frame {
        /// How.
        #[from]
        source: FrameError,
    },
}

impl ClientError {
    /// The status the daemon answered with, if it answered.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. }
            | Self::Unexplained { status, .. }
            | Self::NotUpgraded { status } => Some(*status),
            _ => None,
        }
    }

    /// Whether it was not sent, for it would change something.
    pub fn is_withheld(&self) -> bool {
        matches!(self, Self::Withheld { .. })
    }

    /// `Ok` if what matters in an answer is there.
    pub(crate) fn unless(is_there: bool, path: &str, what: &'static str) -> Result<(), Self> {
        let path = || path.to_owned();
        is_there
            .then_some(())
            .ok_or_else(|| Self::Lacking { path: path(), what })
    }

    /// Whether the daemon does not know the object.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }
}
