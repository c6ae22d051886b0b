//! `container port`

use hull_api::types::PortBinding;
use serde_json::{Value as Json, json};

use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::ui;

static FIELDS: [Field; 4] = [
    Field("ContainerPort", Kind::Number, ""),
    Field("Protocol", Kind::Text, "tcp, udp or sctp"),
    Field(
        "HostIP",
        Kind::Text,
        "the host's address it is published at",
    ),
    Field("HostPort", Kind::Number, ""),
];

#[derive(Default)]
pub(crate) struct Port;

impl Command for Port {
    const ABOUT: About = About::new(
        &["container port", "port"],
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List port mappings or a specific mapping for the container",
        Operands::Between(1, 2),
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let container = client.container(call.operand(0)).await.map_err(failure)?;
        let ports = container.network_settings.ports;
        let place = |binding: &PortBinding| {
            if binding.host_ip.contains(':') {
                format!("[{}]:{}", binding.host_ip, binding.host_port)
            } else {
                format!("{}:{}", binding.host_ip, binding.host_port)
            }
        };
        let mut lines = Vec::new();
        if let Some(wanted) = call.operands.get(1) {
            let key = if wanted.contains('/') {
                wanted.clone()
            } else {
                format!("{wanted}/tcp")
            };
            let number = key.split('/').next().unwrap_or_default();
            if number.parse::<u16>().is_err() {
                return Err(Error::new(format!(
                    "Error: invalid port ({number}): strconv.ParseUint: parsing {number:?}: invalid syntax"
                )));
            }
            let Some(Some(bindings)) = ports.get(&key) else {
                return Err(Error::new(format!(
                    "Error: No public port '{wanted}' published for {}",
                    call.operand(0)
                )));
            };
            if call.json {
                return json::array(bindings.iter().map(|binding| record(&key, binding)));
            }
            lines.extend(bindings.iter().map(place));
        } else if call.json {
            let all = ports.iter().flat_map(|(port, bindings)| {
                let bindings = bindings.iter().flatten();
                bindings.map(move |binding| record(port, binding))
            });
            return json::array(all);
        } else {
            for (port, bindings) in &ports {
                let bindings = bindings.iter().flatten();
                lines.extend(bindings.map(|binding| format!("{port} -> {}", place(binding))));
            }
            lines.sort_by_key(|line| {
                let digits = line.split('/').next().unwrap_or_default();
                digits.parse::<u16>().unwrap_or(u16::MAX)
            });
        }
        ui::out(
            &lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        )?;
        Ok(0)
    }
}

/// A published port, for programs. `port` is `80/tcp`.
fn record(port: &str, binding: &PortBinding) -> Json {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let parsed = |text: &str| text.parse::<u16>().ok();
    json::row(
        &FIELDS,
        [
            json!(parsed(number)),
            protocol.into(),
            json::known(&binding.host_ip),
            json!(parsed(&binding.host_port)),
        ],
    )
}
