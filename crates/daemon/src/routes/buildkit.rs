//! BuildKit's protocol: the client takes a connection, and both sides speak gRPC on it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use hull_buildkit::{Device, Front, Lender, Push, Pushing, Worker, grpc, session::Offer};
use hull_engine::{Engine, ship::PushOptions};
use hull_registry::{
    Credentials, Progress,
    progress::{Event, Stage},
};

use crate::{
    app::App,
    http::{
        answer::{Answer, Failure, Outcome},
        hijack::{Hijack, Taken},
        request::Request,
    },
};

/// HTTP/2 without encryption, by its name in `Upgrade`.
const PROTOCOL: &str = "h2c";

/// What answers clients of BuildKit's protocol.
async fn front(app: &App) -> Result<Arc<Front>, hull_engine::Error> {
    let make = || async {
        let (engine, config) = (&app.engine, app.config());
        let facts = engine.info().await?;
        let bridge = engine.network("bridge").ok();
        let bridge = bridge.and_then(|network| Some(network.subnets.first()?.gateway));
        let gateway = config.host_gateway.first().copied().or(bridge);
        let worker = Worker {
            id: facts.id,
            version: crate::VERSION.to_owned(),
            platforms: vec![hull_oci::Platform::host().to_string()],
            host_gateway: gateway
                .map(|address| address.to_string())
                .unwrap_or_default(),
            hostname: facts.name,
        };
        let (builder, store) = (Arc::clone(engine.builder()?), Arc::clone(engine.images()));
        let lender = Arc::new(Lent(engine.clone()));
        Ok(Arc::new(Front::new(worker, builder, store, lender)))
    };
    app.buildkit.get_or_try_init(make).await.cloned()
}

/// What the engine lends to builds.
struct Lent(Engine);

impl Lender for Lent {
    fn sweep(&self) {
        self.0.sweep();
    }

    fn devices(&self) -> Vec<Device> {
        let device = |listed: hull_engine::cdi::Listed| Device {
            name: listed.name,
            auto_allow: listed.auto_allow,
            annotations: listed.annotations,
        };
        self.0.cdi_devices().into_iter().map(device).collect()
    }

    fn push(self: Arc<Self>, push: Push) -> Pushing {
        let Push {
            reference,
            target,
            credentials,
            tell,
        } = push;
        let options = PushOptions {
            reference: reference.to_string(),
            target: Some(target),
            platform: None,
            whole: true,
            credentials: credentials.map(registry_credentials),
            insecure: false,
        };
        Box::pin(async move {
            let progress = Progress::default();
            let pushing = self.0.image_push(options, &progress);
            let telling = async {
                loop {
                    if let Event::Layer(layer, Stage::Uploading(amount)) = progress.next().await {
                        tell(layer.as_str(), amount.current, amount.total);
                    }
                }
            };
            tokio::select! {
                pushed = pushing => pushed.map_err(|error| Failure::from(error).message),
                () = telling => Ok(()),
            }
        })
    }
}

/// Without a user, a client's secret is an identity token.
fn registry_credentials(client: hull_buildkit::session::Credentials) -> Credentials {
    if client.user.is_empty() {
        return Credentials {
            identity_token: client.secret,
            ..Credentials::default()
        };
    }
    Credentials {
        username: client.user,
        password: client.secret,
        ..Credentials::default()
    }
}

/// The client calls the daemon.
pub(super) async fn grpc(request: &Request) -> Outcome {
    let front = front(&request.app).await?;
    upgrade(request, move |connection| async move {
        if let Err(status) = grpc::serve(connection, front).await {
            tracing::debug!(%status, "a client of BuildKit's protocol broke off");
        }
    })
}

/// The client speaks HTTP/2 from the first byte on: it can only mean BuildKit's services.
pub(crate) async fn direct(app: &App, connection: Taken) {
    let front = match front(app).await {
        Ok(front) => front,
        Err(error) => return tracing::warn!(%error, "cannot serve BuildKit's protocol"),
    };
    if let Err(status) = grpc::serve(connection, front).await {
        tracing::debug!(%status, "a client of BuildKit's protocol broke off");
    }
}

/// The daemon calls the client.
pub(super) async fn session(request: &Request) -> Outcome {
    let offer = Offer::from_headers(&request.headers);
    let front = front(&request.app).await?;
    if let Err(status) = front.sessions().accept(&offer) {
        return Err(Failure::invalid(status.message));
    }
    upgrade(request, move |connection| async move {
        let id = offer.id.clone();
        match front.sessions().hold(connection, offer).await {
            Ok(()) => tracing::debug!(session = id, "a session ended"),
            Err(status) => tracing::debug!(session = id, %status, "a session broke off"),
        }
    })
}

/// Takes the connection, if the client asks for the right protocol.
fn upgrade<F, T>(request: &Request, task: F) -> Outcome
where
    F: FnOnce(Taken) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    match request.headers.get(header::UPGRADE) {
        Some(protocol) if protocol == PROTOCOL => {}
        Some(protocol) => {
            let name = String::from_utf8_lossy(protocol.as_bytes()).into_owned();
            return Err(Failure::invalid(format!("protocol {name} not supported")));
        }
        None => return Err(Failure::invalid("no upgrade proto in request")),
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(Answer::Hijack(Hijack {
        status: StatusCode::SWITCHING_PROTOCOLS,
        reason: "Switching Protocols",
        headers,
        task: Box::new(move |connection| Box::pin(task(connection))),
    }))
}
