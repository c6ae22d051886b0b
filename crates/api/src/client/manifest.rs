//! Lists of manifests. (Hull's own.)

use http::Method;

use super::{ByteStream, Call, Client, ClientError, JsonStream, name_in_path};
use crate::{
    progress::ProgressMessage,
    query::Query,
    types::{AuthConfig, IdResponse, ManifestDocument},
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
        insecure: bool,
        auth: Option<&AuthConfig>,
    ) -> Result<String, ClientError> {
        let mut query = Query::default();
        query
            .add_flag("amend", amend)
            .add_flag("insecure", insecure);
        for member in members {
            query.add("member", member);
        }
        let call = Call::with(query).auth(auth);
        let answer: IdResponse = self.post(&of(name), call).await?;
        Ok(answer.id)
    }

    /// Changes what a list says of one member; its new id.
    pub async fn manifest_annotate(
        &self,
        name: &str,
        member: &str,
        says: &ManifestAnnotation,
        auth: Option<&AuthConfig>,
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
        let call = Call::with(query).auth(auth);
        let answer: IdResponse = self.post(&path, call).await?;
        Ok(answer.id)
    }

    /// The index or manifest of an image, as it is; of one that is not here, as its registry has it.
    /// With a digest, the index's manifest of that digest instead.
    pub async fn manifest(
        &self,
        name: &str,
        member: Option<&str>,
        insecure: bool,
        auth: Option<&AuthConfig>,
    ) -> Result<ManifestDocument, ClientError> {
        let path = of(name);
        let mut query = Query::default();
        query
            .add_some("member", member.unwrap_or_default())
            .add_flag("insecure", insecure);
        let call = Call::with(query).auth(auth);
        let answer = self.send(Method::GET, &path, call).await?;
        // Letter for letter: a document's digest is that of its text.
        let bytes = super::collected(&path, answer).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer {
            path,
            source: source.into(),
        })
    }

    /// Pushes a list whole.
    pub async fn manifest_push(
        &self,
        name: &str,
        insecure: bool,
        auth: Option<&AuthConfig>,
    ) -> Result<JsonStream<ProgressMessage>, ClientError> {
        let path = format!("{}/push", of(name));
        let mut query = Query::default();
        query.add_flag("insecure", insecure);
        let call = Call::with(query).auth(auth);
        let answer = self.send(Method::POST, &path, call).await?;
        Ok(ByteStream::new(answer).json())
    }

    /// Takes a list away; its members stay.
    pub async fn manifest_remove(&self, name: &str) -> Result<(), ClientError> {
        self.send(Method::DELETE, &of(name), Call::default())
            .await
            .map(drop)
    }
}

fn of(name: &str) -> String {
    format!("/hull/manifests/{}", name_in_path(name))
}
