//! How far a transfer is, for whoever watches.
//!
//! A watcher may be slow, or gone: what it has not seen yet of one layer's advance is replaced by
//! what is newer, so the queue stays short and nobody waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hull_oci::{Descriptor, Digest, Reference};
use tokio::sync::Notify;

/// Advances of a layer that come faster are not told.
const EVERY: Duration = Duration::from_millis(100);

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A pull begins.
    Pulling(Reference),
    /// A push begins.
    Pushing(Reference),
    /// Something happens to a layer, known by its blob.
    Layer(Digest, Stage),
    /// A pull ends: what the name points at now, and whether it did before.
    Pulled {
        /// What was pulled.
        reference: Reference,
        /// The image's digest.
        digest: Digest,
        /// Whether it was here already.
        was_here: bool,
    },
    /// A push ends.
    Pushed {
        /// What was pushed.
        reference: Reference,
        /// The image.
        target: Box<Descriptor>,
    },
    /// A volume was filled.
    Filled {
        /// From where.
        reference: Reference,
        /// What that is.
        digest: Digest,
        /// Its name.
        volume: String,
    },
    /// An image of an archive is here, in Docker's words.
    Loaded(String),
    /// Something people may want to know.
    Note(String),
    /// One platform's image was pushed, for the others are not all here.
    PushedOne {
        /// The image's index.
        index: Box<Descriptor>,
        /// What was pushed.
        manifest: Box<Descriptor>,
    },
}

/// What happens to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It will be fetched.
    Known,
    /// It is here.
    Exists,
    /// It waits for its turn.
    Waiting,
    /// Bytes come.
    Downloading(Amount),
    /// All bytes are here, and right.
    Downloaded,
    /// It is being read from an archive.
    Loading(Amount),
    /// It is being unpacked.
    Extracting(Amount),
    /// It is unpacked.
    Complete,
    /// It will be sent.
    Preparing,
    /// Bytes go.
    Uploading(Amount),
    /// The registry has it now.
    Uploaded,
    /// The registry had it.
    AlreadyThere,
    /// The registry took it from another repository.
    Mounted(String),
    /// It may not be sent.
    Skipped,
}

/// So much of so much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes done.
    pub current: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Where events go and come from. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    events: Mutex<VecDeque<Event>>,
    some: Notify,
}

impl Progress {
    /// Tells.
    pub fn say(&self, event: Event) {
        let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        let superseded = events
            .iter_mut()
            .rev()
            .find(|older| supersedes(&event, older));
        match superseded {
            Some(older) => *older = event,
            None => events.push_back(event),
        }
        drop(events);
        self.0.some.notify_one();
    }

    /// Tells of a layer.
    pub fn layer(&self, layer: &Digest, stage: Stage) {
        self.say(Event::Layer(layer.clone(), stage));
    }

    /// The next event, when there is one.
    pub async fn next(&self) -> Event {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.0.some.notified().await;
        }
    }

    /// The next event, if there is one now.
    pub fn try_next(&self) -> Option<Event> {
        self.0
            .events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

/// Whether an advance replaces an older one of the same layer.
fn supersedes(new: &Event, old: &Event) -> bool {
    let (Event::Layer(layer, stage), Event::Layer(old_layer, old_stage)) = (new, old) else {
        return false;
    };
    let is_advance = matches!(
        stage,
        Stage::Downloading(_) | Stage::Loading(_) | Stage::Extracting(_) | Stage::Uploading(_)
    );
    is_advance
        && layer == old_layer
        && std::mem::discriminant(stage) == std::mem::discriminant(old_stage)
}

/// Counts one layer's bytes and tells of them now and then.
pub(crate) struct Counter {
    progress: Progress,
    layer: Digest,
    total: u64,
    stage: fn(Amount) -> Stage,
    state: Mutex<(u64, Option<Instant>)>,
}

impl Counter {
    pub(crate) fn new(
        progress: &Progress,
        descriptor: &Descriptor,
        stage: fn(Amount) -> Stage,
    ) -> Self {
        Self {
            progress: progress.clone(),
            layer: descriptor.digest.clone(),
            total: descriptor.size,
            stage,
            state: Mutex::new((0, None)),
        }
    }

    pub(crate) fn add(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += bytes;
        if state.1.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        state.1 = Some(Instant::now());
        let amount = Amount {
            current: state.0.min(self.total),
            total: self.total,
        };
        drop(state);
        self.progress.layer(&self.layer, (self.stage)(amount));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_watcher_sees_the_newest_advance_and_every_step() {
        let progress = Progress::default();
        let layer = Digest::of(b"");
        let at = |current| Stage::Downloading(Amount { current, total: 9 });
        progress.layer(&layer, Stage::Known);
        for current in 0..9 {
            progress.layer(&layer, at(current));
        }
        progress.layer(&layer, Stage::Downloaded);
        let seen: Vec<_> = std::iter::from_fn(|| progress.try_next()).collect();
        let expected = [Stage::Known, at(8), Stage::Downloaded]
            .map(|stage| Event::Layer(layer.clone(), stage));
        assert_eq!(seen, expected);
    }
}
