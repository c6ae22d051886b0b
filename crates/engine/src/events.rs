//! What happened, for whoever watches, and for whoever asks later.
//!
//! An event gets a number and goes into a short ring in memory; a thread of its own copies the ring
//! to the state file in batches. A watcher holds nothing but the number of the last event it saw:
//! it reads on from the ring, or from the file when it fell behind, so a slow watcher costs nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{error::Result, store::Store, time::now_ns};

/// How many events are kept in memory.
const RING: usize = 512;

/// How many events wait at most for a file that takes none.
const UNSTORED_MAX: usize = 20_000;

/// How long until a file that took none is asked again.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// How many events a slow watcher reads from the file at once.
const BATCH: usize = 256;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "Docker's words")]
pub enum Subject {
    Container,
    Image,
    Network,
    Volume,
    Daemon,
    Builder,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about.
    pub subject: Subject,
    /// Docker's word for it: `start`, `die`, `exec_create: sh`.
    pub action: String,
    /// The object's id.
    pub id: String,
    /// What else Docker tells.
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
}

/// All events.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    /// Rung when there is something to store.
    to_store: Condvar,
    newest: watch::Sender<u64>,
    store: Arc<Store>,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<(u64, Arc<Event>)>,
    newest: u64,
    stored: u64,
    closed: bool,
}

/// Reads on from a number.
#[derive(Debug)]
pub struct Watcher {
    events: Events,
    last: u64,
    newest: watch::Receiver<u64>,
}

impl Events {
    /// Goes on counting where the state file ends.
    pub(crate) fn open(store: Arc<Store>) -> Result<Self> {
        let newest = store.last_event()?;
        let ring = Ring {
            events: VecDeque::new(),
            newest,
            stored: newest,
            closed: false,
        };
        let shared = Arc::new(Shared {
            ring: Mutex::new(ring),
            to_store: Condvar::new(),
            newest: watch::Sender::new(newest),
            store,
        });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("events".to_owned())
            .stack_size(256 << 10)
            .spawn(move || writer.write_out())
            .map_err(|source| crate::Error::Host {
                attempt: "start the events thread".to_owned(),
                source,
            })?;
        Ok(Self(shared))
    }

    /// Something happened, now.
    pub fn publish(
        &self,
        subject: Subject,
        action: impl Into<String>,
        id: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let event = Event {
            subject,
            action: action.into(),
            id: id.into(),
            attributes,
            time_ns: now_ns(),
        };
        let newest = {
            let mut ring = self.0.lock();
            ring.newest += 1;
            let newest = ring.newest;
            ring.events.push_back((newest, Arc::new(event)));
            // What is not stored yet stays, however much it is: nothing is lost.
            while ring.events.len() > RING
                && ring.events.front().is_some_and(|e| e.0 <= ring.stored)
            {
                ring.events.pop_front();
            }
            newest
        };
        self.0.to_store.notify_one();
        self.0.newest.send_replace(newest);
    }

    /// How many there ever were.
    pub fn published(&self) -> u64 {
        self.0.lock().newest
    }

    /// Watches from now on.
    pub fn watch(&self) -> Watcher {
        let newest = self.0.newest.subscribe();
        let last = self.0.lock().newest;
        Watcher {
            events: self.clone(),
            last,
            newest,
        }
    }

    /// Watches from the first event at or after `time_ns`. Blocks on the state file.
    pub fn watch_since(&self, time_ns: i64) -> Result<Watcher> {
        self.flush();
        let newest = self.0.newest.subscribe();
        let last = self.0.store.last_event_before(time_ns)?;
        Ok(Watcher {
            events: self.clone(),
            last,
            newest,
        })
    }

