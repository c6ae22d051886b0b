//! Failures as clients understand them: a text for people, and the place in the Dockerfile, from
//! which they print an excerpt.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    grpc::{Code, Status},
    proto::{Any, llb},
};

/// The type that clients look for. Its value is JSON.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source+json";

/// Lines of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// A file and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

/// As clients read it: a text with the place.
#[derive(Debug, Serialize)]
pub(crate) struct Source {
    info: Info,
    ranges: Vec<Range>,
}

/// A file as clients read it.
#[derive(Debug, Serialize)]
pub(crate) struct Info {
    filename: String,
    /// In base64.
    data: String,
    language: &'static str,
}

/// Lines as clients read them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Range {
    start: Position,
    end: Position,
}

#[derive(Debug, Clone, Serialize)]
struct Position {
    line: usize,
}

impl Info {
    pub(crate) fn of(file: File<'_>) -> Self {
        Self {
            filename: file.name.to_owned(),
            data: STANDARD.encode(file.text),
            language: "Dockerfile",
        }
    }
}

impl Range {
    pub(crate) fn of(lines: Lines) -> Self {
        Self {
            start: Position { line: lines.first },
            end: Position { line: lines.last },
        }
    }
}

/// The failure, at its place if it has one.
pub(crate) fn located(code: Code, message: String, place: Option<(File<'_>, Lines)>) -> Status {
    let mut status = Status::new(code, message);
    if let Some((file, lines)) = place {
        let source = Source {
            info: Info::of(file),
            ranges: vec![Range::of(lines)],
        };
        let value = serde_json::to_vec(&source).expect("plain values have a JSON form");
        status.details.push(Any {
            type_url: SOURCE.to_owned(),
            value,
        });
    }
    status
}

/// The file as it travels in warnings.
pub(crate) fn info_message(file: File<'_>) -> llb::SourceInfo {
    llb::SourceInfo {
        filename: file.name.to_owned(),
        data: file.text.as_bytes().to_vec(),
        language: "Dockerfile".to_owned(),
        ..llb::SourceInfo::default()
    }
}

/// The lines as they travel in warnings.
pub(crate) fn range_message(lines: Lines) -> llb::Range {
    let position = |line: usize| llb::Position {
        line: i32::try_from(line).unwrap_or(i32::MAX),
        character: 0,
    };
    llb::Range {
        start: Some(position(lines.first)),
        end: Some(position(lines.last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_travels_with_the_failure() {
        let file = File {
            name: "Dockerfile",
            text: "FROM x\nRUNN y\n",
        };
        let lines = Lines { first: 2, last: 2 };
        let status = located(
            Code::Unknown,
            "unknown instruction".to_owned(),
            Some((file, lines)),
        );
        let source: serde_json::Value = serde_json::from_slice(&status.details[0].value).unwrap();
        assert_eq!(source["info"]["filename"], "Dockerfile");
        assert_eq!(source["info"]["data"], "RlJPTSB4ClJVTk4geQo=");
        assert_eq!(source["ranges"][0]["start"]["line"], 2);
        assert!(
            located(Code::Unknown, String::new(), None)
                .details
                .is_empty()
        );
    }
}
