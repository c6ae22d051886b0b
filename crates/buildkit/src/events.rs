//! What the builder tells, as clients hear it.

use std::sync::Arc;

use hull_build::{
    Event, LogStream, Place, Progress,
    progress::{Status, Vertex, Warning},
};
use hull_oci::Digest;
use jiff::Timestamp;

use crate::{
    control::travelling,
    problem::{self, File, Lines},
    progress::ProgressLog,
    proto::control::{
        StatusResponse, Vertex as VertexMessage, VertexLog, VertexStatus, VertexWarning,
    },
};

/// How much a warning of the linter matters, as BuildKit counts.
const LINT_LEVEL: i64 = 1;

/// How the step begins that reads a Dockerfile.
pub(crate) const LOADING: &str = "[internal] load build definition from ";

/// Takes the builder's events for a build's listeners.
pub(crate) struct Listener(pub(crate) Arc<ProgressLog>);

impl Progress for Listener {
    fn event(&self, event: Event) {
        // The front has told of that one: it brought the file.
        if matches!(&event, Event::Vertex(vertex) if vertex.name.starts_with(LOADING)) {
            return;
        }
        self.0.tell(message(event));
    }
}

/// A step of the front itself: bringing a Dockerfile, sending a result.
pub(crate) struct Step {
    progress: Arc<ProgressLog>,
    digest: String,
    name: String,
    started: Timestamp,
}

impl Step {
    /// Begins a step of the build known by `reference`.
    pub(crate) fn begin(progress: &Arc<ProgressLog>, reference: &str, name: &str) -> Self {
        let step = Self {
            progress: Arc::clone(progress),
            digest: Digest::of(format!("{reference} {name}").as_bytes()).to_string(),
            name: name.to_owned(),
            started: Timestamp::now(),
        };
        step.tell(None, None);
        step
    }

    /// How far something within the step is.
    pub(crate) fn status(&self, id: &str, current: u64, total: u64, done: bool) {
        let now = Timestamp::now();
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.progress.tell(StatusResponse {
            statuses: vec![VertexStatus {
                id: id.to_owned(),
                vertex: self.digest.clone(),
                current: count(current),
                total: count(total),
                timestamp: Some(travelling(now)),
                started: Some(travelling(self.started)),
                completed: done.then(|| travelling(now)),
                ..VertexStatus::default()
            }],
            ..StatusResponse::default()
        });
    }

    /// Ends it, well or not.
    pub(crate) fn end<T, E: std::fmt::Display>(&self, outcome: Result<T, E>) -> Result<T, E> {
        let error = outcome.as_ref().err().map(ToString::to_string);
        self.tell(Some(Timestamp::now()), error);
        outcome
    }

    fn tell(&self, completed: Option<Timestamp>, error: Option<String>) {
        self.progress.tell(StatusResponse {
            vertexes: vec![VertexMessage {
                digest: self.digest.clone(),
                name: self.name.clone(),
                started: Some(travelling(self.started)),
                completed: completed.map(travelling),
                error: error.unwrap_or_default(),
                ..VertexMessage::default()
            }],
            ..StatusResponse::default()
        });
    }
}

/// The event as it travels.
fn message(event: Event) -> StatusResponse {
    let mut message = StatusResponse::default();
    match event {
        Event::Vertex(vertex) => message.vertexes.push(vertex_message(vertex)),
        Event::Status(status) => message.statuses.push(status_message(status)),
        Event::Log {
            vertex,
            stream,
            data,
            time,
        } => message.logs.push(VertexLog {
            vertex: vertex.to_string(),
            timestamp: Some(travelling(time)),
            stream: match stream {
                LogStream::Stdout => 1,
                LogStream::Stderr => 2,
            },
            msg: data,
        }),
        Event::Warning(warning) => message.warnings.push(warning_message(&warning)),
    }
    message
}

fn vertex_message(vertex: Vertex) -> VertexMessage {
    VertexMessage {
        digest: vertex.id.to_string(),
        inputs: vertex.inputs.iter().map(ToString::to_string).collect(),
        name: vertex.name,
        cached: vertex.cached,
        started: vertex.started.map(travelling),
        completed: vertex.completed.map(travelling),
        error: vertex.error.unwrap_or_default(),
        progress_group: None,
    }
}

fn status_message(status: Status) -> VertexStatus {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    VertexStatus {
        name: status.id.clone(),
        id: status.id,
        vertex: status.vertex.to_string(),
        current: count(status.current),
        total: count(status.total),
        timestamp: Some(travelling(Timestamp::now())),
        started: Some(travelling(status.started)),
        completed: status.completed.map(travelling),
    }
}

fn warning_message(warning: &Warning) -> VertexWarning {
    let (file, lines) = file_and_lines(&warning.place);
    VertexWarning {
        // Belongs to no step: clients show it at the end.
        vertex: Digest::of(file.text.as_bytes()).to_string(),
        level: LINT_LEVEL,
        short: format!(
            "{}: {} (line {})",
            warning.rule, warning.message, lines.first
        )
        .into_bytes(),
        detail: vec![warning.description.clone().into_bytes()],
        url: warning.url.clone(),
        info: Some(problem::info_message(file)),
        ranges: vec![problem::range_message(lines)],
    }
}

/// A place of the builder's, taken apart.
pub(crate) fn file_and_lines(place: &Place) -> (File<'_>, Lines) {
    let file = File {
        name: &place.file,
        text: &place.text,
    };
    let lines = Lines {
        first: place.span.first,
        last: place.span.last,
    };
    (file, lines)
}
