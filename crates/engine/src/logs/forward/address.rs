//! Where a collector listens.

use std::{fmt, path::PathBuf};

/// Where a collector listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `udp://host:port`
    Udp(String),
    /// `tcp://host:port`
    Tcp(String),
    /// `unix:///path`: a stream.
    Stream(PathBuf),
    /// `unixgram:///path`: datagrams. The first place that takes them.
    Datagram(Vec<PathBuf>),
}

impl Address {
    /// Takes a URL; a port that it does not name is `port`. The error says what is wrong with it.
    pub(super) fn parse(url: &str, port: u16) -> Result<Self, String> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| format!("{url:?} is no address: tcp://HOST:PORT, for example"))?;
        let host = || with_port(rest, port).ok_or_else(|| format!("{url:?} names no host"));
        let path = || match rest.starts_with('/') {
            true => Ok(PathBuf::from(rest)),
            false => Err(format!("{url:?} names no absolute path")),
        };
        match scheme {
            "udp" => host().map(Self::Udp),
            "tcp" => host().map(Self::Tcp),
            "unix" => path().map(Self::Stream),
            "unixgram" => path().map(|path| Self::Datagram(vec![path])),
            "tcp+tls" => Err(format!(
                "{url:?}: TLS to a log collector is not available; use tcp:// or a local collector"
            )),
            _ => Err(format!("{url:?}: unsupported scheme {scheme:?}")),
        }
    }
}

/// `None`: there is no host in it.
fn with_port(host: &str, port: u16) -> Option<String> {
    let host = host.trim_end_matches('/');
    let named = match host.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").is_some(),
        None => host.contains(':'),
    };
    match host {
        "" => None,
        _ if host.starts_with(':') => Some(format!("localhost{host}")),
        _ if named => Some(host.to_owned()),
        _ => Some(format!("{host}:{port}")),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(host) => write!(f, "udp://{host}"),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Stream(path) => write!(f, "unix://{}", path.display()),
            Self::Datagram(paths) => match paths.first() {
                Some(path) => write!(f, "unixgram://{}", path.display()),
                None => f.write_str("unixgram://"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_not_named_is_the_usual_one() {
        for (url, address) in [
            ("udp://logs", Address::Udp("logs:514".to_owned())),
            ("tcp://logs:99/", Address::Tcp("logs:99".to_owned())),
            ("tcp://[::1]", Address::Tcp("[::1]:514".to_owned())),
            ("tcp://[::1]:7", Address::Tcp("[::1]:7".to_owned())),
            ("unix:///dev/log", Address::Stream("/dev/log".into())),
            (
                "unixgram:///dev/log",
                Address::Datagram(vec!["/dev/log".into()]),
            ),
        ] {
            assert_eq!(Address::parse(url, 514), Ok(address));
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (url, part) in [
            ("logs:514", "is no address"),
            ("tcp://", "names no host"),
            ("unix://dev/log", "no absolute path"),
            ("http://x", "unsupported scheme \"http\""),
            ("tcp+tls://x", "TLS"),
        ] {
            let error = Address::parse(url, 514).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
