//! Names of repositories and tags, by the specification's grammar. A valid one is a safe path.

use hull_oci::Reference;

/// `library/busybox`: lowercase components, none of which begins with `_` or is `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RepositoryName(String);

/// `latest`, `1.36-rc1` …
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tag(String);

/// Distribution's limit.
const NAME_LENGTH_MAX: usize = 255;

impl RepositoryName {
    /// `None`: no name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > NAME_LENGTH_MAX {
            return None;
        }
        // The grammar of a reference's path is that of a name.
        let reference: Reference = format!("registry.invalid/{text}").parse().ok()?;
        (reference.path() == text && reference.tag().is_none() && reference.digest().is_none())
            .then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// `None`: no tag.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let any: Reference = "x".parse().ok()?;
        any.with_tag(text).ok().map(|_| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leaves_its_directory() {
        for good in ["a", "library/busybox", "a.b/c__d/e--f", &"a".repeat(230)] {
            assert!(RepositoryName::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "..",
            "a/../b",
            "_blobs",
            "a/_tags",
            "A",
            "a:b",
            "a@b",
            "a b",
            &"a".repeat(256),
        ] {
            assert!(RepositoryName::parse(bad).is_none(), "{bad}");
        }
        assert!(Tag::parse("V1.0_x-y").is_some());
        for bad in ["", ".", "..", "-a", "a/b", &"a".repeat(129)] {
            assert!(Tag::parse(bad).is_none(), "{bad}");
        }
    }
}
