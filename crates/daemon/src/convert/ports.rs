//! Ports: `80/tcp`, `{"HostIp":"","HostPort":"8000-8010"}`.

use std::collections::{BTreeMap, BTreeSet};

use hull_api::types::{self, Empty, PortMap, TextSet};
use hull_engine::model::{PortBinding, PortProtocol, PublishedPort};

use super::{Invalid, Result};

/// Ports that one container may name, however it names them: a few bytes can name many.
const PORTS_MAX: usize = 1 << 18;

fn too_many() -> Invalid {
    Invalid::new(format!("more than {PORTS_MAX} ports"))
}

/// The keys of `ExposedPorts`.
pub(crate) fn exposed(ports: TextSet) -> Result<BTreeSet<PublishedPort>> {
    let mut exposed = BTreeSet::new();
    let mut left = PORTS_MAX;
    for text in ports.keys() {
        let ports = published(text)?;
        left = left.checked_sub(ports.len()).ok_or_else(too_many)?;
        exposed.extend(ports);
    }
    Ok(exposed)
}

/// `PortBindings`. An empty list means any port of the host.
pub(crate) fn bindings(map: PortMap) -> Result<BTreeMap<PublishedPort, Vec<PortBinding>>> {
    let mut bindings: BTreeMap<PublishedPort, Vec<PortBinding>> = BTreeMap::new();
    let mut left = PORTS_MAX;
    for (text, wanted) in map {
        let wanted = wanted.unwrap_or_default();
        let wanted: Vec<_> = wanted.iter().map(binding).collect::<Result<_>>()?;
        let any = vec![PortBinding {
            address: None,
            ports: None,
        }];
        let wanted = if wanted.is_empty() { any } else { wanted };
        let ports = published(&text)?;
        let count = ports.len().saturating_mul(wanted.len());
        left = left.checked_sub(count).ok_or_else(too_many)?;
        for port in ports {
            bindings
                .entry(port)
                .or_default()
                .extend(wanted.iter().cloned());
        }
    }
    Ok(bindings)
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn published(text: &str) -> Result<Vec<PublishedPort>> {
    let invalid = || Invalid::new(format!("invalid port specification: {text:?}"));
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = PortProtocol::parse(protocol)
        .ok_or_else(|| Invalid::new(format!("invalid proto: {protocol}")))?;
    let (first, last) = range(numbers).ok_or_else(invalid)?;
    Ok((first..=last)
        .map(|number| PublishedPort { number, protocol })
        .collect())
}

fn binding(wanted: &types::PortBinding) -> Result<PortBinding> {
    let address = match wanted.host_ip.trim_matches(['[', ']']) {
        "" => None,
        text => {
            let parsed = text.parse();
            Some(parsed.map_err(|_| Invalid::new(format!("invalid host IP address: {text}")))?)
        }
    };
    let ports = match wanted.host_port.as_str() {
        "" | "0" => None,
        text => {
            let parsed = range(text);
            Some(
                parsed
                    .ok_or_else(|| Invalid::new(format!("invalid port specification: {text:?}")))?,
            )
        }
    };
    Ok(PortBinding { address, ports })
}

/// `80`, `80-90`.
fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number != 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// Back to `ExposedPorts`.
pub(crate) fn exposed_to_wire(ports: &BTreeSet<PublishedPort>) -> TextSet {
    ports
        .iter()
        .map(|port| (port.to_string(), Empty {}))
        .collect()
}

/// Back to `PortBindings`.
pub(crate) fn bindings_to_wire(bindings: &BTreeMap<PublishedPort, Vec<PortBinding>>) -> PortMap {
    let binding = |binding: &PortBinding| types::PortBinding {
        host_ip: binding
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        host_port: match binding.ports {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        },
    };
    let list = |list: &Vec<PortBinding>| Some(list.iter().map(binding).collect());
    bindings
        .iter()
        .map(|(port, bindings)| (port.to_string(), list(bindings)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(port: &str, ip: &str, host_port: &str) -> PortMap {
        let binding = types::PortBinding {
            host_ip: ip.into(),
            host_port: host_port.into(),
        };
        PortMap::from([(port.to_owned(), Some(vec![binding]))])
    }

    #[test]
    fn bindings_survive_the_way_in_and_out() {
        for (port, ip, host_port) in [
            ("80/tcp", "", "8080"),
            ("53/udp", "127.0.0.1", "8000-8010"),
            ("80/tcp", "::1", ""),
        ] {
            let wire = wire(port, ip, host_port);
            assert_eq!(bindings_to_wire(&bindings(wire.clone()).unwrap()), wire);
        }
    }

    #[test]
    fn a_few_bytes_cannot_name_any_number_of_ports() {
        let keys = (0..5).map(|last| (format!("1-{}", 65535 - last), Empty {}));
        assert!(exposed(keys.collect()).is_err());
        let list = Some(vec![types::PortBinding::default(); 5]);
        let map = PortMap::from([("1-65535/tcp".to_owned(), list)]);
        assert!(super::bindings(map).is_err());
    }

    #[test]
    fn no_binding_at_all_means_any_port() {
        let map = PortMap::from([
            ("80".to_owned(), None),
            ("81/tcp".to_owned(), Some(Vec::new())),
        ]);
        let got = bindings(map).unwrap();
        let any = [PortBinding {
            address: None,
            ports: None,
        }];
        assert!(got.values().all(|list| list[..] == any));
        assert_eq!(
            got.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["80/tcp", "81/tcp"]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (port, ip, host_port) in [
            ("0/tcp", "", ""),
            ("80/icmp", "", ""),
            ("x", "", ""),
            ("90-80/tcp", "", ""),
            ("80/tcp", "here", ""),
            ("80/tcp", "", "99999"),
        ] {
            assert!(
                bindings(wire(port, ip, host_port)).is_err(),
                "{port} {ip} {host_port}"
            );
        }
        let exposed = exposed(TextSet::from([("7-9/udp".to_owned(), Empty {})])).unwrap();
        assert_eq!(exposed.len(), 3);
    }
}
