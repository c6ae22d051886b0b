//! One request to one host: its address, its redirects, its failures in words.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::Incoming;

use super::hosts::{Host, Scheme, Trust};
use super::{Client, Http};
use crate::file_body::FileBody;
use crate::wire::ErrorBody;
use crate::{Error, Result};

/// Registries send to their storage, and that perhaps on once more.
const REDIRECTS_MAX: usize = 10;
/// What is read of an error's text.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// An upload is stored when its last byte came: that may take the registry a while.
const ANSWER_PATIENCE_FACTOR: u32 = 4;

/// What is sent. It can be sent again.
#[derive(Clone, Default)]
pub(crate) enum Payload {
    #[default]
    None,
    Bytes(Bytes),
    File {
        file: Arc<File>,
        first: u64,
        length: u64,
        sent: Arc<dyn Fn(u64) + Send + Sync>,
    },
}

/// A request, before it is known to which host.
#[derive(Clone, Default)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Below the repository (`/manifests/latest`), below the base (`//v2`), or a whole address.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            ..Self::default()
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers
            .extend(HeaderValue::from_str(value).map(|value| (name, value)));
        self
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

impl Payload {
    fn body(&self) -> UnsyncBoxBody<Bytes, io::Error> {
        match self {
            Self::None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Self::Bytes(bytes) => Full::new(bytes.clone())
                .map_err(|never| match never {})
                .boxed_unsync(),
            Self::File {
                file,
                first,
                length,
                sent,
            } => {
                let sent = Arc::clone(sent);
                FileBody::new(Arc::clone(file), *first, *length)
                    .telling(move |bytes| sent(bytes))
                    .boxed_unsync()
            }
        }
    }

    /// `None`: nothing is sent, and nothing is said about it.
    fn length(&self, method: &Method) -> Option<u64> {
        match self {
            Self::None => {
                matches!(*method, Method::POST | Method::PUT | Method::PATCH).then_some(0)
            }
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File { length, .. } => Some(*length),
        }
    }
}

