//! Ports of a container in one line: neighbours joined to ranges.

use hull_api::types::PortSummary;

/// `0.0.0.0:8080->80/tcp, 81-83/tcp`
pub(crate) fn displayed(ports: &[PortSummary]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_by(|left, right| {
        (
            left.private_port,
            &left.ip,
            left.public_port,
            &left.protocol,
        )
            .cmp(&(
                right.private_port,
                &right.ip,
                right.public_port,
                &right.protocol,
            ))
    });
    let mut groups: Vec<Group> = Vec::new();
    let mut texts = Vec::new();
    let mut mapped = Vec::new();
    for port in &ports {
        let inside = port.private_port;
        if !port.ip.is_empty() && port.public_port != inside {
            let place = place(&port.ip, &port.public_port.to_string());
            mapped.push(format!("{place}->{inside}/{}", port.protocol));
            continue;
        }
        let group = groups
            .iter_mut()
            .find(|g| g.ip == port.ip && g.protocol == port.protocol);
        match group {
            Some(group) if inside == group.last + 1 => group.last = inside,
            Some(group) => {
                texts.push(group.text());
                (group.first, group.last) = (inside, inside);
            }
            None => groups.push(Group {
                ip: port.ip.clone(),
                protocol: port.protocol.clone(),
                first: inside,
                last: inside,
            }),
        }
    }
    texts.extend(groups.iter().map(Group::text));
    texts.extend(mapped);
    texts.join(", ")
}

/// Ports that follow one another, offered alike.
struct Group {
    ip: String,
    protocol: String,
    first: u16,
    last: u16,
}

impl Group {
    fn text(&self) -> String {
        let ports = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match self.ip.as_str() {
            "" => format!("{ports}/{}", self.protocol),
            ip => format!("{}->{ports}/{}", place(ip, &ports), self.protocol),
        }
    }
}

fn place(ip: &str, port: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, private_port: u16, public_port: u16) -> PortSummary {
        PortSummary {
            ip: ip.into(),
            private_port,
            public_port,
            protocol: "tcp".into(),
        }
    }

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(
            displayed(&[
                port("", 83, 0),
                port("", 81, 0),
                port("", 82, 0),
                port("0.0.0.0", 80, 8080)
            ]),
            "81-83/tcp, 0.0.0.0:8080->80/tcp"
        );
        assert_eq!(
            displayed(&[
                port("0.0.0.0", 80, 80),
                port("0.0.0.0", 81, 81),
                port("::", 80, 80)
            ]),
            "0.0.0.0:80-81->80-81/tcp, [::]:80->80/tcp"
        );
        assert_eq!(displayed(&[]), "");
    }
}
