//! `port audit`: which ports of which containers are reachable from where.

use std::net::IpAddr;

use hull_api::types::{ContainerSummary, FirewallInfo};
use serde_json::{Value as Json, json};

use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::format::tabwriter;
use crate::ui;

static FIELDS: [Field; 7] = [
    Field("Container", Kind::Text, "its name"),
    Field("ContainerID", Kind::Text, "all digits"),
    Field(
        "Network",
        Kind::Text,
        "host: whatever it listens on is reachable, and the fields that follow are null",
    ),
    Field("HostIP", Kind::Text, ""),
    Field("HostPort", Kind::Number, ""),
    Field("ContainerPort", Kind::Number, ""),
    Field("Protocol", Kind::Text, ""),
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
        if call.json {
            return json::array(containers.iter().flat_map(records));
        }
        let mut text = String::from("REACHABLE FROM\tHOST\tCONTAINER\tPORT\n");
        let mut lines: Vec<_> = containers.iter().flat_map(lines).collect();
        lines.sort();
        for line in lines {
            text.push_str(&line.join("\t"));
            text.push('\n');
        }
        ui::out(&tabwriter::align(&text))?;
        let facts = client.info().await.map_err(failure)?;
        if facts.firewall_backend.is_some_and(|it| obeys_input(&it)) {
            ui::line(
                "\nThe host's own rules have their say (firewall-mode: input): who does not pass them at INPUT reaches none.",
            )?;
        }
        Ok(0)
    }
}

/// Whether published ports obey the host's rules for packets that are its own.
fn obeys_input(firewall: &FirewallInfo) -> bool {
    let mode = ["Mode", "input"];
    firewall.info.iter().any(|pair| *pair == mode)
}

/// The same, for programs: who reaches an address is in the address.
fn records(container: &ContainerSummary) -> Vec<Json> {
    let name = container.names.first().map_or("", String::as_str);
    let own = |ip: Json, public: Json, private: Json, protocol: Json| {
        let name = name.trim_start_matches('/').into();
        let id = container.id.as_str().into();
        let network = json::known(&container.host_config.network_mode);
        json::row(&FIELDS, [name, id, network, ip, public, private, protocol])
    };
    if container.host_config.network_mode == "host" {
        return vec![own(Json::Null, Json::Null, Json::Null, Json::Null)];
    }
    let published = container.ports.iter().filter(|port| port.public_port != 0);
    published
        .map(|port| {
            own(
                json::known(&port.ip),
                json!(port.public_port),
                json!(port.private_port),
                json::known(&port.protocol),
            )
        })
        .collect()
}

fn lines(container: &ContainerSummary) -> Vec<[String; 4]> {
    let name = container.names.first().map_or("", String::as_str);
    let name = name.trim_start_matches('/').to_owned();
    if container.host_config.network_mode == "host" {
        let all = "all that it listens on".to_owned();
        return vec![[
            "wherever this host is".to_owned(),
            "(host network)".to_owned(),
            name,
            all,
        ]];
    }
    let published = container.ports.iter().filter(|port| port.public_port != 0);
    published
        .map(|port| {
            let host = match port.ip.contains(':') {
                true => format!("[{}]:{}", port.ip, port.public_port),
                false => format!("{}:{}", port.ip, port.public_port),
            };
            let inside = format!("{}/{}", port.private_port, port.protocol);
            [reach(&port.ip), host, name.clone(), inside]
        })
        .collect()
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
