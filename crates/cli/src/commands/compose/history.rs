//! What a project was brought up with before: what `up --undo` returns to.
//!
//! ```text
//! $XDG_STATE_HOME/hull/compose/<project>/now.yaml      what the last `up` was to bring about
//!                                       /before.yaml   what the one before did, if it differed
//!                                       /added        services that had no container before the last one
//!                                       /unfinished    the last one has not made all that it was to
//! ```
//! What failed is not gone back to: however often it is tried, `before.yaml` stays what it was.
//!
//! The files hold variables as services get them, so they are for their owner alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hull_api::Client;
use hull_compose::apply::containers;
use hull_compose::model::Project;
use hull_compose::node::{Map, Node, Place, Value};
use hull_compose::plan::state::{Container, State};
use hull_compose::{Loaded, Options, load, render};

use super::diff::HASH_LABEL;
use super::project::load_failure;
use crate::error::{Error, Result};
use crate::format::time::{local, local_microseconds};

/// The mark of what has not been made as a whole.
const UNFINISHED: &str = "unfinished";

/// The names of services that came with the last `up`.
const ADDED: &str = "added";

/// Where a project's history lies.
fn directory(project: &str) -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let state =
        state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("hull/compose").join(project))
}

/// What a project is about to be brought up with. Where nothing can be kept, nothing can be undone; that is
/// no reason not to go on.
pub(super) struct Beginning {
    /// Nothing: it is what is known already.
    kept: Option<(PathBuf, String, BTreeSet<String>)>,
}

impl Beginning {
    pub(super) async fn of(loaded: &Loaded, scaled: &Scaled, client: &Client) -> Self {
        let mut project = loaded.project.clone();
        set_scales(&mut project, scaled);
        let text = render::project_yaml(&project);
        let directory = directory(&loaded.name);
        let Some(directory) = directory.filter(|directory| !is_known(directory, &text)) else {
            return Self { kept: None };
        };
        // Where it is not known what there is, nothing counts as added.
        let there = containers(client, &loaded.name).await;
        let added = there.map(|there| missing(&project, &there));
        let kept = Some((directory, text, added.unwrap_or_default()));
        Self { kept }
    }

    /// Keeps it, for now something is going to be changed: what is refused before leaves no trace.
    pub(super) fn keep(&self) {
        if let Some((directory, text, added)) = &self.kept {
            _ = write(directory, text, added);
        }
    }
}

/// Services that have no container.
fn missing(project: &Map, there: &[Container]) -> BTreeSet<String> {
    let services = project.map("services").into_iter().flat_map(Map::iter);
    let mut names: BTreeSet<String> = services.map(|entry| entry.key.clone()).collect();
    names.retain(|name| {
        !there
            .iter()
            .any(|one| one.service() == name && !one.is_one_off())
    });
    names
}

/// The services that the last `up` has added: with it they go.
pub(super) fn added(before: &Loaded) -> BTreeSet<String> {
    let mut added = directory(&before.name)
        .map(|directory| read_added(&directory))
        .unwrap_or_default();
    let services = before.project.map("services");
    added.retain(|name| services.is_none_or(|services| services.get(name).is_none()));
    added
}

