//! `compose down`

use hull_compose::apply::DownOptions;

use super::hold::Hold;
use super::project::{Scene, apply_failure};
use super::remote;
use super::upping::truthy;
use crate::commands::{About, Call, Command, Operands};
use crate::error::{Error, Result};
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Down {
    remove_orphans: bool,
    images: String,
    timeout: Option<i64>,
    volumes: bool,
}

impl Command for Down {
    const ABOUT: About = About::new(
        &["compose down"],
        "[OPTIONS] [SERVICES]",
        "Stop and remove containers, networks",
        Operands::AtLeast(0),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("remove-orphans", "", "Remove containers for services not defined in the Compose file", &mut self.remove_orphans);
        set.add("rmi", "string", "Remove images used by services. \"local\" remove only images that don't have a custom tag (\"local\"|\"all\")", &mut self.images);
        set.add("t,timeout", "int", "Specify a shutdown timeout in seconds", &mut self.timeout);
        set.add("v,volumes", "", "Remove named volumes declared in the \"volumes\" section of the Compose file and anonymous volumes attached to containers", &mut self.volumes);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if !matches!(self.images.as_str(), "" | "local" | "all") {
            return Err(Error::new(format!(
                "invalid value for --rmi: \"{}\"",
                self.images
            )));
        }
        let scene = Scene::to_take_away(&call, &call.operands).await?;
        if self.volumes {
            remote::check_own_volumes(&call, &scene).await?;
        }
        let _hold = Hold::of(&call, &scene).await?;
        let options = DownOptions {
            services: call.operands.clone(),
            orphans: self.remove_orphans || truthy("COMPOSE_REMOVE_ORPHANS"),
            volumes: self.volumes,
            images: self.images,
            timeout_s: self.timeout,
        };
        scene.engine().down(&options).await.map_err(apply_failure)?;
        super::provider::withdraw(&call.globals, &scene, &call.operands)?;
        Ok(0)
    }
}
