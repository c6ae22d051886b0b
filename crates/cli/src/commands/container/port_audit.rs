//! `port audit`: which ports of which containers are reachable from where.

use std::{collections::BTreeMap, net::IpAddr};

use hull_api::types::{ContainerSummary, FirewallInfo, Network, PortMap};
use serde_json::Value as Json;

use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::format::tabwriter;
use crate::ui;

static FIELDS: [Field; 8] = [
    Field("Container", Kind::Text, "its name"),
    Field("ContainerID", Kind::Text, "all digits"),
    Field(
        "Network",
        Kind::Text,
        "host: whatever it listens on is reachable, and the fields that follow are null",
    ),
    Field(
        "HostIP",
        Kind::Text,
        "the container's own address where it is reached by that",
    ),
    Field("HostPort", Kind::Number, ""),
    Field(
        "ContainerPort",
        Kind::Number,
        "null: whatever it listens on",
    ),
    Field("Protocol", Kind::Text, ""),
    Field("ReachableFrom", Kind::Text, "for people"),
];

#[derive(Default)]
pub(crate) struct PortAudit;

impl Command for PortAudit {
    const ABOUT: About = About::new(
        &["port audit"],
        "",
        "List all published ports and from where they are reachable",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let containers = client
            .containers(&Default::default())
            .await
            .map_err(failure)?;
        let networks = client
            .networks(&Default::default())
            .await
            .map_err(failure)?;
        let networks = networks.into_iter();
        let networks: Networks = networks.map(|one| (one.id.clone(), one)).collect();
        let mut openings = Vec::new();
        for container in &containers {
            let mut direct = Vec::new();
            if is_routed(container, &networks) {
                // A list does not say which ports of those are published.
                direct = match client.container(&container.id).await {
                    Ok(known) => direct_ports(&known.network_settings.ports),
                    Err(error) if error.is_not_found() => continue,
                    Err(error) => return Err(failure(error)),
                };
            }
            openings.extend(self::openings(container, &networks, &direct));
        }
        if call.json {
            return json::array(openings.into_iter().map(Opening::into_record));
        }
        let mut text = String::from("REACHABLE FROM\tHOST\tCONTAINER\tPORT\n");
        openings.sort_by_key(Opening::columns);
        for opening in openings {
            text.push_str(&opening.columns().join("\t"));
            text.push('\n');
        }
        ui::out(&tabwriter::align(&text))?;
        let facts = client.info().await.map_err(failure)?;
        if facts.firewall_backend.is_some_and(|it| obeys_input(&it)) {
            ui::line(
                "\nThe host's own rules have their say (firewall-mode: input): who does not pass them at INPUT reaches none.",
            )?;
        }
        let dropping = facts.warnings.iter().flatten();
        for warning in dropping.filter(|warning| warning.contains(DROPS)) {
            ui::line(&format!("\nFewer than that reach them: {warning}"))?;
        }
        Ok(0)
    }
}

/// What a warning of the daemon's says of a foreign firewall.
const DROPS: &str = "drops forwarded packets";

/// Options of networks.
const MODE: &str = "com.docker.network.bridge.gateway_mode_ipv";
const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";

/// By id.
type Networks = BTreeMap<String, Network>;

/// Whether published ports obey the host's rules for packets that are its own.
fn obeys_input(firewall: &FirewallInfo) -> bool {
    let mode = ["Mode", "input"];
    firewall.info.iter().any(|pair| *pair == mode)
}

/// A way from elsewhere to a container.
struct Opening<'a> {
    container: &'a ContainerSummary,
    from: String,
    /// The host's address and port; of a container that is reached by its own address, that; empty:
    /// it shares the host's.
    ip: String,
    /// 0: whatever it listens on.
    public_port: u16,
    private_port: u16,
    protocol: String,
}

impl Opening<'_> {
    fn name(&self) -> &str {
        let name = self.container.names.first().map_or("", String::as_str);
        name.trim_start_matches('/')
    }

    fn columns(&self) -> [String; 4] {
        let ip = match self.ip.contains(':') {
            true => format!("[{}]", self.ip),
            false => self.ip.clone(),
        };
        let host = match (self.ip.as_str(), self.public_port) {
            ("", _) => "(host network)".to_owned(),
            (_, 0) => format!("({ip})"),
            (_, port) => format!("{ip}:{port}"),
        };
        let port = match self.private_port {
            0 => "all that it listens on".to_owned(),
            port => format!("{port}/{}", self.protocol),
        };
        [self.from.clone(), host, self.name().to_owned(), port]
    }

    /// The same, for programs.
    fn into_record(self) -> Json {
        let number = |number: u16| (number != 0).then_some(number).into();
        let values = [
            self.name().into(),
            self.container.id.as_str().into(),
            json::known(&self.container.host_config.network_mode),
            json::known(&self.ip),
            number(self.public_port),
            number(self.private_port),
            json::known(&self.protocol),
            self.from.into(),
        ];
        json::row(&FIELDS, values)
    }
}

