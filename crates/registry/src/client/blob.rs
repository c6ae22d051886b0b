//! Blobs: fetched from whoever has them, gone on with where they broke off, never believed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hull_image::Store;
use hull_image::store::{Lease, PartialBlob};
use hull_oci::{Descriptor, Digest};

use super::Session;
use super::hosts::{Host, Scheme, Trust};
use super::request::Call;
use super::session::Intent;
use crate::pump::{Limits, PumpError, pump};
use crate::{Error, Result};

/// One place a blob may come from.
#[derive(Clone)]
pub(crate) struct Source {
    host: Host,
    path: String,
}

/// How an attempt ended that did not bring the rest.
enum Setback {
    /// Something came: go on from there.
    Progress(Error),
    /// Nothing came; the source may say for how long it wants to be left alone.
    Nothing(Error, Option<Duration>),
    /// This source has it not, or has something else.
    Wrong(Error),
    /// What came from several sources is not what it should be; nobody knows whose fault it is.
    Mixed(Error),
    /// It is not the source's fault.
    Own(Error),
}

impl Session {
    /// Where a blob may come from: mirrors, the origin, and whatever its descriptor names.
    pub(crate) fn sources(&self, descriptor: &Descriptor) -> Vec<Source> {
        let path = format!("/blobs/{}", descriptor.digest);
        let mut sources: Vec<Source> = self
            .hosts
            .iter()
            .filter(|host| host.can_pull || host.is_origin)
            .map(|host| Source {
                host: host.clone(),
                path: path.clone(),
            })
            .collect();
        for url in descriptor.urls.iter().flatten() {
            let Some((scheme, rest)) = url.split_once("://") else {
                continue;
            };
            let scheme = match scheme {
                "https" => Scheme::Https,
                "http" => Scheme::Http,
                _ => continue,
            };
            let host = Host {
                authority: rest.split('/').next().unwrap_or_default().to_owned(),
                scheme,
                base: String::new(),
                trust: Trust::default(),
                headers: Vec::new(),
                namespace: None,
                can_pull: true,
                can_resolve: false,
                can_push: false,
                is_origin: false,
            };
            sources.push(Source {
                host,
                path: url.clone(),
            });
        }
        sources
    }

    /// The answer to a request for a blob of the repository: its head only, or all of it.
    pub(crate) async fn open_blob(
        &self,
        digest: &Digest,
        head_only: bool,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let method = if head_only {
            http::Method::HEAD
        } else {
            http::Method::GET
        };
        let call = Call::new(method, format!("/blobs/{digest}"));
        self.first_answer(&call, |_| true)
            .await
            .map(|(_, answer)| answer)
    }

