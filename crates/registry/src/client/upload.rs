//! Blobs on their way to a registry: skipped, mounted or sent.

use std::fs::File;
use std::sync::Arc;

use http::{Method, Response, StatusCode, Uri, header};
use hull_oci::Descriptor;
use hyper::body::Incoming;

use super::Session;
use super::hosts::Scheme;
use super::request::{Call, Payload, join, without_secrets};
use super::session::Intent;
use crate::wire::{form, parse_content_range};
use crate::{Error, Result};

/// How a blob got there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uploaded {
    Exists,
    Mounted(String),
    Sent,
}

type Sent = Arc<dyn Fn(u64) + Send + Sync>;

impl Session {
    /// Whether the registry has the blob in this repository.
    pub(crate) async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool> {
        let call = Call::new(Method::HEAD, format!("/blobs/{}", descriptor.digest));
        let answer = self.send(self.origin(), Intent::Push, &call).await?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.error(Intent::Push, &call, answer).await),
        }
    }

    /// Sends a blob, unless the registry has it here or in a repository that is known to have it.
    pub(crate) async fn upload(
        &self,
        descriptor: &Descriptor,
        file: File,
        source: Option<&str>,
        sent: Sent,
    ) -> Result<Uploaded> {
        if self.has_blob(descriptor).await? {
            return Ok(Uploaded::Exists);
        }
        let file = Arc::new(file);
        let policy = self.client.policy();
        let (mut attempt, mut in_pieces) = (1, true);
        loop {
            let outcome = self.send_blob(descriptor, &file, source, in_pieces, &sent);
            match outcome.await {
                Ok(uploaded) => return Ok(uploaded),
                // ECR answers a piece with 201 and loses count, GHCR takes no piece of this size:
                // both take any blob at once.
                Err(Error::Status {
                    status: StatusCode::CREATED | StatusCode::RANGE_NOT_SATISFIABLE,
                    ..
                }) if in_pieces && descriptor.size > self.piece_bytes() => in_pieces = false,
                Err(
                    error @ (Error::Connect {
                        is_final: false, ..
                    }
                    | Error::Status {
                        status:
                            StatusCode::NOT_FOUND
                            | StatusCode::INTERNAL_SERVER_ERROR
                            | StatusCode::BAD_GATEWAY
                            | StatusCode::GATEWAY_TIMEOUT,
                        ..
                    }),
                ) => {
                    let Some(pause) = policy.after_break(attempt) else {
                        return Err(error);
                    };
                    tracing::debug!(digest = %descriptor.digest, %error, "an upload broke off");
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Has the registry take a blob over from another repository of its own; false: it does not.
    pub(crate) async fn mount(&self, descriptor: &Descriptor, source: &str) -> Result<bool> {
        if self.has_blob(descriptor).await? {
            return Ok(true);
        }
        let answer = self.begin_upload(descriptor, Some(source)).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(true);
        }
        // It began an upload instead, which nobody goes on with.
        let place = self.place(&answer, None)?;
        let call = Call::new(Method::DELETE, place.to_string());
        let _ = self.send(self.origin(), Intent::Push, &call).await;
        Ok(false)
    }

    fn piece_bytes(&self) -> u64 {
        self.client.settings().piece_bytes.max(1)
    }

    async fn begin_upload(
        &self,
        descriptor: &Descriptor,
        source: Option<&str>,
    ) -> Result<Response<Incoming>> {
        let mut path = "/blobs/uploads/".to_owned();
        if let Some(source) = source {
            path.push('?');
            path.push_str(&form(&[
                ("mount", descriptor.digest.as_str()),
                ("from", source),
            ]));
        }
        let call = Call::new(Method::POST, path);
        let answer = self.send(self.origin(), Intent::Push, &call).await?;
        match answer.status() {
            StatusCode::CREATED if source.is_some() => Ok(answer),
            StatusCode::ACCEPTED => Ok(answer),
            _ => Err(self.error(Intent::Push, &call, answer).await),
        }
    }

    async fn send_blob(
        &self,
        descriptor: &Descriptor,
        file: &Arc<File>,
        source: Option<&str>,
        in_pieces: bool,
        sent: &Sent,
    ) -> Result<Uploaded> {
        let answer = self.begin_upload(descriptor, source).await?;
        if let (StatusCode::CREATED, Some(source)) = (answer.status(), source) {
            return Ok(Uploaded::Mounted(source.to_owned()));
        }
        let mut place = self.place(&answer, None)?;
        let (mut first, mut stalls) = (0, 0);
        let broken = |why: &str| Error::Blob {
            digest: descriptor.digest.clone(),
            why: why.to_owned(),
        };
        while in_pieces && descriptor.size - first > self.piece_bytes() {
            let before = first;
            (place, first) = self.send_chunk(&place, file, first, sent).await?;
            if first > descriptor.size {
                return Err(broken("the registry says it has more than was sent"));
            }
            if first > before {
                stalls = 0;
                continue;
            }
            stalls += 1;
            let pause = self.client.policy().after_break(stalls);
            tokio::time::sleep(pause.ok_or_else(|| broken("the registry takes no more of it"))?)
                .await;
        }
        let rest = Payload::File {
            file: Arc::clone(file),
            first,
            length: descriptor.size.saturating_sub(first),
            sent: Arc::clone(sent),
        };
        let separator = if place.query().is_some() { '&' } else { '?' };
        let path = format!(
            "{place}{separator}{}",
            form(&[("digest", descriptor.digest.as_str())])
        );
        let mut call = Call::new(Method::PUT, path)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .payload(rest);
        if first > 0 {
            call = call.header(
                header::CONTENT_RANGE,
                &format!("{first}-{}", descriptor.size - 1),
            );
        }
        let answer = self.send(self.origin(), Intent::Push, &call).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Uploaded::Sent);
        }
        Err(self.error(Intent::Push, &call, answer).await)
    }

    /// Sends one piece; a broken one is gone on with where the registry says.
    async fn send_chunk(
        &self,
        place: &Uri,
        file: &Arc<File>,
        first: u64,
        sent: &Sent,
    ) -> Result<(Uri, u64)> {
        let length = self.piece_bytes();
        let chunk = Payload::File {
            file: Arc::clone(file),
            first,
            length,
            sent: Arc::clone(sent),
        };
        let call = Call::new(Method::PATCH, place.to_string())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(
                header::CONTENT_RANGE,
                &format!("{first}-{}", first + length - 1),
            )
            .payload(chunk);
        let answer = match self.send(self.origin(), Intent::Push, &call).await {
            Err(Error::Connect {
                is_final: false, ..
            }) => return self.where_it_is(place).await,
            answer => answer?,
        };
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                Ok((self.place(&answer, Some(place))?, first + length))
            }
            StatusCode::RANGE_NOT_SATISFIABLE if first > 0 => self.where_it_is(place).await,
            _ => Err(self.error(Intent::Push, &call, answer).await),
        }
    }

    async fn where_it_is(&self, place: &Uri) -> Result<(Uri, u64)> {
        let call = Call::get(place.to_string());
        let answer = self.send(self.origin(), Intent::Push, &call).await?;
        if answer.status() != StatusCode::NO_CONTENT {
            return Err(self.error(Intent::Push, &call, answer).await);
        }
        let range = answer
            .headers()
            .get(header::RANGE)
            .and_then(|value| value.to_str().ok());
        let first = match range.and_then(parse_content_range) {
            None | Some((_, 0)) => 0,
            Some((_, last)) => last.saturating_add(1),
        };
        Ok((self.place(&answer, Some(place))?, first))
    }

    /// Where the next piece goes.
    fn place(&self, answer: &Response<Incoming>, before: Option<&Uri>) -> Result<Uri> {
        let origin = self.origin();
        let scheme = match origin.scheme {
            Scheme::Http => "http",
            Scheme::Insecure if self.client.is_plain(origin) => "http",
            _ => "https",
        };
        let base = match before {
            Some(before) => before.clone(),
            None => format!(
                "{scheme}://{}{}/{}/blobs/uploads/",
                origin.authority,
                origin.base,
                self.repository.path()
            )
            .parse()
            .map_err(|_| Error::Internal("an address that was made here is none".to_owned()))?,
        };
        let location = answer
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok());
        match (location.and_then(|location| join(&base, location)), before) {
            (Some(place), _)
                if origin.scheme == Scheme::Https && place.scheme_str() != Some("https") =>
            {
                Err(Error::Nonsense {
                    host: origin.authority.clone(),
                    what: "an upload",
                    why: format!("its place {} is without TLS", without_secrets(&place)),
                })
            }
            (Some(place), _) => Ok(place),
            (None, Some(before)) => Ok(before.clone()),
            (None, None) => Err(Error::Nonsense {
                host: origin.authority.clone(),
                what: "an upload",
                why: "it has no place (Location)".to_owned(),
            }),
        }
    }
}
