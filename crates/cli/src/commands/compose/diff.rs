//! `compose diff`: what `up` would do, and why.

use std::collections::BTreeMap;

use hull_compose::model::{Project, Service};
use hull_compose::node::Map;
use hull_compose::plan::state::{Container, State};
use hull_compose::plan::{Change, Plan, Step, differences};
use hull_compose::{Loaded, render};

use super::history;
use super::project::{Scene, apply_failure, loaded};
use super::upping::Making;
use crate::commands::{About, Call, Command, Operands};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui;

/// What a container was made of, as one number.
pub(super) const HASH_LABEL: &str = "com.docker.compose.config-hash";

const DESCRIPTION: &str = "Show what up would do, and why. Exits with 2 if there is something to do.

  +  is made            ~  is made anew      -  goes
  >  is started         !  is in the way     ?  is not in the file, and stays

A step that others wait for and that has been done is run again by each up; that alone does not count.";

#[derive(Default)]
pub(crate) struct Diff {
    quiet: bool,
}

impl Command for Diff {
    const ABOUT: About = About::new(
        &["compose diff"],
        "[OPTIONS] [SERVICE...]",
        "Show what up would change, and why",
        Operands::AtLeast(0),
    )
    .described(DESCRIPTION);

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "q,quiet",
            "",
            "Say nothing, only exit with 2 if there is something to change",
            &mut self.quiet,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let options = Making::default().options(&call.operands)?;
        let loaded = loaded(&call, &call.operands)?;
        let lately = history::lately(&loaded);
        let mut scene = Scene::of_loaded(&call, &loaded).await?;
        scene.project.select(&call.operands, true);
        let (plan, state) = scene
            .engine()
            .difference(&options.wishes)
            .await
            .map_err(apply_failure)?;
        if !self.quiet {
            let keys = |container: &Container| keys(&lately, &loaded, container);
            let mut text = text(&scene.project, &plan, &state, &keys);
            for error in scene.engine().lacking(&plan) {
                text.push_str(&format!("! {}\n", apply_failure(error).message()));
            }
            ui::out(&text)?;
        }
        let starts = plan.resting(&scene.project);
        let is_nothing = plan.is_empty() && starts.iter().all(|resting| resting.is_done);
        Ok(if is_nothing { 0 } else { 2 })
    }
}

/// The keys that differ from what a container was made of, if that is what one of the last `up`s was given.
pub(super) fn keys(lately: &[Loaded], now: &Loaded, container: &Container) -> Vec<String> {
    let service = |loaded: &'_ Loaded| -> Option<Map> {
        loaded
            .project
            .map("services")?
            .map(container.service())
            .cloned()
    };
    let before = lately
        .iter()
        .filter_map(service)
        .find(|before| render::service_hash(before) == container.label(HASH_LABEL));
    match (before, service(now)) {
        (Some(before), Some(now)) => differences(&before, &now),
        _ => Vec::new(),
    }
}

/// One line for each thing that `up` would do.
pub(super) fn text(
    project: &Project,
    plan: &Plan,
    state: &State,
    keys: &dyn Fn(&Container) -> Vec<String>,
) -> String {
    let mut text = images(project, plan, state);
    let mut object = |what: &str, name: &str, change: &Change| match change {
        Change::Create => text.push_str(&format!("+ {what} {name}\n")),
        Change::Replace(reason) => text.push_str(&format!("~ {what} {name}: {reason}\n")),
        Change::Missing => {
            text.push_str(&format!("! {what} {name}: it is external, and not there\n"))
        }
        Change::Keep => {}
    };
    for (key, change) in &plan.networks {
        let network = project.networks.get(key);
        object(
            "network",
            network.map_or("", |network| &network.name),
            change,
        );
    }
    for (key, change) in &plan.volumes {
        let volume = project.volumes.get(key);
        object("volume", volume.map_or("", |volume| &volume.name), change);
    }
    for step in plan.services.values().flatten() {
        match step {
            Step::Create { name, .. } => text.push_str(&format!("+ container {name}\n")),
            Step::Recreate { old, reason } => {
                text.push_str(&format!("~ container {}: {reason}\n", old.name()));
                for line in keys(old) {
                    text.push_str(&format!("    {line}\n"));
                }
            }
            Step::Remove { old, reason } => {
                text.push_str(&format!("- container {}: {reason}\n", old.name()))
            }
            Step::Rename { old, name } => text.push_str(&format!(
                "~ container {}: it is left from an update that was broken off, and is renamed to {name}\n",
                old.name()
            )),
            Step::Keep(_) => {}
        }
    }
    for resting in plan.resting(project) {
        let (name, reason) = (resting.container.name(), &resting.reason);
        let (sign, then) = match resting.container.summary.state.as_str() {
            "paused" => ('!', "`up` fails until it is unpaused"),
            _ if resting.is_done => ('>', "is run again"),
            _ => ('>', "is started"),
        };
        text.push_str(&format!("{sign} container {name}: {reason}, and {then}\n"));
    }
    for leaving in &plan.leaving {
        let name = leaving.name();
        text.push_str(&format!(
            "- container {name}: the `up` that is undone added its service\n"
        ));
    }
    for orphan in &plan.orphans {
        text.push_str(&format!(
            "? container {}: its service is not in the file (`up --remove-orphans` removes it)\n",
            orphan.name()
        ));
    }
    text
}

/// Images that are not there and that something is to be made of.
fn images(project: &Project, plan: &Plan, state: &State) -> String {
    let is_needed = |service: &&Service| {
        let steps = plan.services.get(&service.name);
        steps.is_some_and(|steps| steps.iter().any(Step::makes))
    };
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for service in project.services.values().filter(is_needed) {
        let name = service.image_name(&project.name);
        if state.images.contains_key(&name) {
            continue;
        }
        let (sign, then) = match service.pull_policy.as_str() {
            _ if service.build.is_some() => ('+', "is built"),
            "never" => ('!', "is not to be pulled"),
            _ => ('+', "is pulled"),
        };
        let line = format!("{sign} image {name}: it is not there, and {then}\n");
        lines.insert(name, line);
    }
    lines.into_values().collect()
}
