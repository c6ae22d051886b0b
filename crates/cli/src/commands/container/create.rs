//! `container create`

use super::creation::{CreationFlags, OPERANDS, USAGE};
use crate::commands::{About, Call, Command};
use crate::connection::connect;
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui;

/// Docker's words, with its slip.
const PULL: &str =
    "Pull image before creating (\"always\", \"|missing\", \"never\") (default \"missing\")";

#[derive(Default)]
pub(crate) struct Create {
    creation: CreationFlags,
}

impl Command for Create {
    const ABOUT: About = About::new(
        &["container create", "create"],
        USAGE,
        "Create a new container",
        OPERANDS,
    )
    .flags_first();

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        self.creation.flags(set, PULL);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let body = self
            .creation
            .body(&call)
            .map_err(|error| call.before_run(error))?;
        let client = connect(&call.globals).await?;
        let id = self.creation.create(&call, &client, &body).await?;
        ui::line(&id)?;
        Ok(0)
    }
}