    /// Waits until everything published so far is in the state file (or a second has passed).
    pub fn flush(&self) {
        for _ in 0..1000 {
            let ring = self.0.lock();
            if ring.stored >= ring.newest {
                return;
            }
            drop(ring);
            self.0.to_store.notify_one();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stores what is left and ends the thread.
    pub fn close(&self) {
        self.flush();
        self.0.lock().closed = true;
        self.0.to_store.notify_one();
    }

    /// What comes after number `last`, without waiting. Blocks on the file if it is long ago.
    fn after(&self, last: u64) -> Vec<(u64, Arc<Event>)> {
        {
            let ring = self.0.lock();
            let oldest = ring.events.front().map_or(ring.newest + 1, |event| event.0);
            if last + 1 >= oldest {
                return ring
                    .events
                    .iter()
                    .filter(|event| event.0 > last)
                    .cloned()
                    .collect();
            }
        }
        let stored = self
            .0
            .store
            .events_after(last, BATCH)
            .unwrap_or_else(|error| {
                tracing::error!(%error, "cannot read events");
                Vec::new()
            });
        let read =
            |(seq, body): (u64, String)| Some((seq, Arc::new(serde_json::from_str(&body).ok()?)));
        if stored.is_empty() {
            // What was between could not be kept.
            let ring = self.0.lock();
            let later = ring.events.iter().filter(|event| event.0 > last);
            return later.cloned().collect();
        }
        stored.into_iter().filter_map(read).collect()
    }
}

impl Watcher {
    /// The next events, at least one; waits for them.
    pub async fn next(&mut self) -> Vec<Arc<Event>> {
        loop {
            let found = self.ready();
            if !found.is_empty() {
                return found;
            }
            // The sender lives as long as `self.events`, so waiting cannot fail.
            if self.newest.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next events, if there are any already.
    pub fn ready(&mut self) -> Vec<Arc<Event>> {
        self.newest.borrow_and_update();
        let found = self.events.after(self.last);
        if let Some((seq, _)) = found.last() {
            self.last = *seq;
        }
        found.into_iter().map(|(_, event)| event).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A full disk may have room again by and by. Until then, what the file would not keep either is let go.
    fn pause<'a>(&'a self, mut ring: MutexGuard<'a, Ring>) -> MutexGuard<'a, Ring> {
        while ring.events.len() > UNSTORED_MAX {
            if let Some((seq, _)) = ring.events.pop_front() {
                ring.stored = ring.stored.max(seq);
            }
        }
        let waiting = |ring: &mut Ring| !ring.closed;
        let waited = self.to_store.wait_timeout_while(ring, STORE_AGAIN, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The thread: copies the ring to the file, a batch at a time.
    fn write_out(&self) {
        let mut ring = self.lock();
        loop {
            while ring.stored == ring.newest && !ring.closed {
                ring = self
                    .to_store
                    .wait(ring)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if ring.stored == ring.newest {
                return;
            }
            let batch: Vec<_> = ring
                .events
                .iter()
                .filter(|event| event.0 > ring.stored)
                .cloned()
                .collect();
            drop(ring);
            let rows: Vec<_> = batch
                .iter()
                .filter_map(|(seq, event)| {
                    Some((*seq, event.time_ns, serde_json::to_string(&**event).ok()?))
                })
                .collect();
            let outcome = self.store.append_events(&rows);
            ring = self.lock();
            if let Some((seq, _)) = batch.last()
                && outcome.is_ok()
            {
                ring.stored = *seq;
            }
            if let Err(error) = outcome {
                tracing::error!(%error, "cannot store events");
                if ring.closed {
                    return;
                }
                ring = self.pause(ring);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(directory: &std::path::Path) -> Events {
        let store = Store::open(&directory.join("hull.db")).unwrap().store;
        Events::open(Arc::new(store)).unwrap()
    }

    #[tokio::test]
    async fn a_watcher_sees_what_comes_and_can_ask_for_what_was() {
        let directory = tempfile::tempdir().unwrap();
        let events = opened(directory.path());
        events.publish(Subject::Container, "create", "a", BTreeMap::new());
        let mut watcher = events.watch();
        events.publish(Subject::Container, "start", "a", BTreeMap::new());
        assert_eq!(watcher.next().await[0].action, "start");
        let mut all = events.watch_since(0).unwrap();
        let actions: Vec<_> = all
            .ready()
            .iter()
            .map(|event| event.action.clone())
            .collect();
        assert_eq!(actions, ["create", "start"]);
    }

    #[tokio::test]
    async fn events_are_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let events = opened(directory.path());
        for n in 0..1500 {
            events.publish(Subject::Image, n.to_string(), "i", BTreeMap::new());
        }
        events.close();
        drop(events);
        let events = opened(directory.path());
        let mut watcher = events.watch_since(0).unwrap();
        let mut seen = 0;
        while seen < 1500 {
            let batch = watcher.next().await;
            assert_eq!(batch[0].action, seen.to_string());
            seen += batch.len();
        }
    }
}
