//! The client's ssh agents, for builds of Hull's own client.
//!
//! The client draws a token for its build and opens `POST /hull/build/agent/{token}?id=ID`, which
//! becomes a plain connection that waits here. When a step connects to its agent, one of those that
//! wait gets a byte as a sign, the client joins it to the agent, and opens another one to wait.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hull_build::SshAgents;
use tokio::{io::AsyncWriteExt as _, runtime::Handle, sync::Notify, time::timeout};

use crate::http::{
    answer::{Answer, Failure, Outcome},
    hijack::{Hijack, Taken},
    request::Request,
};

/// How long a step waits for the client's next connection.
const ARRIVAL: Duration = Duration::from_secs(15);
/// Connections that wait for one build: a client keeps one for each of its agents.
const WAITING_MAX: usize = 64;
/// The shortest token taken: nobody shall guess it.
const TOKEN_BYTES_MIN: usize = 32;
/// What tells a client that its connection is wanted.
const SIGN: u8 = 1;

/// Connections that wait, by their build's token.
#[derive(Default)]
pub(super) struct Agents {
    waiting: Mutex<HashMap<String, Vec<(String, Taken)>>>,
    arrival: Notify,
}

/// The agents of one build.
pub(super) struct Offered {
    pub(super) runtime: Handle,
    pub(super) agents: Arc<Agents>,
    pub(super) token: String,
    pub(super) ids: Vec<String>,
}

/// `POST /hull/build/agent/{token}`
pub(super) fn offer(request: &Request) -> Outcome {
    let token = request.name().to_owned();
    let id = request.query.text("id").to_owned();
    if token.len() < TOKEN_BYTES_MIN || id.is_empty() {
        return Err(Failure::invalid(
            "an ssh agent is offered under a build's token, with an id",
        ));
    }
    let agents = Arc::clone(&request.app.builds.agents);
    let task = move |connection: Taken| async move { agents.put(&token, id, connection).await };
    Ok(Answer::Hijack(Hijack::stream(
        true,
        "application/octet-stream",
        task,
    )))
}

/// A build whose connections are taken.
pub(super) struct Opened(Arc<Agents>, String);

impl Drop for Opened {
    fn drop(&mut self) {
        // The client sees its connections end, and opens no more.
        self.0.lock().remove(&self.1);
    }
}

impl Agents {
    /// Takes connections for a build, until what this gives goes.
    pub(super) fn open(self: &Arc<Self>, token: &str) -> Opened {
        self.lock().insert(token.to_owned(), Vec::new());
        self.arrival.notify_waiters();
        Opened(Arc::clone(self), token.to_owned())
    }

    /// Keeps a connection for its build, which may come a moment later.
    async fn put(&self, token: &str, id: String, connection: Taken) {
        let opened = async {
            loop {
                let arrival = self.arrival.notified();
                if self.lock().contains_key(token) {
                    return;
                }
                arrival.await;
            }
        };
        if timeout(ARRIVAL, opened).await.is_ok()
            && let Some(own) = self.lock().get_mut(token)
            && own.len() < WAITING_MAX
        {
            own.push((id, connection));
        }
        self.arrival.notify_waiters();
    }

    /// A connection that waits, or the next one to come.
    async fn take(&self, token: &str, id: &str) -> Taken {
        loop {
            let arrival = self.arrival.notified();
            if let Some(own) = self.lock().get_mut(token)
                && let Some(at) = own.iter().position(|(other, _)| other == id)
            {
                return own.swap_remove(at).1;
            }
            arrival.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<(String, Taken)>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offered {
    async fn join(&self, id: &str, step: UnixStream) -> std::io::Result<()> {
        step.set_nonblocking(true)?;
        let mut step = tokio::net::UnixStream::from_std(step)?;
        let late = |_| std::io::Error::other("the client offers no connection to its agent");
        let taken = timeout(ARRIVAL, self.agents.take(&self.token, id)).await;
        let mut agent = taken.map_err(late)?;
        agent.write_all(&[SIGN]).await?;
        agent.flush().await?;
        tokio::io::copy_bidirectional(&mut step, &mut agent)
            .await
            .map(drop)
    }
}

impl SshAgents for Offered {
    fn has(&self, id: &str) -> bool {
        self.ids.iter().any(|own| own == id)
    }

    fn serve(&self, id: &str, connection: UnixStream) {
        if let Err(error) = self.runtime.block_on(self.join(id, connection)) {
            tracing::debug!(%error, "an ssh agent's connection ended");
        }
    }
}
