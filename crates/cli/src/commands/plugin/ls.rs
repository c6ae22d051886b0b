//! `plugin ls`

use hull_api::types::Plugin;
use serde_json::Value as Json;

use crate::commands::container::ls::FORMAT;
use crate::commands::filters::{Conditions, filters};
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::{Listing, short_id, shortened, typed_row};
use crate::format::template::Value;
use crate::settings::Settings;
use crate::ui;

const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Description}}\t{{.Enabled}}";
const HEADINGS: [(&str, &str); 5] = [
    ("ID", "ID"),
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("Enabled", "ENABLED"),
    ("PluginReference", ""),
];
/// Characters of a description at most.
const DESCRIPTION_LENGTH: usize = 45;

static FIELDS: [Field; 5] = [
    Field("ID", Kind::Text, "all its digits"),
    Field("Name", Kind::Text, ""),
    Field("Description", Kind::Text, "whole"),
    Field("Enabled", Kind::Truth, ""),
    Field("PluginReference", Kind::Text, "where it came from"),
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
        &["plugin ls", "plugin list"],
        "[OPTIONS]",
        "List plugins",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,filter", "filter", "Provide filter values (e.g. \"enabled=true\")", &mut self.conditions);
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("no-trunc", "", "Don't truncate output", &mut self.no_trunc);
        set.add("q,quiet", "", "Only display plugin IDs", &mut self.quiet);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if self.format.is_empty() && !self.quiet && !call.json {
            self.format = Settings::read(&call.globals.config_directory).plugins_format;
        }
        let listing = Listing {
            format: if self.quiet { "{{.ID}}" } else { &self.format },
            table: TABLE,
            headings: &HEADINGS,
        };
        listing.render(&[])?;
        let client = connect(&call.globals).await?;
        let wanted = filters(&self.conditions);
        let mut plugins = client.plugins(&wanted).await.map_err(failure)?;
        plugins.sort_by(|left, right| left.name.cmp(&right.name));
        if call.json {
            return json::array(plugins.iter().map(record));
        }
        let rows: Vec<Value> = plugins.iter().map(|plugin| self.row(plugin)).collect();
        ui::out(&listing.shown(&rows, self.no_trunc)?)?;
        Ok(0)
    }
}

impl Ls {
    fn row(&self, plugin: &Plugin) -> Value {
        let description = plugin.config.description.replace(['\n', '\r'], " ");
        let (id, description) = match self.no_trunc {
            true => (plugin.id.as_str(), description),
            false => (
                short_id(&plugin.id),
                shortened(&description, DESCRIPTION_LENGTH),
            ),
        };
        typed_row(
            "*plugin.pluginContext",
            vec![
                ("ID", Value::text(id)),
                ("Name", Value::text(plugin.name.as_str())),
                ("Description", Value::text(description)),
                ("Enabled", Value::Bool(plugin.enabled)),
                (
                    "PluginReference",
                    Value::text(plugin.plugin_reference.as_str()),
                ),
            ],
        )
    }
}

/// A plugin, for programs.
fn record(plugin: &Plugin) -> Json {
    json::row(
        &FIELDS,
        [
            plugin.id.as_str().into(),
            plugin.name.as_str().into(),
            plugin.config.description.as_str().into(),
            plugin.enabled.into(),
            json::known(&plugin.plugin_reference),
        ],
    )
}
