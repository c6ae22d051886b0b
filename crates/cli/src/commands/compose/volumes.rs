//! `compose volumes`

use hull_api::Filters;

use super::project::Scene;
use crate::commands::json::{self, Shape};
use crate::commands::volume::{self, ls::volume_row};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::output::Listing;
use crate::ui;

#[derive(Default)]
pub(crate) struct Volumes {
    format: String,
    quiet: bool,
}

impl Command for Volumes {
    const ABOUT: About = About::new(
        &["compose volumes"],
        "[OPTIONS] [SERVICE...]",
        "List volumes",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Array(&volume::ls::FIELDS));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "format",
            "string",
            "Format output using a custom template",
            &mut self.format,
        );
        set.add("q,quiet", "", "Only display volume names", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::of_name(&call, &call.operands).await?;
        let mut filters = Filters::default();
        filters.add(
            "label",
            format!("com.docker.compose.project={}", scene.project.name),
        );
        let list = scene.client.volumes(&filters).await.map_err(failure)?;
        let containers = scene.containers(&call.operands, false).await?;
        let is_used = |name: &str| {
            call.operands.is_empty()
                || containers.iter().any(|container| {
                    container
                        .summary
                        .mounts
                        .iter()
                        .any(|mount| mount.name == name)
                })
        };
        let volumes: Vec<_> = list
            .volumes
            .unwrap_or_default()
            .into_iter()
            .filter(|volume| is_used(&volume.name))
            .collect();
        if call.json {
            return json::array(volumes.iter().map(volume::ls::record));
        }
        if self.quiet {
            ui::out(
                &volumes
                    .iter()
                    .map(|volume| format!("{}\n", volume.name))
                    .collect::<String>(),
            )?;
            return Ok(0);
        }
        let rows: Vec<_> = volumes.iter().map(volume_row).collect();
        let listing = Listing {
            format: if self.format == "table" {
                ""
            } else {
                &self.format
            },
            table: "{{.Driver}}\t{{.Name}}",
            headings: &[
                ("Driver", "DRIVER"),
                ("Name", "VOLUME NAME"),
                ("Scope", "SCOPE"),
                ("Mountpoint", "MOUNTPOINT"),
                ("Labels", "LABELS"),
                ("Links", "LINKS"),
                ("Size", "SIZE"),
                ("Availability", "AVAILABILITY"),
                ("Group", "GROUP"),
                ("Status", "STATUS"),
            ],
        };
        ui::out(&listing.render(&rows)?)?;
        Ok(0)
    }
}
