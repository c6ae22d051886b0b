//! `compose logs`

use hull_api::client::LogsOptions;
use hull_compose::plan::state::Container;

use super::output::{Lines, Printer, Said, Style, follow, queue, short_name};
use super::project::Scene;
use crate::commands::{About, Call, Command, Operands};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::format::time::api_timestamp;

#[derive(Default)]
pub(crate) struct Logs {
    follow: bool,
    index: i64,
    no_color: bool,
    no_prefix: bool,
    since: String,
    tail: String,
    timestamps: bool,
    until: String,
}

impl Command for Logs {
    const ABOUT: About = About::new(
        &["compose logs"],
        "[OPTIONS] [SERVICE...]",
        "View output from containers",
        Operands::AtLeast(0),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("f,follow", "", "Follow log output", &mut self.follow);
        set.add("index", "int", "index of the container if service has multiple replicas", &mut self.index);
        set.add("no-color", "", "Produce monochrome output", &mut self.no_color);
        set.add("no-log-prefix", "", "Don't print prefix in logs", &mut self.no_prefix);
        set.add("since", "string", "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)", &mut self.since);
        set.add("n,tail", "string", "Number of lines to show from the end of the logs for each container (default \"all\")", &mut self.tail);
        set.add("t,timestamps", "", "Show timestamps", &mut self.timestamps);
        set.add("until", "string", "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)", &mut self.until);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::of_name(&call, &call.operands).await?;
        let mut containers = scene.containers(&call.operands, false).await?;
        containers.retain(|container| self.index == 0 || container.number() == self.index);
        let mut printer = Printer::new(Style::new(
            self.no_color,
            self.no_prefix,
            &call.globals.compose.ansi,
        ));
        for container in &containers {
            printer.know(&short_name(container, &scene.project.name));
        }
        match self.follow {
            true => self.live(&scene, &containers, &mut printer).await?,
            false => self.merged(&scene, &containers, &mut printer).await?,
        }
        Ok(0)
    }
}

impl Logs {
    fn options(&self) -> LogsOptions {
        let moment = |text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                api_timestamp(text)
            }
        };
        LogsOptions {
            follow: self.follow,
            stdout: true,
            stderr: true,
            timestamps: true,
            details: false,
            since: moment(&self.since),
            until: moment(&self.until),
            tail: if self.tail.is_empty() {
                "all".into()
            } else {
                self.tail.clone()
            },
        }
    }

    async fn live(
        &self,
        scene: &Scene,
        containers: &[Container],
        printer: &mut Printer,
    ) -> Result<()> {
        let (sender, mut lines) = queue();
        for container in containers {
            let name = short_name(container, &scene.project.name);
            let options = LogsOptions {
                timestamps: self.timestamps,
                ..self.options()
            };
            follow(
                &scene.client,
                container.id(),
                &name,
                options,
                sender.clone(),
            );
        }
        drop(sender);
        while let Some(said) = lines.recv().await {
            printer.print(&said)?;
        }
        Ok(())
    }

    /// All logs as one, in the order in which things were said.
    async fn merged(
        &self,
        scene: &Scene,
        containers: &[Container],
        printer: &mut Printer,
    ) -> Result<()> {
        let mut sources = Vec::new();
        for container in containers {
            let name = short_name(container, &scene.project.name);
            let mut lines =
                Lines::open(&scene.client, container.id(), &name, &self.options()).await?;
            if let Some(first) = lines.next().await {
                sources.push((Dated::of(first), lines));
            }
        }
        while let Some(at) =
            (0..sources.len()).min_by(|a, b| sources[*a].0.time.cmp(&sources[*b].0.time))
        {
            let next = sources[at].1.next().await;
            let said = match next {
                Some(next) => std::mem::replace(&mut sources[at].0, Dated::of(next)),
                None => sources.swap_remove(at).0,
            };
            printer.print(&said.shown(self.timestamps))?;
        }
        Ok(())
    }
}

/// A line that begins with its time.
struct Dated {
    time: Vec<u8>,
    said: Said,
}

impl Dated {
    fn of(said: Said) -> Self {
        let end = said
            .text
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(said.text.len());
        Self {
            time: said.text[..end].to_vec(),
            said,
        }
    }

    fn shown(self, with_time: bool) -> Said {
        let mut said = self.said;
        if !with_time {
            let skip = (self.time.len() + 1).min(said.text.len());
            said.text.drain(..skip);
        }
        said
    }
}
