//! `logs --json`: what arrives of a log → an object for each line.

use hull_api::stream::{FrameReader, Stream};
use serde_json::Value as Json;

use crate::commands::json::{self, Field, Kind};
use crate::error::{Error, Result};

pub(super) static FIELDS: [Field; 4] = [
    Field("Time", Kind::Time, "when it was written, to the nanosecond"),
    Field(
        "Stream",
        Kind::Text,
        "stdout or stderr; with a terminal, all is stdout",
    ),
    Field(
        "Text",
        Kind::Text,
        "the line without its end; what is no UTF-8 is U+FFFD",
    ),
    Field(
        "Partial",
        Kind::Truth,
        "whether the line goes on in the next object of its stream",
    ),
];

/// Puts lines together from what arrives, where each begins with its time.
pub(super) struct Lines {
    frames: FrameReader,
    /// With a terminal there are no frames; this is what has come of the line.
    begun: Option<Vec<u8>>,
    stdout: Standing,
    stderr: Standing,
}

/// Of a line that does not end, this much is told as a part of it.
const PART_BYTES_MAX: usize = 64 << 10;

/// Where a stream stands.
#[derive(Default)]
struct Standing {
    /// Of the line begun last.
    time: Json,
    /// Whether that line goes on. A daemon may write its time again, or not.
    goes_on: bool,
}

impl Lines {
    pub(super) fn new(tty: bool) -> Self {
        Self {
            frames: FrameReader::new(),
            begun: tty.then(Vec::new),
            stdout: Standing::default(),
            stderr: Standing::default(),
        }
    }

    /// Takes a piece of the answer, and gives the lines that are whole now.
    ///
    /// # Errors
    /// A damaged frame, or a message of the daemon that ends the stream.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Json>> {
        if let Some(begun) = &mut self.begun {
            begun.extend_from_slice(piece);
            let is_long = begun.len() > PART_BYTES_MAX;
            let whole = begun.iter().rposition(|byte| *byte == b'\n');
            let end = whole.map(|at| at + 1);
            let end = end.or(is_long.then_some(begun.len())).unwrap_or(0);
            let lines: Vec<u8> = begun.drain(..end).collect();
            return Ok(self.records("stdout", &lines));
        }
        self.frames.push(piece);
        let mut records = Vec::new();
        while let Some(frame) = self
            .frames
            .next_frame()
            .map_err(|error| Error::new(error.to_string()))?
        {
            let stream = match frame.stream {
                Stream::Stdin | Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
                Stream::SystemError => {
                    let text = String::from_utf8_lossy(&frame.bytes);
                    return Err(Error::new(format!("error from daemon in stream: {text}")));
                }
            };
            records.extend(self.records(stream, &frame.bytes));
        }
        Ok(records)
    }

    /// What is left when the answer has ended.
    pub(super) fn end(&mut self) -> Vec<Json> {
        let rest = self.begun.take().unwrap_or_default();
        self.records("stdout", &rest)
    }

    fn records(&mut self, stream: &str, lines: &[u8]) -> Vec<Json> {
        let tty = self.begun.is_some();
        let standing = match stream {
            "stderr" => &mut self.stderr,
            _ => &mut self.stdout,
        };
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        lines
            .map(|line| standing.record(stream, line, tty))
            .collect()
    }
}

impl Standing {
    fn record(&mut self, stream: &str, line: &[u8], tty: bool) -> Json {
        let line = String::from_utf8_lossy(line);
        let (first, rest) = line.split_once(' ').unwrap_or(("", &line));
        let text = match json::time(first) {
            Json::Null => line.as_ref(),
            time => {
                if !self.goes_on {
                    self.time = time;
                }
                rest
            }
        };
        let whole = text.strip_suffix('\n');
        self.goes_on = whole.is_none();
        let text = whole.unwrap_or(text);
        let text = match tty {
            // A terminal ends its lines with both.
            true => text.strip_suffix('\r').unwrap_or(text),
            false => text,
        };
        json::row(
            &FIELDS,
            [
                self.time.clone(),
                stream.into(),
                text.into(),
                self.goes_on.into(),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use hull_api::stream::frame;

    use super::*;

    const TIME: &str = "2024-05-30T12:07:14.000000005Z";

    fn told(records: &[Json]) -> Vec<String> {
        let told = |record: &Json| {
            assert_eq!(record["Time"], TIME);
            format!(
                "{} {} {}",
                record["Stream"], record["Text"], record["Partial"]
            )
        };
        records.iter().map(told).collect()
    }

    #[test]
    fn each_line_is_an_object_whatever_the_pieces() {
        let mut bytes = frame(Stream::Stdout, format!("{TIME} one \n").as_bytes()).to_vec();
        bytes.extend(frame(Stream::Stderr, format!("{TIME} tw").as_bytes()).iter());
        // Docker's daemon says the time again, Hull's does not.
        bytes.extend(frame(Stream::Stderr, format!("{TIME} o").as_bytes()).iter());
        bytes.extend(frame(Stream::Stderr, b" 2024\n").iter());
        let mut lines = Lines::new(false);
        let mut records = Vec::new();
        for byte in bytes {
            records.extend(lines.push(&[byte]).unwrap());
        }
        records.extend(lines.end());
        let expected = [
            r#""stdout" "one " false"#,
            r#""stderr" "tw" true"#,
            r#""stderr" "o" true"#,
            r#""stderr" " 2024" false"#,
        ];
        assert_eq!(told(&records), expected);
    }

    #[test]
    fn a_terminal_has_no_frames() {
        let mut lines = Lines::new(true);
        let mut records = lines
            .push(format!("{TIME} a\r\n{TIME} ").as_bytes())
            .unwrap();
        records.extend(lines.push(b"b\r\n").unwrap());
        assert_eq!(
            told(&records),
            [r#""stdout" "a" false"#, r#""stdout" "b" false"#]
        );
        assert!(lines.end().is_empty());
    }
}
