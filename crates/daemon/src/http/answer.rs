//! Answers: what a handler returns, and how failures are told.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hull_api::{
    decode::DecodeError, filters::FilterError, query::QueryError, stream, types::ErrorBody,
};
use hull_engine::{Error, Kind};
use serde::Serialize;

use super::{body::AnswerBody, hijack::Hijack};

/// What a handler returns.
pub(crate) enum Answer {
    /// An ordinary answer.
    Plain(Response<AnswerBody>),
    /// The connection is the handler's from now on.
    Hijack(Hijack),
}

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

/// A handler's outcome.
pub(crate) type Outcome = Result<Answer, Failure>;

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// The request makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// No operation under that path and method.
    pub(crate) fn no_such_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }

    /// Hull has no such thing yet.
    pub(crate) fn absent(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("{what} is not available in this version"),
        )
    }

    pub(crate) fn into_answer(self) -> Answer {
        if self.status == StatusCode::NOT_MODIFIED {
            return empty(self.status);
        }
        json_with(
            self.status,
            &ErrorBody {
                message: self.message,
            },
        )
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::NotModified => StatusCode::NOT_MODIFIED,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            message: with_causes(&error),
        }
    }
}

macro_rules! bad_request {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::invalid(error.to_string())
            }
        }
    )*};
}

bad_request!(
    DecodeError,
    FilterError,
    QueryError,
    hull_engine::model::InvalidName
);

/// The error with the causes its own text does not tell already.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

/// 200 with JSON.
pub(crate) fn json<T: Serialize + ?Sized>(body: &T) -> Answer {
    json_with(StatusCode::OK, body)
}

/// JSON under another status. Ends with a line feed, as Go's encoder does.
pub(crate) fn json_with<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Answer {
    let mut bytes = serde_json::to_vec(body).expect("answers always have a JSON form");
    bytes.push(b'\n');
    bytes_with(status, "application/json", bytes.into())
}

/// 200 with text.
pub(crate) fn text(body: &'static str) -> Answer {
    bytes_with(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        Bytes::from_static(body.as_bytes()),
    )
}

fn bytes_with(status: StatusCode, media: &'static str, bytes: Bytes) -> Answer {
    let body = Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync();
    respond(status, Some(media), body)
}

/// No content.
pub(crate) fn empty(status: StatusCode) -> Answer {
    respond(
        status,
        None,
        Empty::new().map_err(|never| match never {}).boxed_unsync(),
    )
}

/// 204.
pub(crate) fn done() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

/// 200 with a body that flows.
pub(crate) fn flowing(media: &'static str, body: AnswerBody) -> Answer {
    respond(StatusCode::OK, Some(media), body)
}

fn respond(status: StatusCode, media: Option<&'static str>, body: AnswerBody) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(media) = media {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    Answer::Plain(response)
}

impl Answer {
    /// With a further header.
    pub(crate) fn with_header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers_mut().insert(name, value);
        self
    }

    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Self::Plain(response) => response.headers_mut(),
            Self::Hijack(hijack) => &mut hijack.headers,
        }
    }
}

/// The media type of output that may be framed, as `framed` says and the client understands.
pub(crate) fn stream_media(framed: bool, version: hull_api::ApiVersion) -> &'static str {
    let speaks = version.has(hull_api::version::Feature::MultiplexedMediaType);
    if framed && speaks {
        stream::MULTIPLEXED
    } else {
        stream::RAW
    }
}
