//! Where a daemon listens: `unix:///path`, `tcp://host[:port]`, `ssh://[user@]host[:port]`, `fd://number`, `host[:port]`.

use std::path::PathBuf;

use super::{DOCKER_SOCKET, PLAIN_PORT, TLS_PORT};

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
        /// A prefix of every path asked for.
        path: String,
    },
    /// `ssh://[user@]host[:port]`, reached through `system dial-stdio`.
    Ssh {
        target: String,
        port: Option<u16>,
        /// The daemon's socket over there, unless the usual one.
        socket: String,
    },
    /// A connection this process was given, under this number.
    Descriptor(i32),
}

impl Address {
    /// Reads an address; what is wrong with it is told in Docker's words.
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let text = text.trim();
        let invalid = || format!("invalid bind address format: {text}");
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::Unix(DOCKER_SOCKET.into())),
            "unix" => Ok(Self::Unix(rest.into())),
            "tcp" | "http" | "https" => tcp(rest, tls || scheme == "https").ok_or_else(invalid),
            "ssh" => ssh(rest).ok_or_else(invalid),
            "fd" => match rest.parse() {
                Ok(number @ 0..) => Ok(Self::Descriptor(number)),
                _ => Err(invalid()),
            },
            _ => Err(invalid()),
        }
    }

    /// As messages name it; `text` is how it was written.
    pub(crate) fn shown(&self, text: &str) -> String {
        match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp { host, port, path } if host.contains(':') => {
                format!("tcp://[{host}]:{port}{path}")
            }
            Self::Tcp { host, port, path } => format!("tcp://{host}:{port}{path}"),
            Self::Ssh { .. } | Self::Descriptor(_) => text.trim().to_owned(),
        }
    }
}

fn tcp(rest: &str, tls: bool) -> Option<Address> {
    let (place, path) = split_path(rest);
    let (host, port) = host_and_port(place)?;
    Some(Address::Tcp {
        host: match host.as_str() {
            "" => "localhost".to_owned(),
            _ => host,
        },
        port: port.unwrap_or(if tls { TLS_PORT } else { PLAIN_PORT }),
        path: path.trim_end_matches('/').to_owned(),
    })
}

fn ssh(rest: &str) -> Option<Address> {
    let (place, socket) = split_path(rest);
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (format!("{user}@"), place),
        None => (String::new(), place),
    };
    let (host, port) = host_and_port(place)?;
    // A word that begins with a dash would be an option of ssh, and a password would be shown to everybody.
    if host.is_empty() || host.starts_with('-') || user.starts_with('-') || user.contains(':') {
        return None;
    }
    Some(Address::Ssh {
        target: format!("{user}{host}"),
        port,
        socket: socket.trim_end_matches('/').to_owned(),
    })
}

fn split_path(rest: &str) -> (&str, &str) {
    rest.find('/').map_or((rest, ""), |at| rest.split_at(at))
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None => None,
        };
        return Some((host.to_owned(), port));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), Some(port.parse().ok()?))),
        None => Some((text.to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16, path: &str) -> Result<Address, String> {
        Ok(Address::Tcp {
            host: host.into(),
            port,
            path: path.into(),
        })
    }

    fn ssh(target: &str, port: Option<u16>, socket: &str) -> Result<Address, String> {
        Ok(Address::Ssh {
            target: target.into(),
            port,
            socket: socket.into(),
        })
    }

    #[test]
    fn addresses() {
        let plain = |text| Address::parse(text, false);
        assert_eq!(plain("unix:///x.sock"), Ok(Address::Unix("/x.sock".into())));
        assert_eq!(plain("tcp://1.2.3.4:5"), tcp("1.2.3.4", 5, ""));
        assert_eq!(plain("tcp://h"), tcp("h", 2375, ""));
        assert_eq!(Address::parse("tcp://h", true), tcp("h", 2376, ""));
        assert_eq!(plain("[::1]:7"), tcp("::1", 7, ""));
        assert_eq!(plain("https://h/prefix/"), tcp("h", 2376, "/prefix"));
        assert_eq!(plain("ssh://me@h:22"), ssh("me@h", Some(22), ""));
        assert_eq!(plain("ssh://h/run/x.sock"), ssh("h", None, "/run/x.sock"));
        assert_eq!(plain("fd://3"), Ok(Address::Descriptor(3)));
        for bad in [
            "ssh://-oProxyCommand=x",
            "ssh://",
            "ssh://me:pass@h",
            "npipe:////./x",
            "fd://x",
            "tcp://h:x",
        ] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }
}
