//! Connects a client to a container's streams.

use std::os::unix::net::UnixStream;

use hull_shim::protocol::{Attach, Target};

use crate::{
    Engine,
    actor::{AttachTicket, Order},
    error::{Error, Result},
};

/// Which streams a client wants.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Connect stdin.
    pub stdin: bool,
    /// Connect stdout.
    pub stdout: bool,
    /// Connect stderr.
    pub stderr: bool,
    /// As typed by the user (`ctrl-p,ctrl-q`); `None`: the default.
    pub detach_keys: Option<String>,
}

/// A client's place at a container's streams.
#[derive(Debug)]
pub struct Attached {
    /// Whether the streams are raw (a terminal) or framed.
    pub tty: bool,
    ticket: AttachTicket,
}

/// Control-P, control-Q: Docker's default way out.
const DETACH_KEYS: [u8; 2] = [16, 17];

impl Engine {
    /// Connects a client, now or as soon as the container starts.
    pub async fn attach(&self, reference: &str, options: &AttachOptions) -> Result<Attached> {
        let handle = self.find(reference)?;
        let config = &handle.record().config;
        let attach = Attach {
            target: Target::Init,
            stdin: options.stdin && config.open_stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            detach_keys: detach_keys(options.detach_keys.as_deref())?,
        };
        let ticket = handle
            .order(|reply| Order::Attach { attach, reply })
            .await?;
        Ok(Attached {
            tty: config.tty,
            ticket,
        })
    }
}

impl Attached {
    /// The stream to the container, as soon as there is one; `None`: it never started.
    ///
    /// What is written goes to stdin; what is read is output in Docker's frames (raw with a
    /// terminal). Half-closing ends stdin. The end of the stream is the end of the container, or
    /// the client let go with the detach keys.
    pub async fn stream(self) -> Option<UnixStream> {
        self.ticket.await.ok()
    }
}

/// Takes `ctrl-p,ctrl-q`, `a,b`: single characters and `ctrl-` with a letter or one of `@[\]^_`.
pub(crate) fn detach_keys(text: Option<&str>) -> Result<Vec<u8>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(DETACH_KEYS.to_vec());
    };
    let invalid = |key: &str| Error::Invalid(format!("Unknown character: '{key}' in detach keys"));
    text.split(',')
        .map(|key| match key.strip_prefix("ctrl-").map(str::as_bytes) {
            None => match key.as_bytes() {
                [byte] if byte.is_ascii() => Ok(*byte),
                _ => Err(invalid(key)),
            },
            Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
            Some([sign @ (b'@' | b'['..=b'_')]) => Ok(sign - b'@'),
            Some(_) => Err(invalid(key)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::detach_keys;

    #[test]
    fn detach_keys_are_read_as_docker_reads_them() {
        assert_eq!(detach_keys(None).unwrap(), [16, 17]);
        assert_eq!(detach_keys(Some("")).unwrap(), [16, 17]);
        assert_eq!(detach_keys(Some("ctrl-a,d")).unwrap(), [1, b'd']);
        assert_eq!(
            detach_keys(Some("ctrl-@,ctrl-\\,ctrl-_")).unwrap(),
            [0, 28, 31]
        );
        assert!(detach_keys(Some("ctrl-1")).is_err());
        assert!(detach_keys(Some("ab")).is_err());
    }
}
