//! `builder prune`

use hull_api::client::BuildPruneOptions;

use crate::commands::container::prune::{deleted_list, reclaimed};
use crate::commands::filters::{Conditions, filters};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, One};
use crate::options::number::Bytes;
use crate::ui;

#[derive(Default)]
pub(crate) struct Prune {
    all: bool,
    conditions: Conditions,
    force: bool,
    keep_storage: One<Bytes>,
}

impl Command for Prune {
    const ABOUT: About = About::new(&["builder prune"], "", "Remove build cache", Operands::None);

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Remove all unused build cache, not just dangling ones", &mut self.all);
        set.add("filter", "filter", "Provide filter values (e.g. \"until=24h\")", &mut self.conditions);
        set.add("f,force", "", "Do not prompt for confirmation", &mut self.force);
        set.add("keep-storage", "bytes", "Amount of disk space to keep for cache", &mut self.keep_storage);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let what = if self.all {
            "all build cache"
        } else {
            "all dangling build cache"
        };
        let question =
            format!("WARNING! This will remove {what}. Are you sure you want to continue?");
        if !self.force && !ui::confirm(&question)? {
            return Err(Error::new("builder prune has been cancelled"));
        }
        let client = connect(&call.globals).await?;
        let options = BuildPruneOptions {
            all: self.all,
            keep_storage: self.keep_storage.0.map_or(0, |bytes| bytes.0),
            filters: filters(&self.conditions),
        };
        let pruned = client.build_prune(&options).await.map_err(failure)?;
        ui::out(&deleted_list(
            "Deleted build cache objects:",
            &pruned.caches_deleted.unwrap_or_default(),
        ))?;
        ui::line(&reclaimed(pruned.space_reclaimed))?;
        Ok(0)
    }
}
