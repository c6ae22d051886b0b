//! `compose port`

use super::project::Scene;
use crate::commands::{About, Call, Command, Operands};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Port {
    index: i64,
    protocol: String,
}

impl Command for Port {
    const ABOUT: About = About::new(
        &["compose port"],
        "[OPTIONS] SERVICE PRIVATE_PORT",
        "Print the public port for a port binding",
        Operands::Exactly(2),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "index",
            "int",
            "Index of the container if service has multiple replicas",
            &mut self.index,
        );
        set.add(
            "protocol",
            "string",
            "tcp or udp (default \"tcp\")",
            &mut self.protocol,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let (service, text) = (call.operand(0).to_owned(), call.operand(1));
        let wanted: u16 = text
            .parse()
            .map_err(|_| Error::new(format!("`{text}` is no port")))?;
        let protocol = if self.protocol.is_empty() {
            "tcp"
        } else {
            &self.protocol
        };
        let scene = Scene::of_name(&call, std::slice::from_ref(&service)).await?;
        let container = scene.one(&service, self.index).await?;
        let found = container.summary.ports.iter().find(|port| {
            port.private_port == wanted && port.protocol == protocol && port.public_port > 0
        });
        match found {
            Some(port) if port.ip.contains(':') => {
                ui::line(&format!("[{}]:{}", port.ip, port.public_port))?
            }
            Some(port) => ui::line(&format!("{}:{}", port.ip, port.public_port))?,
            None => {
                return Err(Error::new(format!(
                    "no port {wanted}/{protocol} for container {}: it is not published",
                    container.name()
                )));
            }
        }
        Ok(0)
    }
}
