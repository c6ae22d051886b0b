//! `--publish [[ip:]host:]container[/protocol]`, with ranges, and `--expose`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hull_api::types::PortBinding;

/// Ports as the API takes them; the keys are `80/tcp`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ports {
    pub(crate) exposed: BTreeSet<String>,
    pub(crate) bindings: BTreeMap<String, Vec<PortBinding>>,
}

/// Reads all `--publish` and `--expose` values.
///
/// # Errors
/// The first that is no port specification.
pub(crate) fn read(publish: &[String], expose: &[String]) -> Result<Ports, String> {
    let mut ports = Ports::default();
    for text in publish {
        ports.publish(&short_form(text)?)?;
    }
    for text in expose {
        ports.expose(text)?;
    }
    Ok(ports)
}

/// Rewrites `published=8080,target=80,protocol=tcp` as `8080:80/tcp`.
fn short_form(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        return Ok(text.to_owned());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            // `mode`, and whatever else a service would know.
            Some((key, _)) if !key.is_empty() => {}
            _ => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{field}')"
                ));
            }
        }
    }
    let colon = if published.is_empty() { "" } else { ":" };
    Ok(format!("{published}{colon}{target}/{protocol}"))
}

impl Ports {
    fn publish(&mut self, text: &str) -> Result<(), String> {
        let (ip, host, container) = split(text);
        let (container, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
        if container.is_empty() {
            return Err(format!("no port specified: {text}<empty>"));
        }
        let inside =
            Range::parse(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
        let outside = match host {
            "" => None,
            host => Some(Range::parse(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
        };
        if let Some(outside) = outside
            && outside.length() != inside.length()
            && inside.length() != 1
        {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
        let protocol = protocol_name(protocol)?;
        let ip = address(ip)?;
        for offset in 0..inside.length() {
            let port = format!("{}/{protocol}", inside.first + offset);
            let host_port = match outside {
                None => String::new(),
                // The daemon takes a free port of the range.
                Some(range) if range.length() != inside.length() => {
                    format!("{}-{}", range.first, range.last)
                }
                Some(range) => (range.first + offset).to_string(),
            };
            let binding = PortBinding {
                host_ip: ip.clone(),
                host_port,
            };
            self.exposed.insert(port.clone());
            self.bindings.entry(port).or_default().push(binding);
        }
        Ok(())
    }

    fn expose(&mut self, text: &str) -> Result<(), String> {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let range = Range::parse(ports).ok_or_else(|| {
            format!("invalid range format for --expose: {ports}, error: strconv.ParseUint: parsing {ports:?}: invalid syntax")
        })?;
        let protocol = protocol_name(protocol)?;
        for port in range.first..=range.last {
            self.exposed.insert(format!("{port}/{protocol}"));
        }
        Ok(())
    }
}

/// Address, host port and container port; the address may hold colons.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match rest.rsplit_once(':') {
        Some((ip, host)) => (ip, host, container),
        None => ("", rest, container),
    }
}

fn protocol_name(text: &str) -> Result<String, String> {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "tcp" | "udp" | "sctp" => Ok(lower),
        _ => Err(format!("invalid proto: {text}")),
    }
}

fn address(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        Ok(bare.to_owned())
    } else {
        Err(format!("invalid IP address: {bare}"))
    }
}

/// Ports from `first` to `last`.
#[derive(Clone, Copy)]
struct Range {
    first: u16,
    last: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        };
        (range.first <= range.last).then_some(range)
    }

    fn length(self) -> u16 {
        (self.last - self.first).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(text: &str) -> Vec<String> {
        let ports = read(&[text.to_owned()], &[]).unwrap();
        let lines = ports.bindings.iter().flat_map(|(port, bindings)| {
            bindings
                .iter()
                .map(move |b| format!("{}|{}|{port}", b.host_ip, b.host_port))
        });
        lines.collect()
    }

    fn error(text: &str) -> String {
        read(&[text.to_owned()], &[]).unwrap_err()
    }

    #[test]
    fn every_form_of_publish() {
        assert_eq!(bound("80"), ["||80/tcp"]);
        assert_eq!(bound("8080:80"), ["|8080|80/tcp"]);
        assert_eq!(bound("127.0.0.1:8080:80/udp"), ["127.0.0.1|8080|80/udp"]);
        assert_eq!(bound("127.0.0.1::80"), ["127.0.0.1||80/tcp"]);
        assert_eq!(bound("[::1]:8080:80"), ["::1|8080|80/tcp"]);
        assert_eq!(bound("8080-8081:80-81"), ["|8080|80/tcp", "|8081|81/tcp"]);
        assert_eq!(bound("8080-8090:80"), ["|8080-8090|80/tcp"]);
        assert_eq!(
            bound("published=8080,target=80,protocol=udp"),
            ["|8080|80/udp"]
        );
    }

    #[test]
    fn errors_are_in_dockers_words() {
        assert_eq!(error("abc:def"), "invalid containerPort: def");
        assert_eq!(error("abc:80"), "invalid hostPort: abc");
        assert_eq!(error("1.2.3:80:80"), "invalid IP address: 1.2.3");
        assert_eq!(error("80/foo"), "invalid proto: foo");
        assert_eq!(error("8080:"), "no port specified: 8080:<empty>");
        assert_eq!(
            error("80-82:80-81"),
            "invalid ranges specified for container and host Ports: 80-81 and 80-82"
        );
    }

    #[test]
    fn expose_takes_ranges_and_no_host() {
        let ports = read(&[], &["80-81/udp".to_owned()]).unwrap();
        assert_eq!(
            ports.exposed.into_iter().collect::<Vec<_>>(),
            ["80/udp", "81/udp"]
        );
        assert!(read(&[], &["80:80".to_owned()]).is_err());
    }
}
