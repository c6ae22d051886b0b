//! Compose files of git repositories: `https://host/app.git#v1:path`, as `-f`, in `include` and `extends`.
//!
//! The `git` of this machine fetches them, see `crate::git`. What it fetched is kept by its commit:
//!
//! ```text
//! $XDG_CACHE_HOME/hull/compose/<commit>/<name of the repository>/
//! ```

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hull_compose::{BY_HAND, Fetched, NotFetched, is_of_ssh};

/// How long one step of git's may take.
const STEP_MAX: Duration = Duration::from_secs(120);
/// The forms of addresses.
const FORMS: &str = "an address is `https://HOST/NAME.git`, `USER@HOST:NAME`, `ssh://HOST/NAME`, `git://HOST/NAME` or `github.com/OWNER/NAME`, with `#REFERENCE:PATH` behind it; a file of this machine is named by its path alone";
/// The files that are looked for in a directory.
const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// Fetches what an address names.
///
/// # Errors
/// Why it cannot be had.
pub(super) fn fetch(address: &str) -> Result<Fetched, NotFetched> {
    let with = |hint| move |why| NotFetched { why, hint };
    let wanted = Wanted::parse(address)?;
    let commit = wanted.commit()?;
    let cache = cache().ok_or("there is no directory for what is fetched: HOME is not set");
    let cache = cache.map_err(str::to_owned).map_err(with(None))?;
    let root = cache.join(&commit).join(wanted.name());
    if !root.is_dir() {
        let got = wanted.check_out(&commit, &cache, &root);
        got.map_err(with(Some(BY_HAND)))?;
    }
    let root = std::fs::canonicalize(&root)
        .map_err(|error| format!("{}: {error}", root.display()))
        .map_err(with(None))?;
    let file = wanted.file(&root).map_err(with(None))?;
    Ok(Fetched { file, root })
}

fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("hull/compose"))
}

/// Whether a file is one of those that were fetched.
pub(super) fn is_kept(file: &str) -> bool {
    let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
    cache().is_some_and(|cache| Path::new(file).starts_with(real(cache)))
}

/// What an address says: `URL[#REFERENCE[:PATH]]`.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    url: String,
    reference: String,
    path: PathBuf,
}

