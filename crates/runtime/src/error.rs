//! What can go wrong, in words for people.

use std::{fmt::Display, io};

use thiserror::Error;

/// Why a container was not made or not changed. Nothing of it is left behind.
#[derive(Debug, Error)]
pub enum Error {
    /// The spec, or an argument, asks for something that is contradictory or malformed.
    #[error("{0}")]
    Invalid(String),
    /// The spec asks for something this kernel or this build does not have.
    #[error("{0}")]
    Unsupported(String),
    /// There is no such container, or no such process in it.
    #[error("{0}")]
    NotFound(String),
    /// The container's state does not allow it.
    #[error("{0}")]
    State(String),
    /// A step failed.
    #[error("{step}: {source}")]
    Step {
        /// What was attempted, on which object.
        step: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step failed inside the container; the text names the step and the cause.
    #[error("{0}")]
    Inside(String),
    /// A hook failed or took too long.
    #[error("{0}")]
    Hook(String),
}

impl Error {
    /// The kernel's error number, where a call failed.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Step { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// Why the program did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no such program (exit code 127).
    #[error("{0}")]
    NotFound(String),
    /// It is there but may not be executed (exit code 126).
    #[error("{0}")]
    NotExecutable(String),
    /// The container's state does not allow it.
    #[error("{0}")]
    State(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        match error {
            Error::State(text) => Self::State(text),
            other => Self::Other(other.to_string()),
        }
    }
}

/// Names the step that failed.
pub(crate) trait Context<T> {
    /// `step` says what was attempted, on which object.
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::Step {
            step: step(),
            source: error.into(),
        })
    }
}

pub(crate) fn invalid(text: impl Display) -> Error {
    Error::Invalid(text.to_string())
}

pub(crate) fn unsupported(text: impl Display) -> Error {
    Error::Unsupported(text.to_string())
}
