//! `compose create`

use super::build::build_missing;
use super::hold::Hold;
use super::project::{Scene, apply_failure, loaded};
use super::remote;
use super::upping::{Making, scale};
use crate::commands::{About, Call, Command, Operands};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Create {
    making: Making,
}

impl Command for Create {
    const ABOUT: About = About::new(
        &["compose create"],
        "[OPTIONS] [SERVICE...]",
        "Creates containers for a service",
        Operands::AtLeast(0),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        self.making.flags(set);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let options = self.making.options(&call.operands)?;
        let loaded = loaded(&call, &call.operands)?;
        let mut scene = Scene::of_loaded(&call, &loaded).await?;
        remote::confirm(&call, &loaded, &scene, self.making.yes).await?;
        let _hold = Hold::of(&call, &scene).await?;
        scene.project.select(&call.operands, true);
        super::provider::provide(&call.globals, &mut scene)?;
        scale(&mut scene.project, &self.making.scale)?;
        if !self.making.no_build {
            let manner = (self.making.build, self.making.quiet_build);
            build_missing(&call, &scene, &options, manner).await?;
        }
        scene
            .engine()
            .create_all(&options)
            .await
            .map_err(apply_failure)?;
        Ok(0)
    }
}
