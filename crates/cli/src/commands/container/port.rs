//! `container port`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::ui;

#[derive(Default)]
pub(crate) struct Port;

impl Command for Port {
    const ABOUT: About = About::new(
        &["container port", "port"],
        "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List port mappings or a specific mapping for the container",
        Operands::Between(1, 2),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let container = client.container(call.operand(0)).await.map_err(failure)?;
        let ports = container.network_settings.ports;
        let place = |binding: &hull_api::types::PortBinding| {
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
            lines.extend(bindings.iter().map(place));
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