impl Wanted {
    fn parse(address: &str) -> Result<Self, NotFetched> {
        let wrong = |why: String, hint| NotFetched { why, hint };
        let (url, fragment) = address.split_once('#').unwrap_or((address, ""));
        let (reference, path) = fragment.split_once(':').unwrap_or((fragment, ""));
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let is_http = url.starts_with("https://") || url.starts_with("http://");
        let is_git = ["git://", "ssh://", "github.com/"]
            .iter()
            .any(|prefix| url.starts_with(prefix));
        if !(is_git || is_of_ssh(url) || is_http && url.ends_with(".git")) {
            let why = "it is not the address of a git repository";
            return Err(wrong(why.into(), Some(FORMS)));
        }
        let mut wanted = Self {
            url: match url.strip_prefix("github.com/") {
                Some(path) => format!("https://github.com/{path}"),
                None => url.to_owned(),
            },
            reference: reference.to_owned(),
            path: PathBuf::from(path.trim_start_matches('/')),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("ref" | "branch" | "tag", name)) => wanted.reference = name.to_owned(),
                Some(("subdir", path)) => wanted.path = path.trim_start_matches('/').into(),
                _ => {
                    let why = format!("`{pair}` says nothing of a git repository");
                    let hint = "what can be said there is `ref=`, `branch=`, `tag=` and `subdir=`";
                    return Err(wrong(why, Some(hint)));
                }
            }
        }
        let reference = &wanted.reference;
        if reference.starts_with('-') || reference.contains(char::is_whitespace) {
            let why = format!("`{reference}` is no branch, tag or commit");
            return Err(wrong(why, None));
        }
        let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !wanted.path.components().all(stays) {
            return Err(wrong("the path leads out of the repository".into(), None));
        }
        if reference.is_empty() {
            wanted.reference = "HEAD".into();
        }
        Ok(wanted)
    }

    /// The last part of the address: what the project is called if nothing else names it.
    fn name(&self) -> String {
        let last = self.url.rsplit(['/', ':']).next().unwrap_or_default();
        let name: String = last
            .trim_end_matches(".git")
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
            .collect();
        match name.is_empty() {
            true => "repository".into(),
            false => name,
        }
    }

    /// The commit that is meant now.
    fn commit(&self) -> Result<String, NotFetched> {
        if is_commit(&self.reference) {
            return Ok(self.reference.clone());
        }
        let reference = &self.reference;
        // A tag that has words of its own is of the commit that follows it.
        let names = [
            reference.clone(),
            format!("refs/tags/{reference}^{{}}"),
            format!("refs/tags/{reference}"),
            format!("refs/heads/{reference}"),
        ];
        let of_tag = format!("{reference}^{{}}");
        let asked = ["ls-remote", "--", &self.url, reference, &of_tag];
        let listed = git(Path::new("/"), &asked).map_err(|why| NotFetched {
            why,
            hint: Some(BY_HAND),
        })?;
        let commit_of = |name: &String| {
            let mut lines = listed.lines().filter_map(|line| line.split_once('\t'));
            lines
                .find(|(_, listed)| listed == name)
                .map(|(commit, _)| commit)
        };
        match names
            .iter()
            .find_map(commit_of)
            .filter(|commit| is_commit(commit))
        {
            Some(commit) => Ok(commit.to_owned()),
            None => Err(NotFetched {
                why: format!("it has no branch, tag or commit `{reference}`"),
                hint: None,
            }),
        }
    }

    /// Brings a commit here: beside its place first, so that half of one is never used.
    fn check_out(&self, commit: &str, cache: &Path, root: &Path) -> Result<(), String> {
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let passing = cache.join(format!("fetching-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&passing);
        std::fs::create_dir_all(&passing).map_err(|error| failed(&passing, error))?;
        let fetched = (|| {
            git(&passing, &["init", "--quiet", "--template="])?;
            let part = [
                "fetch",
                "--quiet",
                "--no-tags",
                "--depth=1",
                "--",
                &self.url,
                commit,
            ];
            git(&passing, &part)?;
            git(&passing, &["checkout", "--quiet", "--detach", commit])?;
            let parent = root.parent().unwrap_or(cache);
            std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
            match std::fs::rename(&passing, root) {
                // Somebody else was here first.
                Err(_) if root.is_dir() => Ok(()),
                other => other.map_err(|error| failed(root, error)),
            }
        })();
        _ = std::fs::remove_dir_all(&passing);
        fetched
    }

    /// The file, which lies in the repository, whatever links say.
    fn file(&self, root: &Path) -> Result<PathBuf, String> {
        let named = root.join(&self.path);
        let file = match named.is_dir() {
            false => named,
            true => NAMES
                .iter()
                .map(|name| named.join(name))
                .find(|path| path.exists())
                .ok_or_else(|| format!("it has no `{}` there", NAMES[0]))?,
        };
        let real = std::fs::canonicalize(&file)
            .map_err(|_| format!("it has no file {}", self.path.display()))?;
        match real.starts_with(root) {
            true => Ok(real),
            false => Err("the path leads out of the repository".into()),
        }
    }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Runs git; what it wrote.
fn git(directory: &Path, words: &[&str]) -> Result<String, String> {
    crate::git::run(directory, words, STEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_reference_and_a_path() {
        let wanted = Wanted::parse("https://h/some/app.git#v1:deploy/compose.yaml").unwrap();
        assert_eq!(wanted.url, "https://h/some/app.git");
        assert_eq!(wanted.reference, "v1");
        assert_eq!(wanted.path, Path::new("deploy/compose.yaml"));
        assert_eq!(wanted.name(), "app");
        let wanted = Wanted::parse("https://h/a.git?ref=v2&subdir=/b").unwrap();
        assert_eq!(
            (wanted.url.as_str(), wanted.reference.as_str()),
            ("https://h/a.git", "v2")
        );
        assert_eq!(wanted.path, Path::new("b"));
        let wanted = Wanted::parse("git@h:some/other").unwrap();
        assert_eq!(
            (wanted.reference.as_str(), wanted.name().as_str()),
            ("HEAD", "other")
        );
    }

    #[test]
    fn what_is_no_address_or_leads_out_is_refused() {
        for address in [
            "https://h/app",
            "file:///etc/app.git",
            "https://h/app.git#--upload-pack=x",
            "https://h/app.git#main:../../etc/passwd",
            "https://h/app.git#a b",
            "https://h/app.git?upload-pack=x",
            "ftp://h/app.git",
            "-oProxyCommand=x@h:a",
        ] {
            assert!(Wanted::parse(address).is_err(), "{address}");
        }
    }
}
