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

impl Annotation {
    /// From a name (`.key`, `-manifest[linux/arm64].key`, `-index.key`) and a value.
    ///
    /// # Errors
    /// Why the name is none; for people.
    pub fn parse(name: &str, value: &str) -> Result<Self, &'static str> {
        let at = name.find(['[', '.']).unwrap_or(name.len());
        let (place, rest) = name.split_at(at);
        let (platform, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((platform, rest)) => {
                let parsed = platform.parse::<Platform>();
                (
                    Some(parsed.map_err(|_| "no platform is called that")?),
                    rest,
                )
            }
            None => (None, rest),
        };
        let key = rest.strip_prefix('.').filter(|key| !key.is_empty());
        let place = match place {
            "" | "-manifest" => AnnotationPlace::Manifest,
            "-manifest-descriptor" => AnnotationPlace::Descriptor,
            "-index" if platform.is_some() => return Err("an index is for all platforms"),
            "-index" => AnnotationPlace::Index,
            _ => {
                return Err(
                    "there are annotations of a manifest, a manifest-descriptor and an index",
                );
            }
        };
        Ok(Self {
            place,
            platform,
            key: key.ok_or("it has no key")?.to_owned(),
            value: value.to_owned(),
        })
    }
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
