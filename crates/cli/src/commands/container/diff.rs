//! `container diff`

use crate::commands::json::{self, Field, Kind, Shape};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::ui;

static FIELDS: [Field; 2] = [
    Field("Path", Kind::Text, ""),
    Field("Kind", Kind::Text, "changed, added or deleted"),
];

#[derive(Default)]
pub(crate) struct Diff;

impl Command for Diff {
    const ABOUT: About = About::new(
        &["container diff", "diff"],
        "CONTAINER",
        "Inspect changes to files or directories on a container's filesystem",
        Operands::Exactly(1),
    );

    const JSON: Option<Shape> = Some(Shape::Array(&FIELDS));

    async fn run(self, call: Call) -> Result<u8> {
        if call.operand(0).is_empty() {
            return Err(Error::new("Container name cannot be empty"));
        }
        let client = connect(&call.globals).await?;
        let changes = client
            .container_changes(call.operand(0))
            .await
            .map_err(failure)?;
        if call.json {
            let words = ["changed", "added", "deleted"];
            let kind = |kind| words.get(usize::from(kind)).copied();
            let rows = changes.iter().map(|change| {
                json::row(
                    &FIELDS,
                    [change.path.as_str().into(), kind(change.kind).into()],
                )
            });
            return json::array(rows);
        }
        let lines = changes.iter().map(|change| {
            let kind = match change.kind {
                0 => "C",
                1 => "A",
                _ => "D",
            };
            format!("{kind} {}\n", change.path)
        });
        ui::out(&lines.collect::<String>())?;
        Ok(0)
    }
}
