//! What is about a manifest: signatures, attestations, bills of materials.
//!
//! Registries before version 1.1 of the specification keep no lists of referrers. There, each client
//! keeps the list under a tag made of the subject's digest: `sha256-<hex>`.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hull_oci::{Descriptor, Digest, Index, media_type};
use hyper::body::Incoming;

use super::Session;
use super::list::next_page;
use super::request::Call;
use super::session::Intent;
use crate::wire::MANIFEST_BYTES_MAX;
use crate::{Error, Result};

/// The specification's limits of the two parts of such a tag.
const ALGORITHM_LENGTH_MAX: usize = 32;
const HEX_LENGTH_MAX: usize = 64;
/// What is read of all pages of a list; one without anything in it counts, too: a list has an end.
const LIST_BYTES_MAX: usize = 32 << 20;
const PAGE_BYTES_MIN: usize = 4 << 10;
/// How often a list that somebody else changes at the same time is written again.
const ATTEMPTS: usize = 3;

/// What is read of a manifest or index that may be about another one.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl Session {
    /// What is about `subject`: by the registry's own list, else by the one clients keep.
    pub(crate) async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let place = format!("/referrers/{subject}");
        let (mut path, mut found, mut bytes) = (place.clone(), Vec::new(), 0);
        loop {
            let call = Call::get(&path);
            let answer = self.send(self.origin(), Intent::Pull, &call).await?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED if path == place => {
                    return Ok(self.tagged_list(subject).await?.manifests);
                }
                _ => return Err(self.error(Intent::Pull, &call, answer).await),
            }
            let next = next_page(&answer);
            let page = self.page_of_referrers(answer).await?;
            bytes += page.len().max(PAGE_BYTES_MIN);
            found.extend(self.read_referrers(&page)?);
            match next {
                None => return Ok(found),
                Some(_) if bytes > LIST_BYTES_MAX => {
                    return Err(Error::Invalid(format!(
                        "there is more about {subject} in {} than anybody can list",
                        self.repository
                    )));
                }
                Some(query) => path = format!("{place}?{query}"),
            }
        }
    }

    async fn page_of_referrers(&self, answer: Response<Incoming>) -> Result<Bytes> {
        let body = Limited::new(answer.into_body(), MANIFEST_BYTES_MAX).collect();
        let body = tokio::time::timeout(self.client.settings().patience, body).await;
        let body = body.map_err(|_| self.unread("timeout".to_owned()))?;
        let body = body.map_err(|error| self.unread(error.to_string()))?;
        Ok(body.to_bytes())
    }

    fn read_referrers(&self, page: &[u8]) -> Result<Vec<Descriptor>> {
        let index = serde_json::from_slice::<Index>(page);
        let index = index.map_err(|error| self.unread(error.to_string()))?;
        Ok(index.manifests)
    }

    fn unread(&self, why: String) -> Error {
        Error::Nonsense {
            host: self.origin().authority.clone(),
            what: "a list of referrers that cannot be read",
            why,
        }
    }

    /// For a registry that keeps no lists: enters a manifest that was just put there into the list
    /// of what it is about. Nothing happens if it is about nothing.
    pub(crate) async fn list_as_referrer(
        &self,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<()> {
        let Some((subject, entry)) = entry(descriptor, bytes) else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            let mut list = self.tagged_list(&subject).await?;
            if list.manifests.iter().any(|one| one.digest == entry.digest) {
                return Ok(());
            }
            list.manifests.push(entry.clone());
            let bytes = serde_json::to_vec(&list)
                .map_err(|error| Error::Internal(format!("cannot write a list: {error}")))?;
            self.put_manifest(&tag(&subject), media_type::INDEX, bytes.into())
                .await?;
        }
        // The last write may hold; who reads it decides.
        let list = self.tagged_list(&subject).await?;
        if list.manifests.iter().any(|one| one.digest == entry.digest) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "the list of what is about {subject} changes all the time: push again"
        )))
    }

    async fn tagged_list(&self, subject: &Digest) -> Result<Index> {
        let fetched = match self.origin_manifest(&tag(subject)).await {
            Ok(fetched) => fetched,
            Err(Error::NotFound { .. }) => return Ok(Index::new(Vec::new())),
            Err(error) => return Err(error),
        };
        if fetched.media_type != media_type::INDEX {
            return Err(Error::Invalid(format!(
                "the tag {} of {} is no list of referrers",
                tag(subject),
                self.repository
            )));
        }
        serde_json::from_slice(&fetched.bytes).map_err(|source| {
            Error::Image(hull_image::Error::Document {
                what: "list of referrers",
                digest: fetched.digest,
                source,
            })
        })
    }
}

/// Whether a manifest says that it is about another one.
pub(crate) fn is_about_something(bytes: &[u8]) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|about: About| about.subject.is_some())
}

/// What a manifest is about, and its line in the list of that.
fn entry(descriptor: &Descriptor, bytes: &[u8]) -> Option<(Digest, Descriptor)> {
    let about: About = serde_json::from_slice(bytes).ok()?;
    let subject = about.subject?.digest;
    let mut entry = Descriptor::new(
        &descriptor.media_type,
        descriptor.digest.clone(),
        bytes.len() as u64,
    );
    let own = about.artifact_type.filter(|kind| !kind.is_empty());
    entry.artifact_type = own.or(about.config.map(|config| config.media_type));
    entry.annotations = about.annotations.unwrap_or_default();
    Some((subject, entry))
}

/// The tag a list of referrers has.
fn tag(subject: &Digest) -> String {
    let (algorithm, hex) = subject.as_str().split_once(':').unwrap_or_default();
    let part = |text: &str, max: usize| -> String {
        let valid = |letter: char| {
            let is_valid = letter.is_ascii_alphanumeric() || "_.-".contains(letter);
            if is_valid { letter } else { '-' }
        };
        text.chars().take(max).map(valid).collect()
    };
    let (algorithm, hex) = (
        part(algorithm, ALGORITHM_LENGTH_MAX),
        part(hex, HEX_LENGTH_MAX),
    );
    format!("{algorithm}-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_tagged_with_the_digest_of_its_subject() {
        let digest = Digest::of(b"subject");
        assert_eq!(tag(&digest), digest.as_str().replace(':', "-"));
        let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(tag(&long), format!("sha512-{}", "a".repeat(64)));
    }

    #[test]
    fn an_entry_says_of_what_kind_a_manifest_is() {
        let subject = Descriptor::of(media_type::MANIFEST, b"subject");
        let config = Descriptor::of("application/vnd.example.config", b"{}");
        let mut manifest = serde_json::json!({
            "schemaVersion": 2, "subject": subject, "config": config, "annotations": {"a": "b"},
        });
        let read = |manifest: &serde_json::Value| {
            let bytes = serde_json::to_vec(manifest).unwrap();
            entry(&Descriptor::of(media_type::MANIFEST, &bytes), &bytes)
        };
        let (about, line) = read(&manifest).unwrap();
        assert_eq!(about, subject.digest);
        assert_eq!(
            line.artifact_type.as_deref(),
            Some("application/vnd.example.config")
        );
        assert_eq!(line.annotations["a"], "b");
        manifest["artifactType"] = "application/vnd.example".into();
        let kind = read(&manifest).unwrap().1.artifact_type;
        assert_eq!(kind.as_deref(), Some("application/vnd.example"));
        manifest.as_object_mut().unwrap().remove("subject");
        assert!(read(&manifest).is_none());
    }
}
