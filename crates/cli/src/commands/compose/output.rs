//! What several containers say, line by line, each with its name before it.

use std::collections::BTreeMap;

use bytes::Bytes;
use hull_api::Client;
use hull_api::client::{ByteStream, LogsOptions};
use hull_api::stream::{FrameReader, Stream};
use hull_compose::plan::state::Container;
use tokio::sync::mpsc;

use crate::connection::failure;
use crate::error::Result;
use crate::ui;

/// Lines that wait to be printed.
const QUEUE: usize = 256;
/// Colours of names, in the order in which containers get them.
const COLOURS: [&str; 10] = [
    "36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1",
];

/// How lines are printed.
#[derive(Debug, Clone)]
pub(super) struct Style {
    pub(super) colour: bool,
    pub(super) prefix: bool,
}

impl Style {
    /// As flags and terminal want it.
    pub(super) fn new(no_colour: bool, no_prefix: bool, ansi: &str) -> Self {
        let terminal = ui::out_is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colour: !no_colour && (ansi == "always" || (terminal && ansi != "never")),
            prefix: !no_prefix,
        }
    }
}

/// A line of a container.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) is_error: bool,
    pub(super) text: Vec<u8>,
}

/// Prints lines.
#[derive(Debug)]
pub(super) struct Printer {
    style: Style,
    /// Names with their colours.
    names: BTreeMap<String, &'static str>,
    width: usize,
}

impl Printer {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            names: BTreeMap::new(),
            width: 0,
        }
    }

    /// Makes room for a name.
    pub(super) fn know(&mut self, name: &str) {
        let colour = COLOURS[self.names.len() % COLOURS.len()];
        self.names.entry(name.to_owned()).or_insert(colour);
        self.width = self.width.max(name.chars().count());
    }

    pub(super) fn print(&mut self, said: &Said) -> Result<()> {
        self.know(&said.name);
        let mut line = self.prefix(&said.name).into_bytes();
        line.extend_from_slice(&said.text);
        line.push(b'\n');
        if said.is_error {
            ui::err_bytes(&line);
            return Ok(());
        }
        ui::out_bytes(&line)
    }

    fn prefix(&self, name: &str) -> String {
        if !self.style.prefix {
            return String::new();
        }
        let width = self.width + 1;
        let text = format!("{name:width$} | ");
        match self.names.get(name).filter(|_| self.style.colour) {
            Some(colour) => format!("\x1b[{colour}m{text}\x1b[0m"),
            None => text,
        }
    }
}

/// What a container is called in front of its lines.
pub(super) fn short_name(container: &Container, project: &str) -> String {
    let name = container.name();
    name.strip_prefix(project)
        .and_then(|rest| rest.strip_prefix(['-', '_']))
        .unwrap_or(name)
        .to_owned()
}

/// A container's log, as lines.
pub(super) struct Lines {
    stream: ByteStream,
    framed: bool,
    frames: FrameReader,
    name: String,
    open: [Vec<u8>; 2],
    ready: std::collections::VecDeque<Said>,
}

impl Lines {
    /// Begins to read.
    pub(super) async fn open(
        client: &Client,
        id: &str,
        name: &str,
        options: &LogsOptions,
    ) -> Result<Self> {
        let stream = client.container_logs(id, options).await.map_err(failure)?;
        let framed = stream.is_framed() || !is_terminal(client, id).await;
        Ok(Self {
            stream,
            framed,
            frames: FrameReader::new(),
            name: name.to_owned(),
            open: [Vec::new(), Vec::new()],
            ready: std::collections::VecDeque::new(),
        })
    }

    /// The next line; nothing at the end.
    pub(super) async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            match self.stream.next_piece().await {
                Some(Ok(piece)) => self.take(&piece),
                _ => {
                    // The last line may have no end.
                    for is_error in [false, true] {
                        let rest = std::mem::take(&mut self.open[usize::from(is_error)]);
                        if !rest.is_empty() {
                            self.ready.push_back(self.said(rest, is_error));
                        }
                    }
                    return self.ready.pop_front();
                }
            }
        }
    }

    fn take(&mut self, piece: &Bytes) {
        if !self.framed {
            self.split(piece, false);
            return;
        }
        self.frames.push(piece);
        while let Ok(Some(frame)) = self.frames.next_frame() {
            self.split(&frame.bytes, frame.stream == Stream::Stderr);
        }
    }

    fn split(&mut self, bytes: &[u8], is_error: bool) {
        let open = &mut self.open[usize::from(is_error)];
        open.extend_from_slice(bytes);
        while let Some(end) = self.open[usize::from(is_error)]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let rest = self.open[usize::from(is_error)].split_off(end + 1);
            let mut line = std::mem::replace(&mut self.open[usize::from(is_error)], rest);
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let said = self.said(line, is_error);
            self.ready.push_back(said);
        }
    }

    fn said(&self, text: Vec<u8>, is_error: bool) -> Said {
        Said {
            name: self.name.clone(),
            is_error,
            text,
        }
    }
}

async fn is_terminal(client: &Client, id: &str) -> bool {
    client
        .container(id)
        .await
        .is_ok_and(|container| container.config.tty)
}

/// Follows a container on a task of its own.
pub(super) fn follow(
    client: &Client,
    id: &str,
    name: &str,
    options: LogsOptions,
    sender: mpsc::Sender<Said>,
) -> tokio::task::JoinHandle<()> {
    let (client, id, name) = (client.clone(), id.to_owned(), name.to_owned());
    tokio::spawn(async move {
        let Ok(mut lines) = Lines::open(&client, &id, &name, &options).await else {
            return;
        };
        while let Some(line) = lines.next().await {
            if sender.send(line).await.is_err() {
                return;
            }
        }
    })
}

/// The queue of lines.
pub(super) fn queue() -> (mpsc::Sender<Said>, mpsc::Receiver<Said>) {
    mpsc::channel(QUEUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_a_column() {
        let mut printer = Printer::new(Style {
            colour: false,
            prefix: true,
        });
        printer.know("web-1");
        printer.know("database-1");
        assert_eq!(printer.prefix("web-1"), "web-1       | ");
        assert_eq!(printer.prefix("database-1"), "database-1  | ");
        printer.style.colour = true;
        assert_eq!(printer.prefix("web-1"), "\x1b[36mweb-1       | \x1b[0m");
        printer.style.prefix = false;
        assert_eq!(printer.prefix("web-1"), "");
    }
}
