//! `compose wait`

use hull_compose::apply::DownOptions;
use hull_compose::plan::state::Container;

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
        let (containers, ended): (Vec<_>, Vec<_>) = scene
            .containers(&call.operands, false)
            .await?
            .into_iter()
            .partition(Container::is_running);
        if containers.is_empty() {
            return Err(nothing_to_wait_for(&scene, &ended));
        }
        let mut waits = tokio::task::JoinSet::new();
        for container in &containers {
            let (client, id) = (scene.client.clone(), container.id().to_owned());
            waits.spawn(async move {
                let waiting = client.container_wait(&id, "not-running").await?;
                Ok::<_, hull_api::ClientError>((id, waiting.result().await?.status_code))
            });
        }
        let mut code = 0;
        while let Some(ended) = waits.join_next().await {
            let (id, status) = ended
                .map_err(|error| Error::new(error.to_string()))?
                .map_err(failure)?;
            ui::line(&format!(
                "container \"{id}\" exited with status code {status}"
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

/// As Docker's, and what became of the containers that are there.
fn nothing_to_wait_for(scene: &Scene, ended: &[Container]) -> Error {
    let error = Error::new(format!(
        "no containers for project \"{}\"",
        scene.project.name
    ));
    match ended.first() {
        Some(container) => error.with_hint(format!(
            "only what runs is waited for; {} is: {}",
            container.name(),
            container.summary.status
        )),
        None => error,
    }
}
