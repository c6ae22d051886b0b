//! `container logs`

use hull_api::ClientError;
use hull_api::client::{ByteStream, LogsOptions};
use hull_api::stream::FrameReader;

use super::log_lines::{FIELDS, Lines};
use super::session::write_frames;
use crate::commands::json::{self, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::time::api_timestamp;
use crate::terminal::{Output, Target};

#[derive(Default)]
pub(crate) struct Logs {
    details: bool,
    follow: bool,
    since: String,
    tail: Option<String>,
    timestamps: bool,
    until: String,
}

impl Command for Logs {
    const ABOUT: About = About::new(
        &["container logs", "logs"],
        "[OPTIONS] CONTAINER",
        "Fetch the logs of a container",
        Operands::Exactly(1),
    );

    const JSON: Option<Shape> = Some(Shape::Lines(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("details", "", "Show extra details provided to logs", &mut self.details);
        set.add("f,follow", "", "Follow log output", &mut self.follow);
        set.add("since", "string", "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)", &mut self.since);
        set.add("n,tail", "string", "Number of lines to show from the end of the logs (default \"all\")", &mut self.tail);
        set.add("t,timestamps", "", "Show timestamps", &mut self.timestamps);
        set.add("until", "string", "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)", &mut self.until);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let container = client.container(call.operand(0)).await.map_err(failure)?;
        let moment = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                api_timestamp(text)
            }
        };
        let options = LogsOptions {
            follow: self.follow,
            stdout: true,
            stderr: true,
            timestamps: self.timestamps || call.json,
            details: self.details,
            since: moment(&self.since),
            until: moment(&self.until),
            tail: self.tail.clone().unwrap_or_else(|| "all".to_owned()),
        };
        let stream = client.container_logs(&container.id, &options).await;
        let mut stream = stream.map_err(|error| self.reworded(error))?;
        if call.json {
            return told(stream, container.config.tty).await;
        }
        let output = Output::open();
        let mut frames = FrameReader::new();
        while let Some(piece) = stream.next_piece().await {
            let piece = piece.map_err(failure)?;
            let goes_on = if container.config.tty {
                output.write(Target::Stdout, piece).await
            } else {
                frames.push(&piece);
                write_frames(&mut frames, &output).await?
            };
            if !goes_on {
                break;
            }
        }
        output.finish().await?;
        Ok(0)
    }
}

impl Logs {
    /// A time that cannot be understood is told with its flag.
    fn reworded(&self, error: ClientError) -> Error {
        let text = error.to_string();
        if !text.starts_with("failed to parse value as time") {
            return failure(error);
        }
        let flag = match text.contains(&format!("{:?}", self.since)) {
            true => "since",
            false => "until",
        };
        Error::new(format!("invalid value for \"{flag}\": {text}"))
    }
}

/// The lines, for programs.
async fn told(mut stream: ByteStream, tty: bool) -> Result<u8> {
    let mut lines = Lines::new(tty);
    while let Some(piece) = stream.next_piece().await {
        for line in lines.push(&piece.map_err(failure)?)? {
            json::object(&line)?;
        }
    }
    for line in lines.end() {
        json::object(&line)?;
    }
    Ok(0)
}
