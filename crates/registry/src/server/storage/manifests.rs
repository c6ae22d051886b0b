//! Manifests and indexes: checked as they come in, kept byte for byte.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use hull_oci::{Descriptor, Digest, media_type};
use serde::Deserialize;

use super::{During, Result, Storage, StorageError, list, remove};
use crate::server::answer::Code;
use crate::server::name::{RepositoryName, Tag};

/// What is read of any manifest or index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    schema_version: Option<u32>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// Of manifests of artifacts, which came before OCI's 1.1.
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// A manifest to be stored.
pub(crate) struct PutManifest<'a> {
    pub(crate) digest: Digest,
    pub(crate) media_type: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) tags: &'a [Tag],
}

impl Document {
    /// Reads a document of this type.
    pub(crate) fn parse(media_type: &str, bytes: &[u8]) -> Result<Self> {
        let invalid = |message: String| StorageError::Refused {
            code: Code::ManifestInvalid,
            message,
        };
        let document: Self = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("the manifest cannot be read: {error}")))?;
        if let Some(own) = &document.media_type
            && own != media_type
        {
            return Err(invalid(format!(
                "the manifest says that it is {own}, the request {media_type}"
            )));
        }
        if document.schema_version != Some(2) {
            return Err(invalid(
                "only manifests of schema version 2 are kept".to_owned(),
            ));
        }
        let is_manifest = document.config.is_some() && document.manifests.is_none();
        let is_index =
            document.manifests.is_some() && document.config.is_none() && document.layers.is_none();
        let fits = match media_type {
            _ if media_type::is_manifest(media_type) => is_manifest,
            _ if media_type::is_index(media_type) => is_index,
            _ => true,
        };
        if !fits {
            return Err(invalid(format!("the document is no {media_type}")));
        }
        Ok(document)
    }

    /// Blobs it needs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let layers = self.layers.iter().flatten();
        let parts = self.blobs.iter().flatten();
        self.config.iter().chain(layers).chain(parts)
    }

    /// Manifests it needs. (Of an older builder's cache, they are blobs.)
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().flatten()
    }

    /// What it is about.
    pub(crate) fn subject(&self) -> Option<&Digest> {
        self.subject.as_ref().map(|subject| &subject.digest)
    }

    fn descriptor(&self, put: &PutManifest<'_>) -> Descriptor {
        let mut descriptor =
            Descriptor::new(put.media_type, put.digest.clone(), put.bytes.len() as u64);
        let config_type = self.config.as_ref().map(|config| config.media_type.clone());
        descriptor.artifact_type = self
            .artifact_type
            .clone()
            .filter(|kind| !kind.is_empty())
            .or(config_type);
        descriptor.annotations = self.annotations.clone().unwrap_or_default();
        descriptor
    }
}

