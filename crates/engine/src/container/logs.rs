//! What a container wrote, and goes on writing.

use std::{os::fd::OwnedFd, sync::Arc};

use tokio::{io::unix::AsyncFd, sync::watch};

use crate::{
    Engine,
    actor::Lifecycle,
    error::{Attempt, Error, Result},
    log,
    logs::{LogQuery, LogReader, LogRecord, Next},
    record::Record,
    services::Services,
};

/// A container's log, being read.
#[derive(Debug)]
pub struct Logs {
    /// Whether the container has a terminal: then there is one stream, and no frames.
    pub tty: bool,
    services: Arc<Services>,
    reader: Option<LogReader>,
    changed: Option<AsyncFd<OwnedFd>>,
    life: watch::Receiver<Lifecycle>,
}

impl Engine {
    /// Opens a container's log. Following ends when the container does.
    pub async fn logs(&self, reference: &str, query: LogQuery) -> Result<Logs> {
        let handle = self.find(reference)?;
        let record = handle.record();
        log::readable(&record)?;
        Logs::open(self.services(), &record, query, handle.lifecycle()).await
    }
}

impl Logs {
    /// Following ends with that life.
    pub(crate) async fn open(
        services: &Arc<Services>,
        record: &Record,
        query: LogQuery,
        life: watch::Receiver<Lifecycle>,
    ) -> Result<Self> {
        let path = log::spool(record)?.to_owned();
        let attempt = {
            let path = path.clone();
            move || format!("read {}", path.display())
        };
        let job = move || LogReader::open(&path, query);
        let reader = services.block(job).await?.attempt(&attempt)?;
        let changed = reader.changed_fd().map(|fd| fd.try_clone_to_owned());
        #[expect(
            deprecated,
            reason = "an OwnedFd cannot be closed by others; `register` is unsafe"
        )]
        let changed = changed
            .transpose()
            .and_then(|fd| fd.map(AsyncFd::new).transpose())
            .attempt(&attempt)?;
        Ok(Self {
            tty: record.config.tty,
            services: Arc::clone(services),
            reader: Some(reader),
            changed,
            life,
        })
    }

    /// The next records; `None`: there are no more. Waits while it follows.
    pub async fn next(&mut self) -> Option<Result<Vec<LogRecord>>> {
        loop {
            let mut reader = self.reader.take()?;
            let job = move || (reader.read_batch(), reader);
            let (batch, reader) = match self.services.block(job).await {
                Ok(done) => done,
                Err(error) => return Some(Err(error)),
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(source) => {
                    return Some(Err(Error::Host {
                        attempt: "read the log".to_owned(),
                        source,
                    }));
                }
            };
            if batch.next != Next::Stop {
                self.reader = Some(reader);
            }
            if !batch.records.is_empty() {
                return Some(Ok(batch.records));
            }
            if batch.next == Next::Wait {
                self.wait().await;
            }
        }
    }

    /// Waits until there may be more, or the container ended.
    async fn wait(&mut self) {
        let over = |life: &Lifecycle| !life.running;
        let ended = match &self.changed {
            Some(changed) => tokio::select! {
                ready = changed.readable() => {
                    if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                    false
                }
                _ = self.life.wait_for(over) => true,
            },
            None => true,
        };
        if let Some(reader) = &mut self.reader {
            reader.clear_changed();
            if ended {
                reader.stop_following();
                self.changed = None;
            }
        }
    }
}
