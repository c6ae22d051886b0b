//! `compose top`

use hull_compose::plan::state::Container;

use super::project::Scene;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::Result;
use crate::format::tabwriter::align_with;
use crate::ui;

#[derive(Default)]
pub(crate) struct Top;

impl Command for Top {
    const ABOUT: About = About::new(
        &["compose top"],
        "[SERVICES...]",
        "Display the running processes",
        Operands::AtLeast(0),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::of_name(&call, &call.operands).await?;
        let containers = scene.containers(&call.operands, false).await?;
        let mut text = String::new();
        for container in containers
            .iter()
            .filter(|container| Container::is_running(container))
        {
            let top = scene
                .client
                .container_top(container.id(), "")
                .await
                .map_err(failure)?;
            let ours = [
                container.service().to_owned(),
                container.number().to_string(),
            ];
            if text.is_empty() {
                text.push_str(&format!("SERVICE\t#\t{}\n", top.titles.join("\t")));
            }
            for process in top.processes {
                text.push_str(&format!("{}\t{}\n", ours.join("\t"), process.join("\t")));
            }
        }
        ui::out(&align_with(&text, 4, 2))?;
        Ok(0)
    }
}
