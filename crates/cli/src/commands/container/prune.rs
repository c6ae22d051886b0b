//! `container prune`

use crate::commands::filters::{Conditions, filters};
use crate::commands::stakes::{self, Outlook, Stakes};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::size;
use crate::ui;

#[derive(Default)]
pub(crate) struct Prune {
    conditions: Conditions,
    force: bool,
}

impl Command for Prune {
    const ABOUT: About = About::new(
        &["container prune"],
        "[OPTIONS]",
        "Remove all stopped containers",
        Operands::None,
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")", &mut self.conditions);
        set.add("f,force", "", "Do not prompt for confirmation", &mut self.force);
    }

    async fn run(self, call: Call) -> Result<u8> {
        const QUESTION: &str =
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";
        if !self.force {
            let stakes = Stakes {
                containers: true,
                ..Stakes::default()
            };
            let outlook = stakes::tell(&call, stakes, !self.conditions.0.is_empty()).await?;
            if outlook == Outlook::Nothing {
                return Ok(0);
            }
        }
        if !self.force && !ui::confirm(QUESTION)? {
            return Err(crate::error::Error::Silent(0));
        }
        let client = connect(&call.globals).await?;
        let pruned = client
            .containers_prune(&filters(&self.conditions))
            .await
            .map_err(failure)?;
        let deleted = pruned.containers_deleted.unwrap_or_default();
        ui::out(&deleted_list("Deleted Containers:", &deleted))?;
        ui::line(&reclaimed(pruned.space_reclaimed))?;
        Ok(0)
    }
}

/// What was deleted, under a heading; nothing for nothing.
pub(crate) fn deleted_list(heading: &str, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    format!("{heading}\n{}\n\n", names.join("\n"))
}

/// `Total reclaimed space: 0B`
pub(crate) fn reclaimed(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let text = size::decimal_long(bytes as f64);
    format!("Total reclaimed space: {text}")
}
