//! What a build tells while it goes on. The shapes follow BuildKit's status.

use std::sync::Arc;

use jiff::Timestamp;

use crate::error::Place;

/// Takes events. Called from several threads; must not block for long.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> Progress for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// A vertex, in all events of one build: `sha256:` and 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(Arc<str>);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A vertex is known, began, or ended: the newest word replaces earlier ones.
    Vertex(Vertex),
    /// How far something within a vertex is (a transfer, an unpacking).
    Status(Status),
    /// Output of a command.
    Log {
        /// Which vertex.
        vertex: VertexId,
        /// Which stream.
        stream: LogStream,
        /// Bytes as they came; not whole lines.
        data: Vec<u8>,
        /// When.
        time: Timestamp,
    },
    /// The linter's.
    Warning(Warning),
}

/// A vertex as it is now.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// Which.
    pub id: VertexId,
    /// As shown: `[build 2/5] RUN make`.
    pub name: String,
    /// What it depends on.
    pub inputs: Vec<VertexId>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// It was done before.
    pub cached: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// Which instruction of the target's stages it is, for fronts that number steps.
    pub place: Option<Place>,
}

/// How far something is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which vertex.
    pub vertex: VertexId,
    /// What, unique within the vertex.
    pub id: String,
    /// How far.
    pub current: u64,
    /// How far it goes; 0: unknown.
    pub total: u64,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// Which stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// 1.
    Stdout,
    /// 2.
    Stderr,
}

/// A rule of the linter that a Dockerfile breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The rule's name.
    pub rule: String,
    /// What the rule is about.
    pub description: String,
    /// What is wrong here.
    pub message: String,
    /// Where to read more.
    pub url: String,
    /// Where it stands.
    pub place: Place,
}

impl VertexId {
    /// The vertex known by this text.
    pub(crate) fn of(text: &str) -> Self {
        let digest = hull_oci::Digest::of(text.as_bytes());
        Self(digest.to_string().into())
    }

    /// `sha256:…`
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for VertexId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells about one vertex, from its beginning to its end.
#[derive(Clone)]
pub(crate) struct Teller {
    progress: Arc<dyn Progress>,
    vertex: Vertex,
}

impl Teller {
    pub(crate) fn new(progress: &Arc<dyn Progress>, vertex: Vertex) -> Self {
        Self {
            progress: Arc::clone(progress),
            vertex,
        }
    }

    /// A vertex of the builder's own.
    pub(crate) fn internal(progress: &Arc<dyn Progress>, build: &str, name: &str) -> Self {
        Self::new(
            progress,
            Vertex {
                id: VertexId::of(&format!("{build} {name}")),
                name: name.to_owned(),
                inputs: Vec::new(),
                started: None,
                completed: None,
                cached: false,
                error: None,
                place: None,
            },
        )
    }

    pub(crate) fn announce(&self) {
        self.progress.event(Event::Vertex(self.vertex.clone()));
    }

    pub(crate) fn start(&mut self) {
        self.vertex.started = Some(Timestamp::now());
        self.announce();
    }

    pub(crate) fn cached(&mut self) {
        self.vertex.cached = true;
        self.vertex.started = self.vertex.started.or_else(|| Some(Timestamp::now()));
        self.finish(None);
    }

    pub(crate) fn finish(&mut self, error: Option<String>) {
        self.vertex.completed = Some(Timestamp::now());
        self.vertex.error = error;
        self.announce();
    }

    pub(crate) fn log(&self, stream: LogStream, data: &[u8]) {
        self.progress.event(Event::Log {
            vertex: self.vertex.id.clone(),
            stream,
            data: data.to_vec(),
            time: Timestamp::now(),
        });
    }

    pub(crate) fn status(
        &self,
        id: &str,
        current: u64,
        total: u64,
        started: Timestamp,
        done: bool,
    ) {
        self.progress.event(Event::Status(Status {
            vertex: self.vertex.id.clone(),
            id: id.to_owned(),
            current,
            total,
            started,
            completed: done.then(Timestamp::now),
        }));
    }
}