    /// Fetches a small blob whole: a configuration.
    pub(crate) async fn small_blob(&self, descriptor: &Descriptor, max: u64) -> Result<Bytes> {
        if descriptor.size > max {
            return Err(Error::Invalid(format!(
                "{} is too large: {} bytes",
                descriptor.digest, descriptor.size
            )));
        }
        let mut last = None;
        for source in self.sources(descriptor) {
            match self.small_blob_from(&source, descriptor).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    tracing::debug!(host = source.host.authority, %error, "no blob from this host");
                    last = Some(error);
                }
            }
        }
        Err(blob_error(&descriptor.digest, last))
    }

    async fn small_blob_from(&self, source: &Source, descriptor: &Descriptor) -> Result<Bytes> {
        let call = Call::get(&source.path);
        let answer = self.send(&source.host, Intent::Pull, &call).await?;
        if !answer.status().is_success() {
            return Err(self.error(Intent::Pull, &call, answer).await);
        }
        let limit = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
        let body = Limited::new(answer.into_body(), limit).collect();
        let body = tokio::time::timeout(self.client.settings().patience, body).await;
        let broken = |why: String| Error::Blob {
            digest: descriptor.digest.clone(),
            why,
        };
        let bytes = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(broken(error.to_string())),
            Err(_) => return Err(broken("timeout".to_owned())),
        };
        let mut hasher = hull_oci::Hasher::new(descriptor.digest.algorithm());
        hasher.update(&bytes);
        let actual = hasher.finish();
        if actual == descriptor.digest {
            return Ok(bytes);
        }
        Err(Error::Mismatch {
            what: "a blob",
            host: source.host.authority.clone(),
            expected: descriptor.digest.clone(),
            actual: actual.to_string(),
        })
    }

    /// Brings a blob into the store. `begun` sees each writer before bytes come; `arrived` hears of
    /// bytes.
    pub(crate) async fn fetch(
        &self,
        store: &Arc<Store>,
        lease: &Arc<Lease>,
        descriptor: &Descriptor,
        begun: &(dyn Fn(&PartialBlob) + Send + Sync),
        arrived: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<()> {
        let mut sources = self.sources(descriptor);
        let policy = self.client.policy();
        let (mut at, mut failures, mut mixed) = (0, 0, 0);
        let mut partial = None;
        loop {
            let writer = match partial.take() {
                Some(writer) => writer,
                None => match open(store, lease, descriptor).await? {
                    Some(writer) => {
                        begun(&writer);
                        arrived(writer.arrived());
                        writer
                    }
                    None => return Ok(()),
                },
            };
            at %= sources.len().max(1);
            let Some(source) = sources.get(at).cloned() else {
                return Err(blob_error(&descriptor.digest, None));
            };
            let (writer, outcome) = self.attempt(&source, descriptor, writer, arrived).await;
            partial = writer;
            let Err(setback) = outcome else {
                return Ok(());
            };
            let (error, pause) = match setback {
                Setback::Own(error) => return Err(error),
                Setback::Wrong(error) => {
                    tracing::debug!(host = source.host.authority, %error, "no blob from this host");
                    sources.remove(at);
                    if sources.is_empty() {
                        return Err(blob_error(&descriptor.digest, Some(error)));
                    }
                    continue;
                }
                Setback::Progress(error) => {
                    failures = 0;
                    (error, None)
                }
                Setback::Nothing(error, pause) => (error, pause),
                Setback::Mixed(error) => {
                    // It begins anew. Who sent the last of it sends all of it now, which shows whose fault it is; if
                    // that breaks off, too, then not for ever: what comes is no progress.
                    mixed += 1;
                    match policy.after_break(mixed) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(blob_error(&descriptor.digest, Some(error))),
                    }
                    continue;
                }
            };
            tracing::debug!(host = source.host.authority, digest = %descriptor.digest, %error, "a transfer broke off");
            at += 1;
            // Each source once, then with pauses.
            if at == sources.len() {
                failures += 1;
                match policy.after_break(failures) {
                    Some(usual) => tokio::time::sleep(pause.unwrap_or(usual)).await,
                    None => return Err(blob_error(&descriptor.digest, Some(error))),
                }
            }
        }
    }

    /// One request for all that is missing.
    async fn attempt(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        writer: PartialBlob,
        arrived: &(dyn Fn(u64) + Send + Sync),
    ) -> (Option<PartialBlob>, Result<(), Setback>) {
        let (have, size) = (writer.arrived(), descriptor.size);
        if have >= size {
            return (None, commit(source, writer, have).await);
        }
        let mut call = Call::get(&source.path);
        if have > 0 {
            call = call.header(header::RANGE, &format!("bytes={have}-"));
        }
        let answer = match self
            .send_authorized(&source.host, Intent::Pull, &call)
            .await
        {
            Ok(answer) => answer,
            Err(error) => return (Some(writer), Err(Setback::Nothing(error, None))),
        };
        let skip = match self.first_byte(source, &call, &answer, have) {
            Ok(first) => have - first,
            Err(Some(setback)) => return (Some(writer), Err(setback)),
            Err(None) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                let error = self.error(Intent::Pull, &call, answer).await;
                let pause = self
                    .client
                    .policy()
                    .after_answer(&call.method, status, &headers, 1);
                let setback = match pause {
                    Some(pause) => Setback::Nothing(error, Some(pause)),
                    None => Setback::Wrong(error),
                };
                return (Some(writer), Err(setback));
            }
        };
        let limits = Limits {
            bytes_max: size - have,
            patience: self.client.settings().patience,
        };
        let (writer, outcome) = pump(answer.into_body(), writer, skip, limits, arrived).await;
        let Some(writer) = writer else {
            return (
                None,
                Err(Setback::Own(Error::Internal(
                    "a transfer broke off".to_owned(),
                ))),
            );
        };
        let error = match outcome {
            Ok(_) if writer.arrived() == size => return (None, commit(source, writer, have).await),
            Ok(_) => "EOF".to_owned(),
            Err(PumpError::Write(error)) => {
                let error = disk_error(&descriptor.digest, error);
                return (Some(writer), Err(Setback::Own(error)));
            }
            Err(error @ PumpError::TooMuch(_)) => {
                let error = blob_error_words(&descriptor.digest, &error.to_string());
                // It is not gone on with: its digest is wrong.
                let _ = tokio::task::spawn_blocking(move || writer.commit()).await;
                return (None, Err(Setback::Wrong(error)));
            }
            Err(error) => error.to_string(),
        };
        let words = format!("{}: {error}", source.host.authority);
        let error = blob_error_words(&descriptor.digest, &words);
        let setback = if writer.arrived() > have {
            Setback::Progress(error)
        } else {
            Setback::Nothing(error, None)
        };
        (Some(writer), Err(setback))
    }

    /// Where the bytes of an answer begin; an error without a setback: it is no success.
    fn first_byte(
        &self,
        source: &Source,
        call: &Call,
        answer: &http::Response<hyper::body::Incoming>,
        have: u64,
    ) -> Result<u64, Option<Setback>> {
        match answer.status() {
            StatusCode::OK => Ok(0),
            StatusCode::PARTIAL_CONTENT => match range_start(answer) {
                Some(start) if start <= have => Ok(start),
                _ => Err(Some(Setback::Wrong(Error::Nonsense {
                    host: source.host.authority.clone(),
                    what: "another range than was asked for",
                    why: call.path.clone(),
                }))),
            },
            _ => Err(None),
        }
    }
}

