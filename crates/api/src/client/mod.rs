//! The Engine API's operations as functions.
//!
//! ```no_run
//! # async fn run() -> Result<(), hull_api::ClientError> {
//! let client = hull_api::Client::from_host("unix:///var/run/docker.sock")?;
//! client.negotiate().await?;
//! for container in client.containers(&Default::default()).await? {
//!     println!("{} {}", container.id, container.status);
//! }
//! # Ok(())
//! # }
//! ```
//! Each call makes a connection of its own: on a unix socket that costs less than keeping a pool. Where
//! connections are dear ([`Connect::is_kept`]), one that is idle is used again.
//! A future from here must run on a tokio runtime, for the connection is a task of its own.

mod body;
mod build;
mod container;
mod error;
mod exec;
mod image;
mod manifest;
mod network;
mod system;
mod transport;
mod volume;

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    decode,
    query::Query,
    types::{AuthConfig, ErrorBody},
    version::ApiVersion,
};

pub use body::{
    BodyError, ByteStream, FrameStream, JsonStream, RequestBody, from_bytes, from_pieces,
    from_reader,
};
pub use build::BuildPruneOptions;
pub use container::{
    AttachOptions, CommitOptions, ContainerListOptions, FilesOf, LogsOptions, StopOptions, Waiting,
};
pub use error::ClientError;
pub use image::{ImageCreateOptions, ImageListOptions};
pub use manifest::ManifestAnnotation;
pub use system::{decode_auth, decode_auths, encode_auth};
pub use transport::{Connect, Connecting, Duplex, Hijacked, TcpEndpoint, UnixEndpoint};

/// The name clients send for themselves.
const USER_AGENT: &str = concat!("Hull-Client/", env!("CARGO_PKG_VERSION"), " (linux)");

/// An answer that has begun goes on within this time, or the daemon hangs.
const GAP_MAX: Duration = Duration::from_secs(10);

/// A daemon to talk to. Cheap to clone; clones share the negotiated version.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    is_rehearsal: bool,
}

#[derive(Debug)]
struct Shared {
    endpoint: Box<dyn Connect>,
    pool: transport::Pool,
    /// The minor version requests are made in.
    minor: AtomicU16,
    /// Sent with every request.
    headers: HeaderMap,
}

/// What a request consists of besides its method and path.
#[derive(Default)]
pub(crate) struct Call {
    query: Query,
    headers: HeaderMap,
    body: Option<RequestBody>,
}

impl Client {
    /// A daemon behind any transport.
    pub fn new(endpoint: impl Connect + 'static) -> Self {
        Self::with_headers(endpoint, HeaderMap::new())
    }

    /// As [`new`](Self::new), with headers that go out with every request.
    pub fn with_headers(endpoint: impl Connect + 'static, headers: HeaderMap) -> Self {
        let minor = AtomicU16::new(ApiVersion::MAX.minor());
        Self {
            shared: Arc::new(Shared {
                endpoint: Box::new(endpoint),
                pool: transport::Pool::default(),
                minor,
                headers,
            }),
            is_rehearsal: false,
        }
    }

    /// The same daemon, of which nothing is changed: what would change something is not sent. Orders,
    /// whose answers are empty, count as carried out; all else is [`ClientError::Withheld`].
    #[must_use]
    pub fn rehearsal(self) -> Self {
        Self {
            is_rehearsal: true,
            ..self
        }
    }

    /// Whether nothing is changed by this client.
    pub fn is_rehearsal(&self) -> bool {
        self.is_rehearsal
    }

    /// `unix:///path` or `tcp://host:port` (`http://` means the same). For TLS and SSH see
    /// [`Connect`].
    pub fn from_host(host: &str) -> Result<Self, ClientError> {
        let unknown = || ClientError::Address {
            host: host.to_owned(),
        };
        let (scheme, rest) = host.split_once("://").ok_or_else(unknown)?;
        match scheme {
            "unix" if !rest.is_empty() => Ok(Self::new(UnixEndpoint::new(rest))),
            "tcp" | "http" if !rest.is_empty() => Ok(Self::new(TcpEndpoint::new(rest))),
            _ => Err(unknown()),
        }
    }

    /// Where the daemon is, for people.
    pub fn host(&self) -> String {
        self.shared.endpoint.host()
    }

    /// The version requests are made in.
    pub fn version(&self) -> ApiVersion {
        ApiVersion::new(self.shared.minor.load(Ordering::Relaxed))
    }

