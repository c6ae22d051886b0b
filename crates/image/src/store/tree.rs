//! What an entry reaches: indexes, manifests, configurations, layers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hull_oci::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform, chain_ids, media_type};
use serde::de::DeserializeOwned;

use super::Store;
use crate::error::{Error, Result};

/// Indexes may hold indexes; nobody nests them deeper than two.
const DEPTH_MAX: usize = 4;
/// A few hundred images' documents; the memory is a few MiB.
const CACHED_MAX: usize = 1024;

/// Parsed documents, by digest: they never change.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<Digest, Document>>);

#[derive(Clone)]
enum Document {
    Index(Arc<Index>),
    Manifest(Arc<Manifest>),
    Config(Arc<ImageConfig>),
}

/// One manifest of an image.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) descriptor: Descriptor,
    /// `None`: its bytes are not here (only some platforms were fetched).
    pub(super) manifest: Option<Arc<Manifest>>,
    /// `None`: not here, or it is no image.
    pub(super) config: Option<Arc<ImageConfig>>,
}

impl Member {
    /// Where it runs: what the index says, else what the configuration says.
    pub(super) fn platform(&self) -> Option<Platform> {
        let declared = self
            .descriptor
            .platform
            .as_ref()
            .filter(|p| !p.architecture.is_empty());
        declared
            .map(Platform::normalized)
            .or_else(|| self.config.as_ref().map(|config| config.platform()))
    }

    /// The member this one states something about.
    pub(super) fn about(&self) -> Option<Digest> {
        let annotations = &self.descriptor.annotations;
        let about = annotations.get("vnd.docker.reference.digest");
        about
            .filter(|_| self.descriptor.is_attestation())
            .and_then(|text| text.parse().ok())
    }

    /// Whether it is an image, whose bytes are all there or not.
    pub(super) fn is_image(&self) -> bool {
        let unknown = |p: &Platform| p.os == "unknown" || p.architecture == "unknown";
        !self.descriptor.is_attestation()
            && !self.descriptor.platform.as_ref().is_some_and(unknown)
            && match &self.manifest {
                None => true,
                Some(manifest) => {
                    media_type::is_config(&manifest.config.media_type)
                        && manifest
                            .layers
                            .iter()
                            .all(|l| media_type::is_layer(&l.media_type))
                }
            }
    }
}

