//! A context that is an address: an archive, or a Dockerfile by itself.

use std::io::{Cursor, Read};

use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::tree::TreeWriter;

/// The largest Dockerfile that is fetched.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// What an address gave.
pub struct Remote {
    text: Option<String>,
    content: Box<dyn Read + Send>,
}

impl Builder {
    /// Fetches a context. Blocks.
    pub fn fetch(&self, url: &str) -> Result<Remote> {
        let is_http = url.starts_with("http://") || url.starts_with("https://");
        if !is_http
            || url
                .split(['#', '?'])
                .next()
                .unwrap_or_default()
                .ends_with(".git")
        {
            let message = format!(
                "cannot build from {url:?}: the daemon fetches archives and Dockerfiles by http and https; \
                 a git repository is cloned by the client (hull build {url})"
            );
            return Err(Error::invalid(message, None));
        }
        let failed = |error: String| Error::host(format!("fetch {url}"), error);
        let mut answer = crate::http::get(url).map_err(failed)?;
        let mut start = Vec::new();
        let read = answer
            .content
            .by_ref()
            .take(TEXT_BYTES_MAX)
            .read_to_end(&mut start);
        read.map_err(|error| failed(error.to_string()))?;
        let is_text = answer.media.starts_with("text/") || !looks_packed(&start);
        let text = String::from_utf8(start.clone()).ok().filter(|_| is_text);
        Ok(Remote {
            text,
            content: Box::new(Cursor::new(start).chain(answer.content)),
        })
    }
}

/// Whether it begins as an archive does, compressed or not.
fn looks_packed(start: &[u8]) -> bool {
    let magic: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    magic.iter().any(|magic| start.starts_with(magic)) || start.get(257..262) == Some(b"ustar")
}

impl Remote {
    /// Its text, if it is a Dockerfile and no archive.
    pub fn as_dockerfile(&self) -> Option<String> {
        self.text.clone()
    }

    /// Unpacks it.
    pub fn unpack_into(self, writer: &mut TreeWriter) -> Result<()> {
        writer.unpack(self.content)
    }
}
