//! What is stated about an image beside it: how it was made, and what is in it.
//!
//! ```text
//! index ─┬─ manifest                     the image
//!        └─ manifest (unknown/unknown)   about it: each layer a statement in in-toto's form
//! ```
//! As BuildKit lays it out, so that its clients find it.

mod provenance;
mod sbom;

use hull_oci::{Descriptor, Manifest, Platform, Reference, media_type};
use serde_json::{Value, json};

use super::ImageOutput;
use crate::builder::{Builder, Built, BuiltPlatform};
use crate::error::{Error, Result};

pub(crate) use provenance::{Facts, Material};

/// What a descriptor of a statement says that it is about.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// The form of statements.
const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";

/// What shall be stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attest {
    /// How it was made.
    pub provenance: Option<Provenance>,
    /// Which packages are in it.
    pub sbom: bool,
}

/// How much is told of how an image was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Arguments and the Dockerfile, too.
    pub all: bool,
    /// Who is said to have built it.
    pub builder_id: String,
}

impl Attest {
    /// Takes a wish in: a kind, and its settings, divided by commas. The error is for people.
    pub fn add(&mut self, kind: &str, settings: &str) -> std::result::Result<(), String> {
        let pairs = settings.split(',').filter(|pair| !pair.is_empty());
        let pairs: Vec<(&str, &str)> = pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "true")))
            .collect();
        let value = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map_or("", |(_, value)| *value)
        };
        let is_off = value("disabled") == "true" || value("false") == "true";
        match kind {
            "provenance" => {
                // Clients ask for what costs nothing on their own: that is no person's wish.
                if is_off || value("inline-only") == "true" {
                    return Ok(());
                }
                if !matches!(value("version"), "" | "v0.2") {
                    return Err(format!(
                        "provenance of version {} is not available: leave version out (v0.2)",
                        value("version")
                    ));
                }
                let all = match value("mode") {
                    "" | "min" => false,
                    "max" => true,
                    other => return Err(format!("invalid provenance mode {other:?}: min or max")),
                };
                self.provenance = Some(Provenance {
                    all,
                    builder_id: value("builder-id").to_owned(),
                });
            }
            "sbom" => {
                if !value("generator").is_empty() {
                    return Err(format!(
                        "the generator {} cannot be run: leave it out, and Hull lists the packages \
                         of dpkg and apk itself",
                        value("generator")
                    ));
                }
                self.sbom = !is_off;
            }
            other => {
                return Err(format!(
                    "unknown attestation {other:?}: there are provenance and sbom"
                ));
            }
        }
        Ok(())
    }

    /// Whether anything shall be stated.
    pub fn is_any(&self) -> bool {
        self.provenance.is_some() || self.sbom
    }
}

impl Built {
    /// Makes the statements about one platform's image; the descriptor of their manifest.
    pub(super) fn attest(
        &self,
        builder: &Builder,
        platform: &BuiltPlatform,
        image: &Descriptor,
        output: &ImageOutput,
    ) -> Result<Descriptor> {
        let mut statements = Vec::new();
        if output.attest.sbom {
            let packages = match platform.layers.is_empty() {
                true => sbom::Packages::default(),
                false => sbom::Packages::of(&self.root(builder, platform)?),
            };
            let created = self.facts.ended(self.epoch);
            statements.push((sbom::KIND, packages.document(image, created)));
        }
        if let Some(wish) = &output.attest.provenance {
            let told = self.facts.predicate(wish, &platform.platform, self.epoch);
            statements.push((provenance::KIND, told));
        }
        let subjects = subjects(&output.names, &platform.platform, image);
        let mut layers = Vec::new();
        for (kind, predicate) in statements {
            let statement = json!({
                "_type": STATEMENT,
                "predicateType": kind,
                "subject": subjects,
                "predicate": predicate,
            });
            let mut layer = self.put(builder, media_type::IN_TOTO, &statement)?;
            layer
                .annotations
                .insert(PREDICATE_TYPE.to_owned(), kind.to_owned());
            layers.push(layer);
        }
        let ids: Vec<String> = layers.iter().map(|one| one.digest.to_string()).collect();
        let config = json!({
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": ids },
        });
        let config = self.put(builder, media_type::CONFIG, &config)?;
        let mut target = self.put(
            builder,
            media_type::MANIFEST,
            &Manifest::new(config, layers),
        )?;
        target.platform = Some(Platform::new("unknown", "unknown", ""));
        for (key, value) in [
            (
                "vnd.docker.reference.type",
                "attestation-manifest".to_owned(),
            ),
            ("vnd.docker.reference.digest", image.digest.to_string()),
        ] {
            target.annotations.insert(key.to_owned(), value);
        }
        Ok(target)
    }

    fn put(
        &self,
        builder: &Builder,
        kind: &str,
        document: &impl serde::Serialize,
    ) -> Result<Descriptor> {
        let text = serde_json::to_vec(document)
            .map_err(|error| Error::host("write a statement", error))?;
        Ok(builder.store.put_blob(&self.lease, kind, &text)?)
    }
}

/// What the statements are about: the image under each of its names.
fn subjects(names: &[Reference], platform: &Platform, image: &Descriptor) -> Vec<Value> {
    let digest = json!({ image.digest.algorithm().name(): image.digest.hex() });
    if names.is_empty() {
        return vec![json!({ "name": "_", "digest": digest })];
    }
    let subject = |name: &Reference| json!({ "name": package(name, platform), "digest": digest });
    names.iter().map(subject).collect()
}

/// An image as a package URL.
fn package(name: &Reference, platform: &Platform) -> String {
    let platform = platform.to_string().replace('/', "%2F");
    let tag = name.tag().map(|tag| format!("@{tag}")).unwrap_or_default();
    let repository = name.familiar_repository();
    format!("pkg:docker/{repository}{tag}?platform={platform}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_understood() {
        let mut attest = Attest::default();
        attest.add("provenance", "mode=max,builder-id=me").unwrap();
        attest.add("sbom", "").unwrap();
        let wish = attest.provenance.clone().unwrap();
        assert!(wish.all && attest.sbom && wish.builder_id == "me");
        let mut quiet = Attest::default();
        quiet
            .add("provenance", "mode=min,inline-only=true")
            .unwrap();
        quiet.add("sbom", "disabled=true").unwrap();
        assert!(!quiet.is_any());
    }

    #[test]
    fn what_cannot_be_stated_is_refused() {
        let mut attest = Attest::default();
        for (kind, settings, word) in [
            ("sbom", "generator=a/scanner", "a/scanner"),
            ("provenance", "version=v1", "v1"),
            ("provenance", "mode=most", "most"),
            ("signature", "", "signature"),
        ] {
            let error = attest.add(kind, settings).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
