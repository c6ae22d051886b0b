//! `network connect`

use hull_api::types::NetworkConnect;

use crate::commands::container::flags::network::endpoint;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, List};
use crate::options::host::Link;
use crate::options::network::Attachment;

/// What is told of a container that is not named.
pub(super) const EMPTY_NAME: &str = "invalid container name or ID: value is empty";

#[derive(Default)]
pub(crate) struct Connect {
    aliases: Vec<String>,
    driver_options: Vec<String>,
    gateway_priority: i64,
    ip: String,
    ip6: String,
    links: List<Link>,
    link_local: Vec<String>,
}

impl Command for Connect {
    const ABOUT: About = About::new(
        &["network connect"],
        "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network",
        Operands::Exactly(2),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("alias", "strings", "Add network-scoped alias for the container", &mut self.aliases);
        set.add("driver-opt", "strings", "driver options for the network", &mut self.driver_options);
        set.add("gw-priority", "int", "Highest gw-priority provides the default gateway. Accepts positive and negative values.", &mut self.gateway_priority);
        set.add("ip", "string", "IPv4 address (e.g., \"172.30.100.104\")", &mut self.ip);
        set.add("ip6", "string", "IPv6 address (e.g., \"2001:db8::33\")", &mut self.ip6);
        set.add("link", "list", "Add link to another container", &mut self.links);
        set.add("link-local-ip", "strings", "Add a link-local address for the container", &mut self.link_local);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let split = |values: &[String]| -> Vec<String> {
            values
                .iter()
                .flat_map(|value| value.split(','))
                .map(str::to_owned)
                .collect()
        };
        let mut attachment = Attachment {
            aliases: split(&self.aliases),
            ipv4: self.ip,
            ipv6: self.ip6,
            link_local: split(&self.link_local),
            links: self.links.0.into_iter().map(|link| link.0).collect(),
            gateway_priority: self.gateway_priority,
            ..Attachment::default()
        };
        for option in split(&self.driver_options) {
            let Some((key, value)) = option.split_once('=') else {
                return Err(Error::new(
                    "invalid key/value pair format in driver options",
                ));
            };
            attachment
                .driver_options
                .insert(key.trim().to_owned(), value.trim().to_owned());
        }
        let body = NetworkConnect {
            container: call.operand(1).to_owned(),
            endpoint_config: Some(endpoint(&attachment)),
        };
        if body.container.is_empty() {
            return Err(Error::new(EMPTY_NAME));
        }
        let client = connect(&call.globals).await?;
        client
            .network_connect(call.operand(0), &body)
            .await
            .map_err(failure)?;
        Ok(0)
    }
}
