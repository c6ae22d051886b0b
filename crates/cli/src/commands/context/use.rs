//! `context use`

use super::is_overridden;
use crate::commands::{About, Call, Command, Operands};
use crate::context::DEFAULT;
use crate::context::store::check_name;
use crate::error::Result;
use crate::settings::Settings;
use crate::ui;

#[derive(Default)]
pub(crate) struct Use;

impl Command for Use {
    const ABOUT: About = About::new(
        &["context use"],
        "CONTEXT",
        "Set the current docker context",
        Operands::Plainly(1),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let name = call.operand(0);
        if name != DEFAULT {
            check_name(name)?;
            call.globals.contexts().get(name)?;
        }
        Settings::read(&call.globals.config_directory).edit(|document| match name {
            DEFAULT => document.remove("currentContext"),
            name => document.set("currentContext", &name),
        })?;
        ui::line(name)?;
        ui::note(&format!("Current context is now \"{name}\""));
        if name != DEFAULT && is_overridden() {
            ui::note(&format!(
                "Warning: DOCKER_HOST environment variable overrides the active context. To use \"{name}\", either set the global --context flag, or unset DOCKER_HOST environment variable."
            ));
        }
        Ok(0)
    }
}
