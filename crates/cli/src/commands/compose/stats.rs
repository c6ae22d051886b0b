//! `compose stats`

use hull_compose::plan::state::Container;

use super::project::Scene;
use crate::commands::container;
use crate::commands::json::Shape;
use crate::commands::{About, Call, Command, Operands, invoke};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Stats {
    all: bool,
    format: String,
    no_stream: bool,
    no_trunc: bool,
}

impl Command for Stats {
    const ABOUT: About = About::new(
        &["compose stats"],
        "[OPTIONS] [SERVICE]",
        "Display a live stream of container(s) resource usage statistics",
        Operands::AtLeast(0),
    );

    const JSON: Option<Shape> = Some(Shape::Lines(&container::stats::FIELDS));

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,all", "", "Show all containers (default shows just running)", &mut self.all);
        set.add("format", "string", "Format output using a custom template", &mut self.format);
        set.add("no-stream", "", "Disable streaming stats and only pull the first result", &mut self.no_stream);
        set.add("no-trunc", "", "Do not truncate output", &mut self.no_trunc);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::of_name(&call, &call.operands).await?;
        let mut containers = scene.containers(&call.operands, false).await?;
        containers.retain(|container| self.all || container.is_running());
        if containers.is_empty() {
            return Ok(0);
        }
        let mut words: Vec<String> = Vec::new();
        for (flag, given) in [
            ("--no-stream", self.no_stream),
            ("--no-trunc", self.no_trunc),
            ("--json", call.json),
        ] {
            if given {
                words.push(flag.into());
            }
        }
        if !self.format.is_empty() {
            words.push(format!("--format={}", self.format));
        }
        words.extend(
            containers
                .iter()
                .map(|container: &Container| container.id().to_owned()),
        );
        invoke::<container::stats::Stats>(call.globals, "compose stats", &words).await
    }
}
