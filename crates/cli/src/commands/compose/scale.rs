//! `compose scale`

use super::hold::Hold;
use super::project::{Scene, apply_failure};
use super::upping::{Making, scale};
use crate::commands::{About, Call, Command, Operands};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Scale {
    no_deps: bool,
}

impl Command for Scale {
    const ABOUT: About = About::new(
        &["compose scale"],
        "[OPTIONS] [SERVICE=REPLICAS...]",
        "Scale services",
        Operands::AtLeast(1),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "no-deps",
            "",
            "Don't start linked services",
            &mut self.no_deps,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let names: Vec<String> = call
            .operands
            .iter()
            .map(|text| text.split('=').next().unwrap_or(text).to_owned())
            .collect();
        let options = Making::default().options(&names)?;
        let mut scene = Scene::of_confirmed_files(&call, &names).await?;
        let _hold = Hold::of(&call, &scene).await?;
        scene.project.select(&names, !self.no_deps);
        super::provider::provide(&call.globals, &mut scene)?;
        scale(&mut scene.project, &call.operands)?;
        if call.globals.compose.is_dry_run() {
            let engine = scene.engine();
            engine.rehearse_up(&options).await.map_err(apply_failure)?;
            return Ok(0);
        }
        scene
            .engine()
            .create_all(&options)
            .await
            .map_err(apply_failure)?;
        scene.engine().start().await.map_err(apply_failure)?;
        Ok(0)
    }
}
