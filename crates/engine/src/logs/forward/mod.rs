//! Sends a container's log on to a collector: syslog, journald, GELF, Fluentd.
//!
//! ```text
//! container ─▶ shim ─▶ json-file (the spool) ─▶ forwarder ─▶ collector
//!                          └─▶ `logs`, as with any driver
//! ```
//!
//! The shim writes the spool whatever happens, so a collector that is slow or away holds no container up
//! and loses nothing while the spool has it. What was delivered is remembered beside the spool: a daemon
//! that starts again goes on behind it. [`plan`] decides, each driver's module writes one record in its
//! collector's form, [`link`] carries it there.

mod address;
mod fluentd;
mod gelf;
mod journald;
mod link;
mod place;
mod plan;
mod syslog;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time};

pub(crate) use plan::{DRIVERS, options, plan};

use self::{
    link::Link,
    place::Place,
    plan::{Encoder, Plan},
};
use super::{LogQuery, LogRecord};
use crate::{actor::Lifecycle, container::logs::Logs, record::Record, services::Services};

/// The pause after a failed delivery grows from this…
const PAUSE: Duration = Duration::from_millis(100);
/// …to this.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a container's removal waits for a collector that does not take the last lines.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);

/// A container's log on its way to a collector.
#[derive(Debug)]
pub(crate) struct Forwarding {
    life: watch::Sender<Lifecycle>,
    task: JoinHandle<()>,
}

impl Forwarding {
    /// Begins where the last daemon left off. `None`: the driver keeps its log here.
    pub(crate) fn begin(services: &Arc<Services>, record: &Record) -> Option<Self> {
        let plan = match plan(record) {
            Ok(plan) => plan?,
            // It was refused at the create; a later version may know less.
            Err(error) => {
                tracing::error!(container = record.id.short(), %error, "the log goes nowhere");
                return None;
            }
        };
        let running = Lifecycle {
            running: true,
            ..Lifecycle::default()
        };
        let life = watch::Sender::new(running);
        let forwarder = Forwarder {
            container: record.id.short().to_owned(),
            place: services.paths.bundle(&record.id).join("forwarded.json"),
            link: Link::new(plan.address.clone()),
            plan,
        };
        let (services, record) = (Arc::clone(services), record.clone());
        let task = tokio::spawn(forwarder.run(services, record, life.subscribe()));
        Some(Self { life, task })
    }

    /// What was written is delivered, or cannot be in bounded time.
    pub(crate) async fn drain(self) {
        self.life.send_modify(|life| life.running = false);
        let mut task = self.task;
        if time::timeout(DRAINED_WITHIN, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("a removed container's last lines were not taken by its log collector");
        }
    }
}

struct Forwarder {
    container: String,
    place: PathBuf,
    link: Link,
    plan: Plan,
}

impl Forwarder {
    async fn run(
        mut self,
        services: Arc<Services>,
        record: Record,
        life: watch::Receiver<Lifecycle>,
    ) {
        let mut place = Place::read(&self.place);
        let query = LogQuery {
            since_ns: place.since_ns(),
            follow: true,
            ..LogQuery::default()
        };
        let mut logs = match Logs::open(&services, &record, query, life).await {
            Ok(logs) => logs,
            Err(error) => {
                tracing::error!(container = self.container, %error, "the log is not forwarded");
                return;
            }
        };
        while let Some(records) = logs.next().await {
            match records {
                Ok(records) => {
                    for record in &records {
                        if place.passes(record.time_ns) {
                            self.deliver(record).await;
                        }
                    }
                    place.write(&self.place);
                }
                Err(error) => {
                    tracing::error!(container = self.container, %error, "the log is not forwarded");
                    return;
                }
            }
        }
    }

    /// Tries until the collector takes it.
    async fn deliver(&mut self, record: &LogRecord) {
        let packets = self.plan.encode(record);
        let mut pause = PAUSE;
        while let Err(error) = self.link.send(&packets).await {
            if pause == PAUSE {
                let (container, address) = (&self.container, &self.plan.address);
                tracing::warn!(container, %address, %error, "the log collector takes nothing: trying again");
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Plan {
    fn encode(&self, record: &LogRecord) -> Vec<Vec<u8>> {
        match &self.encoder {
            Encoder::Syslog(syslog) => vec![syslog.encode(&self.subject, record)],
            Encoder::Journald => vec![journald::encode(&self.subject, record)],
            Encoder::Gelf(gelf) => gelf.encode(&self.subject, record),
            Encoder::Fluentd(fluentd) => vec![fluentd.encode(&self.subject, record)],
        }
    }
}
