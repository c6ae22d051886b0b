//! `container top`

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::format::tabwriter::align_with;
use crate::ui;

#[derive(Default)]
pub(crate) struct Top;

impl Command for Top {
    const ABOUT: About = About::new(
        &["container top", "top"],
        "CONTAINER [ps OPTIONS]",
        "Display the running processes of a container",
        Operands::AtLeast(1),
    )
    .flags_first();

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let options = call.operands.get(1..).unwrap_or_default().join(" ");
        let top = client
            .container_top(call.operand(0), &options)
            .await
            .map_err(failure)?;
        let lines = std::iter::once(&top.titles).chain(&top.processes);
        let text: String = lines.map(|cells| cells.join("\t") + "\n").collect();
        ui::out(&align_with(&text, 20, 3))?;
        Ok(0)
    }
}
