//! `context ls`

use super::{DEFAULT_DESCRIPTION, is_overridden, metadata};
use crate::commands::container::ls::FORMAT;
use crate::commands::{About, Call, Command, Operands};
use crate::context::DEFAULT;
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::{Listing, typed_row};
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
const OVERRIDDEN: &str = "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.";

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

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("format", "string", FORMAT, &mut self.format);
        set.add("q,quiet", "", "Only show context names", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        // Damaged settings are told, whether or not they matter now.
        Settings::read(&call.globals.config_directory);
        let current = call.globals.context_name();
        let mut contexts = call.globals.contexts().list();
        let mut own = metadata(&call.globals, DEFAULT)?;
        DEFAULT_DESCRIPTION.clone_into(&mut own.metadata.description);
        contexts.push(own);
        contexts.sort_by(|one, other| one.name.cmp(&other.name));
        let mut rows: Vec<Value> = contexts
            .iter()
            .map(|context| {
                row(
                    &context.name,
                    &context.metadata.description,
                    &context.place().host,
                    context.name == current,
                    "",
                )
            })
            .collect();
        if !contexts.iter().any(|context| context.name == current)
            && let Err(error) = call.globals.contexts().get(&current)
        {
            rows.push(row(&current, "", "", true, error.message()));
        }
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
        Ok(0)
    }
}

fn row(name: &str, description: &str, host: &str, is_current: bool, error: &str) -> Value {
    typed_row(
        "*formatter.clientContextContext",
        vec![
            ("Current", Value::Bool(is_current)),
            ("Description", Value::text(description)),
            ("DockerEndpoint", Value::text(host)),
            ("Error", Value::text(error)),
            ("Name", Value::text(name)),
        ],
    )
}
