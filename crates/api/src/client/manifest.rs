//! Lists of manifests. (Hull's own.)

use http::Method;

use super::{Call, Client, ClientError, name_in_path};
use crate::{
    query::Query,
    types::{IdResponse, ManifestDocument},
};

/// What an annotation says; empty: nothing.
#[derive(Debug, Clone, Default)]
pub struct ManifestAnnotation {
    /// `linux` …
    pub os: String,
    /// `arm64` …
    pub architecture: String,
    /// `v7` …
    pub variant: String,
    /// A version of Windows, as a rule.
    pub os_version: String,
    /// All of them.
    pub os_features: Vec<String>,
}

impl Client {
    /// Makes a list of images, or adds to it; its id.
    pub async fn manifest_create(
        &self,
        name: &str,
        members: &[String],
        amend: bool,
    ) -> Result<String, ClientError> {
        let mut query = Query::default();
        query.add_flag("amend", amend);
        for member in members {
            query.add("member", member);
        }
        let answer: IdResponse = self.post(&of(name), Call::with(query)).await?;
        Ok(answer.id)
    }

    /// Changes what a list says of one member; its new id.
    pub async fn manifest_annotate(
        &self,
        name: &str,
        member: &str,
        says: &ManifestAnnotation,
    ) -> Result<String, ClientError> {
        let mut query = Query::default();
        query
            .add("member", member)
            .add_some("os", &says.os)
            .add_some("arch", &says.architecture)
            .add_some("variant", &says.variant)
            .add_some("os-version", &says.os_version);
        for feature in &says.os_features {
            query.add("os-feature", feature);
        }
        let path = format!("{}/annotate", of(name));
        let answer: IdResponse = self.post(&path, Call::with(query)).await?;
        Ok(answer.id)
    }

    /// The index or manifest of an image, as it is.
    pub async fn manifest(&self, name: &str) -> Result<ManifestDocument, ClientError> {
        let path = of(name);
        let answer = self.send(Method::GET, &path, Call::default()).await?;
        super::json(&path, answer).await
    }
}

fn of(name: &str) -> String {
    format!("/hull/manifests/{}", name_in_path(name))
}
