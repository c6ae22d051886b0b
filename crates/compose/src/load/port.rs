//! `[[address:]published:]target[/protocol]`, with ranges.

use crate::error::{LoadError, Result};
use crate::node::{Node, Value};

/// Ports a range may have.
const RANGE_MAX: u32 = 65_536;

/// The long forms of a short one.
pub(super) fn parse(text: &str, from: &Node) -> Result<Vec<Node>> {
    let wrong = |why: &str| {
        LoadError::at(from, format!("`{text}` is no port: {why}"))
            .with_hint("a port is `[[address:]published:]target[/protocol]`")
    };
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong("the protocol must be tcp, udp or sctp"));
    }
    let (rest, target) = match rest.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, rest),
    };
    let (address, published) = match rest {
        None => ("", ""),
        Some(rest) => match rest.rsplit_once(':') {
            Some((address, published)) => (address, published),
            None => ("", rest),
        },
    };
    let address = match address.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .ok_or_else(|| wrong("a bracket is never closed"))?,
        None => address,
    };
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(wrong("the address is not one"));
    }
    let (first, last) = range(target)
        .ok_or_else(|| wrong("the port in the container must be a number from 1 to 65535"))?;
    let offered = match published {
        "" => None,
        published => Some(
            range(published)
                .ok_or_else(|| wrong("the port on the host must be a number up to 65535"))?,
        ),
    };
    if let Some((from, to)) = offered
        && to - from != last - first
        && first != last
    {
        return Err(wrong("the ranges differ in length"));
    }
    Ok((0..=last - first)
        .map(|step| {
            let published = match offered {
                Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
                Some((from, _)) => (from + step).to_string(),
                None => String::new(),
            };
            long(from, address, &published, first + step, &protocol)
        })
        .collect())
}

fn range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|port| *port < RANGE_MAX);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first <= last).then_some((first, last))
}

fn long(from: &Node, address: &str, published: &str, target: u32, protocol: &str) -> Node {
    let text = |text: &str| Node::text_at(&from.place, text);
    let mut entries = vec![("mode", text("ingress"))];
    if !address.is_empty() {
        entries.push(("host_ip", text(address)));
    }
    entries.push((
        "target",
        Node::at(&from.place, Value::Int(i64::from(target))),
    ));
    if !published.is_empty() {
        entries.push(("published", text(published)));
    }
    entries.push(("protocol", text(protocol)));
    Node::map_at(&from.place, entries)
}

/// A long form with what goes without saying.
pub(super) fn completed(mut item: Node) -> Node {
    let place = item.place.clone();
    if let Some(map) = item.as_map_mut() {
        for (key, value) in [("mode", "ingress"), ("protocol", "tcp")] {
            if map.get(key).is_none() {
                map.set(key, Node::text_at(&place, value));
            }
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Place;

    fn ports(text: &str) -> std::result::Result<Vec<String>, String> {
        let from = Node::text_at(&Place::nowhere(), text);
        let ports = parse(text, &from).map_err(|error| error.to_string())?;
        Ok(ports
            .iter()
            .map(|port| {
                let map = port.as_map().unwrap();
                let part = |key: &str| map.get(key).and_then(Node::scalar_text).unwrap_or_default();
                format!(
                    "{}|{}|{}|{}",
                    part("host_ip"),
                    part("published"),
                    part("target"),
                    part("protocol")
                )
            })
            .collect())
    }

    #[test]
    fn short_forms_of_ports() {
        for (text, long) in [
            ("80", vec!["||80|tcp"]),
            ("8080:80/udp", vec!["|8080|80|udp"]),
            ("127.0.0.1:1:2", vec!["127.0.0.1|1|2|tcp"]),
            ("127.0.0.1::2", vec!["127.0.0.1||2|tcp"]),
            ("[::1]:1:2", vec!["::1|1|2|tcp"]),
            ("1-2:3-4", vec!["|1|3|tcp", "|2|4|tcp"]),
            ("1-9:5", vec!["|1-9|5|tcp"]),
        ] {
            assert_eq!(
                ports(text),
                Ok(long.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
        for text in ["x", "1:x", "1-2:3-9", "70000", "a:1:2", "1/ip", "5-1"] {
            assert!(ports(text).is_err(), "{text}");
        }
    }
}
