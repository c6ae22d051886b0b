//! Git repositories as sources: `ADD https://host/app.git#v1:directory`, and contexts that are one.
//!
//! The host's `git` program fetches them: the one program that the daemon looks up when it runs. It
//! sees neither the host's nor anybody's settings, speaks to other hosts only (no local paths), asks
//! nobody for a password, and runs nothing of what it fetched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use hull_context::{EntryKind, Ignore};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::request::Secrets;
use crate::tree::{Meta, Tree, Trees};

/// Where programs are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The secret that BuildKit's clients give for repositories that want a login.
const TOKEN: &str = "GIT_AUTH_TOKEN";
/// The host's ways out, which git understands.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];
/// How a hexadecimal name of a commit may be shortened.
const COMMIT_DIGITS_MIN: usize = 7;

/// What an address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    url: String,
    /// A branch, tag or commit; empty: whatever the repository shows first.
    reference: String,
    /// Below its root; empty: all of it.
    directory: PathBuf,
    /// What the commit's name begins with; empty: anything.
    commit: String,
}

/// How to fetch.
pub(crate) struct Fetch<'a> {
    pub(crate) trees: &'a Trees,
    pub(crate) secrets: &'a dyn Secrets,
    /// The socket of an ssh agent.
    pub(crate) agent: Option<PathBuf>,
    /// `.git` is part of the files.
    pub(crate) keep_git_dir: bool,
    pub(crate) cancel: &'a Cancel,
}

