//! Between the wire and the engine's own words.
//!
//! What comes in is checked and parsed here, once, with Docker's texts for what makes no sense;
//! what goes out gets Docker's shapes, and what an older client must see differently.

pub(crate) mod config;
pub(crate) mod event;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod progress;
pub(crate) mod registry;
pub(crate) mod resources;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod time;
pub(crate) mod volume;

/// The request makes no sense: the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

impl Invalid {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<Invalid> for crate::http::answer::Failure {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.0)
    }
}

/// The outcome of a conversion.
pub(crate) type Result<T> = std::result::Result<T, Invalid>;

/// `null` for nothing, as Docker shows lists that were never set.
pub(crate) fn null_if_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}