/// `had`: how much of it came from elsewhere.
async fn commit(source: &Source, writer: PartialBlob, had: u64) -> Result<(), Setback> {
    let digest = writer.digest().clone();
    let committed = tokio::task::spawn_blocking(move || writer.commit()).await;
    match committed {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(hull_image::Error::Mismatch { expected, actual })) => {
            let error = Error::Mismatch {
                what: "a blob",
                host: source.host.authority.clone(),
                expected,
                actual: actual.to_string(),
            };
            Err(if had > 0 {
                Setback::Mixed(error)
            } else {
                Setback::Wrong(error)
            })
        }
        Ok(Err(error)) => Err(Setback::Own(error.into())),
        Err(panic) => {
            tracing::error!(%digest, %panic, "storing a blob broke off");
            Err(Setback::Own(panic.into()))
        }
    }
}

/// A writer; `None`: the blob is here, brought in by somebody else perhaps.
async fn open(
    store: &Arc<Store>,
    lease: &Arc<Lease>,
    blob: &Descriptor,
) -> Result<Option<PartialBlob>> {
    loop {
        let (own_store, own_lease, own_blob) = (Arc::clone(store), Arc::clone(lease), blob.clone());
        let opened = tokio::task::spawn_blocking(move || -> hull_image::Result<_> {
            let writer = own_store.resume_blob(&own_lease, &own_blob.digest)?;
            Ok((own_store.has_whole(&own_blob), writer))
        });
        match opened.await?? {
            (true, _) => return Ok(None),
            (false, Some(writer)) => return Ok(Some(writer)),
            // Another pull is at it.
            (false, None) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn range_start(answer: &http::Response<hyper::body::Incoming>) -> Option<u64> {
    let text = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    crate::wire::parse_content_range(text).map(|(first, _)| first)
}

fn blob_error(digest: &Digest, last: Option<Error>) -> Error {
    match last {
        // The cause alone says it.
        Some(
            error @ (Error::Mismatch { .. } | Error::TooManyRequests { .. } | Error::Denied { .. }),
        ) => error,
        Some(error) => blob_error_words(digest, &error.to_string()),
        None => blob_error_words(digest, "no host serves it"),
    }
}

fn blob_error_words(digest: &Digest, why: &str) -> Error {
    Error::Blob {
        digest: digest.clone(),
        why: why.to_owned(),
    }
}

fn disk_error(digest: &Digest, error: io::Error) -> Error {
    Error::Image(hull_image::Error::Io {
        what: format!("store {digest}"),
        source: error,
    })
}