/// A commit's files.
pub(crate) struct Checkout {
    pub(crate) tree: Arc<Tree>,
    pub(crate) commit: String,
}

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
    pub fn parse(text: &str) -> Result<Self> {
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
                "commit" | "checksum" => value.clone_into(&mut repository.commit),
                other => {
                    let message = format!("unknown query {other:?} in the git address {text}");
                    return Err(Error::invalid(message, None));
                }
            }
        }
        repository.check(text)?;
        Ok(repository)
    }

    /// What the address says never becomes an option of git's, and leads nowhere else.
    fn check(&self, text: &str) -> Result<()> {
        let invalid = |why: &str| {
            let message = format!("invalid git address {text:?}: {why}");
            Err(Error::invalid(message, None))
        };
        if self.url.starts_with('-') || self.reference.starts_with('-') {
            return invalid("nothing of it may begin with a dash");
        }
        if self.reference.contains(char::is_whitespace) || self.reference.contains(':') {
            return invalid("a reference is a branch, tag or commit");
        }
        if !self.commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return invalid("a commit has hexadecimal digits");
        }
        let mut parts = self.directory.components();
        if !parts.all(|part| {
            matches!(
                part,
                Component::Normal(_) | Component::CurDir | Component::RootDir
            )
        }) {
            return invalid("the directory leads out of the repository");
        }
        Ok(())
    }

    /// Fetches it; `checksum` is what the commit's name must begin with.
    pub(crate) fn fetch(&self, fetch: &Fetch<'_>, checksum: Option<&str>) -> Result<Checkout> {
        let scratch = fetch.trees.scratch()?;
        let git = Git {
            directory: scratch.path().join("repository"),
            home: scratch.path().to_owned(),
            url: &self.url,
            fetch,
        };
        fs::create_dir(&git.directory)
            .map_err(|error| Error::host(format!("make {}", git.directory.display()), error))?;
        git.run(&["init", "--quiet", "--template="])?;
        let commit = self.commit(&git)?;
        let expected = checksum.unwrap_or(&self.commit);
        if !commit.starts_with(&expected.to_ascii_lowercase()) {
            let message = format!("expected checksum to match {expected}, got {commit}");
            return Err(Error::host(format!("fetch {}", self.url), message));
        }
        git.run(&["checkout", "--quiet", "--detach", "--force", &commit])?;
        if git.directory.join(".gitmodules").is_file() {
            git.run(&["submodule", "--quiet", "update", "--init", "--recursive"])?;
        }
        let time = git.run(&["show", "-s", "--format=%ct", &commit])?;
        let seconds: i64 = time.trim().parse().unwrap_or(0);
        if !fetch.keep_git_dir {
            remove_git_dirs(&git.directory)?;
        }
        let tree = self.tree(&git.directory, fetch.trees, seconds)?;
        Ok(Checkout { tree, commit })
    }

    /// Brings the commit here; its name.
    fn commit(&self, git: &Git<'_>) -> Result<String> {
        let wanted = match self.reference.as_str() {
            "" => "HEAD",
            reference => reference,
        };
        let head = "FETCH_HEAD^{commit}";
        let shallow = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--depth=1",
            "--",
            &self.url,
            wanted,
        ];
        let Err(error) = git.run(&shallow) else {
            return Ok(git.run(&["rev-parse", "--verify", head])?.trim().to_owned());
        };
        let words = error.to_string();
        // Simple servers have no parts, and others give commits that no branch ends with to nobody.
        let needs_all =
            is_commit(wanted) || words.contains("dumb http") || words.contains("shallow");
        if !needs_all {
            return Err(error);
        }
        let heads = "+refs/heads/*:refs/remotes/origin/*";
        git.run(&["fetch", "--quiet", "--tags", "--", &self.url, heads])?;
        if wanted == "HEAD" {
            git.run(&["fetch", "--quiet", "--", &self.url, wanted])?;
            return Ok(git.run(&["rev-parse", "--verify", head])?.trim().to_owned());
        }
        let name = wanted.strip_prefix("refs/heads/").unwrap_or(wanted);
        for candidate in [
            format!("refs/tags/{name}^{{commit}}"),
            format!("refs/remotes/origin/{name}^{{commit}}"),
            format!("{wanted}^{{commit}}"),
        ] {
            if let Ok(found) = git.run(&["rev-parse", "--verify", "--quiet", &candidate]) {
                return Ok(found.trim().to_owned());
            }
        }
        let message = format!("it has no branch, tag or commit {wanted}");
        Err(Error::host(format!("fetch {}", self.url), message))
    }

    /// The files of the directory asked for. All have the commit's time, so that the same commit
    /// gives the same layer.
    fn tree(&self, repository: &Path, trees: &Trees, seconds: i64) -> Result<Arc<Tree>> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::host(format!("read {}", self.url), error.to_string())
        };
        let below = self.directory.strip_prefix("/").unwrap_or(&self.directory);
        let root = hull_sys::beneath::Root::new(repository).map_err(|error| failed(&error))?;
        let is_directory = below.as_os_str().is_empty()
            || root.resolve_without_links(below).is_ok_and(|found| {
                rustix::fs::fstat(&found).is_ok_and(|stat| {
                    rustix::fs::FileType::from_raw_mode(stat.st_mode)
                        == rustix::fs::FileType::Directory
                })
            });
        if !is_directory {
            let message = format!("it has no directory {}", below.display());
            return Err(failed(&message));
        }
        let from = repository.join(below);
        let entries = hull_context::walk(&from, &Ignore::default(), &[]);
        let mut writer = trees.temporary()?;
        for entry in entries.map_err(|error| failed(&error))? {
            let look = |mode| Meta {
                mode,
                uid: 0,
                gid: 0,
                mtime_ns: seconds.saturating_mul(1_000_000_000),
                ..Meta::default()
            };
            match &entry.kind {
                EntryKind::Directory => writer.directory(&entry.path, look(0o755))?,
                EntryKind::Symlink(target) => {
                    let target = target.as_os_str().as_encoded_bytes();
                    writer.symlink(&entry.path, target, look(0o777))?;
                }
                EntryKind::File(_) => {
                    let file = fs::File::open(from.join(&entry.path));
                    let mut file = file.map_err(|error| failed(&error))?;
                    let mode = if entry.mode & 0o100 == 0 {
                        0o644
                    } else {
                        0o755
                    };
                    writer.file(&entry.path, &mut file, look(mode))?;
                }
            }
        }
        writer.finish()
    }
}

fn is_commit(reference: &str) -> bool {
    reference.len() >= COMMIT_DIGITS_MIN && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `.git` of the repository and of its modules.
fn remove_git_dirs(directory: &Path) -> Result<()> {
    let failed = |error| Error::host(format!("tidy {}", directory.display()), error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        if entry.file_name() == ".git" {
            let removed = if kind.is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            };
            removed.map_err(failed)?;
        } else if kind.is_dir() {
            remove_git_dirs(&entry.path())?;
        }
    }
    Ok(())
}