    /// Makes requests in this version from now on.
    pub fn set_version(&self, version: ApiVersion) {
        self.shared.minor.store(version.minor(), Ordering::Relaxed);
    }

    /// Asks for JSON.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query,
    ) -> Result<T, ClientError> {
        let answer = self.send(Method::GET, path, Call::with(query)).await?;
        json(path, answer).await
    }

    /// Asks for JSON and returns it as it came.
    pub async fn get_raw(&self, path: &str, query: Query) -> Result<Bytes, ClientError> {
        let answer = self.send(Method::GET, path, Call::with(query)).await?;
        collected(path, answer).await
    }

    /// Asks for bytes that come as they are made.
    pub async fn get_stream(&self, path: &str, query: Query) -> Result<ByteStream, ClientError> {
        let answer = self.send(Method::GET, path, Call::with(query)).await?;
        Ok(ByteStream::new(answer))
    }

    /// Posts a body and reads the answer.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        call: Call,
    ) -> Result<T, ClientError> {
        let answer = self.send(Method::POST, path, call).await?;
        json(path, answer).await
    }

    /// Posts and expects no content.
    pub(crate) async fn order(&self, path: &str, call: Call) -> Result<(), ClientError> {
        self.carried_out(Method::POST, path, call).await
    }

    /// Deletes and expects no content.
    pub(crate) async fn delete(&self, path: &str, query: Query) -> Result<(), ClientError> {
        self.carried_out(Method::DELETE, path, Call::with(query))
            .await
    }

    async fn carried_out(&self, method: Method, path: &str, call: Call) -> Result<(), ClientError> {
        match self.send(method, path, call).await {
            Ok(answer) => collected(path, answer).await.map(drop),
            Err(error) if error.is_withheld() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One exchange in the current version; an answer that reports a failure is an error.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        call: Call,
    ) -> Result<Response<Incoming>, ClientError> {
        let path = format!("/v{}{path}", self.version());
        self.send_to(method, &path, call).await
    }

    /// One exchange with a path as it stands.
    pub(crate) async fn send_to(
        &self,
        method: Method,
        path: &str,
        call: Call,
    ) -> Result<Response<Incoming>, ClientError> {
        if self.is_rehearsal && !only_looks(&method, path) {
            let path = path.to_owned();
            return Err(ClientError::Withheld { method, path });
        }
        let request = self.request(method.clone(), path, call)?;
        let asked = request.uri().to_string();
        let mut answer =
            transport::exchange(self.shared.endpoint.as_ref(), &self.shared.pool, request).await?;
        answer
            .extensions_mut()
            .insert(body::AnswerTo(path.to_owned()));
        match checked(&method, path, answer).await {
            // What is asked for by `HEAD` has no body to say why.
            Err(ClientError::Refused { status, message })
                if message.is_empty() && method != Method::HEAD =>
            {
                let host = self.host();
                let place = host
                    .split_once("://")
                    .map_or(host.as_str(), |(_, place)| place);
                let url = format!("http://{}{asked}", crate::query::encoded(place));
                Err(ClientError::Unexplained { status, url })
            }
            checked => checked,
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        call: Call,
    ) -> Result<Request<RequestBody>, ClientError> {
        if let Some(kind) = nameless(path) {
            return Err(ClientError::Nameless { kind });
        }
        let query = call.query.encode();
        let prefix = self.shared.endpoint.prefix();
        let uri = if query.is_empty() {
            format!("{prefix}{path}")
        } else {
            format!("{prefix}{path}?{query}")
        };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, self.shared.endpoint.authority())
            .header(header::USER_AGENT, USER_AGENT)
            .body(call.body.unwrap_or_else(body::empty))
            .map_err(|source| ClientError::Request { source })?;
        request.headers_mut().extend(self.shared.headers.clone());
        request.headers_mut().extend(call.headers);
        Ok(request)
    }
}

/// Whether a request changes nothing. Waiting is a `POST` that only looks.
fn only_looks(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
        || (*method == Method::POST
            && path.contains("/containers/")
            && (path.ends_with("/wait") || path.ends_with("/sealed/compare")))
}

/// What kind of thing a path names with no name. Such a path may well mean something else: all of them.
fn nameless(path: &str) -> Option<&'static str> {
    let mut parts = path.split('/');
    let kind = parts.find_map(|part| match part {
        "containers" => Some("container"),
        "images" => Some("image"),
        "networks" => Some("network"),
        "volumes" => Some("volume"),
        "exec" => Some("exec"),
        _ => None,
    })?;
    (parts.next() == Some("")).then_some(kind)
}

