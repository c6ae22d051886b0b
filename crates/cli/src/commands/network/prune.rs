//! `network prune`

use crate::commands::container::prune::deleted_list;
use crate::commands::filters::{Conditions, filters};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Prune {
    conditions: Conditions,
    force: bool,
}

impl Command for Prune {
    const ABOUT: About = About::new(
        &["network prune"],
        "[OPTIONS]",
        "Remove all unused networks",
        Operands::None,
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")", &mut self.conditions);
        set.add("f,force", "", "Do not prompt for confirmation", &mut self.force);
    }

    async fn run(self, call: Call) -> Result<u8> {
        const QUESTION: &str = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?";
        if !self.force && !ui::confirm(QUESTION)? {
            return Err(Error::Silent(0));
        }
        let client = connect(&call.globals).await?;
        let pruned = client
            .networks_prune(&filters(&self.conditions))
            .await
            .map_err(failure)?;
        ui::out(&deleted_list(
            "Deleted Networks:",
            &pruned.networks_deleted.unwrap_or_default(),
        ))?;
        Ok(0)
    }
}
