//! How an image was made, in SLSA's form 0.2.

use std::collections::BTreeMap;

use base64::Engine as _;
use hull_oci::{Digest, Platform, Reference};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Provenance, package};
use crate::request::BuildRequest;

pub(super) const KIND: &str = "https://slsa.dev/provenance/v0.2";
/// Whose form the parameters have.
const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";

/// What is known of a build. No secret is among it.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    dockerfile_name: String,
    dockerfile: String,
    target: String,
    args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    locals: Vec<String>,
    build: String,
    began: Timestamp,
    ended: Timestamp,
    materials: Vec<Material>,
}

/// An image that the build began with.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    pub(crate) reference: String,
    pub(crate) platform: Platform,
    pub(crate) digest: Digest,
}

impl Facts {
    pub(crate) fn of(
        request: &BuildRequest,
        build: &str,
        began: Timestamp,
        materials: Vec<Material>,
    ) -> Self {
        let mut locals = vec!["dockerfile".to_owned()];
        if request.has_context {
            locals.insert(0, "context".to_owned());
        }
        Self {
            dockerfile_name: request.dockerfile_name.clone(),
            dockerfile: request.dockerfile.clone(),
            target: request.target.clone(),
            args: request.args.clone(),
            labels: request.labels.clone(),
            locals,
            build: build.to_owned(),
            began,
            ended: Timestamp::now(),
            materials,
        }
    }

    /// It has ended now.
    pub(crate) fn end(&mut self) {
        self.ended = Timestamp::now();
    }

    /// When it ended, or when it is said to have.
    pub(super) fn ended(&self, epoch: Option<i64>) -> String {
        time(self.ended, epoch)
    }

    /// The predicate.
    pub(super) fn predicate(
        &self,
        wish: &Provenance,
        platform: &Platform,
        epoch: Option<i64>,
    ) -> Value {
        let materials: Vec<Value> = self.materials.iter().map(material).collect();
        let locals: Vec<Value> = self
            .locals
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
        let mut metadata = json!({
            "buildStartedOn": time(self.began, epoch),
            "buildFinishedOn": self.ended(epoch),
            "completeness": {
                "parameters": wish.all, "environment": true, "materials": false,
            },
            "reproducible": false,
        });
        if epoch.is_none() {
            // With a moment given, the same inputs give the same bytes.
            metadata["buildInvocationID"] = json!(self.build);
        }
        if wish.all {
            let text = base64::engine::general_purpose::STANDARD.encode(&self.dockerfile);
            metadata[format!("{BUILD_TYPE}#metadata")] = json!({
                "source": { "infos": [{
                    "filename": self.dockerfile_name, "language": "Dockerfile", "data": text,
                }]},
            });
        }
        json!({
            "builder": { "id": wish.builder_id },
            "buildType": BUILD_TYPE,
            "materials": materials,
            "invocation": {
                "configSource": { "entryPoint": self.dockerfile_name },
                "parameters": {
                    "frontend": "dockerfile.v0",
                    "args": self.arguments(wish),
                    "locals": locals,
                },
                "environment": { "platform": platform.to_string() },
            },
            "metadata": metadata,
        })
    }

    /// Arguments may hold what is not for all: they are told if all is asked for.
    fn arguments(&self, wish: &Provenance) -> BTreeMap<String, String> {
        let mut arguments = BTreeMap::new();
        if !self.target.is_empty() {
            arguments.insert("target".to_owned(), self.target.clone());
        }
        if wish.all {
            let pair = |kind: &'static str| {
                move |(name, value): (&String, &String)| (format!("{kind}:{name}"), value.clone())
            };
            arguments.extend(self.args.iter().map(pair("build-arg")));
            arguments.extend(self.labels.iter().map(pair("label")));
        }
        arguments
    }
}

fn material(material: &Material) -> Value {
    let uri = match material.reference.parse::<Reference>() {
        Ok(name) => package(&name, &material.platform),
        Err(_) => material.reference.clone(),
    };
    let digest = &material.digest;
    json!({ "uri": uri, "digest": { digest.algorithm().name(): digest.hex() } })
}

fn time(moment: Timestamp, epoch: Option<i64>) -> String {
    let given = epoch.and_then(|seconds| Timestamp::from_second(seconds).ok());
    given.unwrap_or(moment).to_string()
}
