//! What was stated about an image: provenance, lists of contents, anything in in-toto's form.

use hull_oci::{Descriptor, Platform, media_type};
use serde_json::value::RawValue;

use super::Store;
use super::platforms::statements_about;
use crate::error::{Error, Result};

/// What a statement's descriptor says it is about.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// One statement about an image.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The blob it stands in.
    pub descriptor: Descriptor,
    /// Its kind, a URI.
    pub predicate_type: String,
    /// Word for word, if it was asked for.
    pub text: Option<Box<RawValue>>,
}

impl Store {
    /// The statements about the image for `platform` (default: the best for this host), of these
    /// kinds (default: all).
    pub fn attestations(
        &self,
        name: &str,
        platform: Option<&Platform>,
        kinds: &[String],
        with_text: bool,
    ) -> Result<Vec<Statement>> {
        let target = self.find(name)?;
        let chosen = self.choose(name, &target, platform)?;
        let members = self.members(&target.descriptor)?;
        let mut found = Vec::new();
        for member in statements_about(&members, &chosen.descriptor.digest) {
            let layers = member.manifest.iter().flat_map(|manifest| &manifest.layers);
            for layer in layers.filter(|layer| layer.media_type == media_type::IN_TOTO) {
                let kind = layer.annotations.get(PREDICATE_TYPE);
                let predicate_type = kind.cloned().unwrap_or_default();
                if !kinds.is_empty() && !kinds.contains(&predicate_type) {
                    continue;
                }
                found.push(Statement {
                    descriptor: layer.clone(),
                    predicate_type,
                    text: with_text.then(|| self.statement(layer)).transpose()?,
                });
            }
        }
        Ok(found)
    }

    fn statement(&self, layer: &Descriptor) -> Result<Box<RawValue>> {
        let bytes = self.blobs.read(&layer.digest)?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Document {
            what: "statement",
            digest: layer.digest.clone(),
            source,
        })
    }
}
