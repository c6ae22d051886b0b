//! What `--metrics-addr` serves: the daemon's counters under Docker's names, in Prometheus' text
//! form, so that dashboards made for Docker go on working.

use std::{
    convert::Infallible,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use hull_engine::system::Info;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch};

use crate::{app::App, http::router::Op};

/// Upper bounds of the histograms' buckets, in milliseconds.
const BUCKETS_MS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// What is done to containers, and timed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Changes,
    Commit,
    Create,
    Delete,
    Start,
}

impl Action {
    const ALL: [Self; 5] = [
        Self::Changes,
        Self::Commit,
        Self::Create,
        Self::Delete,
        Self::Start,
    ];

    /// The action an operation is; most are none.
    pub(crate) fn of(op: Op) -> Option<Self> {
        Some(match op {
            Op::ContainerChanges => Self::Changes,
            Op::Commit => Self::Commit,
            Op::ContainerCreate => Self::Create,
            Op::ContainerRemove => Self::Delete,
            Op::ContainerStart => Self::Start,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Commit => "commit",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Start => "start",
        }
    }
}

/// What the daemon counts itself.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    actions: [Histogram; Action::ALL.len()],
}

#[derive(Debug, Default)]
struct Histogram {
    /// One more than there are bounds: the last has none.
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    total_us: AtomicU64,
}

impl Metrics {
    /// An action was carried out.
    pub(crate) fn took(&self, action: Action, since: Instant) {
        self.actions[action as usize].add(since.elapsed());
    }
}

impl Histogram {
    fn add(&self, time: Duration) {
        let ms = time.as_micros().div_ceil(1000);
        let bucket = BUCKETS_MS.partition_point(|bound| u128::from(*bound) < ms);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, label: &str) {
        let mut count = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BUCKETS_MS
                .get(index)
                .map_or("+Inf".to_owned(), |ms| (*ms as f64 / 1e3).to_string());
            let _ = writeln!(text, "{name}_bucket{{{label},le=\"{bound}\"}} {count}");
        }
        let total = self.total_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_sum{{{label}}} {total}");
        let _ = writeln!(text, "{name}_count{{{label}}} {count}");
    }
}

/// Opens the port. Like Docker's, it asks nobody for a password: it belongs on a loopback or inner
/// address.
pub(crate) fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Answers until the daemon stops.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: later, then.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let app = Arc::clone(&app);
        let page = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(page(&app, &request).await) }
        });
        let mut stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = http1::Builder::new().serve_connection(TokioIo::new(stream), page) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }
}

async fn page(app: &App, request: &http::Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match app.engine.info().await {
            Ok(info) => (StatusCode::OK, text(app, &info)),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        _ => (
            StatusCode::NOT_FOUND,
            "the counters are at /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Name, kind, what it is, and its values by their labels.
type Family = (&'static str, &'static str, &'static str, Vec<(String, u64)>);

fn text(app: &App, info: &Info) -> String {
    let mut text = String::new();
    for (name, kind, help, values) in families(app, info) {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    let name = "engine_daemon_container_actions_seconds";
    let _ = writeln!(
        text,
        "# HELP {name} How long what is done to containers takes.\n# TYPE {name} histogram"
    );
    for action in Action::ALL {
        let label = format!("action=\"{}\"", action.word());
        app.metrics.actions[action as usize].write(&mut text, name, &label);
    }
    text
}

#[rustfmt::skip]
fn families(app: &App, info: &Info) -> Vec<Family> {
    let plain = |value: u64| vec![(String::new(), value)];
    let states = [("paused", info.paused), ("running", info.running), ("stopped", info.stopped)]
        .map(|(word, count)| (format!("{{state=\"{word}\"}}"), count as u64));
    let listeners = u64::try_from(app.listeners()).unwrap_or(0);
    vec![
        ("engine_daemon_container_states_containers", "gauge", "Containers by their state.", states.to_vec()),
        ("engine_daemon_engine_cpus_cpus", "gauge", "Processors of the host.", plain(info.cpus as u64)),
        ("engine_daemon_engine_memory_bytes", "gauge", "Memory of the host.", plain(info.memory)),
        ("engine_daemon_engine_info", "gauge", "What the engine and its host are.", vec![(identity(info), 1)]),
        ("engine_daemon_events_total", "counter", "Events of this engine.", plain(app.engine.events().published())),
        ("engine_daemon_events_subscribers_total", "gauge", "Clients that listen to events.", plain(listeners)),
        ("process_open_fds", "gauge", "Open descriptors of the daemon.", plain(info.descriptors as u64)),
        ("process_resident_memory_bytes", "gauge", "Memory the daemon holds.", plain(resident_bytes().unwrap_or(0))),
    ]
}

fn identity(info: &Info) -> String {
    let labels = [
        ("architecture", info.machine.as_str()),
        ("commit", ""),
        ("daemon_id", &info.id),
        ("graphdriver", "overlayfs"),
        ("kernel", &info.kernel),
        ("os", &info.operating_system),
        ("os_type", "linux"),
        ("os_version", &info.os_version),
        ("version", crate::VERSION),
    ];
    let label = |(name, value): (&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("{name}=\"{}\"", value.replace('\n', "\\n"))
    };
    format!("{{{}}}", labels.map(label).join(","))
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;

    #[test]
    fn times_are_counted_up_to_each_bound() {
        let histogram = Histogram::default();
        for ms in [1, 5, 6, 99, 11_000] {
            histogram.add(Duration::from_millis(ms));
        }
        let mut text = String::new();
        histogram.write(&mut text, "took", "action=\"start\"");
        for line in [
            "took_bucket{action=\"start\",le=\"0.005\"} 2",
            "took_bucket{action=\"start\",le=\"0.01\"} 3",
            "took_bucket{action=\"start\",le=\"0.1\"} 4",
            "took_bucket{action=\"start\",le=\"10\"} 4",
            "took_bucket{action=\"start\",le=\"+Inf\"} 5",
            "took_sum{action=\"start\"} 11.111",
            "took_count{action=\"start\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
