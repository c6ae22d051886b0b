//! What lies under a name at a registry and is not pulled as an image: the cache of a build, say.

use std::sync::Arc;

use bytes::Bytes;
use hull_image::Store;
use hull_image::store::Lease;
use hull_oci::{Descriptor, Reference, media_type};

use crate::Result;
use crate::client::{Client, Credentials, Session};

/// Documents are read into memory.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// A name at a registry, and whatever can be reached from it.
#[derive(Clone)]
pub struct Remote {
    session: Session,
    which: String,
}

impl Remote {
    /// Nothing is asked yet.
    pub fn new(
        client: &Client,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Self> {
        let reference = reference.clone().or_latest();
        let which = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        Ok(Self {
            session: client.session(&reference, credentials)?,
            which,
        })
    }

    /// What the name points at.
    pub async fn root(&self) -> Result<Bytes> {
        Ok(self.session.manifest(&self.which).await?.bytes)
    }

    /// A document that another one names.
    pub async fn document(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let kind = &descriptor.media_type;
        if media_type::is_index(kind) || media_type::is_manifest(kind) {
            let fetched = self.session.manifest(descriptor.digest.as_str()).await?;
            return Ok(fetched.bytes);
        }
        self.session
            .small_blob(descriptor, DOCUMENT_BYTES_MAX)
            .await
    }

    /// Brings a blob into the store, where the lease keeps it.
    pub async fn bring(
        &self,
        store: &Arc<Store>,
        lease: &Arc<Lease>,
        blob: &Descriptor,
    ) -> Result<()> {
        let quiet = |_: u64| {};
        self.session
            .fetch(store, lease, blob, &|_| {}, &quiet)
            .await
    }
}
