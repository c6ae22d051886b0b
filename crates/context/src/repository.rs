//! Addresses of git repositories that are contexts: `https://host/app.git#v1:directory`. Pure.

use std::path::{Component, PathBuf};

/// What an address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Where it is.
    pub url: String,
    /// A branch, tag or commit; empty: whatever the repository shows first.
    pub reference: String,
    /// Below its root, relative; empty: all of it.
    pub directory: PathBuf,
    /// What the commit's name begins with, in lowercase; empty: anything.
    pub commit: String,
}

/// An address that nothing can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid git address {address:?}: {why}")]
pub struct BadAddress {
    /// As given.
    pub address: String,
    /// What is wrong with it.
    pub why: String,
}

/// How a hexadecimal name of a commit may be shortened.
const COMMIT_DIGITS_MIN: usize = 7;

/// Whether the address is a repository's.
pub fn is_repository(text: &str) -> bool {
    let path = text.split(['#', '?']).next().unwrap_or_default();
    let is_http = text.starts_with("http://") || text.starts_with("https://");
    text.starts_with("git@")
        || text.starts_with("git://")
        || text.starts_with("ssh://")
        || text.starts_with("github.com/")
        || (is_http && path.ends_with(".git"))
}

impl Repository {
    /// `URL[#REFERENCE[:DIRECTORY]]` or `URL?ref=…&subdir=…`.
    ///
    /// # Errors
    /// What is none, or would lead git elsewhere.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let bad = |why: &str| BadAddress {
            address: text.to_owned(),
            why: why.to_owned(),
        };
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (url, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut repository = Self {
            url: match url.strip_prefix("github.com/") {
                Some(path) => format!("https://github.com/{path}"),
                None => url.to_owned(),
            },
            reference: reference.to_owned(),
            directory: PathBuf::from(directory),
            commit: String::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "ref" => value.clone_into(&mut repository.reference),
                "branch" => repository.reference = format!("refs/heads/{value}"),
                "tag" => repository.reference = format!("refs/tags/{value}"),
                "subdir" => repository.directory = PathBuf::from(value),
                "commit" | "checksum" => repository.commit = value.to_ascii_lowercase(),
                other => return Err(bad(&format!("there is no {other:?} to ask of it"))),
            }
        }
        repository.check().map_err(bad)?;
        let directory = repository.directory.iter();
        repository.directory = directory
            .filter(|part| *part != "/" && *part != ".")
            .collect();
        Ok(repository)
    }

    /// What the address says never becomes an option of git's, and leads nowhere else.
    fn check(&self) -> Result<(), &'static str> {
        if self.url.starts_with('-') || self.reference.starts_with('-') {
            return Err("nothing of it may begin with a dash");
        }
        if self.reference.contains(char::is_whitespace) || self.reference.contains(':') {
            return Err("a reference is a branch, tag or commit");
        }
        if !self.commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("a commit has hexadecimal digits");
        }
        let is_inside = |part| {
            matches!(
                part,
                Component::Normal(_) | Component::CurDir | Component::RootDir
            )
        };
        if !self.directory.components().all(is_inside) {
            return Err("the directory leads out of the repository");
        }
        Ok(())
    }

    /// What git is asked for.
    pub fn wanted(&self) -> &str {
        match self.reference.as_str() {
            "" => "HEAD",
            reference => reference,
        }
    }

    /// Brings the commit that is wanted into the empty repository that `git` works in: as little of the history as
    /// the server gives. Its name; none: there is no such branch, tag or commit.
    ///
    /// # Errors
    /// What `git` refused.
    pub fn bring<E: std::fmt::Display>(
        &self,
        git: impl Fn(&[&str]) -> Result<String, E>,
    ) -> Result<Option<String>, E> {
        let (url, wanted) = (self.url.as_str(), self.wanted());
        let named = |name: String| Some(name.trim().to_owned());
        let head = || git(&["rev-parse", "--verify", "FETCH_HEAD^{commit}"]).map(named);
        let part = ["fetch", "--quiet", "--no-tags", "--depth=1", "--"];
        let Err(error) = git(&[&part[..], &[url, wanted]].concat()) else {
            return head();
        };
        if !self.needs_all(&error.to_string()) {
            return Err(error);
        }
        let heads = "+refs/heads/*:refs/remotes/origin/*";
        git(&["fetch", "--quiet", "--tags", "--", url, heads])?;
        if wanted == "HEAD" {
            git(&["fetch", "--quiet", "--", url, wanted])?;
            return head();
        }
        let look = |name: &String| git(&["rev-parse", "--verify", "--quiet", name]).ok();
        Ok(self.candidates().iter().find_map(look).and_then(named))
    }

    /// Brings the modules of what is checked out.
    ///
    /// # Errors
    /// What `git` refused.
    pub fn bring_modules<E>(&self, git: impl Fn(&[&str]) -> Result<String, E>) -> Result<(), E> {
        // They may be named by where they are beside this one.
        let origin = format!("remote.origin.url={}", self.url);
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        git(&[&["-c", &*origin], &update[..]].concat()).map(drop)
    }

    /// Whether a server that refused to give a part of the history has to be asked for all of it, by what
    /// git said: simple servers have no parts, and others give commits that no branch ends with to nobody.
    fn needs_all(&self, words: &str) -> bool {
        let wanted = self.wanted();
        let is_commit = wanted.len() >= COMMIT_DIGITS_MIN
            && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_commit || words.contains("dumb http") || words.contains("shallow")
    }

    /// What the reference may be called once all of the history is here.
    fn candidates(&self) -> [String; 3] {
        let wanted = self.wanted();
        let name = wanted.strip_prefix("refs/heads/").unwrap_or(wanted);
        [
            format!("refs/tags/{name}^{{commit}}"),
            format!("refs/remotes/origin/{name}^{{commit}}"),
            format!("{wanted}^{{commit}}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for text in [
            "https://example.com/a.git",
            "http://example.com/a.git#v1:dir",
            "git@example.com:a/b",
            "git://example.com/a",
            "ssh://git@example.com/a",
            "https://example.com/a.git?tag=v1",
        ] {
            assert!(is_repository(text), "{text}");
        }
        for text in [
            "https://example.com/a.tar",
            "dir.git",
            "https://example.com/a#b.git",
        ] {
            assert!(!is_repository(text), "{text}");
        }
    }

    #[test]
    fn an_address_names_a_reference_and_a_directory() {
        let parsed = Repository::parse("https://example.com/a.git#v1:/sub/./dir").unwrap();
        assert_eq!(parsed.url, "https://example.com/a.git");
        assert_eq!(
            (parsed.reference.as_str(), &*parsed.directory),
            ("v1", Path::new("sub/dir"))
        );
        let parsed = Repository::parse("https://h/a.git?branch=b&subdir=s&commit=ABC").unwrap();
        assert_eq!(parsed.url, "https://h/a.git");
        assert_eq!(parsed.reference, "refs/heads/b");
        assert_eq!(
            (parsed.commit.as_str(), &*parsed.directory),
            ("abc", Path::new("s"))
        );
        assert_eq!(Repository::parse("git://h/a").unwrap().wanted(), "HEAD");
    }

    #[test]
    fn hostile_addresses_are_refused() {
        for text in [
            "https://example.com/a.git#--upload-pack=x",
            "https://example.com/a.git#v1:../..",
            "https://example.com/a.git?subdir=a/../../b",
            "https://example.com/a.git#a b",
            "https://example.com/a.git?who=knows",
            "https://example.com/a.git?commit=--x",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
    }
}
