//! Words that travel with an image: in its manifests, where those are named, or in their index.

use std::collections::BTreeMap;

use hull_oci::Platform;

/// A word on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Where it is said.
    pub place: AnnotationPlace,
    /// Only of the image for this platform.
    pub platform: Option<Platform>,
    /// What about.
    pub key: String,
    /// What.
    pub value: String,
}

/// Where a word on an image is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationPlace {
    /// In the manifest.
    Manifest,
    /// Where the manifest is named.
    Descriptor,
    /// In the index of several manifests.
    Index,
}

/// Those of a place, for a platform.
pub(super) fn at(
    all: &[Annotation],
    place: AnnotationPlace,
    platform: Option<&Platform>,
) -> BTreeMap<String, String> {
    let fits = |annotation: &&Annotation| {
        annotation.place == place
            && match (&annotation.platform, platform) {
                (None, _) => true,
                (Some(wanted), Some(has)) => wanted.matches(has),
                (Some(_), None) => false,
            }
    };
    let pair = |annotation: &Annotation| (annotation.key.clone(), annotation.value.clone());
    all.iter().filter(fits).map(pair).collect()
}
