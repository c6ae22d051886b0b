//! What can go wrong with a verb, and of which kind it is.
//!
//! Where Docker's clients compare texts, the texts are Docker's.

use std::io;

/// The outcome of a verb.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which kind of failure: a front end maps kinds to its own statuses, never texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The named object does not exist.
    NotFound,
    /// The request makes no sense.
    Invalid,
    /// The object's state, or another object, is in the way.
    Conflict,
    /// It is so already.
    NotModified,
    /// Nobody knows who asks.
    Unauthorized,
    /// It may not be done.
    Forbidden,
    /// Hull has no such thing.
    NotImplemented,
    /// It cannot be done now; later it may.
    Unavailable,
    /// Hull or the host failed.
    Internal,
}

/// Why a verb did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container under that name, id or prefix.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// More than one container's id starts like that.
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousContainer(String),
    /// No exec session under that id.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// No image under that name.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// No network under that name.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// No volume under that name.
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    /// No plugin of that name provides volumes.
    #[error("error looking up volume plugin {name}: {source}")]
    NoSuchVolumeDriver {
        /// The driver.
        name: String,
        /// Why not.
        source: hull_plugin::Error,
    },
    /// A volume's driver refused, or did not answer.
    #[error("{attempt}: {source}")]
    VolumeDriver {
        /// What was attempted, on which volume.
        attempt: String,
        /// The driver's answer.
        source: hull_plugin::Error,
    },
    /// No file under that path of a container.
    #[error("{0}")]
    NoSuchPath(String),
    /// The name belongs to another container.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The id of the container that has it.
        owner: String,
    },
    /// The container's state does not allow it.
    #[error("{0}")]
    State(String),
    /// It is so already.
    #[error("{0}")]
    NotModified(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Another object is in the way.
    #[error("{0}")]
    Conflict(String),
    /// It may not be done.
    #[error("{0}")]
    Forbidden(String),
    /// Hull has no such thing.
    #[error("{0}")]
    NotImplemented(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
    /// The container could not be started.
    #[error("{message}")]
    Start {
        /// The exit code recorded: 127 not found, 126 not executable, 128 otherwise.
        code: i32,
        /// Docker's text, from which its clients derive their own exit code.
        message: String,
    },
    /// The operating system refused something.
    #[error("{attempt}: {source}")]
    Host {
        /// What was attempted, on which object.
        attempt: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The image store refused something.
    #[error(transparent)]
    Image(#[from] hull_image::Error),
    /// A registry refused something, or cannot be reached.
    #[error(transparent)]
    Registry(#[from] hull_registry::Error),
    /// The runtime refused something.
    #[error(transparent)]
    Runtime(#[from] hull_runtime::Error),
    /// The network refused something.
    #[error(transparent)]
    Network(#[from] hull_network::Error),
    /// The request does not fit the container's confinement.
    #[error(transparent)]
    Spec(#[from] crate::spec::SpecError),
    /// A CDI device cannot be given.
    #[error(transparent)]
    Cdi(#[from] crate::cdi::CdiError),
    /// The user is not known inside the container.
    #[error(transparent)]
    User(#[from] crate::user::UserError),
    /// The state database refused something.
    #[error("{attempt}: {source}")]
    Database {
        /// What was attempted.
        attempt: &'static str,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// Anything else that is not the caller's fault.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoSuchContainer(_)
            | Self::NoSuchExec(_)
            | Self::NoSuchImage(_)
            | Self::NoSuchNetwork(_)
            | Self::NoSuchVolume(_)
            | Self::NoSuchVolumeDriver { .. }
            | Self::NoSuchPath(_) => Kind::NotFound,
            Self::AmbiguousContainer(_) | Self::Invalid(_) => Kind::Invalid,
            Self::NameTaken { .. } | Self::State(_) | Self::Conflict(_) => Kind::Conflict,
            Self::NotModified(_) => Kind::NotModified,
            Self::Forbidden(_) => Kind::Forbidden,
            Self::NotImplemented(_) => Kind::NotImplemented,
            Self::Unavailable(_) => Kind::Unavailable,
            Self::Image(error) => kind_of_image(error.kind()),
            Self::Registry(error) => kind_of_registry(error.kind()),
            Self::Network(error) => kind_of_network(error.kind()),
            Self::Spec(_) | Self::Cdi(_) | Self::User(_) => Kind::Invalid,
            // dockerd answers 400 when the program cannot be run: the request named it.
            Self::Start {
                code: 126 | 127, ..
            } => Kind::Invalid,
            Self::Runtime(_)
            | Self::VolumeDriver { .. }
            | Self::Start { .. }
            | Self::Host { .. }
            | Self::Database { .. }
            | Self::Internal(_) => Kind::Internal,
        }
    }
}

fn kind_of_image(kind: hull_image::Kind) -> Kind {
    match kind {
        hull_image::Kind::NotFound => Kind::NotFound,
        hull_image::Kind::Conflict => Kind::Conflict,
        hull_image::Kind::Invalid => Kind::Invalid,
        hull_image::Kind::Internal => Kind::Internal,
    }
}

fn kind_of_registry(kind: hull_registry::Kind) -> Kind {
    match kind {
        hull_registry::Kind::NotFound => Kind::NotFound,
        hull_registry::Kind::Invalid => Kind::Invalid,
        hull_registry::Kind::Unauthorized => Kind::Unauthorized,
        hull_registry::Kind::Forbidden => Kind::Forbidden,
        hull_registry::Kind::Conflict => Kind::Conflict,
        hull_registry::Kind::Unavailable | hull_registry::Kind::Internal => Kind::Internal,
    }
}

fn kind_of_network(kind: hull_network::ErrorKind) -> Kind {
    match kind {
        hull_network::ErrorKind::NotFound => Kind::NotFound,
        hull_network::ErrorKind::Conflict => Kind::Conflict,
        hull_network::ErrorKind::Invalid => Kind::Invalid,
        hull_network::ErrorKind::Forbidden => Kind::Forbidden,
        hull_network::ErrorKind::System => Kind::Internal,
    }
}

/// Adds what was attempted to an answer of the operating system.
pub(crate) trait Attempt<T> {
    /// `attempt` names the action and the object: ``create `/run/hull` ``.
    fn attempt(self, attempt: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Attempt<T> for std::result::Result<T, E> {
    fn attempt(self, attempt: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Host {
            attempt: attempt(),
            source: source.into(),
        })
    }
}
