//! A context that is an address: a git repository, an archive, or a Dockerfile by itself.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;

use hull_context::Repository;

use crate::builder::Builder;
use crate::cancel::Cancel;
use crate::dockerfile::boolean;
use crate::error::{Error, Result};
use crate::git::{self, Fetch};
use crate::request::{Secrets, SshAgents};
use crate::solve::agent;
use crate::tree::Tree;

/// The largest Dockerfile that is fetched.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// What an address gave.
pub enum Remote {
    /// A Dockerfile and no archive.
    Dockerfile(String),
    /// Files.
    Files(Arc<Tree>),
}

/// How a context is fetched.
pub struct Fetching<'a> {
    /// The client's secrets.
    pub secrets: &'a dyn Secrets,
    /// The client's agents.
    pub agents: &'a Arc<dyn SshAgents>,
    /// The build's arguments: one of them says whether `.git` is part of a repository's files.
    pub args: &'a BTreeMap<String, String>,
    /// Calls it off.
    pub cancel: &'a Cancel,
}

/// The argument that keeps `.git`.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

impl Builder {
    /// Fetches a context. Blocks.
    pub fn fetch(&self, url: &str, how: &Fetching<'_>) -> Result<Remote> {
        let cancel = how.cancel;
        if git::is_repository(url) {
            let agent = agent::for_git(how.agents, &self.run_dir)?;
            let keep = how.args.get(KEEP_GIT_DIR);
            let fetch = Fetch {
                trees: self.trees(),
                secrets: how.secrets,
                agent: agent.as_ref().map(agent::Socket::path),
                keep_git_dir: keep.and_then(|text| boolean(text)).unwrap_or(false),
                cancel,
            };
            let checkout = fetch.checkout(&Repository::parse(url)?, None)?;
            return Ok(Remote::Files(checkout.tree));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let message = format!(
                "cannot build from {url:?}: it is neither a git repository's address nor one of \
                 http or https"
            );
            return Err(Error::invalid(message, None));
        }
        let failed = |error: String| Error::host(format!("fetch {url}"), error);
        let mut answer = crate::http::get(url, cancel).map_err(failed)?;
        let mut start = Vec::new();
        let read = answer
            .content
            .by_ref()
            .take(TEXT_BYTES_MAX + 1)
            .read_to_end(&mut start);
        read.map_err(|error| failed(error.to_string()))?;
        let is_text = answer.media.starts_with("text/") || !looks_packed(&start);
        if is_text && start.len() as u64 > TEXT_BYTES_MAX {
            let message = format!("a Dockerfile of more than {TEXT_BYTES_MAX} bytes");
            return Err(failed(message));
        }
        if is_text && let Ok(text) = String::from_utf8(start.clone()) {
            return Ok(Remote::Dockerfile(text));
        }
        let mut writer = self.trees().temporary()?;
        writer.unpack(Cursor::new(start).chain(answer.content))?;
        Ok(Remote::Files(writer.finish()?))
    }
}

/// Whether it begins as an archive does, compressed or not.
fn looks_packed(start: &[u8]) -> bool {
    let magic: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    magic.iter().any(|magic| start.starts_with(magic)) || start.get(257..262) == Some(b"ustar")
}
