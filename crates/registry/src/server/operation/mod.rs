//! The operations of the distribution protocol.

mod blobs;
mod manifests;
mod referrers;
mod tags;
mod uploads;

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use hyper::body::Incoming;

use super::Registry;
use super::answer::{Code, Outcome, Refusal};
use super::name::RepositoryName;
use super::route::Resource;
use super::storage::StorageError;

pub(super) use blobs::described;
pub(super) use tags::catalog;
pub(super) use uploads::small_body;

/// A request within a repository that was let through.
pub(super) struct Request {
    pub(super) registry: Arc<Registry>,
    pub(super) name: RepositoryName,
    pub(super) parts: Parts,
    pub(super) body: Incoming,
}

impl Request {
    fn query(&self, key: &str) -> Option<String> {
        super::route::query(self.parts.uri.query().unwrap_or_default(), key).next()
    }

    fn queries(&self, key: &str) -> Vec<String> {
        super::route::query(self.parts.uri.query().unwrap_or_default(), key).collect()
    }

    fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// Does something with the storage where it may block.
    async fn store<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Arc<super::Storage>, &RepositoryName) -> Result<T, StorageError>
        + Send
        + 'static,
    ) -> Result<T, Refusal> {
        let (storage, name) = (Arc::clone(&self.registry.storage), self.name.clone());
        match tokio::task::spawn_blocking(move || job(&storage, &name)).await {
            Ok(outcome) => Ok(outcome?),
            Err(panic) => {
                tracing::error!(%panic, "an operation broke off");
                Err(Refusal::new(
                    Code::Unknown,
                    "the operation broke off: this is a mistake in the registry",
                ))
            }
        }
    }
}

/// Carries a request out.
pub(super) async fn perform(request: Request, resource: Resource) -> Outcome {
    let method = request.parts.method.clone();
    match (&method, resource) {
        (&Method::GET | &Method::HEAD, Resource::Blob(digest)) => blobs::get(request, digest).await,
        (&Method::DELETE, Resource::Blob(digest)) => blobs::delete(request, digest).await,
        (&Method::POST, Resource::Uploads) => uploads::begin(request).await,
        (&Method::GET, Resource::Upload(id)) => uploads::status(request, id).await,
        (&Method::PATCH, Resource::Upload(id)) => uploads::append(request, id).await,
        (&Method::PUT, Resource::Upload(id)) => uploads::finish(request, id).await,
        (&Method::DELETE, Resource::Upload(id)) => uploads::cancel(request, id).await,
        (&Method::GET | &Method::HEAD, Resource::Manifest(which)) => {
            manifests::get(request, which).await
        }
        (&Method::PUT, Resource::Manifest(which)) => manifests::put(request, which).await,
        (&Method::DELETE, Resource::Manifest(which)) => manifests::delete(request, which).await,
        (&Method::GET, Resource::Tags) => tags::list(request).await,
        (&Method::GET, Resource::Referrers(digest)) => referrers::list(request, digest).await,
        _ => Err(Refusal::new(
            Code::Unsupported,
            format!("{method} is not for this page"),
        )),
    }
}
