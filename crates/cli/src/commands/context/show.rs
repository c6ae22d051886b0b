//! `context show`

use crate::commands::{About, Call, Command, Operands};
use crate::error::Result;
use crate::ui;

#[derive(Default)]
pub(crate) struct Show;

impl Command for Show {
    const ABOUT: About = About::new(
        &["context show"],
        "",
        "Print the name of the current context",
        Operands::None,
    );

    async fn run(self, call: Call) -> Result<u8> {
        ui::line(&call.globals.context_name())?;
        Ok(0)
    }
}
