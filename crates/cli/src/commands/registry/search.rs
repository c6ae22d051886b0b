//! `search`

use hull_api::types::ImageSearchItem;
use serde_json::Value as Json;

use crate::commands::filters::{Conditions, filters};
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::{Listing, row, shortened};
use crate::format::template::Value;
use crate::settings::{DOCKER_HUB, Settings};
use crate::ui;

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const HEADINGS: [(&str, &str); 5] = [
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];
/// Characters of a description at most.
const DESCRIPTION_LENGTH: usize = 45;

static FIELDS: [Field; 5] = [
    Field("Name", Kind::Text, ""),
    Field("Description", Kind::Text, "whole"),
    Field("StarCount", Kind::Number, ""),
    Field("IsOfficial", Kind::Truth, ""),
    Field("IsAutomated", Kind::Truth, ""),
];

#[derive(Default)]
pub(crate) struct Search {
    conditions: Conditions,
    format: String,
    limit: i64,
    no_trunc: bool,
}

impl Command for Search {
    const ABOUT: About = About::new(
        &["search"],
        "[OPTIONS] TERM",
        "Search Docker Hub for images",
        Operands::Exactly(1),
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,filter", "filter", "Filter output based on conditions provided", &mut self.conditions);
        set.add("format", "string", "Pretty-print search using a Go template", &mut self.format);
        set.add("limit", "int", "Max number of search results", &mut self.limit);
        set.add("no-trunc", "", "Don't truncate output", &mut self.no_trunc);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let listing = Listing {
            format: &self.format,
            table: TABLE,
            headings: &HEADINGS,
        };
        listing.render(&[])?;
        let term = call.operand(0);
        let settings = Settings::read(&call.globals.config_directory);
        let auth = settings.credentials(registry_of(term));
        let client = connect(&call.globals).await?;
        let found = client
            .images_search(term, self.limit, &filters(&self.conditions), auth.as_ref())
            .await
            .map_err(failure)?;
        if call.json {
            return json::array(found.iter().map(record));
        }
        let rows: Vec<Value> = found.iter().map(|item| self.row(item)).collect();
        ui::out(&listing.shown(&rows, self.no_trunc)?)?;
        Ok(0)
    }
}

/// What was found, for programs.
fn record(item: &ImageSearchItem) -> Json {
    json::row(
        &FIELDS,
        [
            item.name.as_str().into(),
            item.description.as_str().into(),
            item.star_count.into(),
            item.is_official.into(),
            item.is_automated.into(),
        ],
    )
}

impl Search {
    fn row(&self, item: &ImageSearchItem) -> Value {
        let description = item.description.replace(['\n', '\r'], " ");
        let description = match self.no_trunc {
            true => description,
            false => shortened(&description, DESCRIPTION_LENGTH),
        };
        let marked = |is_so: bool| if is_so { "[OK]" } else { "" }.to_owned();
        let fields = vec![
            ("Name", item.name.clone()),
            ("Description", description),
            ("StarCount", item.star_count.to_string()),
            ("IsOfficial", marked(item.is_official)),
            ("IsAutomated", marked(item.is_automated)),
        ];
        row("*formatter.searchContext", fields, Vec::new())
    }
}

/// The key of the credentials for the registry a term names.
fn registry_of(term: &str) -> &str {
    match term.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DOCKER_HUB,
    }
}
