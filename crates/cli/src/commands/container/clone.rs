//! `container clone`: a copy of a container, with something changed.

use super::creation::CreationFlags;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

const PULL: &str =
    "Pull image before creating (\"always\", \"missing\", \"never\") (default \"missing\")";

#[derive(Default)]
pub(crate) struct Clone {
    creation: CreationFlags,
    start: bool,
}

impl Command for Clone {
    const ABOUT: About = About::new(
        &["container clone"],
        "[OPTIONS] CONTAINER [NAME]",
        "Create a container like another one, with what the flags change",
        Operands::Between(1, 2),
    )
    .described(
        "Create a container like another one, with what the flags change.\nWhat lists hold is added to; a command, ports and single values are replaced. Volumes are shared, and secrets\nthat are kept sealed; what was written into the container itself is not copied: see 'commit'.",
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        self.creation.flags(set, PULL);
        set.add("start", "", "Start it, too", &mut self.start);
    }

    async fn run(mut self, call: Call) -> Result<u8> {
        if !call.operand(1).is_empty() {
            if call.has("name") {
                return Err(Error::new("conflicting options: the name is given twice"));
            }
            call.operand(1).clone_into(self.creation.name_mut());
        }
        let client = connect(&call.globals).await?;
        let model = client.container(call.operand(0)).await.map_err(failure)?;
        let body = self.creation.body_like(&call, &model, &[])?;
        let id = self
            .creation
            .create_like(&call, &client, &body, call.operand(0))
            .await?;
        if self.start {
            client.container_start(&id).await.map_err(|error| {
                failure(error).with_hint(format!(
                    "the copy is there: change it, or remove it with `hull rm {}`",
                    &id[..12.min(id.len())]
                ))
            })?;
        }
        ui::line(&id)?;
        Ok(0)
    }
}
