//! A build's progress, kept so that whoever listens hears it from the beginning.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use prost::Message;
use tokio::sync::watch;

use crate::{
    job::lock,
    proto::control::{StatusResponse, VertexLog},
};

/// The most of one vertex' output that is kept and told, as with BuildKit.
const LOG_BYTES_MAX: usize = 2 << 20;

/// The largest answer: several of the kept ones travel together.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// All that was told of a build.
#[derive(Debug)]
pub(crate) struct ProgressLog {
    told: Mutex<Told>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Told {
    words: Vec<Arc<StatusResponse>>,
    log_bytes: HashMap<String, usize>,
    bytes: usize,
    is_closed: bool,
}

impl Default for ProgressLog {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }
}

impl ProgressLog {
    /// Tells something. What is told when all is over is not heard.
    pub(crate) fn tell(&self, mut word: StatusResponse) {
        let mut told = lock(&self.told);
        if told.is_closed {
            return;
        }
        let logs = std::mem::take(&mut word.logs);
        word.logs = logs
            .into_iter()
            .filter_map(|log| clipped(&mut told.log_bytes, log))
            .collect();
        // Output that is told no more takes no room either.
        if word == StatusResponse::default() {
            return;
        }
        told.bytes += word.encoded_len();
        told.words.push(Arc::new(word));
        drop(told);
        self.changes.send_replace(());
    }

    /// Nothing follows.
    pub(crate) fn close(&self) {
        lock(&self.told).is_closed = true;
        self.changes.send_replace(());
    }

    /// How much is kept.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.told).bytes
    }

    /// All that was told.
    pub(crate) fn words(&self) -> Vec<StatusResponse> {
        let told = lock(&self.told);
        told.words.iter().map(|word| (**word).clone()).collect()
    }

    /// Counts of what was told: all vertices, completed ones, cached ones, warnings.
    pub(crate) fn counts(&self) -> Counts {
        let told = lock(&self.told);
        let mut newest = HashMap::new();
        let mut counts = Counts::default();
        for word in &told.words {
            counts.warnings += i32::try_from(word.warnings.len()).unwrap_or(i32::MAX);
            for vertex in &word.vertexes {
                newest.insert(
                    vertex.digest.clone(),
                    (vertex.completed.is_some(), vertex.cached),
                );
            }
        }
        let count = |wanted: &dyn Fn(&(bool, bool)) -> bool| {
            i32::try_from(newest.values().filter(|vertex| wanted(vertex)).count())
                .unwrap_or(i32::MAX)
        };
        counts.total = count(&|_| true);
        counts.completed = count(&|vertex| vertex.0);
        counts.cached = count(&|vertex| vertex.1);
        counts
    }

    /// What was told since the `from`-th word, and how far that goes. `None`: all was heard.
    pub(crate) async fn since(&self, from: usize) -> Option<(StatusResponse, usize)> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            {
                let told = lock(&self.told);
                if let Some(new) = told.words.get(from..).filter(|new| !new.is_empty()) {
                    let (answer, count) = joined(new);
                    return Some((answer, from + count));
                }
                if told.is_closed {
                    return None;
                }
            }
            changes.changed().await.ok()?;
        }
    }
}

/// Counts of a build's vertices and warnings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: i32,
    pub(crate) completed: i32,
    pub(crate) cached: i32,
    pub(crate) warnings: i32,
}

/// As many words as fit into an answer, as one.
fn joined(words: &[Arc<StatusResponse>]) -> (StatusResponse, usize) {
    let mut answer = StatusResponse::default();
    let mut bytes = 0;
    for (index, word) in words.iter().enumerate() {
        bytes += word.encoded_len();
        if index > 0 && bytes > ANSWER_BYTES_MAX {
            return (answer, index);
        }
        answer.vertexes.extend_from_slice(&word.vertexes);
        answer.statuses.extend_from_slice(&word.statuses);
        answer.logs.extend_from_slice(&word.logs);
        answer.warnings.extend_from_slice(&word.warnings);
    }
    (answer, words.len())
}

/// The log as far as there is room for it, and at the limit a word on that.
fn clipped(log_bytes: &mut HashMap<String, usize>, mut log: VertexLog) -> Option<VertexLog> {
    let taken = log_bytes.entry(log.vertex.clone()).or_default();
    let room = LOG_BYTES_MAX.saturating_sub(*taken);
    if *taken > LOG_BYTES_MAX {
        return None;
    }
    *taken += log.msg.len();
    if log.msg.len() > room {
        log.msg.truncate(room);
        log.msg
            .extend_from_slice(b"\n[output clipped, log limit 2MiB reached]\n");
        *taken = LOG_BYTES_MAX + 1;
    }
    Some(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(bytes: usize) -> StatusResponse {
        StatusResponse {
            logs: vec![VertexLog {
                vertex: "v".to_owned(),
                msg: vec![b'x'; bytes],
                ..VertexLog::default()
            }],
            ..StatusResponse::default()
        }
    }

    #[tokio::test]
    async fn late_listeners_hear_all_and_then_the_end() {
        let progress = ProgressLog::default();
        progress.tell(log(1));
        progress.tell(log(2));
        let (answer, next) = progress.since(0).await.unwrap();
        assert_eq!((answer.logs.len(), next), (2, 2));
        progress.tell(log(3));
        progress.close();
        progress.tell(log(4));
        let (answer, next) = progress.since(next).await.unwrap();
        assert_eq!((answer.logs.len(), next), (1, 3));
        assert!(progress.since(next).await.is_none());
    }

    #[tokio::test]
    async fn endless_output_is_clipped() {
        let progress = ProgressLog::default();
        for _ in 0..5 {
            progress.tell(log(LOG_BYTES_MAX / 2));
        }
        assert!(progress.bytes() < LOG_BYTES_MAX + 1000);
        assert_eq!(progress.words().len(), 3);
        let mut next = 0;
        let mut text = Vec::new();
        progress.close();
        while let Some((answer, then)) = progress.since(next).await {
            next = then;
            text.extend(answer.logs.into_iter().flat_map(|log| log.msg));
        }
        assert!(text.ends_with(b"[output clipped, log limit 2MiB reached]\n"));
    }
}
