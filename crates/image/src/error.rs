//! What can go wrong with images. The texts clients compare are Docker's.

use std::io;

use hull_oci::{Digest, InvalidDigest, InvalidPlatform, InvalidReference, Platform};

/// A failed operation on images, layers or archives.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image by this name or id.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No list of manifests was made here under this name.
    #[error("No such manifest: {0}")]
    NoSuchList(String),
    /// The image exists, but not for this platform.
    #[error(
        "image with reference {reference} was found but does not provide the specified platform ({platform})"
    )]
    NoSuchPlatform {
        /// As the user typed it.
        reference: String,
        /// What was asked for.
        platform: Box<Platform>,
    },
    /// Several images' ids begin with it.
    #[error("ambiguous reference: multiple images found with provided prefix: {0}")]
    AmbiguousPrefix(String),
    /// No such file in a container's root.
    #[error("Could not find the file {path} in container")]
    NoSuchFile {
        /// As the user typed it.
        path: String,
    },
    /// It is used, or referenced elsewhere.
    #[error("conflict: {0}")]
    Conflict(String),
    /// No reference.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// No digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// No platform.
    #[error(transparent)]
    Platform(#[from] InvalidPlatform),
    /// What the caller sent makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A tar stream is damaged or hostile.
    #[error("invalid tar: {0}")]
    Tar(String),
    /// Bytes do not have the digest they should have.
    #[error("digest mismatch: expected {expected}, got {actual}")]
    Mismatch {
        /// What a document promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A blob that was read while it arrived did not come whole.
    #[error("{0}")]
    Interrupted(String),
    /// A document is damaged.
    #[error("cannot read {what} {digest}")]
    Document {
        /// `manifest`, `index`, `configuration`.
        what: &'static str,
        /// Which.
        digest: Digest,
        /// Why.
        source: serde_json::Error,
    },
    /// The kernel or the disk said no.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted, on which object.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

/// The kinds of errors, as callers tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 400.
    Invalid,
    /// 500.
    Internal,
}

/// What operations on images return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSuchImage(_)
            | Self::NoSuchList(_)
            | Self::NoSuchPlatform { .. }
            | Self::NoSuchFile { .. } => Kind::NotFound,
            Self::Conflict(_) => Kind::Conflict,
            Self::AmbiguousPrefix(_)
            | Self::Reference(_)
            | Self::Digest(_)
            | Self::Platform(_)
            | Self::Invalid(_)
            | Self::Tar(_)
            | Self::Mismatch { .. } => Kind::Invalid,
            Self::Interrupted(_) | Self::Document { .. } | Self::Io { .. } => Kind::Internal,
        }
    }
}

/// Says what was attempted when the kernel or the disk says no.
pub(crate) trait Context<T> {
    /// `what` completes "cannot …".
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| {
            let source: io::Error = cause.into();
            // An error that already tells its story travels through readers as the inner value.
            match source.downcast::<Error>() {
                Ok(inner) => inner,
                Err(source) => Error::Io {
                    what: what().into(),
                    source,
                },
            }
        })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
