//! `compose up`

use std::collections::BTreeSet;
use std::time::Duration;

use hull_compose::Loaded;
use hull_compose::apply::{UpOptions, Updating};
use hull_compose::model::Project;
use hull_compose::plan::Recreate;
use hull_compose::plan::state::Container;

use super::build::build_missing;
use super::hold::Hold;
use super::project::{Scene, apply_failure, load_failure, loaded};
use super::upping::{Making, scale};
use super::{attached, diff, history, remote};
use crate::commands::{About, Call, Command, Operands};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Up {
    making: Making,
    pub(super) abort_on_exit: bool,
    pub(super) abort_on_failure: bool,
    always_recreate_deps: bool,
    attach: Vec<String>,
    attach_dependencies: bool,
    detach: bool,
    pub(super) exit_code_from: String,
    menu: Option<bool>,
    no_attach: Vec<String>,
    pub(super) no_color: bool,
    no_deps: bool,
    pub(super) no_prefix: bool,
    no_start: bool,
    renew_volumes: bool,
    rolling: bool,
    pub(super) timeout: Option<i64>,
    pub(super) timestamps: bool,
    undo: bool,
    wait: bool,
    watch: bool,
    wait_timeout: Option<i64>,
}

impl Command for Up {
    const ABOUT: About = About::new(
        &["compose up"],
        "[OPTIONS] [SERVICE...]",
        "Create and start containers",
        Operands::AtLeast(0),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        self.making.flags(set);
        set.add("abort-on-container-exit", "", "Stops all containers if any container was stopped. Incompatible with -d", &mut self.abort_on_exit);
        set.add("abort-on-container-failure", "", "Stops all containers if any container exited with failure. Incompatible with -d", &mut self.abort_on_failure);
        set.add("always-recreate-deps", "", "Recreate dependent containers. Incompatible with --no-recreate.", &mut self.always_recreate_deps);
        set.add("attach", "stringArray", "Restrict attaching to the specified services. Incompatible with --attach-dependencies.", &mut self.attach);
        set.add("attach-dependencies", "", "Automatically attach to log output of dependent services", &mut self.attach_dependencies);
        set.add("d,detach", "", "Detached mode: Run containers in the background", &mut self.detach);
        set.add("exit-code-from", "string", "Return the exit code of the selected service container. Implies --abort-on-container-exit", &mut self.exit_code_from);
        set.hidden("menu", "", &mut self.menu);
        set.add("no-attach", "stringArray", "Do not attach (stream logs) to the specified services", &mut self.no_attach);
        set.add("no-color", "", "Produce monochrome output", &mut self.no_color);
        set.add("no-deps", "", "Don't start linked services", &mut self.no_deps);
        set.add("no-log-prefix", "", "Don't print prefix in logs", &mut self.no_prefix);
        set.add("no-start", "", "Don't start the services after creating them", &mut self.no_start);
        set.add("V,renew-anon-volumes", "", "Recreate anonymous volumes instead of retrieving data from the previous containers", &mut self.renew_volumes);
        set.add("rolling", "", "Replace containers one by one: the old one goes when the new one is healthy", &mut self.rolling);
        set.add("t,timeout", "int", "Use this timeout in seconds for container shutdown when attached or when containers are already running", &mut self.timeout);
        set.add("timestamps", "", "Show timestamps", &mut self.timestamps);
        set.add("undo", "", "Return to what the project was before the last up that changed it; files, images and data stay as they are", &mut self.undo);
        set.add("w,watch", "", "Watch source code and rebuild/refresh containers when files are updated.", &mut self.watch);
        set.add("wait", "", "Wait for services to be running|healthy. Implies detached mode.", &mut self.wait);
        set.add("wait-timeout", "int", "Maximum duration in seconds to wait for the project to be running|healthy", &mut self.wait_timeout);
    }

    async fn run(self, call: Call) -> Result<u8> {
        self.check()?;
        let mut options = self.options(&call)?;
        let mut loaded = loaded(&call, &call.operands)?;
        let mut scene = Scene::of_loaded(&call, &loaded).await?;
        remote::confirm(&call, &loaded, &scene, self.making.yes).await?;
        let hold = Hold::of(&call, &scene).await?;
        let mut lately = Vec::new();
        if self.undo {
            lately = history::lately(&loaded);
            loaded = history::before(&loaded)?;
            if call.operands.is_empty() {
                options.wishes.leaving = history::added(&loaded);
            }
            scene.project = Project::of(&loaded).map_err(load_failure)?;
        }
        scene.project.select(&call.operands, !self.no_deps);
        super::provider::provide(&call.globals, &mut scene)?;
        let scaled = scale(&mut scene.project, &self.making.scale)?;
        if scene.project.services.is_empty() {
            return Err(Error::new("no service selected")
                .with_hint("a profile that is off hides its services: `--profile NAME`"));
        }
        if self.undo {
            tell_undo(&scene, &options, &lately, &loaded).await?;
        }
        let began = attached::now();
        if !self.making.no_build {
            let manner = (self.making.build, self.making.quiet_build);
            build_missing(&call, &scene, &options, manner).await?;
        }
        if call.globals.compose.is_dry_run() {
            return self.rehearse(&scene, &options).await;
        }
        let beginning = history::Beginning::of(&loaded, &scaled, &scene.client).await;
        let keep = || beginning.keep();
        let mut engine = scene.engine();
        engine.begins = &keep;
        engine.create_all(&options).await.map_err(apply_failure)?;
        if self.no_start {
            history::finish(&loaded.name);
            return Ok(0);
        }
        if self.detach || self.wait {
            return self.bring_up(&scene).await;
        }
        if self.watch {
            scene.engine().start().await.map_err(apply_failure)?;
            history::finish(&loaded.name);
            scene.progress.settle();
            drop(hold);
            let manner = super::watch::Manner {
                quiet: self.making.quiet_build,
                prune: true,
            };
            return super::watch::watch(&call, &scene, manner).await;
        }
        let shown = self.shown(&call, &scene);
        let code = attached::run(&self, &call, &scene, shown, (&began, hold)).await?;
        check_unwell(&scene)?;
        Ok(code)
    }
}

