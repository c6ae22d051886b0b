//! Further processes in a running container.

use super::{Call, Client, ClientError, Hijacked, container::size};
use crate::{
    query::{Query, encoded},
    types::{ExecCreate, ExecInspect, ExecStart, IdResponse},
};

impl Client {
    /// Prepares a process; it starts with [`exec_start`](Self::exec_start).
    pub async fn exec_create(
        &self,
        container: &str,
        body: &ExecCreate,
    ) -> Result<IdResponse, ClientError> {
        let path = format!("/containers/{}/exec", encoded(container));
        self.post(&path, Call::json(Query::default(), body)).await
    }

    /// Starts it and takes part in its streams.
    pub async fn exec_start(&self, id: &str, body: &ExecStart) -> Result<Hijacked, ClientError> {
        self.hijack(&of(id, "start"), Call::json(Query::default(), body))
            .await
    }

    /// Starts it and leaves it alone.
    pub async fn exec_start_detached(&self, id: &str, tty: bool) -> Result<(), ClientError> {
        let body = ExecStart {
            detach: true,
            tty,
            console_size: None,
        };
        self.order(&of(id, "start"), Call::json(Query::default(), &body))
            .await
    }

    /// Tells its terminal the size.
    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), ClientError> {
        self.order(&of(id, "resize"), Call::with(size(rows, columns)))
            .await
    }

    /// All about it.
    pub async fn exec(&self, id: &str) -> Result<ExecInspect, ClientError> {
        self.get(&of(id, "json"), Query::default()).await
    }
}

fn of(id: &str, verb: &str) -> String {
    format!("/exec/{}/{verb}", encoded(id))
}
