//! `compose watch`: what changes in a directory goes into containers, or makes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hull_api::client::{FilesOf, StopOptions};
use hull_api::types::{ExecCreate, ExecStart};
use hull_compose::apply::UpOptions;
use hull_compose::model::{Service, Trigger};
use hull_compose::plan::{Recreate, Wishes};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::build::{self, More};
use super::hold::Hold;
use super::ignore::Ignored;
use super::project::{Scene, apply_failure};
use super::upping::Making;
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::packing::Packer;
use crate::ui;

/// Changes follow each other: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// Changes that wait to be looked at.
const QUEUE: usize = 1024;
/// Directories that are watched at most.
const DIRECTORIES_MAX: usize = 100_000;

#[derive(Default)]
pub(crate) struct Watch {
    no_up: bool,
    prune: Option<bool>,
    quiet: bool,
}

impl Command for Watch {
    const ABOUT: About = About::new(
        &["compose watch"],
        "[SERVICE...]",
        "Watch build context for service and rebuild/refresh containers when files are updated",
        Operands::AtLeast(0),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "no-up",
            "",
            "Do not build & start services before watching",
            &mut self.no_up,
        );
        set.hidden("prune", "", &mut self.prune);
        set.add("quiet", "", "hide build output", &mut self.quiet);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let mut scene = Scene::of_confirmed_files(&call, &call.operands).await?;
        scene.project.select(&call.operands, true);
        if !self.no_up {
            let _hold = Hold::of(&call, &scene).await?;
            let options = Making::default().options(&[])?;
            build::build_missing(&call, &scene, &options, (false, self.quiet)).await?;
            scene
                .engine()
                .create_all(&options)
                .await
                .map_err(apply_failure)?;
            scene.engine().start().await.map_err(apply_failure)?;
            scene.progress.settle();
        }
        let manner = Manner {
            quiet: self.quiet,
            prune: self.prune.unwrap_or(true),
        };
        watch(&call, &scene, manner).await
    }
}

/// How services are rebuilt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// The output of builds is not shown.
    pub(super) quiet: bool,
    /// The image of before goes, if it has no name left.
    pub(super) prune: bool,
}

/// A trigger of a service.
struct Rule<'s> {
    service: &'s Service,
    trigger: &'s Trigger,
    ignored: Ignored,
}

/// Watches until it is interrupted.
pub(super) async fn watch(call: &Call, scene: &Scene, manner: Manner) -> Result<u8> {
    let mut rules: Vec<Rule<'_>> = Vec::new();
    for service in scene.project.services.values() {
        for trigger in service.develop.iter().flat_map(|develop| &develop.watch) {
            rules.push(Rule {
                service,
                trigger,
                ignored: Ignored::new(&trigger.ignore, &trigger.include),
            });
        }
    }
    if rules.is_empty() {
        return Err(
            Error::new("none of the selected services is configured for watch")
                .with_hint("a service says what is watched below `develop: watch:`"),
        );
    }
    let mut watcher = Watcher::new()?;
    for rule in &rules {
        watcher.add(Path::new(&rule.trigger.path))?;
        if rule.trigger.initial_sync && rule.trigger.action.starts_with("sync") {
            let files = files_below(Path::new(&rule.trigger.path));
            sync(scene, rule, &files).await?;
        }
    }
    ui::note("Watch enabled");
    loop {
        let changed = watcher.next().await?;
        if let Err(error) = react(call, scene, &rules, &changed, manner).await {
            // A mistake in what is being written is no reason to stop watching it.
            ui::note(error.message());
        }
    }
}

