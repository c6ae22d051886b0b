//! `network ls`

use hull_api::types::Network;

use crate::commands::container::ls::FORMAT;
use crate::commands::filters::{Conditions, filters};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::{Listing, joined, row, short_id};
use crate::format::template::Value;
use crate::format::time;
use crate::settings::Settings;
use crate::ui;

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const HEADINGS: [(&str, &str); 9] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

#[derive(Default)]
pub(crate) struct Ls {
    conditions: Conditions,
    format: String,
    no_trunc: bool,
    quiet: bool,
}

impl Command for Ls {
    const ABOUT: About = About::new(
        &["network ls", "network list"],
        "[OPTIONS]",
        "List networks",
        Operands::None,
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,filter", "filter", "Provide filter values (e.g. \"driver=bridge\")", &mut self.conditions);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("no-trunc", "", "Do not truncate the output", &mut self.no_trunc);
        set.add("q,quiet", "", "Only display network IDs", &mut self.quiet);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if self.format.is_empty() && !self.quiet {
            self.format = Settings::read(&call.globals.config_directory).networks_format;
        }
        let listing = Listing {
            format: if self.quiet { "{{.ID}}" } else { &self.format },
            table: TABLE,
            headings: &HEADINGS,
        };
        listing.render(&[])?;
        let client = connect(&call.globals).await?;
        let mut networks = client
            .networks(&filters(&self.conditions))
            .await
            .map_err(failure)?;
        networks.sort_by(|left, right| left.name.cmp(&right.name));
        let rows: Vec<Value> = networks.iter().map(|network| self.row(network)).collect();
        ui::out(&listing.shown(&rows, self.no_trunc)?)?;
        Ok(0)
    }
}

impl Ls {
    fn row(&self, network: &Network) -> Value {
        let labels: Vec<(String, String)> = network
            .labels
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let created = time::unix_seconds(&network.created)
            .map(time::local)
            .unwrap_or_default();
        let id = if self.no_trunc {
            &network.id
        } else {
            short_id(&network.id)
        };
        let fields = vec![
            ("ID", id.to_owned()),
            ("Name", network.name.clone()),
            ("Driver", network.driver.clone()),
            ("Scope", network.scope.clone()),
            ("IPv4", network.enable_ipv4.to_string()),
            ("IPv6", network.enable_ipv6.to_string()),
            ("Internal", network.internal.to_string()),
            ("Labels", joined(&labels)),
            ("CreatedAt", created),
        ];
        row("*network.networkContext", fields, labels)
    }
}
