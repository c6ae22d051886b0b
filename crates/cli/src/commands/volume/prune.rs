//! `volume prune`

use crate::commands::container::prune::{deleted_list, reclaimed};
use crate::commands::filters::{Conditions, filters};
use crate::commands::stakes::{self, Extent, Outlook, Stakes};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Prune {
    all: bool,
    conditions: Conditions,
    force: bool,
}

impl Command for Prune {
    const ABOUT: About = About::new(
        &["volume prune"],
        "[OPTIONS]",
        "Remove unused local volumes",
        Operands::None,
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Remove all unused volumes, not just anonymous ones", &mut self.all);
        set.add("filter", "filter", "Provide filter values (e.g. \"label=<label>\")", &mut self.conditions);
        set.add("f,force", "", "Do not prompt for confirmation", &mut self.force);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let question = match self.all {
            true => {
                "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?"
            }
            false => {
                "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?"
            }
        };
        if !self.force {
            let stakes = Stakes {
                volumes: Extent::of(self.all || filters(&self.conditions).contains("all")),
                ..Stakes::default()
            };
            let outlook = stakes::tell(&call, stakes, !self.conditions.0.is_empty()).await?;
            if outlook == Outlook::Nothing {
                return Ok(0);
            }
        }
        if !self.force && !ui::confirm(question)? {
            return Err(Error::Silent(0));
        }
        let mut wanted = filters(&self.conditions);
        if self.all {
            if wanted.contains("all") {
                return Err(Error::new(
                    "conflicting options: cannot specify both --all and --filter all=1",
                ));
            }
            wanted.add("all", "true");
        }
        let client = connect(&call.globals).await?;
        let pruned = client.volumes_prune(&wanted).await.map_err(failure)?;
        ui::out(&deleted_list(
            "Deleted Volumes:",
            &pruned.volumes_deleted.unwrap_or_default(),
        ))?;
        ui::line(&reclaimed(pruned.space_reclaimed))?;
        Ok(0)
    }
}
