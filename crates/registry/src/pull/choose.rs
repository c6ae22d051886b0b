//! Which of an index's images is meant. Pure.

use hull_oci::{Descriptor, Digest, Index, Platform, media_type};

use crate::{Error, Result};

/// The image for a platform, or the best for this host.
pub(super) fn choose(index: &Index, platform: Option<&Platform>) -> Result<Descriptor> {
    let host = Platform::host();
    let rank = |descriptor: &Descriptor| {
        if !media_type::is_manifest(&descriptor.media_type) || descriptor.is_attestation() {
            return None;
        }
        match (platform, &descriptor.platform) {
            (Some(wanted), Some(has)) => wanted.matches(has).then_some(0),
            (None, Some(has)) => host.rank(has),
            // One that does not say where it runs is taken when nothing else fits.
            (_, None) => Some(usize::MAX),
        }
    };
    let ranked = index
        .manifests
        .iter()
        .filter_map(|descriptor| rank(descriptor).map(|rank| (rank, descriptor)));
    let best = ranked.min_by_key(|(rank, _)| *rank);
    best.map(|(_, descriptor)| descriptor.clone())
        .ok_or_else(|| Error::NoPlatform {
            platform: platform.unwrap_or(&host).to_string(),
        })
}

/// What an index says about one of its manifests: how it was built.
pub(super) fn about(index: &Index, subject: &Digest) -> Vec<Descriptor> {
    let is_about = |descriptor: &&Descriptor| {
        descriptor.is_attestation()
            && descriptor
                .annotations
                .get("vnd.docker.reference.digest")
                .is_some_and(|digest| digest == subject.as_str())
    };
    index.manifests.iter().filter(is_about).cloned().collect()
}

/// What a document is, by its own word or its members.
pub(super) fn media_type_of(bytes: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    if let Some(own) = document
        .get("mediaType")
        .and_then(serde_json::Value::as_str)
    {
        return Some(own.to_owned());
    }
    match (document.get("manifests"), document.get("config")) {
        (Some(_), None) => Some(media_type::INDEX.to_owned()),
        (None, Some(_)) => Some(media_type::MANIFEST.to_owned()),
        _ => None,
    }
}

/// Why a document cannot be pulled.
pub(super) fn unsupported(media_type: &str) -> String {
    if media_type.starts_with("application/vnd.docker.distribution.manifest.v1") {
        return "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. \
                Suggest the author of the image to upgrade it to the OCI Format or Docker Image manifest v2, schema 2"
            .to_owned();
    }
    format!("what the registry has there is no image: {media_type:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let descriptor = |text: &&str| {
            let mut descriptor = Descriptor::of(media_type::MANIFEST, text.as_bytes());
            descriptor.platform = text.parse().ok();
            descriptor
        };
        Index::new(platforms.iter().map(descriptor).collect())
    }

    #[test]
    fn the_platform_decides() {
        let many = index(&["linux/arm64", "linux/amd64", "linux/386", "linux/arm/v7"]);
        let chosen = |index: &Index, platform: &str| {
            let platform: Platform = platform.parse().unwrap();
            choose(index, Some(&platform)).map(|found| found.platform.unwrap().to_string())
        };
        assert_eq!(chosen(&many, "linux/arm64").unwrap(), "linux/arm64");
        assert_eq!(chosen(&many, "linux/arm").unwrap(), "linux/arm/v7");
        let error = chosen(&many, "linux/s390x").unwrap_err().to_string();
        assert_eq!(
            error,
            "no matching manifest for linux/s390x in the manifest list entries: not found"
        );
        assert_eq!(
            choose(&many, None).unwrap().platform.unwrap().architecture,
            Platform::host().architecture
        );
    }

    #[test]
    fn attestations_are_no_images_but_go_along() {
        let mut index = index(&["linux/amd64", "linux/arm64"]);
        let subject = index.manifests[0].digest.clone();
        let mut attestation = Descriptor::of(media_type::MANIFEST, b"about");
        attestation.annotations.insert(
            "vnd.docker.reference.type".into(),
            "attestation-manifest".into(),
        );
        attestation
            .annotations
            .insert("vnd.docker.reference.digest".into(), subject.to_string());
        index.manifests.insert(0, attestation.clone());
        assert_eq!(about(&index, &subject), [attestation]);
        assert!(
            !choose(&index, Some(&"linux/amd64".parse().unwrap()))
                .unwrap()
                .is_attestation()
        );
    }
}
