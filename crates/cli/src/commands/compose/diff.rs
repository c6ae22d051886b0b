//! `compose diff`: what `up` would do, and why.

use hull_compose::node::Map;
use hull_compose::plan::state::Container;
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
const HASH_LABEL: &str = "com.docker.compose.config-hash";

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
    .described("Show what up would change, and why. Exits with 2 if there is something to change.");

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
        let before = history::now(&loaded);
        let mut scene = Scene::of_loaded(&call, &loaded).await?;
        scene.project.select(&call.operands, true);
        let (plan, _) = scene
            .engine()
            .difference(&options.wishes)
            .await
            .map_err(apply_failure)?;
        if !self.quiet {
            ui::out(&text(
                &plan,
                &|key| {
                    scene
                        .project
                        .networks
                        .get(key)
                        .map_or_else(String::new, |network| network.name.clone())
                },
                &|key| {
                    scene
                        .project
                        .volumes
                        .get(key)
                        .map_or_else(String::new, |volume| volume.name.clone())
                },
                &|container| keys(before.as_ref(), &loaded, container),
            ))?;
        }
        Ok(if plan.is_empty() { 0 } else { 2 })
    }
}

/// The keys that differ from what a container was made of, if that is what the last `up` was given.
fn keys(before: Option<&Loaded>, now: &Loaded, container: &Container) -> Vec<String> {
    let service = |loaded: &'_ Loaded| -> Option<Map> {
        loaded
            .project
            .map("services")?
            .map(container.service())
            .cloned()
    };
    let (Some(before), Some(now)) = (before.and_then(service), service(now)) else {
        return Vec::new();
    };
    match render::service_hash(&before) == container.label(HASH_LABEL) {
        true => differences(&before, &now),
        false => Vec::new(),
    }
}

/// One line a change: `+` is made, `~` is made anew, `-` goes, `!` is missing.
fn text(
    plan: &Plan,
    network: &dyn Fn(&str) -> String,
    volume: &dyn Fn(&str) -> String,
    keys: &dyn Fn(&Container) -> Vec<String>,
) -> String {
    let mut text = String::new();
    let mut object = |what: &str, name: String, change: &Change| match change {
        Change::Create => text.push_str(&format!("+ {what} {name}\n")),
        Change::Replace(reason) => text.push_str(&format!("~ {what} {name}: {reason}\n")),
        Change::Missing => {
            text.push_str(&format!("! {what} {name}: it is external, and not there\n"))
        }
        Change::Keep => {}
    };
    for (key, change) in &plan.networks {
        object("network", network(key), change);
    }
    for (key, change) in &plan.volumes {
        object("volume", volume(key), change);
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
            Step::Keep(_) => {}
        }
    }
    for orphan in &plan.orphans {
        text.push_str(&format!(
            "? container {}: its service is not in the file\n",
            orphan.name()
        ));
    }
    text
}
