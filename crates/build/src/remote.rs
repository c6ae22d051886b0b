//! A context that is an address: a git repository, an archive, or a Dockerfile by itself.

use std::io::{Cursor, Read};
use std::sync::Arc;

use crate::builder::Builder;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::git::{self, Fetch, Repository};
use crate::request::Secrets;
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

impl Builder {
    /// Fetches a context. Blocks.
    pub fn fetch(&self, url: &str, secrets: &dyn Secrets, cancel: &Cancel) -> Result<Remote> {
        if git::is_repository(url) {
            let fetch = Fetch {
                trees: self.trees(),
                secrets,
                agent: None,
                keep_git_dir: false,
                cancel,
            };
            let checkout = Repository::parse(url)?.fetch(&fetch, None)?;
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