impl Storage {
    /// A manifest of a repository: its media type and its bytes.
    pub(crate) fn manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<(String, Vec<u8>)>> {
        let path = self.manifest_path(name, digest);
        let media_type = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).during(|| format!("read {}", path.display())),
        };
        let Some((mut file, size)) = self.open_bytes(digest)? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.read_to_end(&mut bytes)
            .during(|| format!("read the manifest {digest}"))?;
        Ok(Some((media_type, bytes)))
    }

    /// Stores a manifest whose blobs are all here.
    pub(crate) fn put_manifest(
        &self,
        name: &RepositoryName,
        put: &PutManifest<'_>,
    ) -> Result<Document> {
        let document = Document::parse(put.media_type, put.bytes)?;
        let _linking = self.linking();
        if let Some(part) = self.first_lost(name, &document) {
            return Err(unknown(&part.digest));
        }
        if !self.blob_path(&put.digest).exists() {
            self.reserve(put.bytes.len() as u64)?;
            self.place_document(put)?;
        } else {
            // Whoever put it there may not have come that far.
            let place = self.blob_path(&put.digest);
            super::sync_parent(&place).during(|| format!("store the manifest {}", put.digest))?;
        }
        self.update_file(
            &self.manifest_path(name, &put.digest),
            put.media_type.as_bytes(),
        )?;
        if let Some(subject) = document.subject() {
            self.add_referrer(name, subject, &document.descriptor(put))?;
        }
        for tag in put.tags {
            self.set_tag(name, tag, &put.digest)?;
        }
        Ok(document)
    }

    /// The first part of a document that the repository lacks, and that is not to be had elsewhere.
    fn first_lost<'d>(
        &self,
        name: &RepositoryName,
        document: &'d Document,
    ) -> Option<&'d Descriptor> {
        let has_blob = |part: &Descriptor| {
            self.link_path(name, &part.digest).exists() && self.blob_path(&part.digest).exists()
        };
        let has_manifest = |part: &Descriptor| self.manifest_path(name, &part.digest).exists();
        let mut blobs = document.blobs().filter(|part| !has_blob(part));
        let mut members = document
            .manifests()
            .filter(|part| !has_manifest(part) && !has_blob(part));
        let is_lost = |part: &&Descriptor| part.urls.as_ref().is_none_or(Vec::is_empty);
        blobs.find(is_lost).or_else(|| members.find(is_lost))
    }

    /// Puts the bytes where blobs lie. They are counted already: no longer if they are not kept, or were kept by
    /// another push at the same time.
    fn place_document(&self, put: &PutManifest<'_>) -> Result<()> {
        let place = self.blob_path(&put.digest);
        let written = self.write_new(put.bytes);
        let placed = written.and_then(|new| self.place(&new, &place));
        if !matches!(placed, Ok(true)) {
            self.release(put.bytes.len() as u64);
        }
        let placed = placed.during(|| format!("store the manifest {}", put.digest));
        placed.map(drop)
    }

    /// Stores a copy of another registry's manifest, whose blobs follow when they are asked for.
    pub(crate) fn put_copy(&self, name: &RepositoryName, put: &PutManifest<'_>) -> Result<()> {
        let _linking = self.linking();
        if !self.blob_path(&put.digest).exists() {
            // Small, and without it nothing can be passed on: also of a cache that is full.
            let bytes = put.bytes.len() as u64;
            self.used
                .fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
            self.place_document(put)?;
        }
        self.update_file(
            &self.manifest_path(name, &put.digest),
            put.media_type.as_bytes(),
        )?;
        put.tags
            .iter()
            .try_for_each(|tag| self.set_tag(name, tag, &put.digest))
    }

    /// Takes a manifest and the tags that point at it away; false: there was none.
    pub(crate) fn delete_manifest(&self, name: &RepositoryName, digest: &Digest) -> Result<bool> {
        let Some((media_type, bytes)) = self.manifest(name, digest)? else {
            return Ok(false);
        };
        let _unlinking = self.unlinking();
        for tag in self.tags(name)? {
            if let Some(tag) = Tag::parse(&tag)
                && self.tag(name, &tag)?.as_ref() == Some(digest)
            {
                self.untag(name, &tag)?;
            }
        }
        if let Ok(document) = Document::parse(&media_type, &bytes)
            && let Some(subject) = document.subject()
        {
            self.remove_referrer(name, subject, digest)?;
        }
        remove(&self.manifest_path(name, digest))
    }

    /// The digests of all manifests of a repository.
    pub(super) fn manifest_digests(&self, name: &RepositoryName) -> Result<Vec<Digest>> {
        let paths = list(&self.repository(name).join("_manifests"))?;
        Ok(paths
            .iter()
            .filter_map(|path| super::named_digest(path))
            .collect())
    }

    fn manifest_path(&self, name: &RepositoryName, digest: &Digest) -> PathBuf {
        self.repository(name)
            .join("_manifests")
            .join(digest.as_str())
    }
}

fn unknown(digest: &Digest) -> StorageError {
    StorageError::Refused {
        code: Code::ManifestBlobUnknown,
        message: format!("the manifest needs {digest}, which is not in the repository"),
    }
}
