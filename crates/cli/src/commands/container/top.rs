//! `container top`: the processes of one; `top` alone: all containers, live.

use serde_json::Value as Json;

use super::live;
use crate::commands::json::{self, Shape};
use crate::commands::{About, Call, Command, Operands, check_operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::format::output::shortened;
use crate::format::tabwriter::align_with;
use crate::terminal;
use crate::ui;

#[derive(Default)]
pub(crate) struct Top;

/// What Docker's command takes.
const STRICT: About = About::new(
    &["container top", "top"],
    "CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
    Operands::AtLeast(1),
);

impl Command for Top {
    const ABOUT: About = About::new(
        STRICT.names,
        STRICT.usage,
        STRICT.summary,
        Operands::AtLeast(0),
    )
    .flags_first();

    const JSON: Option<Shape> = Some(Shape::Told(
        "One array of objects, one for each process. Their fields are named as the columns of ps (PID, CMD, …), their values are its\ntexts.",
    ));

    const MORE: &'static str = "Without a container: all of them on the whole screen, live, with what they use.\nKeys: arrows (or k, j) choose, l or Enter shows the log, s stops or starts, r restarts, p pauses or goes on,\nx kills, d removes, a shows the ended ones or not, q leaves.";

    async fn run(self, call: Call) -> Result<u8> {
        if call.operands.is_empty() && call.globals.is_docker() {
            check_operands(
                &call.name,
                &STRICT,
                &call.operands,
                call.globals.program.name(),
            )?;
        }
        let client = connect(&call.globals).await?;
        if call.operands.is_empty() && call.json {
            return Err(
                Error::new("--json needs a container: all of them are shown live")
                    .with_hint("`hull stats --json` prints figures of all, as they come"),
            );
        }
        if call.operands.is_empty() {
            return live::show(&client).await;
        }
        let options = call.operands.get(1..).unwrap_or_default().join(" ");
        let top = client
            .container_top(call.operand(0), &options)
            .await
            .map_err(failure)?;
        if call.json {
            let process = |cells: &Vec<String>| -> Json {
                let named = top.titles.iter().zip(cells);
                let named = named.map(|(title, cell)| (title.clone(), Json::from(cell.as_str())));
                Json::Object(named.collect())
            };
            return json::array(top.processes.iter().map(process));
        }
        let lines = std::iter::once(&top.titles).chain(&top.processes);
        let text: String = lines.map(|cells| cells.join("\t") + "\n").collect();
        ui::out(&fitting(&text))?;
        Ok(0)
    }
}

/// Docker's wide columns; on a terminal that has no room for them closer together, and what is last, the command, cut.
fn fitting(text: &str) -> String {
    let wide = align_with(text, 20, 3);
    let columns = terminal::size().map_or(usize::MAX, |(_, columns)| usize::from(columns));
    match wide.lines().all(|line| line.chars().count() <= columns) {
        true => wide,
        false => {
            let close = align_with(text, 0, 2);
            let lines = close.lines().map(|line| shortened(line, columns) + "\n");
            lines.collect()
        }
    }
}