async fn react(
    call: &Call,
    scene: &Scene,
    rules: &[Rule<'_>],
    changed: &BTreeSet<PathBuf>,
    manner: Manner,
) -> Result<()> {
    let mut rebuilt: BTreeSet<&str> = BTreeSet::new();
    for rule in rules {
        let root = Path::new(&rule.trigger.path);
        let mine: BTreeSet<PathBuf> = changed
            .iter()
            .filter(|path| {
                path.strip_prefix(root)
                    .is_ok_and(|inner| !rule.ignored.matches(inner))
            })
            .cloned()
            .collect();
        let service = rule.service;
        if mine.is_empty() || rebuilt.contains(service.name.as_str()) {
            continue;
        }
        match rule.trigger.action.as_str() {
            "rebuild" => {
                rebuilt.insert(&service.name);
                rebuild(call, scene, service, manner).await?;
            }
            "restart" => restart(scene, service).await?,
            action => {
                sync(scene, rule, &mine).await?;
                match action {
                    "sync+restart" => restart(scene, service).await?,
                    "sync+exec" => exec(scene, rule).await?,
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

async fn rebuild(call: &Call, scene: &Scene, service: &Service, manner: Manner) -> Result<()> {
    ui::note(&format!(
        "Rebuilding service {} after changes were detected...",
        service.name
    ));
    let more = More::quiet(manner.quiet);
    let before = scene
        .client
        .image(&service.image_name(&scene.project.name))
        .await;
    build::build(&call.globals, scene, service, &more)?;
    let _hold = Hold::of(call, scene).await?;
    let options = UpOptions {
        wishes: Wishes {
            recreate: Recreate::Force,
            services: vec![service.name.clone()],
            ..Wishes::default()
        },
        ignore_orphans: true,
        ..UpOptions::default()
    };
    scene
        .engine()
        .create_all(&options)
        .await
        .map_err(apply_failure)?;
    scene.engine().start().await.map_err(apply_failure)?;
    if let (true, Ok(before)) = (manner.prune, before) {
        prune(scene, &before.id).await;
    }
    scene.progress.settle();
    ui::note(&format!("service {} successfully rebuilt", service.name));
    Ok(())
}

/// Removes an image that has no name any more. One that is in use after all stays.
async fn prune(scene: &Scene, id: &str) {
    let now = scene.client.image(id).await;
    if now.is_ok_and(|image| image.repo_tags.is_empty()) {
        _ = scene.client.image_remove(id, false, true, &[]).await;
    }
}

async fn restart(scene: &Scene, service: &Service) -> Result<()> {
    for container in scene
        .containers(std::slice::from_ref(&service.name), false)
        .await?
    {
        scene
            .client
            .container_restart(container.id(), &StopOptions::default())
            .await
            .map_err(failure)?;
    }
    ui::note(&format!("service(s) [\"{}\"] restarted", service.name));
    Ok(())
}

/// Copies files into all containers of a service; those that are gone go there, too.
async fn sync(scene: &Scene, rule: &Rule<'_>, paths: &BTreeSet<PathBuf>) -> Result<()> {
    let root = Path::new(&rule.trigger.path);
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    let mut packer = Packer::default();
    let mut gone: Vec<String> = Vec::new();
    for path in paths {
        let target = target(root, path, &rule.trigger.target);
        if path.symlink_metadata().is_ok() {
            let inside = target.trim_start_matches('/');
            let added = path
                .symlink_metadata()
                .and_then(|found| match found.is_dir() {
                    true => archive.append_dir(inside, path),
                    false => packer.add(&mut archive, path, &found, Path::new(inside)),
                });
            added.map_err(|error| Error::io("read", &path.to_string_lossy(), &error))?;
        } else {
            gone.push(target);
        }
    }
    let bytes = archive
        .into_inner()
        .map_err(|error| Error::new(error.to_string()))?;
    let containers = scene
        .containers(std::slice::from_ref(&rule.service.name), false)
        .await?;
    for container in containers.iter().filter(|container| container.is_running()) {
        if paths.len() > gone.len() {
            let body = hull_api::client::from_bytes(bytes.clone());
            scene
                .client
                .copy_in(FilesOf::Container(container.id()), "/", body, false)
                .await
                .map_err(failure)?;
        }
        if !gone.is_empty() {
            let command = ["rm".to_owned(), "-rf".to_owned()]
                .into_iter()
                .chain(gone.iter().cloned())
                .collect();
            run(scene, container.id(), command, "root", "").await?;
        }
    }
    ui::note(&format!(
        "Syncing service \"{}\" after {} changes were detected",
        rule.service.name,
        paths.len()
    ));
    Ok(())
}

/// Where a path lies in the container.
fn target(root: &Path, path: &Path, target: &str) -> String {
    let inner = path.strip_prefix(root).unwrap_or(Path::new(""));
    match inner.as_os_str().is_empty() {
        true => target.to_owned(),
        false => format!("{}/{}", target.trim_end_matches('/'), inner.display()),
    }
}

async fn exec(scene: &Scene, rule: &Rule<'_>) -> Result<()> {
    let Some(hook) = &rule.trigger.exec else {
        return Ok(());
    };
    for container in scene
        .containers(std::slice::from_ref(&rule.service.name), false)
        .await?
    {
        run(
            scene,
            container.id(),
            hook.command().to_vec(),
            hook.user(),
            hook.working_dir(),
        )
        .await?;
    }
    Ok(())
}

/// Runs a command in a container to its end.
async fn run(
    scene: &Scene,
    id: &str,
    command: Vec<String>,
    user: &str,
    directory: &str,
) -> Result<()> {
    let shown = command.join(" ");
    let body = ExecCreate {
        user: user.to_owned(),
        working_dir: directory.to_owned(),
        attach_stdout: true,
        attach_stderr: true,
        cmd: Some(command),
        ..ExecCreate::default()
    };
    let made = scene.client.exec_create(id, &body).await.map_err(failure)?;
    let stream = scene
        .client
        .exec_start(&made.id, &ExecStart::default())
        .await
        .map_err(failure)?;
    let (mut reader, _writer) = stream.split();
    let mut said = Vec::new();
    _ = reader.read_to_end(&mut said).await;
    let ended = scene.client.exec(&made.id).await.map_err(failure)?;
    match ended.exit_code {
        Some(0) | None => Ok(()),
        Some(code) => Err(Error::new(format!("`{shown}` exited with {code}"))),
    }
}

/// All files below a path, or itself.
fn files_below(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => _ = found.insert(path),
        }
    }
    found
}

/// Changes of files and directories, as the kernel tells them.
struct Watcher {
    inotify: Arc<OwnedFd>,
    directories: BTreeMap<i32, PathBuf>,
    changes: mpsc::Receiver<Change>,
}

/// A change in a watched directory.
struct Change {
    directory: i32,
    name: String,
    is_directory: bool,
}

impl Watcher {
    fn new() -> Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC)
            .map_err(|error| Error::new(format!("cannot watch files: {error}")))?;
        let inotify = Arc::new(fd);
        let (sender, changes) = mpsc::channel(QUEUE);
        let source = Arc::clone(&inotify);
        // Not joined: it sits in a read until the program ends, which ends it.
        std::thread::spawn(move || {
            let mut buffer = [std::mem::MaybeUninit::uninit(); 16 * 1024];
            let mut reader = inotify::Reader::new(&*source, &mut buffer);
            while let Ok(event) = reader.next() {
                let change = Change {
                    directory: event.wd(),
                    name: event
                        .file_name()
                        .map(|name| name.to_string_lossy().into_owned())
                        .unwrap_or_default(),
                    is_directory: event.events().contains(ReadFlags::ISDIR),
                };
                if sender.blocking_send(change).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            inotify,
            directories: BTreeMap::new(),
            changes,
        })
    }

    /// Watches a file, or a directory with all below it.
    fn add(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Err(Error::new(format!(
                "{} is to be watched, and is not there",
                path.display()
            )));
        }
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            if self.directories.len() >= DIRECTORIES_MAX {
                return Err(Error::new(format!(
                    "more than {DIRECTORIES_MAX} directories are to be watched"
                )));
            }
            // A file is watched through its directory: editors put a new one in its place.
            let place = if path.is_dir() {
                path.clone()
            } else {
                path.parent().unwrap_or(&path).to_owned()
            };
            let flags = WatchFlags::CLOSE_WRITE
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ATTRIB;
            let number = inotify::add_watch(&*self.inotify, &place, flags).map_err(|error| {
                Error::new(format!("cannot watch {}: {error}", place.display()))
            })?;
            self.directories.insert(number, place.clone());
            if path.is_dir() {
                let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
                open.extend(
                    entries
                        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                        .map(|entry| entry.path()),
                );
            }
        }
        Ok(())
    }

    /// The paths that changed, once there is a moment of quiet.
    async fn next(&mut self) -> Result<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::new();
        loop {
            let change = match changed.is_empty() {
                true => self.changes.recv().await,
                false => match tokio::time::timeout(QUIET, self.changes.recv()).await {
                    Ok(change) => change,
                    Err(_) => return Ok(changed),
                },
            };
            match change {
                Some(change) => self.take(&change, &mut changed),
                None => return Err(Error::new("the kernel tells of no changes any more")),
            }
        }
    }

    fn take(&mut self, change: &Change, changed: &mut BTreeSet<PathBuf>) {
        let Some(directory) = self.directories.get(&change.directory) else {
            return;
        };
        let path = directory.join(&change.name);
        if change.is_directory && path.is_dir() {
            // What was put into it before it was watched counts, too.
            _ = self.add(&path);
            changed.extend(files_below(&path));
        }
        changed.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_place_in_the_container() {
        let at = |path: &str| target(Path::new("/src"), Path::new(path), "/app/");
        assert_eq!(at("/src/a/b"), "/app/a/b");
        assert_eq!(at("/src"), "/app/");
    }
}