/// A published port that none of the host's leads to: whether it is of IPv6, its number and protocol.
type Direct = (bool, u16, String);

/// Whether a container may have such ports.
fn is_routed(container: &ContainerSummary, networks: &Networks) -> bool {
    let own = container.network_settings.networks.values();
    let mut own = own.filter_map(|settings| networks.get(&settings.network_id));
    own.any(|network| {
        [0, 1]
            .iter()
            .any(|family| matches!(reached(network, *family), Reached::Published))
    })
}

fn direct_ports(ports: &PortMap) -> Vec<Direct> {
    let mut all = Vec::new();
    for (port, bindings) in ports {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        let Ok(number) = number.parse() else { continue };
        let direct = bindings
            .iter()
            .flatten()
            .filter(|one| one.host_port.is_empty());
        all.extend(direct.map(|one| (one.host_ip.contains(':'), number, protocol.to_owned())));
    }
    all.sort();
    all.dedup();
    all
}

/// All ways to a container.
fn openings<'a>(
    container: &'a ContainerSummary,
    networks: &Networks,
    direct_ports: &[Direct],
) -> Vec<Opening<'a>> {
    let open = |from: String, ip: &str| Opening {
        container,
        from,
        ip: ip.to_owned(),
        public_port: 0,
        private_port: 0,
        protocol: String::new(),
    };
    if container.host_config.network_mode == "host" {
        return vec![open("wherever this host is".to_owned(), "")];
    }
    let mut all = Vec::new();
    let mut direct = [None, None];
    for settings in container.network_settings.networks.values() {
        let Some(network) = networks.get(&settings.network_id) else {
            continue;
        };
        let own = [&settings.ip_address, &settings.global_ipv6_address];
        for (family, ip) in own.into_iter().enumerate().filter(|(_, ip)| !ip.is_empty()) {
            match reached(network, family) {
                Reached::Everything(from) => all.push(open(from, ip)),
                Reached::Published => direct[family] = Some(ip.as_str()),
                Reached::Nothing => {}
            }
        }
        let trusted = network.options.as_ref().and_then(|all| all.get(TRUSTED));
        let trusted = trusted.map_or("", String::as_str).split(':');
        for interface in trusted.filter(|name| !name.is_empty()) {
            let from = format!("whoever comes in by {interface}");
            let own = own.into_iter().filter(|ip| !ip.is_empty());
            all.extend(own.map(|ip| open(from.clone(), ip)));
        }
    }
    let published = container.ports.iter().filter(|port| port.public_port != 0);
    all.extend(published.map(|port| Opening {
        public_port: port.public_port,
        private_port: port.private_port,
        protocol: port.protocol.clone(),
        ..open(reach(&port.ip), &port.ip)
    }));
    // Where the container is reached by its own address, no port of the host's is in use.
    for (is_ipv6, number, protocol) in direct_ports {
        if let Some(ip) = direct[usize::from(*is_ipv6)] {
            all.push(Opening {
                public_port: *number,
                private_port: *number,
                protocol: protocol.clone(),
                ..open(format!("whoever has a route to {ip}"), ip)
            });
        }
    }
    all
}

/// What of containers is reached by their own addresses.
enum Reached {
    /// Whatever they listen on, by whom.
    Everything(String),
    /// Published ports.
    Published,
    /// They are reached by the host's address alone.
    Nothing,
}

fn reached(network: &Network, family: usize) -> Reached {
    let option = |name: &str| network.options.as_ref().and_then(|all| all.get(name));
    if ["macvlan", "ipvlan"].contains(&network.driver.as_str()) && !network.internal {
        let parent = option("parent").map_or("", String::as_str);
        // A wire of the network's own, which leads nowhere.
        if network.id.get(..12) == parent.strip_prefix("dm-") {
            return Reached::Nothing;
        }
        return Reached::Everything(format!("whoever is on the network of {parent}"));
    }
    let mode = option(&format!("{MODE}{}", [4, 6][family])).map_or("", String::as_str);
    match mode {
        _ if network.internal => Reached::Nothing,
        "nat-unprotected" => Reached::Everything("whoever has a route to it".to_owned()),
        "routed" => Reached::Published,
        _ => Reached::Nothing,
    }
}

/// Who can reach an address of the host.
fn reach(text: &str) -> String {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => "this host only".to_owned(),
        Ok(address) if address.is_unspecified() => {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            format!("everywhere by {family}")
        }
        _ => format!("whoever reaches {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::reach;

    #[test]
    fn an_address_says_who_reaches_it() {
        for (address, who) in [
            ("127.0.0.1", "this host only"),
            ("::1", "this host only"),
            ("0.0.0.0", "everywhere by IPv4"),
            ("::", "everywhere by IPv6"),
            ("192.0.2.1", "whoever reaches 192.0.2.1"),
        ] {
            assert_eq!(reach(address), who);
        }
    }
}
