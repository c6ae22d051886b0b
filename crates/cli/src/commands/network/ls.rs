//! `network ls`

use hull_api::types::Network;
use serde_json::Value as Json;

use crate::commands::container::ls::FORMAT;
use crate::commands::filters::{Conditions, filters};
use crate::commands::json::{self, Field, Kind, Shape};
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

static FIELDS: [Field; 9] = [
    Field("ID", Kind::Text, "all its digits"),
    Field("Name", Kind::Text, ""),
    Field("Driver", Kind::Text, ""),
    Field("Scope", Kind::Text, "local"),
    Field("IPv4", Kind::Truth, "whether it has addresses of this kind"),
    Field("IPv6", Kind::Truth, "the same"),
    Field("Internal", Kind::Truth, "whether it leads nowhere else"),
    Field("Labels", Kind::Map, ""),
    Field("CreatedAt", Kind::Time, ""),
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

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,filter", "filter", "Provide filter values (e.g. \"driver=bridge\")", &mut self.conditions);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("no-trunc", "", "Do not truncate the output", &mut self.no_trunc);
        set.add("q,quiet", "", "Only display network IDs", &mut self.quiet);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if self.format.is_empty() && !self.quiet && !call.json {
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
        if call.json {
            return json::array(networks.iter().map(record));
        }
        let rows: Vec<Value> = networks.iter().map(|network| self.row(network)).collect();
        ui::out(&listing.shown(&rows, self.no_trunc)?)?;
        Ok(0)
    }
}

/// A network in a list, for programs.
fn record(network: &Network) -> Json {
    json::row(
        &FIELDS,
        [
            network.id.as_str().into(),
            network.name.as_str().into(),
            network.driver.as_str().into(),
            network.scope.as_str().into(),
            network.enable_ipv4.into(),
            network.enable_ipv6.into(),
            network.internal.into(),
            json::map(network.labels.as_ref()),
            json::time(&network.created),
        ],
    )
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
