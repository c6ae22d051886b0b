//! A build's events in Hull's own form.

use hull_api::{
    progress::ProgressMessage,
    types::{BUILD_EVENTS, BuildEvent, BuildLog, BuildStatus, BuildVertex, BuildWarning},
};
use hull_build::{Event, LogStream, progress::Warning};
use tokio::sync::mpsc;

/// Sends an event. Waits for a client that reads slowly; one that is gone stops the build.
pub(super) fn send(sender: &mpsc::Sender<ProgressMessage>, event: &Event) {
    let Ok(aux) = serde_json::to_value(to_wire(event)) else {
        return;
    };
    let message = ProgressMessage {
        id: BUILD_EVENTS.to_owned(),
        aux: Some(aux),
        ..ProgressMessage::default()
    };
    let _ = sender.blocking_send(message);
}

fn to_wire(event: &Event) -> BuildEvent {
    match event {
        Event::Vertex(vertex) => BuildEvent::Vertex(BuildVertex {
            digest: vertex.id.to_string(),
            name: vertex.name.clone(),
            inputs: vertex.inputs.iter().map(ToString::to_string).collect(),
            started: vertex.started.map(|time| time.to_string()),
            completed: vertex.completed.map(|time| time.to_string()),
            cached: vertex.cached,
            error: vertex.error.clone().unwrap_or_default(),
        }),
        Event::Status(status) => BuildEvent::Status(BuildStatus {
            vertex: status.vertex.to_string(),
            id: status.id.clone(),
            current: status.current,
            total: status.total,
            started: status.started.to_string(),
            completed: status.completed.map(|time| time.to_string()),
        }),
        Event::Log {
            vertex,
            stream,
            data,
            time,
        } => BuildEvent::Log(BuildLog {
            vertex: vertex.to_string(),
            stream: if *stream == LogStream::Stderr { 2 } else { 1 },
            text: String::from_utf8_lossy(data).into_owned(),
            timestamp: time.to_string(),
        }),
        Event::Warning(found) => BuildEvent::Warning(warning(found)),
    }
}

/// A warning in Hull's own form.
pub(super) fn warning(found: &Warning) -> BuildWarning {
    BuildWarning {
        rule: found.rule.clone(),
        description: found.description.clone(),
        message: found.message.clone(),
        url: found.url.clone(),
        file: found.place.file.clone(),
        first_line: found.place.span.first,
        last_line: found.place.span.last,
        excerpt: found.place.excerpt(),
    }
}
