//! Docker's classic text of a build.
//!
//! Steps run at the same time; the text tells of one after the other, in the file's order. What a
//! later step says waits until those before it have ended.

use std::collections::HashMap;

use hull_api::progress::{ErrorDetail, ProgressMessage};
use hull_build::{Error, Event, VertexId};

/// The most of a step's output that waits until those before it have ended.
const OUTPUT_BYTES_MAX: usize = 2 << 20;

const CLIPPED: &[u8] = b"\n[output clipped, log limit 2MiB reached]\n";

/// Tells of a build.
pub(super) struct Classic {
    /// Steps in the order in which they became known.
    order: Vec<VertexId>,
    steps: HashMap<VertexId, Step>,
    /// The step that is told about now.
    at: usize,
}

#[derive(Default)]
struct Step {
    name: String,
    is_told: bool,
    cached: bool,
    done: bool,
    failed: bool,
    /// What waits to be told.
    output: Vec<u8>,
    /// More came than may wait.
    is_clipped: bool,
}

impl Step {
    /// Takes output in. As much waits as BuildKit tells of a step: what follows meanwhile is not
    /// told.
    fn hear(&mut self, data: &[u8]) {
        if self.is_clipped {
            return;
        }
        let room = OUTPUT_BYTES_MAX.saturating_sub(self.output.len());
        self.output.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            self.is_clipped = true;
            self.output.extend_from_slice(CLIPPED);
        }
    }
}

impl Classic {
    pub(super) fn new() -> Self {
        Self {
            order: Vec::new(),
            steps: HashMap::new(),
            at: 0,
        }
    }

    /// What to say about it.
    pub(super) fn event(&mut self, event: &Event) -> Vec<ProgressMessage> {
        match event {
            Event::Vertex(vertex) if vertex.place.is_some() => {
                if !self.steps.contains_key(&vertex.id) {
                    self.order.push(vertex.id.clone());
                }
                let step = self.steps.entry(vertex.id.clone()).or_default();
                step.name = bare(&vertex.name).to_owned();
                step.cached = vertex.cached;
                step.done = vertex.completed.is_some();
                step.failed = vertex.error.is_some();
                if vertex.started.is_none() {
                    return Vec::new();
                }
            }
            Event::Log { vertex, data, .. } => {
                if let Some(step) = self.steps.get_mut(vertex) {
                    step.hear(data);
                }
            }
            _ => return Vec::new(),
        }
        self.tell()
    }

    fn tell(&mut self) -> Vec<ProgressMessage> {
        let mut messages = Vec::new();
        while let Some(id) = self.order.get(self.at) {
            let (number, total) = (self.at + 1, self.order.len());
            let Some(step) = self.steps.get_mut(id) else {
                break;
            };
            if !step.is_told {
                step.is_told = true;
                messages.push(format!("Step {number}/{total} : {}\n", step.name));
            }
            if !step.output.is_empty() {
                let (text, rest) = whole_text(&step.output, step.done);
                step.output = rest;
                step.is_clipped = false;
                messages.push(text);
            }
            if !step.done {
                break;
            }
            if step.failed {
                break;
            }
            if step.cached && !step.name.starts_with("FROM ") {
                messages.push(" ---> Using cache\n".to_owned());
            }
            messages.push(format!(" ---> {}\n", short(id)));
            self.at += 1;
        }
        messages.into_iter().map(ProgressMessage::stream).collect()
    }
}

/// The instruction without `[stage 1/2] `.
fn bare(name: &str) -> &str {
    match name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((_, bare)) => bare,
        None => name,
    }
}

fn short(id: &VertexId) -> &str {
    id.as_str()
        .trim_start_matches("sha256:")
        .get(..12)
        .unwrap_or_default()
}

/// The bytes as text; a letter that is cut in two waits for its other half.
fn whole_text(bytes: &[u8], is_last: bool) -> (String, Vec<u8>) {
    let cut = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && !is_last => error.valid_up_to(),
        _ => bytes.len(),
    };
    let text = String::from_utf8_lossy(&bytes[..cut]).into_owned();
    (text, bytes[cut..].to_vec())
}

/// The last messages of a build that failed.
pub(super) fn failed(error: &Error, wants_events: bool) -> Vec<ProgressMessage> {
    let excerpt = error
        .place()
        .map(hull_build::Place::excerpt)
        .unwrap_or_default();
    let mut messages = Vec::new();
    if !excerpt.is_empty() && !wants_events {
        messages.push(ProgressMessage::stream(excerpt.clone()));
    }
    let (code, text) = match error {
        Error::Step {
            exit_code: Some(code),
            message,
            ..
        } if !wants_events => (*code, classic_words(message, *code)),
        Error::Step { exit_code, .. } => (exit_code.unwrap_or(0), error.to_string()),
        other => (0, other.to_string()),
    };
    let text = if wants_events && !excerpt.is_empty() {
        format!("{excerpt}{text}")
    } else {
        text
    };
    messages.push(ProgressMessage {
        error_detail: Some(ErrorDetail {
            code: i64::from(code),
            message: text.clone(),
        }),
        error: text,
        ..ProgressMessage::default()
    });
    messages
}

/// Docker's words for a command that failed.
fn classic_words(message: &str, code: i32) -> String {
    let command = message
        .strip_prefix("process \"")
        .and_then(|rest| rest.rsplit_once("\" did not complete"));
    match command {
        Some((command, _)) => {
            let command = command.replace("\\\"", "\"").replace("\\\\", "\\");
            format!("The command '{command}' returned a non-zero code: {code}")
        }
        None => message.to_owned(),
    }
}
