//! `compose version`

use hull_compose::COMPOSE_VERSION;

use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Version {
    format: String,
    short: bool,
}

impl Command for Version {
    const ABOUT: About = About::new(
        &["compose version"],
        "[OPTIONS]",
        "Show the Docker Compose version information",
        Operands::None,
    );

    const JSON: Option<Shape> = Some(Shape::Formatted("One object: version."));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "f,format",
            "string",
            "Format the output. Values: [pretty | json]. (Default: pretty)",
            &mut self.format,
        );
        set.add(
            "short",
            "",
            "Shows only Compose's version number",
            &mut self.short,
        );
    }

    async fn run(self, _call: Call) -> Result<u8> {
        let text = match self.format.as_str() {
            _ if self.short => COMPOSE_VERSION.to_owned(),
            "json" => serde_json::json!({"version": format!("v{COMPOSE_VERSION}")}).to_string(),
            "" | "pretty" => format!(
                "Hull Compose version {}, compatible with Docker Compose v{COMPOSE_VERSION}",
                env!("CARGO_PKG_VERSION")
            ),
            other => return Err(Error::new(format!("unsupported format \"{other}\""))),
        };
        ui::line(&text)?;
        Ok(0)
    }
}
