//! Names and addresses: `--add-host`, `--dns`, `--link`, `--attach`.

use std::net::IpAddr;

use crate::flags::Item;

/// `host:ip` (or `host=ip`), kept as `host:ip`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExtraHost(pub(crate) String);

impl Item for ExtraHost {
    fn parse(text: &str) -> Result<Self, String> {
        let separator = if text.contains('=') { '=' } else { ':' };
        let Some((name, address)) = text
            .split_once(separator)
            .filter(|(name, _)| !name.is_empty())
        else {
            return Err(format!("bad format for add-host: {text:?}"));
        };
        let bare = address
            .strip_prefix('[')
            .and_then(|a| a.strip_suffix(']'))
            .unwrap_or(address);
        if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
            return Err(format!("invalid IP address in add-host: {bare:?}"));
        }
        Ok(Self(format!("{name}:{bare}")))
    }
}

/// An IP address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address(pub(crate) String);

impl Item for Address {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().parse::<IpAddr>() {
            Ok(address) => Ok(Self(address.to_string())),
            Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
        }
    }
}

/// `container[:alias]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link(pub(crate) String);

impl Item for Link {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split(':').count() {
            _ if text.is_empty() => Err("empty string specified for links".to_owned()),
            1 | 2 => Ok(Self(text.to_owned())),
            _ => Err(format!("bad format for links: {text}")),
        }
    }
}

/// A standard stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandardStream {
    Stdin,
    Stdout,
    Stderr,
}

impl Item for StandardStream {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "stdin" => Ok(Self::Stdin),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_joined_by_a_colon() {
        let host = |text| ExtraHost::parse(text).map(|host| host.0);
        assert_eq!(host("a:1.2.3.4"), Ok("a:1.2.3.4".into()));
        assert_eq!(host("a=::1"), Ok("a:::1".into()));
        assert_eq!(host("a:[::1]"), Ok("a:::1".into()));
        assert_eq!(host("a:host-gateway"), Ok("a:host-gateway".into()));
        assert_eq!(host("a"), Err("bad format for add-host: \"a\"".into()));
        assert_eq!(
            host("a:b"),
            Err("invalid IP address in add-host: \"b\"".into())
        );
    }

    #[test]
    fn streams_and_links() {
        assert_eq!(StandardStream::parse("STDIN"), Ok(StandardStream::Stdin));
        assert!(StandardStream::parse("all").is_err());
        assert_eq!(Link::parse("a:b").unwrap().0, "a:b");
        assert!(Link::parse("a:b:c").is_err());
        assert!(Address::parse("1.2.3").is_err());
    }
}
