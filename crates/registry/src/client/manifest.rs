//! Manifests and indexes: found out about, fetched, put.

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hull_oci::{Digest, Hasher, media_type};
use hyper::body::Incoming;

use super::Session;
use super::hosts::Host;
use super::request::{Call, Payload};
use super::session::Intent;
use crate::wire::{CONTENT_DIGEST, MANIFEST_BYTES_MAX};
use crate::{Error, Result};

/// All that an image may be.
const ACCEPTED: [&str; 4] = [
    media_type::INDEX,
    media_type::MANIFEST,
    media_type::DOCKER_INDEX,
    media_type::DOCKER_MANIFEST,
];
/// The manifest nobody makes any more.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";

/// What a tag points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

impl Session {
    /// What a tag points at, without fetching it: that does not count against a registry's limit.
    /// `None`: the registry does not say; the manifest itself does.
    pub(crate) async fn resolve(&self, tag: &str) -> Result<Option<Resolved>> {
        let call = accepting(Call::new(Method::HEAD, format!("/manifests/{tag}")));
        let answer = match self
            .first_answer(&call, |host| host.can_resolve || host.is_origin)
            .await
        {
            Ok((_, answer)) => answer,
            // Who dislikes HEAD may like GET.
            Err(Error::Status {
                status: StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED,
                ..
            }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = |name: &str| {
            answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let digest = text(CONTENT_DIGEST).and_then(|text| text.parse().ok());
        let size = text("content-length").and_then(|text| text.parse().ok());
        let (Some(digest), Some(size)) = (digest, size) else {
            return Ok(None);
        };
        Ok(Some(Resolved {
            digest,
            media_type: media_type_of(&answer),
            size,
        }))
    }

    /// Fetches a manifest by tag or digest; a digest is checked.
    pub(crate) async fn manifest(&self, which: &str) -> Result<Fetched> {
        let call = accepting(Call::get(format!("/manifests/{which}")));
        let by_digest: Option<Digest> = which.parse().ok();
        let mut last = None;
        for host in self.hosts.iter() {
            let can = match by_digest {
                Some(_) => host.can_pull,
                None => host.can_resolve && host.can_pull,
            };
            if !can && !host.is_origin {
                continue;
            }
            match self.manifest_from(host, &call, by_digest.as_ref()).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => {
                    tracing::debug!(host = host.authority, %error, "no manifest from this host");
                    last = Some(telling(last, error));
                }
            }
        }
        Err(last.unwrap_or_else(|| self.not_found(&call)))
    }

    /// As [`manifest`](Self::manifest), from the registry itself: what is going to be changed.
    pub(crate) async fn origin_manifest(&self, which: &str) -> Result<Fetched> {
        let call = accepting(Call::get(format!("/manifests/{which}")));
        let by_digest: Option<Digest> = which.parse().ok();
        self.manifest_from(self.origin(), &call, by_digest.as_ref())
            .await
    }

    async fn manifest_from(
        &self,
        host: &Host,
        call: &Call,
        expected: Option<&Digest>,
    ) -> Result<Fetched> {
        let answer = self.answer_from(host, call).await?;
        let (media, claimed) = (media_type_of(&answer), claimed_digest(&answer));
        let body = Limited::new(answer.into_body(), MANIFEST_BYTES_MAX).collect();
        let body = tokio::time::timeout(self.client.settings().patience, body).await;
        let nonsense = |why: String| Error::Nonsense {
            host: host.authority.clone(),
            what: "a manifest that did not come whole",
            why,
        };
        let bytes = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(nonsense(format!(
                    "it has more than {MANIFEST_BYTES_MAX} bytes"
                )));
            }
            Ok(Err(error)) => return Err(nonsense(error.to_string())),
            Err(_) => return Err(nonsense("timeout".to_owned())),
        };
        let expected = expected.cloned().or(claimed);
        let algorithm = expected
            .as_ref()
            .map_or(hull_oci::Algorithm::Sha256, Digest::algorithm);
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&bytes);
        let digest = hasher.finish();
        if let Some(expected) = expected
            && expected != digest
        {
            return Err(Error::Mismatch {
                what: "the manifest",
                host: host.authority.clone(),
                expected,
                actual: digest.to_string(),
            });
        }
        Ok(Fetched {
            digest,
            media_type: own_media_type(&bytes).unwrap_or(media),
            bytes,
        })
    }

    /// The first host's answer that is a success; else the last host's error.
    pub(super) async fn first_answer(
        &self,
        call: &Call,
        may: impl Fn(&Host) -> bool,
    ) -> Result<(Host, Response<Incoming>)> {
        let mut last = None;
        for host in self.hosts.iter().filter(|host| may(host)) {
            match self.answer_from(host, call).await {
                Ok(answer) => return Ok((host.clone(), answer)),
                Err(error) => {
                    tracing::debug!(host = host.authority, path = call.path, %error, "no answer from this host");
                    last = Some(telling(last, error));
                }
            }
        }
        Err(last.unwrap_or_else(|| self.not_found(call)))
    }

    async fn answer_from(&self, host: &Host, call: &Call) -> Result<Response<Incoming>> {
        let answer = self.send(host, Intent::Pull, call).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(self.not_found(call));
        }
        Err(self.error(Intent::Pull, call, answer).await)
    }

    pub(super) fn not_found(&self, call: &Call) -> Error {
        let which = call.path.rsplit('/').next().unwrap_or_default();
        let separator = if which.contains(':') { '@' } else { ':' };
        Error::NotFound {
            reference: format!("{}{separator}{which}", self.repository),
        }
    }

    /// Whether the registry itself has this manifest.
    pub(crate) async fn has_manifest(&self, which: &str, digest: &Digest) -> Result<bool> {
        let call = accepting(Call::new(Method::HEAD, format!("/manifests/{which}")));
        let answer = self.send(self.origin(), Intent::Push, &call).await?;
        Ok(answer.status().is_success() && claimed_digest(&answer).as_ref() == Some(digest))
    }

    /// Puts a manifest under a tag or its digest. True: the registry keeps lists of referrers.
    pub(crate) async fn put_manifest(
        &self,
        which: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<bool> {
        let call = Call::new(Method::PUT, format!("/manifests/{which}"))
            .header(header::CONTENT_TYPE, media_type)
            .payload(Payload::Bytes(bytes));
        let answer = self.send(self.origin(), Intent::Push, &call).await?;
        if answer.status().is_success() {
            return Ok(answer.headers().contains_key("oci-subject"));
        }
        Err(self.error(Intent::Push, &call, answer).await)
    }
}