fn read_added(directory: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(directory.join(ADDED)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn is_known(directory: &Path, text: &str) -> bool {
    std::fs::read_to_string(directory.join("now.yaml")).is_ok_and(|known| known == text)
}

/// How many containers `--scale` wants of services.
pub(super) type Scaled = BTreeMap<String, i64>;

/// Writes what was asked for besides the files into what they say.
fn set_scales(project: &mut Map, scaled: &Scaled) {
    let services = project.get_mut("services").and_then(Node::as_map_mut);
    for entry in services.into_iter().flat_map(|services| &mut services.0) {
        let Some(count) = scaled.get(&entry.key) else {
            continue;
        };
        let count = || Node::at(&Place::nowhere(), Value::Int(*count));
        let Some(service) = entry.node.as_map_mut() else {
            continue;
        };
        service.set("scale", count());
        // Where both are said, they are one number.
        if let Some(deploy) = service.get_mut("deploy").and_then(Node::as_map_mut) {
            deploy.set("replicas", count());
        }
    }
}

/// All of it is up.
pub(super) fn finish(project: &str) {
    if let Some(directory) = directory(project) {
        _ = std::fs::remove_file(directory.join(UNFINISHED));
    }
}

fn write(directory: &Path, text: &str, added: &BTreeSet<String>) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let now = directory.join("now.yaml");
    if is_known(directory, text) {
        return Ok(());
    }
    let new = directory.join("new.yaml");
    _ = std::fs::remove_file(&new);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    let unfinished = directory.join(UNFINISHED);
    let mut added = added.clone();
    match unfinished.exists() {
        // What is gone back to stays what it was, and so does what came since.
        true => added.extend(read_added(directory)),
        false if now.exists() => std::fs::rename(&now, directory.join("before.yaml"))?,
        false => {}
    }
    let added: String = added.iter().map(|name| format!("{name}\n")).collect();
    std::fs::write(directory.join(ADDED), added)?;
    std::fs::write(&unfinished, "")?;
    std::fs::rename(&new, &now)
}

/// What the project was before the last change.
///
/// # Errors
/// When nothing is known of a time before.
pub(super) fn before(loaded: &Loaded) -> Result<Loaded> {
    let Some(mut before) = known(loaded, "before.yaml")? else {
        return Err(Error::new(format!(
            "there is nothing to undo: no earlier `up` of the project {} is known",
            loaded.name
        ))
        .with_hint(
            "an `up` that changes what the files say leaves what was before to go back to",
        ));
    };
    // It is the project of the same files, at another time.
    before.files.clone_from(&loaded.files);
    before.env_files.clone_from(&loaded.env_files);
    // A service whose profile is off now, and was then, is no stranger to the project.
    let services = before.project.map("services");
    let was_on = |name: &str| services.is_some_and(|services| services.get(name).is_some());
    let mut disabled = loaded.disabled.clone();
    disabled.0.retain(|entry| !was_on(&entry.key));
    before.disabled = disabled;
    Ok(before)
}

/// What the last `up`s brought about, as far as that is known, the last one first.
pub(super) fn lately(loaded: &Loaded) -> Vec<Loaded> {
    let names = ["now.yaml", "before.yaml"].into_iter();
    names
        .filter_map(|name| known(loaded, name).ok().flatten())
        .collect()
}

/// What stands in the way of going back to just what was, told before it is done: values of variables are
/// kept nowhere, and what others have made meanwhile is not known.
pub(super) fn reservations(project: &Project, lately: &[Loaded], state: &State) -> Vec<String> {
    let mut told = Vec::new();
    let objects = project.secrets.iter().chain(&project.configs);
    let variables = objects.filter(|(_, object)| !object.environment.is_empty());
    let names: Vec<&str> = variables.map(|(key, _)| key.as_str()).collect();
    if !names.is_empty() {
        told.push(format!(
            "What {} held is kept nowhere: it becomes what the variables hold now.",
            names.join(", ")
        ));
    }
    // What a program provides is part of its dependents' hashes, and is not kept.
    let provides = project.services.values().any(|one| one.provider.is_some());
    let strangers: Vec<&str> = state
        .containers
        .iter()
        .filter(|container| !provides && !container.is_one_off() && is_of_others(lately, container))
        .map(Container::name)
        .collect();
    if !strangers.is_empty() {
        told.push(format!(
            "Made by something else since (Docker's Compose, perhaps, or from another account): {}. That is undone as well, and not gone back to.",
            strangers.join(", ")
        ));
    }
    told
}

/// Whether a container is none of those that the last `up`s made.
fn is_of_others(lately: &[Loaded], container: &Container) -> bool {
    let services = lately.iter().filter_map(|loaded| {
        let services = loaded.project.map("services")?;
        services.map(container.service())
    });
    let mut known = services.peekable();
    // Of a service that none of them had, nothing is said; the hash of one that shares with others says more
    // than its own keys.
    let shares = |service: &Map| {
        let modes = ["network_mode", "ipc", "pid"].into_iter();
        let mut modes = modes.filter_map(|key| service.text(key));
        modes.any(|mode| mode.starts_with("service:")) || !service.list("volumes_from").is_empty()
    };
    known.peek().is_some()
        && known.all(|service| {
            !shares(service) && render::service_hash(service) != container.label(HASH_LABEL)
        })
}

/// What going back means, told before it is done.
pub(super) fn told(project: &str) -> String {
    let changed = |name: &str| {
        let file = directory(project)?.join(name);
        let changed = std::fs::metadata(file).ok()?.modified().ok()?;
        changed.duration_since(std::time::UNIX_EPOCH).ok()
    };
    let (now, before) = (changed("now.yaml"), changed("before.yaml"));
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    let is_same = seconds(now) == seconds(before);
    let of = |time: Option<Duration>| {
        let told = time.and_then(|time| match is_same {
            false => Some(local(i64::try_from(time.as_secs()).ok()?)),
            // To be told apart.
            true => Some(local_microseconds(i64::try_from(time.as_nanos()).ok()?)),
        });
        told.map_or_else(String::new, |time| format!(" of {time}"))
    };
    format!(
        "Undoing the `up`{}: the project {project} becomes what the `up`{} made of it.\n\
         Files, images and what is in volumes stay as they are; the next `up` without --undo goes by the files again.",
        of(now),
        of(before),
    )
}

fn known(loaded: &Loaded, name: &str) -> Result<Option<Loaded>> {
    let file = directory(&loaded.name).map(|directory| directory.join(name));
    let Some(file) = file.filter(|file| file.exists()) else {
        return Ok(None);
    };
    let options = Options {
        files: vec![file.to_string_lossy().into_owned()],
        current_directory: loaded.directory.clone(),
        project_directory: Some(loaded.directory.clone()),
        project_name: Some(loaded.name.clone()),
        environment: loaded.environment.clone(),
        profiles: vec!["*".to_owned()],
        ..Options::default()
    };
    load(&options).map(Some).map_err(load_failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_is_kept_once() {
        let directory = std::env::temp_dir().join(format!("hull-history-{}", std::process::id()));
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        let kept = || (read("now.yaml"), read("before.yaml"));
        let pair = |now: &str, before: &str| (now.to_owned(), before.to_owned());
        let write = |text: &str, added: &str| {
            let added = BTreeSet::from([added.to_owned()]);
            write(&directory, text, &added).unwrap();
        };
        for text in ["one", "one", "two", "two"] {
            write(text, "a");
            _ = std::fs::remove_file(directory.join(UNFINISHED));
        }
        let finished = kept();
        // What fails is not what one goes back to.
        for (text, added) in [("three", "b"), ("four", "c")] {
            write(text, added);
        }
        let failed = kept();
        let added: Vec<String> = read_added(&directory).into_iter().collect();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(finished, pair("two", "one"));
        assert_eq!(failed, pair("four", "two"));
        assert_eq!(added, ["b", "c"]);
    }
}
