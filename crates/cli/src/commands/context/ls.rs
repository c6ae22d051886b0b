//! `context ls`

use super::{DEFAULT_DESCRIPTION, is_overridden, metadata};
use serde_json::Value as Json;

use crate::commands::container::ls::FORMAT;
use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::context::DEFAULT;
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::{Listing, shortened, typed_row};
use crate::format::template::Value;
use crate::settings::Settings;
use crate::ui;

const TABLE: &str =
    "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";
const HEADINGS: [(&str, &str); 5] = [
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
    ("Current", ""),
];
/// Characters an error takes at most.
const ERROR_LENGTH: usize = 45;
const OVERRIDDEN: &str = "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.";

static FIELDS: [Field; 5] = [
    Field("Name", Kind::Text, ""),
    Field("Description", Kind::Text, ""),
    Field(
        "DockerEndpoint",
        Kind::Text,
        "the daemon's address; null if it is not known",
    ),
    Field("Current", Kind::Truth, "whether it is the one in use"),
    Field("Error", Kind::Text, "why it cannot be used, if so"),
];

#[derive(Default)]
pub(crate) struct Ls {
    format: String,
    quiet: bool,
}

impl Command for Ls {
    const ABOUT: About = About::new(
        &["context ls", "context list"],
        "[OPTIONS]",
        "List contexts",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("q,quiet", "", "Only show context names", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        // Damaged settings are told, whether or not they matter now.
        Settings::read(&call.globals.config_directory);
        let current = call.globals.context_name();
        let (mut contexts, damaged) = call.globals.contexts().list();
        let damaged = damaged.map(|error| error.with_hint("mend or remove that file"));
        let damaged = match damaged {
            // Docker then lists none of them.
            Some(error) if call.globals.is_docker() => return Err(error),
            damaged => damaged,
        };
        let mut own = metadata(&call.globals, DEFAULT)?;
        DEFAULT_DESCRIPTION.clone_into(&mut own.metadata.description);
        contexts.push(own);
        contexts.sort_by(|one, other| one.name.cmp(&other.name));
        let mut lines: Vec<Line> = contexts
            .iter()
            .map(|context| Line {
                name: context.name.clone(),
                description: context.metadata.description.clone(),
                host: context.place().host,
                is_current: context.name == current,
                error: String::new(),
            })
            .collect();
        if !contexts.iter().any(|context| context.name == current)
            && let Err(error) = call.globals.contexts().get(&current)
        {
            lines.push(Line {
                name: current,
                is_current: true,
                error: error.message().to_owned(),
                ..Line::default()
            });
        }
        if call.json {
            let listed = json::array(lines.iter().map(Line::record))?;
            return damaged.map_or(Ok(listed), Err);
        }
        let rows: Vec<Value> = lines.iter().map(Line::row).collect();
        let format = match self.quiet {
            true => "{{.Name}}",
            false => &self.format,
        };
        let listing = Listing {
            format,
            table: TABLE,
            headings: &HEADINGS,
        };
        ui::out(&listing.shown(&rows, false)?)?;
        if is_overridden() {
            ui::note(OVERRIDDEN);
        }
        damaged.map_or(Ok(0), Err)
    }
}

/// A context, or one that is meant and cannot be read.
#[derive(Default)]
struct Line {
    name: String,
    description: String,
    host: String,
    is_current: bool,
    error: String,
}

impl Line {
    fn row(&self) -> Value {
        typed_row(
            "*formatter.clientContextContext",
            vec![
                ("Current", Value::Bool(self.is_current)),
                ("Description", Value::text(self.description.as_str())),
                ("DockerEndpoint", Value::text(self.host.as_str())),
                ("Error", Value::text(self.told())),
                ("Name", Value::text(self.name.as_str())),
            ],
        )
    }

    /// Docker cuts it, whatever the format.
    fn told(&self) -> String {
        match ui::explains() {
            true => self.error.clone(),
            false => shortened(&self.error, ERROR_LENGTH),
        }
    }

    fn record(&self) -> Json {
        json::row(
            &FIELDS,
            [
                self.name.as_str().into(),
                self.description.as_str().into(),
                json::known(&self.host),
                self.is_current.into(),
                json::known(&self.error),
            ],
        )
    }
}
