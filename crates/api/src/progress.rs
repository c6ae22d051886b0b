//! Progress of a pull, push, load, import or build: JSON objects, each ended by CRLF.

use serde::{Deserialize, Serialize};

/// One message. Only what is said is sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressMessage {
    /// Text of a build's output, as it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// What is happening.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// How far it is.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub detail: Option<ProgressDetail>,
    /// The detail as a bar, for clients that draw none themselves.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// What it is about: a layer's short id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The end: what went wrong.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The same, for old clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// A result for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

/// How far something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// So much is done.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: i64,
    /// Of so much; 0: not known.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: i64,
}

/// What went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// The exit code of a failed build step.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: i64,
    /// The text.
    pub message: String,
}

impl ProgressMessage {
    /// What is happening, without an amount.
    pub fn status(text: impl Into<String>) -> Self {
        Self {
            status: text.into(),
            ..Self::default()
        }
    }

    /// What is happening to one layer.
    pub fn layer(id: impl Into<String>, text: impl Into<String>, detail: ProgressDetail) -> Self {
        Self {
            id: id.into(),
            detail: Some(detail),
            ..Self::status(text)
        }
    }

    /// Text of a build's or load's output.
    pub fn stream(text: impl Into<String>) -> Self {
        Self {
            stream: text.into(),
            ..Self::default()
        }
    }

    /// The end: what went wrong.
    pub fn error(text: impl Into<String>) -> Self {
        let message = text.into();
        let detail = ErrorDetail {
            code: 0,
            message: message.clone(),
        };
        Self {
            error: message,
            error_detail: Some(detail),
            ..Self::default()
        }
    }

    /// The message as it is sent.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a progress message always has a JSON form");
        line.extend_from_slice(b"\r\n");
        line
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_as_clients_expect() {
        let line = |message: ProgressMessage| String::from_utf8(message.to_line()).unwrap();
        assert_eq!(
            line(ProgressMessage::status("Pulling")),
            "{\"status\":\"Pulling\"}\r\n"
        );
        let detail = ProgressDetail {
            current: 5,
            total: 9,
        };
        assert_eq!(
            line(ProgressMessage::layer("abc", "Downloading", detail)),
            "{\"status\":\"Downloading\",\"progressDetail\":{\"current\":5,\"total\":9},\"id\":\"abc\"}\r\n"
        );
        assert_eq!(
            line(ProgressMessage::error("no space")),
            "{\"errorDetail\":{\"message\":\"no space\"},\"error\":\"no space\"}\r\n"
        );
    }
}
