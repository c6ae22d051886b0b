//! `compose images`

use serde::Serialize;

use super::project::{Scene, printed};
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::format::output::short_id;
use crate::format::size;
use crate::format::tabwriter::align_with;
use crate::format::time;
use crate::ui;

/// Go's time that is none.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Default)]
pub(crate) struct Images {
    format: String,
    quiet: bool,
}

impl Command for Images {
    const ABOUT: About = About::new(
        &["compose images"],
        "[OPTIONS] [SERVICE...]",
        "List images used by the created containers",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Formatted(
        "One array of objects: ID, ContainerName, Repository, Tag, Platform, Size (bytes) and Created (a time).",
    ));

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "format",
            "string",
            "Format the output. Values: [table | json] (default \"table\")",
            &mut self.format,
        );
        set.add("q,quiet", "", "Only display IDs", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::of_name(&call, &call.operands).await?;
        let containers = scene.containers(&call.operands, false).await?;
        let mut rows = Vec::new();
        for container in &containers {
            let image = scene
                .client
                .image(&container.summary.image_id)
                .await
                .map_err(failure)?;
            let name = container.summary.image.as_str();
            let (repository, tag) = match name.rsplit_once(':') {
                Some((repository, tag)) if !tag.contains('/') => (repository, tag),
                _ => (name, "latest"),
            };
            rows.push(Row {
                container_name: container.name().to_owned(),
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                platform: [image.os, image.architecture, image.variant]
                    .iter()
                    .filter(|part| !part.is_empty())
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("/"),
                id: image.id,
                size: image.size,
                last_tag_time: match image.metadata.last_tag_time {
                    time if time.is_empty() => NEVER.to_owned(),
                    time => time,
                },
            });
        }
        ui::out(&self.text(&rows)?)?;
        Ok(0)
    }
}

/// An image for programs, with its keys in Docker's order.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "ID")]
    id: String,
    container_name: String,
    repository: String,
    tag: String,
    platform: String,
    size: i64,
    last_tag_time: String,
}

impl Images {
    fn text(&self, rows: &[Row]) -> Result<String> {
        if self.quiet {
            let mut ids: Vec<&str> = rows
                .iter()
                .map(|row| row.id.split_once(':').map_or(row.id.as_str(), |(_, id)| id))
                .collect();
            ids.sort_unstable();
            ids.dedup();
            return Ok(ids.iter().map(|id| format!("{id}\n")).collect());
        }
        match self.format.as_str() {
            // Docker's ends with an empty line.
            "json" => Ok(format!("{}\n\n", printed(&rows))),
            "" | "table" => {
                let mut text =
                    "CONTAINER\tREPOSITORY\tTAG\tPLATFORM\tIMAGE ID\tSIZE\tCREATED\n".to_owned();
                for row in rows {
                    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
                    let size = size::decimal(row.size as f64);
                    let created = match row.last_tag_time.as_str() {
                        NEVER => "N/A".to_owned(),
                        time => time::unix_seconds(time).map_or_else(|| "N/A".into(), time::ago),
                    };
                    let id = short_id(&row.id);
                    text.push_str(&format!(
                        "{}\t{}\t{}\t{}\t{id}\t{size}\t{created}\n",
                        row.container_name, row.repository, row.tag, row.platform
                    ));
                }
                Ok(align_with(&text, 20, 3))
            }
            other => Err(Error::new(format!("unsupported format \"{other}\""))),
        }
    }
}