impl Up {
    /// Tells what would be done.
    async fn rehearse(&self, scene: &Scene, options: &UpOptions) -> Result<u8> {
        let engine = scene.engine();
        match self.no_start {
            true => engine.create_all(options).await,
            false => engine.rehearse_up(options).await,
        }
        .map_err(apply_failure)?;
        Ok(0)
    }

    /// Starts what has been made, and leaves it to itself.
    async fn bring_up(&self, scene: &Scene) -> Result<u8> {
        scene.engine().start().await.map_err(apply_failure)?;
        if self.wait {
            wait_healthy(scene, self.wait_timeout).await?;
        }
        check_unwell(scene)?;
        history::finish(&scene.project.name);
        if self.undo {
            scene.progress.settle();
            ui::note("Undone; `up --undo` once more does it again.");
        }
        Ok(0)
    }
}

/// Says what undoing means for this project, before it is done.
async fn tell_undo(
    scene: &Scene,
    options: &UpOptions,
    lately: &[Loaded],
    before: &Loaded,
) -> Result<()> {
    let (plan, state) = scene
        .engine()
        .difference(&options.wishes)
        .await
        .map_err(apply_failure)?;
    ui::note(&history::told(&scene.project.name));
    for reservation in history::reservations(&scene.project, lately, &state) {
        ui::note(&reservation);
    }
    let keys = |container: &Container| diff::keys(lately, before, container);
    let text = diff::text(&scene.project, &plan, &state, &keys);
    ui::note(match text.trim_end() {
        "" => "It is so already: there is nothing to do.",
        text => text,
    });
    Ok(())
}

/// What went on though it did not go well is told at the end, and is no success.
fn check_unwell(scene: &Scene) -> Result<()> {
    let unwell = scene.notes.take_unwell();
    match unwell.is_empty() {
        true => Ok(()),
        false => Err(Error::new(unwell.join("\n"))),
    }
}

/// Waits until all is up, for so many seconds at most.
pub(super) async fn wait_healthy(scene: &Scene, seconds: Option<i64>) -> Result<()> {
    let engine = scene.engine();
    let waiting = engine.wait_healthy();
    let limit = seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0);
    let result = match limit {
        Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), waiting).await {
            Ok(result) => result,
            Err(_) => {
                return Err(Error::new(format!(
                    "the project is not healthy after {seconds} seconds"
                )));
            }
        },
        None => waiting.await,
    };
    result.map_err(apply_failure)
}

impl Up {
    /// What the flags ask for besides the files.
    fn options(&self, call: &Call) -> Result<UpOptions> {
        let mut options = self.making.options(&call.operands)?;
        options.wishes.renew_volumes = self.renew_volumes;
        if self.always_recreate_deps {
            options.wishes.recreate_dependencies = Recreate::Force;
        }
        options.timeout_s = self.timeout;
        options.updating = match (self.no_start, self.rolling) {
            (true, _) => Updating::AtOnce,
            (false, true) => Updating::Rolling,
            (false, false) => Updating::AsWritten,
        };
        Ok(options)
    }

    fn check(&self) -> Result<()> {
        let aborts = self.abort_on_exit || self.abort_on_failure || !self.exit_code_from.is_empty();
        if (self.detach || self.wait) && aborts {
            return Err(Error::new(
                "--detach and --wait cannot be combined with --abort-on-container-exit, --abort-on-container-failure or --exit-code-from",
            ));
        }
        if self.detach && !self.attach.is_empty() {
            return Err(Error::new("--detach cannot be combined with --attach"));
        }
        if self.always_recreate_deps && self.making.no_recreate {
            return Err(Error::new(
                "--always-recreate-deps and --no-recreate are incompatible",
            ));
        }
        Ok(())
    }

    /// The services whose output is shown.
    fn shown(&self, call: &Call, scene: &Scene) -> BTreeSet<String> {
        let named = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
        let mut shown = if !self.attach.is_empty() {
            named(&self.attach)
        } else if call.operands.is_empty() || self.attach_dependencies {
            scene.project.services.keys().cloned().collect()
        } else {
            named(&call.operands)
        };
        shown.retain(|name| !self.no_attach.contains(name));
        shown.retain(|name| {
            scene
                .project
                .services
                .get(name)
                .is_some_and(|service| service.attach != Some(false))
        });
        shown
    }
}
