//! Before an application is brought up whose files somebody else keeps: where they lie now, what of this
//! machine they take and reach for, and whether that is meant.

use std::collections::BTreeSet;

use hull_compose::model::Project;
use hull_compose::reach::{self, Reach};
use hull_compose::{Loaded, apply, is_remote};

use super::project::{Scene, apply_failure};
use super::repository;
use crate::commands::Call;
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::format::tabwriter::align_with;
use crate::ui;

/// The files that a container was made of.
const FILES_LABEL: &str = "com.docker.compose.project.config_files";

/// Asks, unless `--yes` has answered. Files that take nothing and stay within what is their own are only
/// told of.
///
/// # Errors
/// It is not meant, or there is nobody to ask.
pub(super) async fn confirm(call: &Call, loaded: &Loaded, scene: &Scene, yes: bool) -> Result<()> {
    let named = call.globals.compose.files();
    let fetched = named.iter().zip(&loaded.files);
    let fetched: Vec<_> = fetched.filter(|(name, _)| is_remote(name)).collect();
    if fetched.is_empty() {
        return Ok(());
    }
    for (name, file) in fetched {
        ui::note(&format!("{name} is kept in {file}"));
    }
    let variables = variables(loaded, &scene.project);
    let reached = listed(&reached(call, loaded, scene).await?);
    if !variables.is_empty() {
        ui::note(&format!("It takes these variables:\n{variables}"));
    }
    if !reached.is_empty() {
        ui::note(&format!("It reaches for this of the machine:\n{reached}"));
    }
    if yes || (variables.is_empty() && reached.is_empty()) {
        return Ok(());
    }
    if !ui::in_is_terminal() {
        return Err(Error::new(
            "a project of somebody else is brought up only if all that is confirmed",
        )
        .with_hint("add `--yes` (`up`, `create` and `run` take it)"));
    }
    match ui::confirm("Go on with that?")? {
        true => Ok(()),
        false => Err(Error::new("it was not confirmed, so nothing was done")),
    }
}

/// Each variable, and where its value is from: the value itself may be a secret.
fn variables(loaded: &Loaded, project: &Project) -> String {
    let mut text = String::new();
    let from = |name: &str, default: &str| match loaded.environment.contains_key(name) {
        _ if std::env::var_os(name).is_some() => "the environment",
        true => "a file of variables",
        false if default.is_empty() => "nowhere",
        false => "its default",
    };
    let mut known = BTreeSet::new();
    for variable in &loaded.variables {
        let (name, default) = (variable.name.as_str(), &variable.default);
        known.insert(name);
        let from = from(name, default);
        text.push_str(&format!(
            "{}\t{from}\t{}\t{}\n",
            name.escape_debug(),
            variable.required,
            default.escape_debug()
        ));
    }
    let objects = project.secrets.values().chain(project.configs.values());
    let objects = objects.map(|object| object.environment.as_str());
    let mut by_name: BTreeSet<&str> = loaded.taken.iter().map(String::as_str).collect();
    by_name.extend(objects.filter(|name| !name.is_empty()));
    for name in by_name.difference(&known) {
        text.push_str(&format!(
            "{}\t{}\tfalse\t\n",
            name.escape_debug(),
            from(name, "")
        ));
    }
    match text.is_empty() {
        true => text,
        false => table(&format!("VARIABLE\tVALUE FROM\tREQUIRED\tDEFAULT\n{text}")),
    }
}

/// What is not the project's own.
async fn reached(call: &Call, loaded: &Loaded, scene: &Scene) -> Result<Vec<Reach>> {
    let state = apply::observe(&scene.client, &scene.project).await;
    let state = state.map_err(apply_failure)?;
    let is_named = call.globals.compose.named().is_some();
    let mut list = reach::taken(&scene.project, &state, is_named);
    list.extend(reach::of(&scene.project, &loaded.roots));
    Ok(list)
}

/// Refuses to end or take away what another project has, whose name files of somebody else chose.
///
/// # Errors
/// There are containers of that name that were made of files of this machine.
pub(super) async fn check_own(call: &Call, scene: &Scene) -> Result<()> {
    if !is_named_by_others(call) {
        return Ok(());
    }
    let own = scene.project.files.join(",");
    let containers = scene.containers(&[], true).await?;
    let mut files = containers.iter().map(|one| one.label(FILES_LABEL));
    // An earlier state of the same repository lies there, too.
    match files.find(|files| *files != own && !repository::is_kept(files)) {
        Some(files) => Err(not_touched(scene, &format!(", of {files}"))),
        None => Ok(()),
    }
}

/// The same for volumes, which stay when no container says any more whose they are.
///
/// # Errors
/// There are volumes, and no containers.
pub(super) async fn check_own_volumes(call: &Call, scene: &Scene) -> Result<()> {
    if !is_named_by_others(call) || !scene.containers(&[], true).await?.is_empty() {
        return Ok(());
    }
    let volumes = scene.project.volumes.values();
    for volume in volumes.filter(|volume| !volume.external) {
        match scene.client.volume(&volume.name).await {
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(failure(error)),
            Ok(_) => {
                return Err(not_touched(
                    scene,
                    &format!(", with the volume {}", volume.name),
                ));
            }
        }
    }
    Ok(())
}

/// Whether the project's name is what a fetched file says.
fn is_named_by_others(call: &Call) -> bool {
    let flags = &call.globals.compose;
    flags.named().is_none() && flags.files().iter().any(|file| is_remote(file))
}

fn not_touched(scene: &Scene, whose: &str) -> Error {
    let name = &scene.project.name;
    let message = format!("the project {name} is there already{whose}: it was not touched");
    Error::new(message).with_hint(format!("`-p {name}` says that it is meant"))
}

/// Each key with what it reaches for.
fn listed(list: &[Reach]) -> String {
    let lines = list
        .iter()
        .map(|one| format!("{}\t{}\n", one.key, one.what));
    table(&lines.collect::<String>())
}

fn table(text: &str) -> String {
    let aligned = align_with(text, 8, 3);
    let lines: Vec<&str> = aligned.lines().map(str::trim_end).collect();
    lines.join("\n")
}
