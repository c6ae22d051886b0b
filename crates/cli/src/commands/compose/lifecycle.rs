//! `compose start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `rm`: what is done to containers
//! that are there.

use hull_api::client::StopOptions;
use hull_api::{Client, ClientError};
use hull_compose::apply::{RemoveOptions, Report, Standing};
use hull_compose::plan;
use hull_compose::plan::state::{Container, State};

use super::hold::Hold;
use super::project::{Scene, apply_failure};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Start {
    wait: bool,
    wait_timeout: Option<i64>,
}

impl Command for Start {
    const ABOUT: About = About::new(
        &["compose start"],
        "[SERVICE...]",
        "Start services",
        Operands::AtLeast(0),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("wait", "", "Wait for services to be running|healthy. Implies detached mode.", &mut self.wait);
        set.add("wait-timeout", "int", "Maximum duration in seconds to wait for the project to be running|healthy", &mut self.wait_timeout);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let mut scene = Scene::of_files(&call, &call.operands).await?;
        let _hold = Hold::of(&call, &scene).await?;
        scene.project.select(&call.operands, true);
        scene.engine().start().await.map_err(apply_failure)?;
        if self.wait && !call.globals.compose.is_dry_run() {
            super::up::wait_healthy(&scene, self.wait_timeout).await?;
        }
        Ok(0)
    }
}

#[derive(Default)]
pub(crate) struct Stop {
    timeout: Option<i64>,
}

impl Command for Stop {
    const ABOUT: About = About::new(
        &["compose stop"],
        "[OPTIONS] [SERVICE...]",
        "Stop services",
        Operands::AtLeast(0),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "t,timeout",
            "int",
            "Specify a shutdown timeout in seconds",
            &mut self.timeout,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::to_end(&call, &call.operands).await?;
        let mut containers = scene.containers(&call.operands, false).await?;
        containers.retain(Container::is_running);
        scene
            .engine()
            .stop(&containers, self.timeout)
            .await
            .map_err(apply_failure)?;
        Ok(0)
    }
}

#[derive(Default)]
pub(crate) struct Restart {
    no_deps: bool,
    timeout: Option<i64>,
}

impl Command for Restart {
    const ABOUT: About = About::new(
        &["compose restart"],
        "[OPTIONS] [SERVICE...]",
        "Restart service containers",
        Operands::AtLeast(0),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "no-deps",
            "",
            "Don't restart dependent services",
            &mut self.no_deps,
        );
        set.add(
            "t,timeout",
            "int",
            "Specify a shutdown timeout in seconds",
            &mut self.timeout,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::to_end(&call, &call.operands).await?;
        let _hold = Hold::of(&call, &scene).await?;
        let mut services = call.operands.clone();
        if !services.is_empty() && !self.no_deps {
            let follows = scene.project.services.values().filter(|service| {
                service
                    .depends_on
                    .iter()
                    .any(|(name, dependency)| dependency.restart && call.operands.contains(name))
            });
            services.extend(follows.map(|service| service.name.clone()));
        }
        let containers = scene.containers(&services, false).await?;
        let options = StopOptions {
            timeout_s: self.timeout,
            ..StopOptions::default()
        };
        scene
            .engine()
            .restart(&containers, &options)
            .await
            .map_err(apply_failure)?;
        Ok(0)
    }
}

/// Does something to each container at once, and tells of it.
async fn each<F, Fut>(
    scene: &Scene,
    containers: &[Container],
    doing: &str,
    done: &str,
    act: F,
) -> Result<u8>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = std::result::Result<(), ClientError>>,
{
    let mut first = None;
    for container in containers {
        let what = format!("Container {}", container.name());
        scene.progress.progress(&what, doing, Standing::Working);
        match act(container.id().to_owned()).await {
            Ok(()) => scene.progress.progress(&what, done, Standing::Done),
            Err(error) => {
                scene.progress.progress(&what, "Error", Standing::Failed);
                first = first.or(Some(failure(error)));
            }
        }
    }
    first.map_or(Ok(0), Err)
}

#[derive(Default)]
pub(crate) struct Kill {
    remove_orphans: bool,
    signal: String,
}

