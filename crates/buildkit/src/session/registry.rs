//! Which sessions there are.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    grpc::{Channel, Code, Status},
    proto::health::{HealthCheckRequest, HealthCheckResponse},
};

/// How long a build waits for the session it names: both connections are opened at once.
const ARRIVAL: Duration = Duration::from_secs(15);

/// How often a session is asked whether it lives.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// How long it may take to say so: it may be busy sending files.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(15);

/// Unanswered questions in a row that end a session.
const HEALTH_FAILURES: u32 = 2;

/// The longest id taken: clients draw 25 letters.
const ID_BYTES_MAX: usize = 256;

/// How a session tells about itself: in the head of a request, or as a call's metadata.
const ID: &str = "x-docker-expose-session-uuid";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";
const METHOD: &str = "x-docker-expose-session-grpc-method";

/// What a client says of the session it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What builds call it.
    pub id: String,
    /// The same for the same directory on the same machine, so that what is here already can be
    /// used again. May be empty.
    pub shared_key: String,
    /// `/package.Service/Method`, as the client serves them.
    pub methods: Vec<String>,
}

impl Offer {
    /// From what came along with a request or a call.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Self {
            id: headers.get(ID).map(text).unwrap_or_default(),
            shared_key: headers.get(SHARED_KEY).map(text).unwrap_or_default(),
            methods: headers.get_all(METHOD).iter().map(text).collect(),
        }
    }
}

/// A client that can be asked.
#[derive(Debug)]
pub struct Session {
    id: String,
    shared_key: String,
    methods: HashSet<String>,
    channel: Channel,
    ended: watch::Receiver<bool>,
}

/// The sessions there are.
#[derive(Debug)]
pub struct Sessions {
    known: Mutex<HashMap<String, Arc<Session>>>,
    arrivals: watch::Sender<()>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            arrivals: watch::Sender::new(()),
        }
    }
}

impl Sessions {
    /// Whether a session may be opened under this offer.
    pub fn accept(&self, offer: &Offer) -> Result<(), Status> {
        if offer.id.is_empty() || offer.id.len() > ID_BYTES_MAX {
            return Err(Status::invalid(
                "a session needs an id (X-Docker-Expose-Session-Uuid)",
            ));
        }
        if self.known().contains_key(&offer.id) {
            return Err(taken(&offer.id));
        }
        Ok(())
    }

    /// Holds a session open until its connection ends or it stops answering.
    pub async fn hold<I>(&self, io: I, offer: Offer) -> Result<(), Status>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let (channel, connection) = Channel::over(io).await?;
        let (end, ended) = watch::channel(false);
        let session = Arc::new(Session {
            id: offer.id,
            shared_key: offer.shared_key,
            methods: offer.methods.iter().map(|m| m.to_lowercase()).collect(),
            channel: channel.clone(),
            ended,
        });
        let id = session.id.clone();
        // Two may have been accepted at the same moment: builds draw on the first.
        match self.known().entry(id.clone()) {
            Entry::Occupied(_) => return Err(taken(&id)),
            Entry::Vacant(place) => place.insert(session),
        };
        self.arrivals.send_replace(());
        // Also when this future is dropped: whoever waits for the session must not wait for ever.
        let _leaving = Leaving {
            sessions: self,
            id: &id,
            end,
        };
        tokio::select! {
            ended = connection => Ok(ended?),
            dead = watch_over(&channel) => Err(dead),
        }
    }

    /// The session, when it has come.
    pub async fn get(&self, id: &str) -> Result<Arc<Session>, Status> {
        let mut arrivals = self.arrivals.subscribe();
        let arrival = async {
            loop {
                if let Some(session) = self.known().get(id) {
                    return Arc::clone(session);
                }
                if arrivals.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        timeout(ARRIVAL, arrival)
            .await
            .map_err(|_| Status::new(Code::Unknown, format!("no active session for {id}")))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn taken(id: &str) -> Status {
    let message = format!("session {id} already exists");
    Status::new(Code::AlreadyExists, message)
}

/// Takes a session off the list when it is held no more.
struct Leaving<'a> {
    sessions: &'a Sessions,
    id: &'a str,
    end: watch::Sender<bool>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.sessions.known().remove(self.id);
        self.end.send_replace(true);
    }
}

impl Session {
    /// What builds call it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same for the same directory on the same machine.
    pub fn shared_key(&self) -> &str {
        &self.shared_key
    }

    /// Whether the client serves a method.
    pub fn serves(&self, method: &str) -> bool {
        self.methods.contains(&method.to_lowercase())
    }

    /// Waits until the client is gone.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// The way to the client.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }
}

/// Asks again and again whether the client lives; returns when it does not.
async fn watch_over(channel: &Channel) -> Status {
    let mut ticks = interval(HEALTH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut failures = 0;
    loop {
        ticks.tick().await;
        let question = HealthCheckRequest::default();
        let question =
            channel.unary::<HealthCheckResponse>("/grpc.health.v1.Health/Check", &question);
        match timeout(HEALTH_TIMEOUT, question).await {
            // A client that does not know the question answers all the same.
            Ok(Ok(_)) => failures = 0,
            Ok(Err(error)) if error.code == Code::Unimplemented => failures = 0,
            _ => failures += 1,
        }
        if failures >= HEALTH_FAILURES {
            return Status::gone("the client does not answer any more");
        }
    }
}
