//! A request as handlers see it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hull_api::{ApiVersion, Filters, decode, query::Query};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{answer::Failure, body::RequestBody};
use crate::app::App;

/// The largest JSON body: a create with its seccomp profile, labels and environment has room.
const JSON_BYTES_MAX: usize = 16 << 20;

/// The largest listing of a context: a million files.
const LISTING_BYTES_MAX: usize = 256 << 20;

/// A request as handlers see it.
pub(crate) struct Request {
    /// What the daemon is made of.
    pub(crate) app: Arc<App>,
    /// The version the client speaks.
    pub(crate) version: ApiVersion,
    /// What the path's placeholders stand for, in order.
    pub(crate) names: Vec<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    pub(crate) left: Left,
}

/// Tells when the client leaves before it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Left(watch::Receiver<()>);

impl Left {
    pub(crate) fn new(left: watch::Receiver<()>) -> Self {
        Self(left)
    }

    /// Waits until the client has left. To be awaited before the answer only: who has it need not
    /// wait any more.
    pub(crate) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl Request {
    /// The first placeholder.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// The filters, all of whose keys must be known.
    pub(crate) fn filters(&self, known: &[&str]) -> Result<Filters, Failure> {
        let filters = Filters::parse(self.query.text("filters"))?;
        filters.accept(known)?;
        Ok(filters)
    }

    /// Whether the client asks to take the connection over.
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.headers.contains_key(header::UPGRADE)
    }

    /// The body as JSON. `None`: there is no body.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        self.check_media()?;
        let bytes = self.bytes(JSON_BYTES_MAX).await?;
        if bytes.is_empty() && !self.headers.contains_key(header::TRANSFER_ENCODING) {
            return Ok(None);
        }
        Ok(Some(decode::from_slice(&bytes)?))
    }

    /// As [`json`](Self::json); no body is an empty object.
    pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(
        &mut self,
    ) -> Result<T, Failure> {
        Ok(self.json().await?.unwrap_or_default())
    }

    /// A large JSON body: the listing of a build's context.
    pub(crate) async fn large_json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        self.check_media()?;
        let bytes = self.bytes(LISTING_BYTES_MAX).await?;
        Ok(decode::from_slice(&bytes)?)
    }

    async fn bytes(&mut self, max: usize) -> Result<Bytes, Failure> {
        let body = Limited::new(&mut self.body, max).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                Failure::new(
                    status,
                    format!("the request body is larger than {max} bytes"),
                )
            } else {
                Failure::invalid(format!("cannot read the request body: {error}"))
            }
        })
    }

    /// A body must say that it is JSON.
    fn check_media(&self) -> Result<(), Failure> {
        let header = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let media = header(header::CONTENT_TYPE).unwrap_or_default();
        let empty = matches!(header(header::CONTENT_LENGTH), None | Some("0"))
            && !self.headers.contains_key(header::TRANSFER_ENCODING);
        if media.is_empty() && empty {
            return Ok(());
        }
        match media
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "application/json" => Ok(()),
            "" => Err(Failure::invalid(
                "malformed Content-Type header (): mime: no media type",
            )),
            _ => Err(Failure::invalid(format!(
                "unsupported Content-Type header ({media}): must be 'application/json'"
            ))),
        }
    }
}