/// Which of two hosts' errors is told: the later one, but for a mirror's refusal where the registry itself is out
/// of reach. Then that is what there is to mend.
fn telling(earlier: Option<Error>, later: Error) -> Error {
    match (earlier, later) {
        (
            Some(
                refusal @ (Error::Denied { .. }
                | Error::TooManyRequests { .. }
                | Error::Status { .. }
                | Error::Mismatch { .. }),
            ),
            Error::Connect { .. },
        ) => refusal,
        (_, later) => later,
    }
}

fn accepting(mut call: Call) -> Call {
    for media_type in ACCEPTED {
        call.headers
            .append(header::ACCEPT, header::HeaderValue::from_static(media_type));
    }
    call
}

fn claimed_digest(answer: &Response<Incoming>) -> Option<Digest> {
    answer
        .headers()
        .get(CONTENT_DIGEST)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn media_type_of(answer: &Response<Incoming>) -> String {
    let text = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    text.unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// What a document says it is; else, what its members make it. A registry's word counts least.
fn own_media_type(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        schema_version: Option<u32>,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    let document: Document = serde_json::from_slice(bytes).ok()?;
    if document.schema_version == Some(1) {
        return Some(SCHEMA_1.to_owned());
    }
    let derived = match (document.manifests, document.config) {
        (Some(_), None) => Some(media_type::INDEX.to_owned()),
        (None, Some(_)) => Some(media_type::MANIFEST.to_owned()),
        _ => None,
    };
    document
        .media_type
        .filter(|own| !own.is_empty())
        .or(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_it_is() {
        for (text, expected) in [
            (
                r#"{"schemaVersion":2,"mediaType":"x/y","config":{}}"#,
                Some("x/y"),
            ),
            (
                r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
                Some(media_type::MANIFEST),
            ),
            (
                r#"{"schemaVersion":2,"manifests":[]}"#,
                Some(media_type::INDEX),
            ),
            (r#"{"schemaVersion":1,"name":"x"}"#, Some(SCHEMA_1)),
            (r#"{"manifests":[],"config":{}}"#, None),
            ("[]", None),
        ] {
            assert_eq!(
                own_media_type(text.as_bytes()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
