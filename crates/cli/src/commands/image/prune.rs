//! `image prune`

use hull_api::types::ImagePrune;

use crate::commands::container::prune::reclaimed;
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
        &["image prune"],
        "[OPTIONS]",
        "Remove unused images",
        Operands::None,
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Remove all unused images, not just dangling ones", &mut self.all);
        set.add("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")", &mut self.conditions);
        set.add("f,force", "", "Do not prompt for confirmation", &mut self.force);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let question = match self.all {
            true => {
                "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?"
            }
            false => {
                "WARNING! This will remove all dangling images.\nAre you sure you want to continue?"
            }
        };
        if !self.force {
            let stakes = Stakes {
                images: Extent::of(self.all),
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
        wanted.add("dangling", if self.all { "false" } else { "true" });
        let client = connect(&call.globals).await?;
        let pruned = client.images_prune(&wanted).await.map_err(failure)?;
        ui::out(&deleted(&pruned))?;
        ui::line(&reclaimed(pruned.space_reclaimed))?;
        Ok(0)
    }
}

/// What was deleted, under a heading; nothing for nothing.
pub(crate) fn deleted(pruned: &ImagePrune) -> String {
    let items = pruned.images_deleted.as_deref().unwrap_or_default();
    if items.is_empty() {
        return String::new();
    }
    let lines = items.iter().map(|item| match item.untagged.as_str() {
        "" => format!("deleted: {}\n", item.deleted),
        name => format!("untagged: {name}\n"),
    });
    format!("Deleted Images:\n{}\n", lines.collect::<String>())
}
