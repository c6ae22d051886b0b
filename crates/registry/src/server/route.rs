//! Which operation a request means. Pure.

use http::Method;
use hull_oci::Digest;

use super::answer::{Code, Refusal};
use super::name::{RepositoryName, Tag};
use super::storage::UploadId;
use crate::wire::percent_decoded;

/// Which manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ManifestReference {
    Tag(Tag),
    Digest(Digest),
}

/// What is asked for in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Blob(Digest),
    Uploads,
    Upload(UploadId),
    Manifest(ManifestReference),
    Tags,
    Referrers(Digest),
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/v2/`: is this a registry, and may I?
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/token`
    Token,
    /// All else stands in a repository.
    In(RepositoryName, Resource),
}

/// What a client needs to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    /// As scopes write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// What a method asks for.
    pub(crate) fn of(method: &Method, resource: &Resource) -> Self {
        match (method, resource) {
            // How far an upload is, or giving it up, is a matter of whoever pushes.
            (_, Resource::Uploads | Resource::Upload(_)) => Self::Push,
            (&Method::GET | &Method::HEAD, _) => Self::Pull,
            (&Method::DELETE, _) => Self::Delete,
            _ => Self::Push,
        }
    }
}

/// What a path names, or why it names nothing.
pub(crate) fn target(path: &str) -> Result<Target, Refusal> {
    let unknown = || Refusal::new(Code::NameUnknown, "there is no such page");
    match path {
        "/v2" | "/v2/" => return Ok(Target::Base),
        "/v2/_catalog" => return Ok(Target::Catalog),
        "/token" => return Ok(Target::Token),
        _ => {}
    }
    let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
    let (name, resource) = split(rest).ok_or_else(unknown)?;
    let name = RepositoryName::parse(name).ok_or_else(|| {
        Refusal::new(
            Code::NameInvalid,
            format!("{name:?} is no repository's name"),
        )
    })?;
    Ok(Target::In(name, resource?))
}

/// Finds the last words that belong to the protocol: a repository may be called `blobs`.
fn split(rest: &str) -> Option<(&str, Result<Resource, Refusal>)> {
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some((name, Ok(Resource::Tags)));
    }
    if let Some(name) = rest
        .strip_suffix("/blobs/uploads/")
        .or_else(|| rest.strip_suffix("/blobs/uploads"))
    {
        return Some((name, Ok(Resource::Uploads)));
    }
    let (front, last) = rest.rsplit_once('/')?;
    if let Some(name) = front.strip_suffix("/blobs/uploads") {
        let id = UploadId::parse(last).map(Resource::Upload);
        let unknown = || {
            Refusal::new(
                Code::BlobUploadUnknown,
                format!("there is no upload {last:?}"),
            )
        };
        return Some((name, id.ok_or_else(unknown)));
    }
    let digest = || {
        let wrong = |_| {
            Refusal::new(
                Code::DigestInvalid,
                format!("{last:?} is no digest of a kind known here"),
            )
        };
        last.parse::<Digest>().map_err(wrong)
    };
    if let Some(name) = front.strip_suffix("/blobs") {
        return Some((name, digest().map(Resource::Blob)));
    }
    if let Some(name) = front.strip_suffix("/referrers") {
        return Some((name, digest().map(Resource::Referrers)));
    }
    let name = front.strip_suffix("/manifests")?;
    let reference = if last.contains(':') {
        digest().map(ManifestReference::Digest)
    } else {
        let wrong = || Refusal::new(Code::ManifestUnknown, format!("{last:?} is no tag"));
        Tag::parse(last)
            .map(ManifestReference::Tag)
            .ok_or_else(wrong)
    };
    Some((name, reference.map(Resource::Manifest)))
}

/// The values of a query's key, decoded.
pub(crate) fn query<'a>(query: &'a str, key: &'a str) -> impl Iterator<Item = String> + 'a {
    query.split('&').filter_map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| decoded(value))
    })
}

/// A form writes a space as `+`.
fn decoded(text: &str) -> String {
    let bytes = percent_decoded(&text.replace('+', " "));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_end_with() {
        let digest = Digest::of(b"");
        let name = |text: &str| RepositoryName::parse(text).unwrap();
        let manifest =
            |tag: &str| Resource::Manifest(ManifestReference::Tag(Tag::parse(tag).unwrap()));
        let id = "0123456789abcdef0123456789abcdef";
        for (path, expected) in [
            ("/v2/".to_owned(), Target::Base),
            ("/v2".to_owned(), Target::Base),
            ("/v2/_catalog".to_owned(), Target::Catalog),
            (
                "/v2/a/tags/list".to_owned(),
                Target::In(name("a"), Resource::Tags),
            ),
            (
                "/v2/a/b/manifests/latest".to_owned(),
                Target::In(name("a/b"), manifest("latest")),
            ),
            (
                "/v2/blobs/blobs/blobs/uploads/".to_owned(),
                Target::In(name("blobs/blobs"), Resource::Uploads),
            ),
            (
                format!("/v2/a/blobs/{digest}"),
                Target::In(name("a"), Resource::Blob(digest.clone())),
            ),
            (
                format!("/v2/a/blobs/uploads/{id}"),
                Target::In(name("a"), Resource::Upload(UploadId::parse(id).unwrap())),
            ),
            (
                format!("/v2/a/referrers/{digest}"),
                Target::In(name("a"), Resource::Referrers(digest.clone())),
            ),
        ] {
            assert_eq!(target(&path).unwrap(), expected, "{path}");
        }
        for (path, code) in [
            ("/", Code::NameUnknown),
            ("/v2/a", Code::NameUnknown),
            ("/v2/A/tags/list", Code::NameInvalid),
            ("/v2/a/../b/tags/list", Code::NameInvalid),
            ("/v2/a/blobs/sha256:12", Code::DigestInvalid),
            ("/v2/a/manifests/sha256:12", Code::DigestInvalid),
            ("/v2/a/manifests/.INVALID", Code::ManifestUnknown),
            ("/v2/a/blobs/uploads/../../x", Code::NameUnknown),
        ] {
            assert_eq!(target(path).unwrap_err().code, code, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let found: Vec<String> = query("a=1&digest=sha256%3Aab&a=2%2", "a").collect();
        assert_eq!(found, ["1", "2%2"]);
        assert_eq!(
            query("digest=sha256%3Aab", "digest").next().unwrap(),
            "sha256:ab"
        );
    }
}