/// The program, at work on one repository.
struct Git<'a> {
    directory: PathBuf,
    /// Empty, and nobody's.
    home: PathBuf,
    url: &'a str,
    fetch: &'a Fetch<'a>,
}

impl Git<'_> {
    /// Runs it; what it wrote.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.fetch.cancel.check()?;
        let failed = |why: String| Error::host(format!("fetch {}", self.url), why);
        let mut command = self.command()?;
        command.args(arguments);
        let output = hull_sys::child::output(&mut command, |pid| {
            self.fetch.cancel.on_cancel(move || {
                // One that has ended by itself is not found.
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            })
        });
        self.fetch.cancel.check()?;
        let output = output.map_err(|error| failed(format!("git: {error}")))?;
        if output.ended.code() == 0 {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let verb = arguments.first().copied().unwrap_or_default();
        Err(failed(format!("git {verb}: {}", words.trim())))
    }

    /// The program, by its path.
    fn program(&self) -> Result<PathBuf> {
        let mut places = PATH.split(':').map(|place| Path::new(place).join("git"));
        places.find(|path| path.is_file()).ok_or_else(|| {
            let message = "the daemon's host has no program git: install it, or clone the \
                           repository where the client runs and COPY it";
            Error::host(format!("fetch {}", self.url), message)
        })
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(self.program()?);
        command.current_dir(&self.directory).env_clear();
        // Its helpers go with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let proxies = PROXIES.iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((*name, value))
        });
        command
            .envs(proxies)
            .env("PATH", PATH)
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "http:https:git:ssh")
            .env(
                "GIT_SSH_COMMAND",
                "ssh -F none -o IdentityFile=none -o ConnectTimeout=30 -o ServerAliveInterval=15 -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null",
            );
        command.args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "advice.detachedHead=false",
            "-c",
            "http.lowSpeedLimit=1",
            "-c",
            "http.lowSpeedTime=60",
        ]);
        if let Some(agent) = &self.fetch.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        if let Some((key, header)) = self.login()? {
            // By the environment: command lines are for all to see.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", key)
                .env("GIT_CONFIG_VALUE_0", header);
        }
        Ok(command)
    }

    /// The setting that logs in, if the client gives a token for the host.
    fn login(&self) -> Result<Option<(String, String)>> {
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return Ok(None);
        };
        if !scheme.starts_with("http") {
            return Ok(None);
        }
        let host = rest.split('/').next().unwrap_or_default();
        for id in [format!("{TOKEN}.{host}"), TOKEN.to_owned()] {
            let token = self.fetch.secrets.secret(&id);
            let token =
                token.map_err(|error| Error::host(format!("get the secret {id}"), error))?;
            if let Some(token) = token {
                let token = String::from_utf8_lossy(&token);
                let pair = format!("x-access-token:{}", token.trim());
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                let key = format!("http.{scheme}://{host}/.extraHeader");
                return Ok(Some((key, format!("Authorization: basic {pair}"))));
            }
        }
        Ok(None)
    }
}

/// A directory for passing work. Goes away with its user.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        let make = || {
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
        };
        make().map_err(|error| Error::host(format!("make {}", path.display()), error))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove");
        }
    }
}

#[cfg(test)]
mod tests {
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
        let parsed = Repository::parse("https://example.com/a.git#v1:sub/dir").unwrap();
        assert_eq!(parsed.url, "https://example.com/a.git");
        assert_eq!(
            (parsed.reference.as_str(), &*parsed.directory),
            ("v1", Path::new("sub/dir"))
        );
        let parsed = Repository::parse("https://h/a.git?branch=b&subdir=s&commit=abc").unwrap();
        assert_eq!(parsed.reference, "refs/heads/b");
        assert_eq!(
            (parsed.commit.as_str(), &*parsed.directory),
            ("abc", Path::new("s"))
        );
    }

    #[test]
    fn hostile_addresses_are_refused() {
        for text in [
            "https://example.com/a.git#--upload-pack=x",
            "https://example.com/a.git#v1:../..",
            "https://example.com/a.git#a b",
            "https://example.com/a.git?who=knows",
            "https://example.com/a.git?commit=--x",
        ] {
            assert!(Repository::parse(text).is_err(), "{text}");
        }
    }
}
