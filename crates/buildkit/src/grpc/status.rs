//! How a call ended, and its form in headers.

use base64::{Engine as _, alphabet, engine, engine::DecodePaddingMode};
use http::{HeaderMap, HeaderValue};
use prost::Message;

use crate::proto::{Any, RpcStatus};

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";
const DETAILS: &str = "grpc-status-details-bin";

/// Written without padding, read with or without.
const BASE64: engine::GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    engine::GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// gRPC's codes, as far as they are told or heard here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It went well.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// It failed, for a reason the message tells.
    Unknown = 2,
    /// The request makes no sense.
    InvalidArgument = 3,
    /// It took too long.
    DeadlineExceeded = 4,
    /// There is no such thing.
    NotFound = 5,
    /// There is such a thing already.
    AlreadyExists = 6,
    /// The caller may not.
    PermissionDenied = 7,
    /// Too large, or too many.
    ResourceExhausted = 8,
    /// Not in this state.
    FailedPrecondition = 9,
    /// Lost to somebody else's operation.
    Aborted = 10,
    /// Beyond the end.
    OutOfRange = 11,
    /// Not known here.
    Unimplemented = 12,
    /// A mistake on this side.
    Internal = 13,
    /// The other side is not there (any more).
    Unavailable = 14,
    /// What came is damaged.
    DataLoss = 15,
    /// The caller has not said who it is.
    Unauthenticated = 16,
}

/// How a call ended, other than well.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The kind of failure.
    pub code: Code,
    /// For people.
    pub message: String,
    /// For programs: typed values, such as where in a file the mistake stands.
    pub details: Vec<Any>,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code of a number; what nobody has defined is [`Unknown`](Self::Unknown).
    pub fn from_number(number: i32) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::ALL.get(index))
            .copied()
            .unwrap_or(Self::Unknown)
    }
}

impl Status {
    /// A status without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Hull does not do that.
    pub fn unimplemented(message: impl Into<String>) -> Self {
        Self::new(Code::Unimplemented, message)
    }

    /// The other side is gone.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// As a message of its own, which some calls carry.
    pub fn to_message(&self) -> RpcStatus {
        RpcStatus {
            code: self.code as i32,
            message: self.message.clone(),
            details: self.details.clone(),
        }
    }

    /// From a message of its own.
    pub fn from_message(message: RpcStatus) -> Self {
        Self {
            code: Code::from_number(message.code),
            message: message.message,
            details: message.details,
        }
    }

    /// As trailers.
    pub(super) fn to_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, HeaderValue::from(self.code as u16));
        if !self.message.is_empty() {
            let text = HeaderValue::from_str(&escaped(&self.message));
            headers.insert(MESSAGE, text.expect("escaped text is visible ASCII"));
        }
        if !self.details.is_empty() {
            let text = BASE64.encode(self.to_message().encode_to_vec());
            let text = HeaderValue::from_str(&text).expect("base64 is visible ASCII");
            headers.insert(DETAILS, text);
        }
        headers
    }

    /// From trailers; `Ok` if all went well.
    pub(super) fn from_headers(headers: &HeaderMap) -> Result<(), Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let number = text(STATUS).and_then(|text| text.parse().ok());
        let code = match number.map(Code::from_number) {
            Some(Code::Ok) => return Ok(()),
            Some(code) => code,
            None => return Err(Self::new(Code::Unknown, "the answer has no status")),
        };
        let details = text(DETAILS)
            .and_then(|text| BASE64.decode(text).ok())
            .and_then(|bytes| RpcStatus::decode(bytes.as_slice()).ok());
        Err(Self {
            code,
            message: unescaped(text(MESSAGE).unwrap_or_default()),
            details: details.map(|status| status.details).unwrap_or_default(),
        })
    }
}

impl From<h2::Error> for Status {
    fn from(error: h2::Error) -> Self {
        if error.reason() == Some(h2::Reason::CANCEL) {
            return Self::new(Code::Cancelled, "the other side gave up");
        }
        Self::gone(format!("the connection broke: {error}"))
    }
}

/// Percent-encoding of all that is not visible ASCII, as gRPC wants it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The reverse; a damaged escape stands for itself.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = (*byte == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(code.unwrap_or(*byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_headers() {
        let status = Status {
            code: Code::NotFound,
            message: "no stage “a%b”\nat line 3".to_owned(),
            details: vec![Any {
                type_url: "type".to_owned(),
                value: vec![1, 2, 3],
            }],
        };
        let headers = status.to_headers();
        assert_eq!(headers["grpc-status"], "5");
        assert_eq!(Status::from_headers(&headers), Err(status));
    }

    #[test]
    fn a_missing_or_foreign_status_is_unknown() {
        let error = Status::from_headers(&HeaderMap::new()).unwrap_err();
        assert_eq!(error.code, Code::Unknown);
        assert_eq!(Code::from_number(99), Code::Unknown);
        assert_eq!(Code::from_number(-1), Code::Unknown);
        assert_eq!(unescaped("100%, %zz and %41"), "100%, %zz and A");
    }
}