impl Call {
    pub(crate) fn with(query: Query) -> Self {
        Self {
            query,
            ..Self::default()
        }
    }

    /// With a JSON body.
    pub(crate) fn json(query: Query, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("request bodies always have a JSON form");
        let body = Full::new(Bytes::from(bytes))
            .map_err(|never| match never {})
            .boxed_unsync();
        Self::bytes(query, body, "application/json")
    }

    /// With a body of another kind.
    pub(crate) fn bytes(query: Query, body: RequestBody, media: &'static str) -> Self {
        let mut call = Self::with(query);
        call.body = Some(body);
        call.header(header::CONTENT_TYPE, HeaderValue::from_static(media))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With credentials for a registry, if there are any.
    pub(crate) fn auth(self, auth: Option<&AuthConfig>) -> Self {
        let Some(auth) = auth else { return self };
        let value =
            HeaderValue::from_str(&encode_auth(auth)).expect("base64 is made of header characters");
        self.header(HeaderName::from_static("x-registry-auth"), value)
    }
}

/// A path segment for a name that may hold slashes (`registry/team/app:1`).
pub(crate) fn name_in_path(name: &str) -> String {
    let segments: Vec<String> = name.split('/').map(crate::query::encoded).collect();
    segments.join("/").replace("%3A", ":").replace("%40", "@")
}

async fn json<T: DeserializeOwned>(
    path: &str,
    answer: Response<Incoming>,
) -> Result<T, ClientError> {
    let bytes = collected(path, answer).await?;
    let path = || path.to_owned();
    if bytes.trim_ascii().is_empty() {
        return Err(ClientError::Empty { path: path() });
    }
    decode::from_slice(&bytes).map_err(|source| ClientError::Answer {
        path: path(),
        source,
    })
}

/// The whole of an answer. It may be long in coming (the end of a container is waited for so), but what has begun goes on.
async fn collected(path: &str, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
    let mut body = answer.into_body();
    let mut bytes = BytesMut::new();
    loop {
        let frame = match bytes.is_empty() {
            true => body.frame().await,
            false => tokio::time::timeout(GAP_MAX, body.frame())
                .await
                .map_err(|_| ClientError::Stalled {
                    path: path.to_owned(),
                    seconds: GAP_MAX.as_secs(),
                })?,
        };
        let Some(frame) = frame else {
            return Ok(bytes.freeze());
        };
        let frame = frame.map_err(|source| ClientError::Exchange {
            path: path.to_owned(),
            source,
        })?;
        if let Ok(piece) = frame.into_data() {
            bytes.extend_from_slice(&piece);
        }
    }
}

/// Turns an answer that reports a failure into an error with the daemon's text.
async fn checked(
    method: &Method,
    path: &str,
    answer: Response<Incoming>,
) -> Result<Response<Incoming>, ClientError> {
    let status = answer.status();
    let good = status.is_success()
        || matches!(
            status,
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED
        );
    if good {
        return Ok(answer);
    }
    if status.is_redirection() {
        let to = answer.headers().get(header::LOCATION);
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        return Err(ClientError::Redirected {
            method: method.clone(),
            path: path.to_owned(),
            to: to.to_owned(),
        });
    }
    let bytes = collected(path, answer).await?;
    let message = match decode::from_slice::<ErrorBody>(&bytes) {
        Ok(body) if !body.message.is_empty() => body.message,
        _ => String::from_utf8_lossy(&bytes).trim().to_owned(),
    };
    Err(ClientError::Refused { status, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_sends_nothing_that_changes_something() {
        let looks = |method: Method, path: &str| only_looks(&method, path);
        assert!(looks(Method::GET, "/v1.50/containers/json"));
        assert!(looks(Method::HEAD, "/_ping"));
        assert!(looks(Method::POST, "/v1.50/containers/ab/wait"));
        assert!(!looks(Method::POST, "/v1.50/containers/ab/start"));
        assert!(!looks(Method::POST, "/v1.50/volumes/wait"));
        assert!(!looks(Method::PUT, "/v1.50/containers/ab/archive"));
        assert!(!looks(Method::DELETE, "/v1.50/images/wait"));

        // The address leads nowhere: whoever tried to send would fail to connect.
        let client = Client::new(UnixEndpoint::new("/nowhere")).rehearsal();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers is always to be had");
        runtime.block_on(async {
            assert!(client.container_start("ab").await.is_ok());
            let made = client.volume_create(&Default::default()).await;
            assert!(made.is_err_and(|error| error.is_withheld()));
        });
    }
}