impl Command for Kill {
    const ABOUT: About = About::new(
        &["compose kill"],
        "[OPTIONS] [SERVICE...]",
        "Force stop service containers",
        Operands::AtLeast(0),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "remove-orphans",
            "",
            "Remove containers for services not defined in the Compose file",
            &mut self.remove_orphans,
        );
        set.add(
            "s,signal",
            "string",
            "SIGNAL to send to the container (default \"SIGKILL\")",
            &mut self.signal,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::to_end(&call, &call.operands).await?;
        let mut containers = scene.containers(&call.operands, false).await?;
        containers.retain(Container::is_running);
        if containers.is_empty() {
            ui::note("no container to kill");
            return Ok(0);
        }
        let signal = if self.signal.is_empty() {
            "SIGKILL"
        } else {
            &self.signal
        };
        let code = each(&scene, &containers, "Killing", "Killed", |id| {
            let client = scene.client.clone();
            async move { client.container_kill(&id, signal).await }
        })
        .await?;
        if self.remove_orphans {
            remove_orphans(&scene).await?;
        }
        Ok(code)
    }
}

async fn remove_orphans(scene: &Scene) -> Result<()> {
    let state = State {
        containers: scene.containers(&[], false).await?,
        ..State::default()
    };
    let orphans = plan::orphans(&scene.project, &state);
    let options = RemoveOptions {
        volumes: false,
        force: true,
    };
    scene
        .engine()
        .remove(&orphans, options)
        .await
        .map_err(apply_failure)
}

#[derive(Default)]
pub(crate) struct Pause;

impl Command for Pause {
    const ABOUT: About = About::new(
        &["compose pause"],
        "[SERVICE...]",
        "Pause services",
        Operands::AtLeast(0),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let words = ("Pausing", "Paused");
        each_that_is(&call, "running", words, |client, id| async move {
            client.container_pause(&id).await
        })
        .await
    }
}

#[derive(Default)]
pub(crate) struct Unpause;

impl Command for Unpause {
    const ABOUT: About = About::new(
        &["compose unpause"],
        "[SERVICE...]",
        "Unpause services",
        Operands::AtLeast(0),
    );

    async fn run(self, call: Call) -> Result<u8> {
        let words = ("Unpausing", "Unpaused");
        each_that_is(&call, "paused", words, |client, id| async move {
            client.container_unpause(&id).await
        })
        .await
    }
}

/// Does something to each container of the named services that is in a state.
async fn each_that_is<F, Fut>(
    call: &Call,
    state: &str,
    (doing, done): (&str, &str),
    act: F,
) -> Result<u8>
where
    F: Fn(Client, String) -> Fut,
    Fut: Future<Output = std::result::Result<(), ClientError>>,
{
    let scene = Scene::to_end(call, &call.operands).await?;
    let mut containers = scene.containers(&call.operands, false).await?;
    containers.retain(|container| container.summary.state == state);
    each(&scene, &containers, doing, done, |id| {
        act(scene.client.clone(), id)
    })
    .await
}

#[derive(Default)]
pub(crate) struct Rm {
    all: bool,
    force: bool,
    stop: bool,
    volumes: bool,
}

impl Command for Rm {
    const ABOUT: About = About::new(
        &["compose rm"],
        "[OPTIONS] [SERVICE...]",
        "Removes stopped service containers",
        Operands::AtLeast(0),
    )
    .described(
        "Removes stopped service containers

By default, anonymous volumes attached to containers will not be removed. You can override this with -v. To list all
volumes, use \"docker volume ls\".

Any data which is not in a volume will be lost.",
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.hidden("a,all", "", &mut self.all);
        set.add(
            "f,force",
            "",
            "Don't ask to confirm removal",
            &mut self.force,
        );
        set.add(
            "s,stop",
            "",
            "Stop the containers, if required, before removing",
            &mut self.stop,
        );
        set.add(
            "v,volumes",
            "",
            "Remove any anonymous volumes attached to containers",
            &mut self.volumes,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let scene = Scene::to_end(&call, &call.operands).await?;
        let _hold = Hold::of(&call, &scene).await?;
        let mut containers = scene.containers(&call.operands, self.all).await?;
        if self.stop {
            scene
                .engine()
                .stop(&containers, None)
                .await
                .map_err(apply_failure)?;
        } else {
            containers.retain(|container| !container.is_running());
        }
        if containers.is_empty() {
            ui::note("No stopped containers");
            return Ok(0);
        }
        let names: Vec<&str> = containers.iter().map(Container::name).collect();
        if !self.force && !ui::in_is_terminal() {
            return Err(Error::new("removal was not confirmed").with_hint("add `--force`"));
        }
        if !self.force
            && !ui::confirm(&format!(
                "Going to remove {}\nAre you sure?",
                names.join(", ")
            ))?
        {
            return Ok(0);
        }
        let options = RemoveOptions {
            volumes: self.volumes,
            force: self.force,
        };
        scene
            .engine()
            .remove(&containers, options)
            .await
            .map_err(apply_failure)?;
        Ok(0)
    }
}
