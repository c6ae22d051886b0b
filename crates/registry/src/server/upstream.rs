//! A cache of another registry: what is asked for and not here is fetched, kept and given.

use std::sync::Arc;

use http::{StatusCode, header};
use hull_oci::{Descriptor, Digest, Reference};

use super::answer::{self, Answer, Code, Outcome, Refusal, With as _};
use super::name::RepositoryName;
use super::route::ManifestReference;
use super::storage::PutManifest;
use super::{Registry, UpstreamOptions};
use crate::client::{Client, Session};
use crate::{Error, Result};

/// The registry this one is a cache of.
pub(crate) struct Upstream {
    client: Client,
    options: UpstreamOptions,
}

impl Upstream {
    pub(crate) fn new(options: UpstreamOptions) -> Result<Self> {
        let client = Client::new(options.settings.clone());
        let upstream = Self { client, options };
        // A host that is none is told now, not with the first request.
        let name =
            RepositoryName::parse("x").ok_or_else(|| Error::Internal("x is a name".to_owned()))?;
        upstream.session(&name)?;
        Ok(upstream)
    }

    fn session(&self, name: &RepositoryName) -> Result<Session> {
        let text = format!("{}/{name}", self.options.host);
        let reference: Reference = text.parse().map_err(|_| Error::Setting {
            what: "the upstream".to_owned(),
            why: format!("{} is no registry", self.options.host),
        })?;
        self.client
            .session(&reference, self.options.credentials.as_ref())
    }

    /// Brings a manifest up to date. When the upstream cannot be asked, what is here will do.
    pub(crate) async fn refresh(
        &self,
        registry: &Arc<Registry>,
        name: &RepositoryName,
        which: &ManifestReference,
    ) -> Result<(), Refusal> {
        let (storage, wanted, target) =
            (Arc::clone(&registry.storage), which.clone(), name.clone());
        let here = tokio::task::spawn_blocking(move || match &wanted {
            ManifestReference::Digest(digest) => {
                Ok(storage.manifest(&target, digest)?.map(|_| digest.clone()))
            }
            ManifestReference::Tag(tag) => storage.tag(&target, tag),
        });
        let here = here
            .await
            .map_err(|panic| Refusal::new(Code::Unknown, panic.to_string()))??;
        if matches!(which, ManifestReference::Digest(_)) && here.is_some() {
            return Ok(());
        }
        match self
            .fetch_manifest(registry, name, which, here.as_ref())
            .await
        {
            Ok(()) => Ok(()),
            Err(error) if here.is_some() && !matches!(error, Error::NotFound { .. }) => {
                tracing::warn!(repository = %name, %error, "the upstream cannot be asked: serving what is here");
                Ok(())
            }
            Err(error) => Err(refusal(&error)),
        }
    }

    async fn fetch_manifest(
        &self,
        registry: &Arc<Registry>,
        name: &RepositoryName,
        which: &ManifestReference,
        here: Option<&Digest>,
    ) -> Result<()> {
        let session = self.session(name)?;
        let (text, tags) = match which {
            ManifestReference::Digest(digest) => (digest.to_string(), Vec::new()),
            ManifestReference::Tag(tag) => (tag.as_str().to_owned(), vec![tag.clone()]),
        };
        if let (Some(here), ManifestReference::Tag(tag)) = (here, which)
            && session
                .resolve(tag.as_str())
                .await?
                .is_some_and(|resolved| resolved.digest == *here)
        {
            return Ok(());
        }
        let fetched = session.manifest(&text).await?;
        let (storage, target) = (Arc::clone(&registry.storage), name.clone());
        let kept = tokio::task::spawn_blocking(move || {
            let put = PutManifest {
                digest: fetched.digest,
                media_type: &fetched.media_type,
                bytes: &fetched.bytes,
                tags: &tags,
            };
            storage.put_copy(&target, &put)
        });
        kept.await?
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// What the upstream knows to be about a manifest. When it cannot be asked, what is here will do.
    pub(crate) async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Vec<Descriptor> {
        let asked = async { self.session(name)?.referrers(subject).await };
        asked.await.unwrap_or_else(|error| {
            tracing::warn!(repository = %name, %error, "the upstream cannot be asked for referrers");
            Vec::new()
        })
    }

    /// The tags the upstream has, in order: one that stands here alone is not served either. When it cannot be
    /// asked, those that are `here` will do. `None`: there is no such repository.
    pub(crate) async fn tags(
        &self,
        name: &RepositoryName,
        here: Option<Vec<String>>,
    ) -> Result<Option<Vec<String>>, Refusal> {
        let asked = async { self.session(name)?.tags().await };
        match asked.await {
            Ok(mut tags) => {
                tags.sort();
                tags.dedup();
                Ok(Some(tags))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) if here.is_some() => {
                tracing::warn!(repository = %name, %error, "the upstream cannot be asked: telling the tags that are here");
                Ok(here)
            }
            Err(error) => Err(refusal(&error)),
        }
    }

    /// A blob's headers.
    pub(crate) async fn stat_blob(&self, name: &RepositoryName, digest: &Digest) -> Outcome {
        let session = self.session(name).map_err(|error| refusal(&error))?;
        let answer = session
            .open_blob(digest, true)
            .await
            .map_err(|error| refusal(&error))?;
        let length = answer.headers().get(header::CONTENT_LENGTH).cloned();
        let mut stat = super::operation::described(answer::empty(StatusCode::OK), digest);
        stat.headers_mut()
            .extend(length.map(|length| (header::CONTENT_LENGTH, length)));
        Ok(stat)
    }

    /// A blob that is not here: given while it is fetched, and kept.
    pub(crate) async fn blob(
        &self,
        registry: &Arc<Registry>,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Outcome {
        let session = self.session(name).map_err(|error| refusal(&error))?;
        let answer = session
            .open_blob(digest, false)
            .await
            .map_err(|error| refusal(&error))?;
        let length = answer.headers().get(header::CONTENT_LENGTH).cloned();
        let storage = &registry.storage;
        let id = storage.begin_upload(name)?;
        let Some(upload) = storage.open_upload(name, &id).await? else {
            return Err(Refusal::new(Code::Unknown, "an upload vanished"));
        };
        let body = super::tee::tee(answer.into_body(), upload, registry, name, digest);
        let mut given: Answer = super::operation::described(http::Response::new(body), digest);
        given
            .headers_mut()
            .extend(length.map(|length| (header::CONTENT_LENGTH, length)));
        Ok(given.with(header::ACCEPT_RANGES, "none"))
    }
}

fn refusal(error: &Error) -> Refusal {
    let code = match error.kind() {
        crate::Kind::NotFound => Code::ManifestUnknown,
        _ => Code::Unknown,
    };
    let status = match (error, code) {
        (Error::TooManyRequests { .. }, _) => StatusCode::TOO_MANY_REQUESTS,
        (_, Code::ManifestUnknown) => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_GATEWAY,
    };
    Refusal {
        status,
        ..Refusal::new(code, error.to_string())
    }
}
