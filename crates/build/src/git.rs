//! Git repositories as sources: `ADD https://host/app.git#v1:directory`, and contexts that are one.
//!
//! The host's `git` program fetches them: the one program that the daemon looks up when it runs. It
//! sees neither the host's nor anybody's settings, speaks to other hosts only (no local paths), asks
//! nobody for a password, and runs nothing of what it fetched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use hull_context::{EntryKind, Ignore, Repository};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::request::Secrets;
use crate::tree::{Meta, Tree, Trees};

pub use hull_context::is_repository;

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

/// How to fetch.
pub(crate) struct Fetch<'a> {
    pub(crate) trees: &'a Trees,
    pub(crate) secrets: &'a dyn Secrets,
    /// The socket of an ssh agent.
    pub(crate) agent: Option<&'a Path>,
    /// `.git` is part of the files.
    pub(crate) keep_git_dir: bool,
    pub(crate) cancel: &'a Cancel,
}

/// A commit's files.
pub(crate) struct Checkout {
    pub(crate) tree: Arc<Tree>,
    pub(crate) commit: String,
}

impl Fetch<'_> {
    /// Fetches a repository; `checksum` is what the commit's name must begin with.
    pub(crate) fn checkout(
        &self,
        repository: &Repository,
        checksum: Option<&str>,
    ) -> Result<Checkout> {
        let scratch = self.trees.scratch()?;
        let git = Git {
            directory: scratch.path().join("repository"),
            home: scratch.path().to_owned(),
            repository,
            fetch: self,
        };
        fs::create_dir(&git.directory)
            .map_err(|error| Error::host(format!("make {}", git.directory.display()), error))?;
        git.run(&["init", "--quiet", "--template="])?;
        let wanted = repository.wanted();
        let commit = repository.bring(|words| git.run(words))?;
        let commit = commit
            .ok_or_else(|| git.failed(format!("it has no branch, tag or commit {wanted}")))?;
        let expected = checksum.unwrap_or(&repository.commit);
        if !commit.starts_with(&expected.to_ascii_lowercase()) {
            let message = format!("expected checksum to match {expected}, got {commit}");
            return Err(git.failed(message));
        }
        git.run(&["checkout", "--quiet", "--detach", "--force", &commit])?;
        if git.directory.join(".gitmodules").is_file() {
            repository.bring_modules(|words| git.run(words))?;
        }
        let time = git.run(&["show", "-s", "--format=%ct", &commit])?;
        let seconds: i64 = time.trim().parse().unwrap_or(0);
        if !self.keep_git_dir {
            remove_git_dirs(&git.directory)?;
        }
        let tree = git.tree(seconds)?;
        Ok(Checkout { tree, commit })
    }
}

impl Git<'_> {
    fn failed(&self, why: impl std::fmt::Display) -> Error {
        Error::host(format!("fetch {}", self.repository.url), why)
    }

    /// The files of the directory asked for. All have the commit's time, so that the same commit
    /// gives the same layer.
    fn tree(&self, seconds: i64) -> Result<Arc<Tree>> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::host(format!("read {}", self.repository.url), error)
        };
        let below = &self.repository.directory;
        let root = hull_sys::beneath::Root::new(&self.directory).map_err(|error| failed(&error))?;
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
        let from = self.directory.join(below);
        let entries = hull_context::walk(&from, &Ignore::default(), &[]);
        let mut writer = self.fetch.trees.temporary()?;
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
    repository: &'a Repository,
    fetch: &'a Fetch<'a>,
}

impl Git<'_> {
    /// Runs it; what it wrote.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.fetch.cancel.check()?;
        let mut command = self.command()?;
        command.args(arguments);
        let output = hull_sys::child::output(&mut command, |pid| {
            self.fetch.cancel.on_cancel(move || {
                // One that has ended by itself is not found.
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            })
        });
        self.fetch.cancel.check()?;
        let output = output.map_err(|error| self.failed(format!("git: {error}")))?;
        if output.ended.code() == 0 {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let verb = arguments.first().copied().unwrap_or_default();
        Err(self.failed(format!("git {verb}: {}", words.trim())))
    }

    /// The program, by its path.
    fn program(&self) -> Result<PathBuf> {
        let mut places = PATH.split(':').map(|place| Path::new(place).join("git"));
        places.find(|path| path.is_file()).ok_or_else(|| {
            let message = "the daemon's host has no program git: install it, or clone the \
                           repository where the client runs and COPY it";
            self.failed(message)
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
        if let Some(agent) = self.fetch.agent {
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
        let Some((scheme, rest)) = self.repository.url.split_once("://") else {
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
