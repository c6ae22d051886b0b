//! Counters, in the text form that Prometheus reads.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    /// By the first digit of the status.
    requests: [AtomicU64; 6],
    in_flight: AtomicU64,
    connections: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    upstream: AtomicU64,
}

/// Counts something as long as it lives.
pub(crate) struct Gauge(Metrics, fn(&Counters) -> &AtomicU64);

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.1)(&self.0.0).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Bytes of blobs that come in.
    pub(crate) fn received(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of blobs that go out.
    pub(crate) fn sent(&self, bytes: u64) {
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of blobs fetched from the upstream.
    pub(crate) fn fetched(&self, bytes: u64) {
        self.0.upstream.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).min(5);
        self.0.requests[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request(&self) -> Gauge {
        self.gauge(|counters| &counters.in_flight)
    }

    pub(crate) fn connection(&self) -> Gauge {
        self.gauge(|counters| &counters.connections)
    }

    fn gauge(&self, counter: fn(&Counters) -> &AtomicU64) -> Gauge {
        counter(&self.0).fetch_add(1, Ordering::Relaxed);
        Gauge(self.clone(), counter)
    }

    /// The page.
    pub(crate) fn text(&self, stored_bytes: u64) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        let mut add = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
            let _ = writeln!(
                text,
                "# HELP hull_registry_{name} {help}\n# TYPE hull_registry_{name} {kind}"
            );
            for (labels, value) in values {
                let _ = writeln!(text, "hull_registry_{name}{labels} {value}");
            }
        };
        let plain = |value: u64| vec![(String::new(), value)];
        let classes: Vec<(String, u64)> = (1..6)
            .map(|class| {
                (
                    format!("{{status=\"{class}xx\"}}"),
                    of(&self.0.requests[class]),
                )
            })
            .collect();
        add(
            "requests_total",
            "counter",
            "Answers by the class of their status.",
            &classes,
        );
        add(
            "requests_in_flight",
            "gauge",
            "Requests being answered.",
            &plain(of(&self.0.in_flight)),
        );
        add(
            "connections",
            "gauge",
            "Open connections.",
            &plain(of(&self.0.connections)),
        );
        add(
            "received_bytes_total",
            "counter",
            "Bytes of blobs received.",
            &plain(of(&self.0.received)),
        );
        add(
            "sent_bytes_total",
            "counter",
            "Bytes of blobs sent.",
            &plain(of(&self.0.sent)),
        );
        add(
            "upstream_bytes_total",
            "counter",
            "Bytes of blobs fetched from the upstream.",
            &plain(of(&self.0.upstream)),
        );
        add(
            "stored_bytes",
            "gauge",
            "Bytes of blobs and uploads on disk.",
            &plain(stored_bytes),
        );
        text
    }
}
