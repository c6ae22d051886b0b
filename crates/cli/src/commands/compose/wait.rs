//! `compose wait`

use hull_compose::apply::DownOptions;

use super::project::{Scene, apply_failure};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Wait {
    down_project: bool,
}

impl Command for Wait {
    const ABOUT: About = About::new(
        &["compose wait"],
        "SERVICE [SERVICE...] [OPTIONS]",
        "Block until containers of all (or specified) services stop.",
        Operands::AtLeast(1),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "down-project",
            "",
            "Drops project when the first container stops",
            &mut self.down_project,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::of_name(&call, &call.operands).await?;
        let containers = scene.containers(&call.operands, false).await?;
        if containers.is_empty() {
            return Err(Error::new(format!(
                "no containers for project \"{}\"",
                scene.project.name
            )));
        }
        let mut waits = tokio::task::JoinSet::new();
        for container in &containers {
            let (client, id, name) = (
                scene.client.clone(),
                container.id().to_owned(),
                container.name().to_owned(),
            );
            waits.spawn(async move {
                let waiting = client.container_wait(&id, "not-running").await?;
                Ok::<_, hull_api::ClientError>((name, waiting.result().await?.status_code))
            });
        }
        let mut code = 0;
        while let Some(ended) = waits.join_next().await {
            let (name, status) = ended
                .map_err(|error| Error::new(error.to_string()))?
                .map_err(failure)?;
            ui::line(&format!(
                "container \"{name}\" exited with status code {status}"
            ))?;
            code = status;
            if self.down_project {
                waits.abort_all();
                scene
                    .engine()
                    .down(&DownOptions::default())
                    .await
                    .map_err(apply_failure)?;
                break;
            }
        }
        Ok(code.to_le_bytes()[0])
    }
}