impl Client {
    /// Sends a request to a host whose schemes are tried in turn, and follows redirects.
    /// `authorization` goes to this host only.
    pub(super) async fn send(
        &self,
        host: &Host,
        path: &str,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>> {
        let uri = |scheme: &str| address(host, scheme, path);
        match host.scheme {
            Scheme::Https => self.follow(host, uri("https")?, call, authorization).await,
            Scheme::Http => self.follow(host, uri("http")?, call, authorization).await,
            Scheme::Insecure if self.is_plain(host) => {
                let answer = self.follow(host, uri("http")?, call, authorization).await;
                if answer.is_err() {
                    self.remember_plain(host, false);
                }
                answer
            }
            Scheme::Insecure => match self.follow(host, uri("https")?, call, authorization).await {
                // A whole address says itself how it is spoken to.
                Err(error @ Error::Connect { .. }) if !path.contains("://") => {
                    let answer = self.follow(host, uri("http")?, call, authorization).await?;
                    // What a server of TLS tells who speaks none.
                    if answer.status() == StatusCode::BAD_REQUEST {
                        return Err(error);
                    }
                    self.remember_plain(host, true);
                    Ok(answer)
                }
                answer => answer,
            },
        }
    }

    async fn follow(
        &self,
        host: &Host,
        first: Uri,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>> {
        let mut uri = first.clone();
        for _ in 0..REDIRECTS_MAX {
            let is_same = uri.authority() == first.authority() && uri.scheme() == first.scheme();
            let elsewhere = Trust {
                skip_verify: host.trust.skip_verify && host.scheme == Scheme::Insecure,
                ..Trust::default()
            };
            let http = self.http(if is_same { &host.trust } else { &elsewhere })?;
            let mut request = build(&uri, call)?;
            request
                .headers_mut()
                .insert(header::USER_AGENT, self.user_agent());
            if is_same {
                request.headers_mut().extend(own_headers(host));
                request
                    .headers_mut()
                    .extend(authorization.map(|value| (header::AUTHORIZATION, value.clone())));
            }
            let to_proxy = self.settings().proxies.authorization(&uri);
            let to_proxy =
                to_proxy.map_err(|error| connect_error(call, &uri, error.to_string(), true))?;
            request
                .headers_mut()
                .extend(to_proxy.map(|value| (header::PROXY_AUTHORIZATION, value)));
            let answer = self.once(&http, request, &uri, call).await?;
            if !is_redirect(answer.status()) || !matches!(call.method, Method::GET | Method::HEAD) {
                return Ok(answer);
            }
            let Some(next) = location(&uri, &answer) else {
                return Ok(answer);
            };
            if uri.scheme_str() == Some("https")
                && next.scheme_str() != Some("https")
                && host.scheme == Scheme::Https
            {
                return Err(connect_error(
                    call,
                    &uri,
                    format!(
                        "refusing to go on to {} without TLS",
                        without_secrets(&next)
                    ),
                    true,
                ));
            }
            uri = next;
        }
        Err(connect_error(
            call,
            &first,
            format!("stopped after {REDIRECTS_MAX} redirects"),
            true,
        ))
    }

    async fn once(
        &self,
        http: &Http,
        request: Request<UnsyncBoxBody<Bytes, io::Error>>,
        uri: &Uri,
        call: &Call,
    ) -> Result<Response<Incoming>> {
        let patience = self.answer_patience(&call.payload);
        match tokio::time::timeout(patience, http.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let (why, is_final) = innermost(&error);
                Err(connect_error(call, uri, why, is_final))
            }
            Err(_) => Err(connect_error(
                call,
                uri,
                "net/http: request canceled: timeout awaiting response headers".to_owned(),
                false,
            )),
        }
    }

    /// The answer to a large upload comes when all of it has gone.
    fn answer_patience(&self, payload: &Payload) -> Duration {
        let patience = self.settings().patience;
        match payload {
            // At the slowest pace that is put up with: 64 KiB a second.
            Payload::File { length, .. } => {
                patience * ANSWER_PATIENCE_FACTOR + Duration::from_secs(length >> 16)
            }
            Payload::Bytes(_) => patience * ANSWER_PATIENCE_FACTOR,
            Payload::None => patience,
        }
    }

    fn user_agent(&self) -> HeaderValue {
        HeaderValue::from_str(&self.settings().user_agent)
            .unwrap_or(HeaderValue::from_static("hull"))
    }
}

fn own_headers(host: &Host) -> Vec<(HeaderName, HeaderValue)> {
    let pair = |(name, value): &(String, String)| {
        Some((
            HeaderName::try_from(name).ok()?,
            HeaderValue::try_from(value).ok()?,
        ))
    };
    host.headers.iter().filter_map(pair).collect()
}

fn address(host: &Host, scheme: &str, path: &str) -> Result<Uri> {
    if path.contains("://") {
        return path
            .parse()
            .map_err(|_| Error::Invalid(format!("{path:?} is no address")));
    }
    let text = format!("{scheme}://{}{path}", host.authority);
    text.parse()
        .map_err(|_| Error::Invalid(format!("{text:?} is no address")))
}

fn build(uri: &Uri, call: &Call) -> Result<Request<UnsyncBoxBody<Bytes, io::Error>>> {
    let mut request = Request::new(call.payload.body());
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = call.headers.clone();
    if let Some(length) = call.payload.length(&call.method) {
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(Error::Invalid(format!("{uri} names no host")));
    }
    Ok(request)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn location(base: &Uri, answer: &Response<Incoming>) -> Option<Uri> {
    join(base, answer.headers().get(header::LOCATION)?.to_str().ok()?)
}

/// Where a location leads, seen from `base`.
pub(crate) fn join(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let text = if location.contains("://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let directory = base
            .path()
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    let uri: Uri = text.parse().ok()?;
    matches!(uri.scheme_str(), Some("http" | "https")).then_some(uri)
}

fn connect_error(call: &Call, uri: &Uri, why: String, is_final: bool) -> Error {
    Error::Connect {
        method: match call.method {
            Method::HEAD => "Head",
            Method::POST => "Post",
            Method::PUT => "Put",
            Method::PATCH => "Patch",
            Method::DELETE => "Delete",
            _ => "Get",
        },
        url: without_secrets(uri),
        why,
        is_final,
    }
}

/// Signed addresses of storages hold a secret in their query.
pub(crate) fn without_secrets(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}{}", uri.path())
}

/// Docker's words, and the way out.
const UNKNOWN_AUTHORITY: &str = "tls: failed to verify certificate: x509: certificate signed by unknown \
     authority (put the authority's certificate, or the registry's own, into certs.d/HOST[:PORT]/ca.crt)";

/// The cause that says most, and whether trying again is in vain.
fn innermost(error: &(dyn std::error::Error + 'static)) -> (String, bool) {
    let mut innermost = error;
    let mut is_final = false;
    loop {
        if let Some(error) = innermost.downcast_ref::<io::Error>() {
            // A certificate nobody vouches for is invalid data.
            is_final |= matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
            );
        }
        match innermost.source() {
            Some(next) => innermost = next,
            None => break,
        }
    }
    let words = match innermost.to_string().as_str() {
        "connection closed before message completed" => "EOF".to_owned(),
        text if text.starts_with("invalid peer certificate: UnknownIssuer")
            || text.contains("CaUsedAsEndEntity") =>
        {
            UNKNOWN_AUTHORITY.to_owned()
        }
        text => match text.strip_prefix("received fatal alert: ") {
            Some(alert) => format!("remote error: tls: {}", spaced(alert)),
            None => text.to_owned(),
        },
    };
    (words, is_final)
}

/// `CertificateRequired` as Docker's clients know it: `certificate required`.
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// What an error's body says, in short.
pub(crate) async fn words(body: Incoming, patience: Duration) -> String {
    let read = Limited::new(body, ERROR_BYTES_MAX).collect();
    let Ok(Ok(body)) = tokio::time::timeout(patience, read).await else {
        return String::new();
    };
    let bytes = body.to_bytes();
    if let Ok(body) = serde_json::from_slice::<ErrorBody>(&bytes)
        && let Some(first) = body.errors.into_iter().next()
    {
        let code = first.code.to_ascii_lowercase().replace('_', " ");
        return match (code.as_str(), first.message.as_str()) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
    }
    #[derive(serde::Deserialize)]
    struct Details {
        #[serde(
            default,
            alias = "message",
            alias = "error",
            alias = "error_description"
        )]
        details: String,
    }
    serde_json::from_slice::<Details>(&bytes)
        .map(|body| body.details)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_joined_as_browsers_do() {
        let base: Uri = "https://a:5000/v2/x/blobs/uploads/".parse().unwrap();
        for (location, expected) in [
            (
                "/v2/x/blobs/uploads/1?s=2",
                Some("https://a:5000/v2/x/blobs/uploads/1?s=2"),
            ),
            ("http://b/c", Some("http://b/c")),
            ("//b/c", Some("https://b/c")),
            ("1", Some("https://a:5000/v2/x/blobs/uploads/1")),
            ("file:///etc/passwd", None),
            ("ftp://b/", None),
        ] {
            let joined = join(&base, location).map(|uri| uri.to_string());
            assert_eq!(joined.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn no_signature_gets_into_an_error() {
        let uri: Uri = "https://s3.example/blob?X-Amz-Signature=secret"
            .parse()
            .unwrap();
        assert_eq!(without_secrets(&uri), "https://s3.example/blob");
    }
}
