//! Answers, and the specification's codes for what is refused.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

use super::storage::StorageError;
use crate::file_body::FileBody;
use crate::wire::{ErrorBody, ErrorItem};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Answer = Response<Body>;
pub(crate) type Outcome = Result<Answer, Refusal>;

/// The specification's codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The blob is not in this repository.
    BlobUnknown,
    /// The upload cannot go on like this.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// The digest is none, or another one.
    DigestInvalid,
    /// A manifest needs a blob that is not here.
    ManifestBlobUnknown,
    /// The manifest cannot be understood.
    ManifestInvalid,
    /// There is no such manifest.
    ManifestUnknown,
    /// The name is none.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// Too large.
    SizeInvalid,
    /// Who asks?
    Unauthorized,
    /// Not for this one.
    Denied,
    /// This registry does not do that.
    Unsupported,
    /// Later.
    TooManyRequests,
    /// The range does not follow what is there.
    RangeInvalid,
    /// The registry's own trouble.
    Unknown,
}

/// Why a request is not carried out.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Code {
    /// As the specification writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestBlobUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestInvalid
            | Self::NameInvalid => StatusCode::BAD_REQUEST,
            Self::SizeInvalid => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            status: code.status(),
            code,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers
            .extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    pub(crate) fn into_answer(self) -> Answer {
        let item = ErrorItem {
            code: self.code.name().to_owned(),
            message: self.message,
            detail: None,
        };
        let mut answer = json(self.status, &ErrorBody { errors: vec![item] });
        for (name, value) in self.headers {
            answer.headers_mut().append(name, value);
        }
        answer
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Refused { code, message } => Self::new(code, message),
            StorageError::Quota { .. } => Self::new(Code::Denied, error.to_string()),
            StorageError::Io { source, .. } if is_full(&source) => Self {
                status: StatusCode::INSUFFICIENT_STORAGE,
                ..Self::new(Code::Denied, "the registry's disk is full")
            },
            StorageError::Io { .. } => {
                tracing::error!(%error, "the registry cannot serve a request");
                Self::new(
                    Code::Unknown,
                    "the registry cannot do this now: its log says why",
                )
            }
        }
    }
}

/// Whether it is for want of room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// No body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    whole(status, Bytes::new())
}

/// A body that is there.
pub(crate) fn whole(status: StatusCode, bytes: impl Into<Bytes>) -> Answer {
    let body = Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// JSON.
pub(crate) fn json<T: serde::Serialize>(status: StatusCode, document: &T) -> Answer {
    let bytes = serde_json::to_vec(document).expect("answers always have a JSON form");
    whole(status, bytes).with(header::CONTENT_TYPE, "application/json")
}

/// Adds headers.
pub(crate) trait With {
    /// A header whose value is known to be valid text.
    fn with(self, name: HeaderName, value: &str) -> Self;
}

impl With for Answer {
    fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers_mut().insert(name, value);
        }
        self
    }
}

/// `length` bytes of a file from `first` on.
pub(crate) fn file(file: File, first: u64, length: u64) -> Body {
    FileBody::new(Arc::new(file), first, length).boxed_unsync()
}
