//! What can go wrong between registries and the store. The texts clients compare are Docker's.

use hull_oci::Digest;

/// A failed operation with a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry has no such image.
    #[error("failed to resolve reference \"{reference}\": {reference}: not found")]
    NotFound {
        /// In full.
        reference: String,
    },
    /// The registry wants to know who asks, or does not let us.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login'{}",
        detail(.why)
    )]
    Denied {
        /// As people write it.
        repository: String,
        /// The registry's words.
        why: String,
    },
    /// A push was not let through.
    #[error("push access denied to {repository}{}", detail(.why))]
    PushDenied {
        /// As people write it.
        repository: String,
        /// The registry's words.
        why: String,
    },
    /// The user name or password is wrong.
    #[error("Get \"{url}\": unauthorized: {why}")]
    Login {
        /// Where it was tried.
        url: String,
        /// The registry's words.
        why: String,
    },
    /// No image for this platform.
    #[error("no matching manifest for {platform} in the manifest list entries: not found")]
    NoPlatform {
        /// What was asked for.
        platform: String,
    },
    /// The registry cannot be reached, or did not answer in time.
    #[error("{method} \"{url}\": {why}")]
    Connect {
        /// What was tried: `Get`, `Head` …
        method: &'static str,
        /// Where.
        url: String,
        /// What happened.
        why: String,
        /// Whether trying again at once is in vain: nobody is there, or nobody to be trusted.
        is_final: bool,
    },
    /// The registry answered with a status that makes no sense or is its own failure.
    #[error("unexpected status from {method} request to {url}: {status}{}", detail(.why))]
    Status {
        /// `GET`, `PUT` …
        method: String,
        /// Where.
        url: String,
        /// What it said.
        status: http::StatusCode,
        /// In its own words.
        why: String,
    },
    /// The registry says that there were too many requests.
    #[error("toomanyrequests: {why}")]
    TooManyRequests {
        /// The registry's words.
        why: String,
    },
    /// What came does not have the digest that was asked for.
    #[error("{what} from {host} has the digest {actual} instead of {expected}")]
    Mismatch {
        /// `the manifest`, `a layer`.
        what: &'static str,
        /// Who sent it.
        host: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: String,
    },
    /// The answer cannot be understood.
    #[error("{host} answered with {what}: {why}")]
    Nonsense {
        /// Who.
        host: String,
        /// `a manifest that cannot be read` …
        what: &'static str,
        /// In which way.
        why: String,
    },
    /// A blob could not be fetched from anywhere.
    #[error("cannot fetch {digest}: {why}")]
    Blob {
        /// Which.
        digest: Digest,
        /// The last failure.
        why: String,
    },
    /// What the caller wants makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// What is to be pushed is not all here.
    #[error("{0}")]
    Incomplete(String),
    /// A setting cannot be used.
    #[error("{what}: {why}")]
    Setting {
        /// The file or option.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The image store refused something.
    #[error(transparent)]
    Image(#[from] hull_image::Error),
    /// A job broke off.
    #[error("{0}")]
    Internal(String),
}

/// The kinds of errors, as callers tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 404.
    NotFound,
    /// 400.
    Invalid,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 409.
    Conflict,
    /// 503 or 500: the other end's trouble.
    Unavailable,
    /// 500.
    Internal,
}

/// What operations with registries return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            // Docker answers 404 to a pull that is denied: which it is, the registry hides.
            Self::NotFound { .. } | Self::NoPlatform { .. } | Self::Denied { .. } => Kind::NotFound,
            Self::PushDenied { .. } => Kind::Forbidden,
            Self::Login { .. } => Kind::Unauthorized,
            Self::Invalid(_) | Self::Setting { .. } => Kind::Invalid,
            Self::Incomplete(_) => Kind::Conflict,
            Self::Connect { .. }
            | Self::Status { .. }
            | Self::TooManyRequests { .. }
            | Self::Mismatch { .. }
            | Self::Nonsense { .. }
            | Self::Blob { .. } => Kind::Unavailable,
            Self::Image(error) => match error.kind() {
                hull_image::Kind::NotFound => Kind::NotFound,
                hull_image::Kind::Conflict => Kind::Conflict,
                hull_image::Kind::Invalid => Kind::Invalid,
                hull_image::Kind::Internal => Kind::Internal,
            },
            Self::Internal(_) => Kind::Internal,
        }
    }
}

fn detail(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(panic: tokio::task::JoinError) -> Self {
        Self::Internal(format!("a job broke off: {panic}"))
    }
}