impl Store {
    /// All manifests below `target`, in the index's order; `target` itself if it is one.
    pub(super) fn members(&self, target: &Descriptor) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        self.collect_members(target, 0, &mut members)?;
        Ok(members)
    }

    /// Everything below `target`, present or not: blobs, and the diff ids and chain ids of layers.
    pub(super) fn reach(&self, target: &Descriptor, reached: &mut HashSet<Digest>) -> Result<()> {
        self.reach_documents(target, 0, reached)
    }

    fn collect_members(
        &self,
        descriptor: &Descriptor,
        depth: usize,
        members: &mut Vec<Member>,
    ) -> Result<()> {
        if media_type::is_index(&descriptor.media_type) {
            check_depth(descriptor, depth)?;
            let Some(index) = self.index(&descriptor.digest)? else {
                return Ok(());
            };
            for child in &index.manifests {
                self.collect_members(child, depth + 1, members)?;
            }
        } else if media_type::is_manifest(&descriptor.media_type) {
            let manifest = self.manifest(&descriptor.digest)?;
            let config = match manifest.as_deref() {
                Some(manifest) if media_type::is_config(&manifest.config.media_type) => {
                    self.config(&manifest.config.digest)?
                }
                _ => None,
            };
            members.push(Member {
                descriptor: descriptor.clone(),
                manifest,
                config,
            });
        }
        Ok(())
    }

    fn reach_documents(
        &self,
        descriptor: &Descriptor,
        depth: usize,
        reached: &mut HashSet<Digest>,
    ) -> Result<()> {
        reached.insert(descriptor.digest.clone());
        if media_type::is_index(&descriptor.media_type) {
            check_depth(descriptor, depth)?;
            let Some(index) = self.index(&descriptor.digest)? else {
                return Ok(());
            };
            for child in &index.manifests {
                self.reach_documents(child, depth + 1, reached)?;
            }
        } else if media_type::is_manifest(&descriptor.media_type) {
            let Some(manifest) = self.manifest(&descriptor.digest)? else {
                return Ok(());
            };
            reached.insert(manifest.config.digest.clone());
            reached.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
            if media_type::is_config(&manifest.config.media_type)
                && let Some(config) = self.config(&manifest.config.digest)?
            {
                reached.extend(chain_ids(&config.rootfs.diff_ids));
                reached.extend(config.rootfs.diff_ids.iter().cloned());
            }
        }
        Ok(())
    }

    pub(super) fn index(&self, digest: &Digest) -> Result<Option<Arc<Index>>> {
        let index = self.document(
            digest,
            "index",
            Document::Index,
            |document| match document {
                Document::Index(index) => Some(index),
                _ => None,
            },
        )?;
        if let Some(index) = &index {
            let is_more = ["config", "layers"]
                .iter()
                .any(|key| index.other.contains_key(*key));
            check_nature(
                digest,
                is_more,
                index.media_type.as_deref(),
                media_type::is_index,
            )?;
        }
        Ok(index)
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Result<Option<Arc<Manifest>>> {
        let manifest =
            self.document(
                digest,
                "manifest",
                Document::Manifest,
                |document| match document {
                    Document::Manifest(manifest) => Some(manifest),
                    _ => None,
                },
            )?;
        if let Some(manifest) = &manifest {
            let is_more = manifest.other.contains_key("manifests");
            let own = manifest.media_type.as_deref();
            check_nature(digest, is_more, own, media_type::is_manifest)?;
        }
        Ok(manifest)
    }

    pub(super) fn config(&self, digest: &Digest) -> Result<Option<Arc<ImageConfig>>> {
        self.document(
            digest,
            "configuration",
            Document::Config,
            |document| match document {
                Document::Config(config) => Some(config),
                _ => None,
            },
        )
    }

    /// The document, from memory or from its blob; `None` if the blob is not here.
    fn document<T: DeserializeOwned>(
        &self,
        digest: &Digest,
        what: &'static str,
        wrap: impl Fn(Arc<T>) -> Document,
        unwrap: impl Fn(Document) -> Option<Arc<T>>,
    ) -> Result<Option<Arc<T>>> {
        if let Some(found) = self.trees.get(digest).and_then(&unwrap) {
            return Ok(Some(found));
        }
        if !self.blobs.has(digest) {
            return Ok(None);
        }
        let bytes = self.blobs.read(digest)?;
        let parsed: T = serde_json::from_slice(&bytes).map_err(|source| Error::Document {
            what,
            digest: digest.clone(),
            source,
        })?;
        let parsed = Arc::new(parsed);
        self.trees.put(digest, wrap(Arc::clone(&parsed)));
        Ok(Some(parsed))
    }
}

impl Cache {
    /// Forgets the document, whose blob goes away.
    pub(super) fn forget(&self, digest: &Digest) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(digest);
    }

    fn get(&self, digest: &Digest) -> Option<Document> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
            .cloned()
    }

    fn put(&self, digest: &Digest, document: Document) {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= CACHED_MAX {
            cached.clear();
        }
        cached.insert(digest.clone(), document);
    }
}

/// A document that others could take for something else is refused: what one tool checks must be
/// what the next one runs.
fn check_nature(
    digest: &Digest,
    is_more: bool,
    own: Option<&str>,
    is_right: impl Fn(&str) -> bool,
) -> Result<()> {
    if is_more {
        let message = format!("the document {digest} is two things at once: manifest and index");
        return Err(Error::Invalid(message));
    }
    match own.filter(|own| !is_right(own)) {
        Some(own) => Err(Error::Invalid(format!(
            "the document {digest} says it is {own:?}, and is referred to as something else"
        ))),
        None => Ok(()),
    }
}

fn check_depth(descriptor: &Descriptor, depth: usize) -> Result<()> {
    if depth < DEPTH_MAX {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the index {} is nested too deeply",
        descriptor.digest
    )))
}
