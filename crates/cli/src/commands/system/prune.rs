//! `system prune`

use hull_api::client::BuildPruneOptions;

use crate::commands::container::prune::{deleted_list, reclaimed};
use crate::commands::filters::{Conditions, filters};
use crate::commands::image::prune::deleted;
use crate::commands::stakes::{self, Extent, Stakes};
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
    volumes: bool,
}

impl Command for Prune {
    const ABOUT: About = About::new(
        &["system prune"],
        "[OPTIONS]",
        "Remove unused data",
        Operands::None,
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Remove all unused images not just dangling ones", &mut self.all);
        set.add("filter", "filter", "Provide filter values (e.g. \"label=<key>=<value>\")", &mut self.conditions);
        set.add("f,force", "", "Do not prompt for confirmation", &mut self.force);
        set.add("volumes", "", "Prune anonymous volumes", &mut self.volumes);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if self.volumes
            && self
                .conditions
                .0
                .iter()
                .any(|condition| condition.key == "until")
        {
            return Err(Error::new(
                "ERROR: The \"until\" filter is not supported with \"--volumes\"",
            ));
        }
        if !self.force {
            let stakes = Stakes {
                containers: true,
                images: Extent::of(self.all),
                volumes: match self.volumes {
                    true => Extent::Nameless,
                    false => Extent::Nothing,
                },
                more: true,
            };
            stakes::tell(&call, stakes, !self.conditions.0.is_empty()).await?;
        }
        if !self.force && !ui::confirm(&self.question())? {
            return Err(Error::Silent(0));
        }
        let client = connect(&call.globals).await?;
        let wanted = filters(&self.conditions);
        let containers = client.containers_prune(&wanted).await.map_err(failure)?;
        ui::out(&deleted_list(
            "Deleted Containers:",
            &containers.containers_deleted.unwrap_or_default(),
        ))?;
        let mut space = containers.space_reclaimed;
        let networks = client.networks_prune(&wanted).await.map_err(failure)?;
        ui::out(&deleted_list(
            "Deleted Networks:",
            &networks.networks_deleted.unwrap_or_default(),
        ))?;
        if self.volumes {
            let volumes = client.volumes_prune(&wanted).await.map_err(failure)?;
            ui::out(&deleted_list(
                "Deleted Volumes:",
                &volumes.volumes_deleted.unwrap_or_default(),
            ))?;
            space += volumes.space_reclaimed;
        }
        let mut of_images = wanted;
        of_images.add("dangling", if self.all { "false" } else { "true" });
        let images = client.images_prune(&of_images).await.map_err(failure)?;
        ui::out(&deleted(&images))?;
        space += images.space_reclaimed;
        space += self.build_cache(&client).await?;
        ui::line(&reclaimed(space))?;
        Ok(0)
    }
}

impl Prune {
    /// Takes unused build cache away, and tells of it; the bytes freed.
    async fn build_cache(&self, client: &hull_api::Client) -> Result<u64> {
        let mut wanted = filters(&self.conditions);
        wanted.remove("label");
        wanted.remove("label!");
        let options = BuildPruneOptions {
            all: self.all,
            keep_storage: 0,
            filters: wanted,
        };
        let pruned = client.build_prune(&options).await.map_err(failure)?;
        ui::out(&deleted_list(
            "Deleted build cache objects:",
            &pruned.caches_deleted.unwrap_or_default(),
        ))?;
        Ok(pruned.space_reclaimed)
    }

    fn question(&self) -> String {
        let mut lines = vec![
            "all stopped containers",
            "all networks not used by at least one container",
        ];
        if self.volumes {
            lines.push("all anonymous volumes not used by at least one container");
        }
        lines.push(match self.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        });
        lines.push(match self.all {
            true => "all build cache",
            false => "unused build cache",
        });
        let list: String = lines.iter().map(|line| format!("  - {line}\n")).collect();
        let conditions: String = self
            .conditions
            .0
            .iter()
            .map(|condition| format!("  - {}={}\n", condition.key, condition.value))
            .collect();
        let filtered = match conditions.is_empty() {
            true => String::new(),
            false => format!("\n  Items to be pruned will be filtered with:\n{conditions}"),
        };
        format!("WARNING! This will remove:\n{list}{filtered}\nAre you sure you want to continue?")
    }
}
