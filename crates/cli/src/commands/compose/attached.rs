//! What goes on while `up` is attached: output is shown, ends are told, Ctrl-C stops.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use hull_api::Filters;
use hull_api::client::{JsonStream, LogsOptions, StopOptions};
use hull_api::types::Event;
use hull_compose::apply::ApplyError;
use hull_compose::plan::state::Container;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::sync::mpsc;

use super::hold::Hold;
use super::output::{Lines, Printer, Said, Style, follow, queue, short_name};
use super::project::{Scene, apply_failure};
use super::up::Up;
use crate::commands::Call;
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::format::time::api_timestamp;
use crate::terminal::signals::listen;
use crate::ui;

/// How long what is on its way is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// The time as the API takes it.
pub(super) fn now() -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// Starts what has been made, and stays until all has ended or Ctrl-C is pressed.
///
/// # Errors
/// What cannot be started.
pub(super) async fn run(
    up: &Up,
    call: &Call,
    scene: &Scene,
    shown: BTreeSet<String>,
    (began, hold): (&str, Hold),
) -> Result<u8> {
    let style = Style::new(up.no_color, up.no_prefix, &call.globals.compose.ansi);
    let mut attached = Attached {
        up,
        scene,
        watched: match call.operands.is_empty() {
            true => shown.clone(),
            false => call.operands.iter().cloned().collect(),
        },
        shown,
        waited: BTreeSet::new(),
        followed: BTreeSet::new(),
        ended: BTreeMap::new(),
        said_before: BTreeMap::new(),
        printer: Printer::new(style),
        code: None,
        stopping: false,
    };
    let containers = scene.containers(&[], false).await?;
    let names: Vec<String> = containers
        .iter()
        .filter(|container| attached.shown.contains(container.service()))
        .map(|container| short_name(container, &scene.project.name))
        .collect();
    names.iter().for_each(|name| attached.printer.know(name));
    ui::note(&format!("Attaching to {}", names.join(", ")));
    for container in containers
        .iter()
        .filter(|one| one.summary.state == "exited")
    {
        if let Some(time) = last_said(scene, container.id()).await {
            attached.said_before.insert(container.id().to_owned(), time);
        }
    }
    attached.run(&containers, began, hold).await
}

/// Just after the last line of a container that does not run.
async fn last_said(scene: &Scene, id: &str) -> Option<String> {
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        timestamps: true,
        tail: "1".into(),
        ..LogsOptions::default()
    };
    let mut lines = Lines::open(&scene.client, id, "", &options).await.ok()?;
    let said = lines.next().await?;
    let text = String::from_utf8_lossy(&said.text).into_owned();
    let time = api_timestamp(text.split(' ').next()?);
    let (seconds, nanoseconds) = time.split_once('.')?;
    let nanoseconds: u32 = nanoseconds.parse().ok()?;
    Some(format!("{seconds}.{:09}", nanoseconds + 1))
}

/// Work that goes on beside the rest.
type Work<'w, E> = Pin<Box<dyn Future<Output = std::result::Result<(), E>> + 'w>>;

/// What is waited for.
struct Sources<'w> {
    lines: mpsc::Receiver<Said>,
    events: JsonStream<Event>,
    starting: Work<'w, ApplyError>,
    stopping: Work<'w, Error>,
    interrupts: Signal,
    terminations: Signal,
}

/// What happened.
enum News {
    Line(Said),
    Started(std::result::Result<(), ApplyError>),
    Event(Box<Event>),
    /// For a while nothing happened.
    Quiet,
    Gone,
    Stopped(Result<()>),
    Interrupt,
    Termination,
}

impl Sources<'_> {
    async fn next(&mut self, may_leave: bool) -> News {
        tokio::select! {
            biased;
            Some(said) = self.lines.recv() => News::Line(said),
            result = &mut self.starting => {
                self.starting = Box::pin(std::future::pending());
                News::Started(result)
            }
            event = self.events.next_item() => match event {
                Some(Ok(event)) => News::Event(Box::new(event)),
                _ => News::Gone,
            },
            result = &mut self.stopping => News::Stopped(result),
            _ = self.interrupts.recv() => News::Interrupt,
            _ = self.terminations.recv() => News::Termination,
            () = tokio::time::sleep(PATIENCE), if may_leave => News::Quiet,
        }
    }
}

/// How it stands.
struct Attached<'a> {
    up: &'a Up,
    scene: &'a Scene,
    /// Services whose output is shown.
    shown: BTreeSet<String>,
    /// Services whose ends count.
    watched: BTreeSet<String>,
    /// Containers whose end is waited for.
    waited: BTreeSet<String>,
    /// Containers whose output is on its way.
    followed: BTreeSet<String>,
    /// Containers that ended since `up` began, and when: it may be before their start is waited for.
    ended: BTreeMap<String, String>,
    /// When containers that do not run said their last line, and a nanosecond more.
    said_before: BTreeMap<String, String>,
    printer: Printer,
    /// The first code that ended the whole, if one did.
    code: Option<u8>,
    stopping: bool,
}

impl<'a> Attached<'a> {
    async fn run(&mut self, containers: &[Container], began: &str, hold: Hold) -> Result<u8> {
        let mut hold = Some(hold);
        let scene = self.scene;
        let (sender, lines) = queue();
        let listener = |kind| {
            listen(kind).map_err(|error| Error::new(format!("cannot listen to signals: {error}")))
        };
        let mut sources = Sources {
            lines,
            events: events(scene, began).await?,
            starting: Box::pin(async move { scene.engine().start().await }),
            stopping: Box::pin(std::future::pending()),
            interrupts: listener(SignalKind::interrupt())?,
            terminations: listener(SignalKind::terminate())?,
        };
        for container in containers.iter().filter(|container| container.is_running()) {
            self.wait_for(container);
            let name = short_name(container, &scene.project.name);
            self.follow(container.id(), &name, container.service(), began, &sender);
        }
        let mut started = false;
        loop {
            let may_leave = started && self.waited.is_empty() && !self.stopping;
            match sources.next(may_leave).await {
                News::Line(said) => self.printer.print(&said)?,
                News::Started(result) => {
                    started = true;
                    if let Err(error) = result {
                        self.drain(&mut sources.lines).await?;
                        return Err(apply_failure(error));
                    }
                    super::history::finish(&scene.project.name);
                    // All is up: others may work on it while this one looks on.
                    drop(hold.take());
                    // The news of their starts may still be on its way.
                    for container in &scene.containers(&[], false).await? {
                        self.wait_for(container);
                    }
                }
                News::Event(event) => {
                    if self.event(&event, &sender).await {
                        self.begin_to_stop(&mut sources, None);
                    }
                }
                News::Quiet => return Ok(self.code.unwrap_or(0)),
                News::Gone => return Err(Error::new("the daemon is gone")),
                News::Stopped(result) => {
                    result?;
                    self.drain(&mut sources.lines).await?;
                    return Ok(self.code.unwrap_or(0));
                }
                News::Interrupt if self.stopping => return kill_all(scene).await,
                News::Interrupt => {
                    ui::note("Gracefully Stopping... press Ctrl+C again to force");
                    self.begin_to_stop(&mut sources, Some(130));
                }
                News::Termination => self.begin_to_stop(&mut sources, Some(143)),
            }
        }
    }

    fn wait_for(&mut self, container: &Container) {
        let is_watched = self.watched.is_empty() || self.watched.contains(container.service());
        let is_ours = self
            .scene
            .project
            .services
            .contains_key(container.service());
        if is_watched && is_ours && !self.ended.contains_key(container.id()) {
            self.waited.insert(container.id().to_owned());
        }
    }

    fn begin_to_stop(&mut self, sources: &mut Sources<'a>, code: Option<u8>) {
        if !self.stopping {
            self.stopping = true;
            self.code = self.code.or(code);
            // Nothing more is started; a start that is on its way is followed by a stop.
            sources.starting = Box::pin(std::future::pending());
            sources.stopping = Box::pin(stop_all(self.scene, self.up.timeout));
        }
    }

    /// Prints what is still on its way.
    async fn drain(&mut self, lines: &mut tokio::sync::mpsc::Receiver<Said>) -> Result<()> {
        while let Ok(Some(said)) = tokio::time::timeout(PATIENCE, lines.recv()).await {
            self.printer.print(&said)?;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        id: &str,
        name: &str,
        service: &str,
        since: &str,
        sender: &tokio::sync::mpsc::Sender<Said>,
    ) {
        if !self.shown.contains(service) || !self.followed.insert(id.to_owned()) {
            return;
        }
        let options = LogsOptions {
            follow: true,
            stdout: true,
            stderr: true,
            timestamps: self.up.timestamps,
            since: since.to_owned(),
            tail: "all".into(),
            ..LogsOptions::default()
        };
        follow(&self.scene.client, id, name, options, sender.clone());
    }

    /// Since when what a container says counts: not before the last line of its earlier run.
    fn silent_until(&self, id: &str, margin: String) -> String {
        // Both are seconds of this age with nine digits behind the point.
        match self.said_before.get(id) {
            Some(said) if *said > margin => said.clone(),
            _ => margin,
        }
    }

    /// Takes an event in; whether all is to be stopped now.
    async fn event(&mut self, event: &Event, sender: &tokio::sync::mpsc::Sender<Said>) -> bool {
        let attributes = &event.actor.attributes;
        let text = |key: &str| attributes.get(key).map_or("", String::as_str);
        let service = text("com.docker.compose.service");
        let id = event.actor.id.as_str();
        if text("com.docker.compose.oneoff") == "True"
            || !self.scene.project.services.contains_key(service)
        {
            return false;
        }
        let name = text("name");
        let name = name
            .strip_prefix(&self.scene.project.name)
            .and_then(|rest| rest.strip_prefix(['-', '_']))
            .unwrap_or(name);
        let is_watched = self.watched.is_empty() || self.watched.contains(service);
        let time = format!(
            "{}.{:09}",
            event.time_nano / 1_000_000_000,
            event.time_nano % 1_000_000_000
        );
        match event.action.as_str() {
            "start" => {
                // What it said while the event was on its way counts, too; what it said in an
                // earlier run was shown.
                let since = match self.ended.remove(id) {
                    Some(ended) => ended,
                    None => self.silent_until(id, before(&time)),
                };
                if is_watched {
                    self.waited.insert(id.to_owned());
                }
                self.follow(id, name, service, &since, sender);
                false
            }
            "die" => {
                self.ended.insert(id.to_owned(), time);
                self.followed.remove(id);
                let starts_again = self.starts_again(id).await;
                let code: u8 = text("exitCode")
                    .parse::<i64>()
                    .unwrap_or_default()
                    .to_le_bytes()[0];
                if self.shown.contains(service) {
                    let more = if starts_again { " (restarting)" } else { "" };
                    ui::note(&format!("{name} exited with code {code}{more}"));
                }
                if starts_again {
                    return false;
                }
                self.waited.remove(id);
                is_watched && self.ends(service, code)
            }
            _ => false,
        }
    }

    /// Whether the daemon starts a container again that has just ended.
    async fn starts_again(&self, id: &str) -> bool {
        let found = self.scene.client.container(id).await;
        found.is_ok_and(|container| container.state.restarting || container.state.running)
    }

    fn ends(&mut self, service: &str, code: u8) -> bool {
        let from = self.up.exit_code_from.as_str();
        let aborts =
            self.up.abort_on_exit || !from.is_empty() || (self.up.abort_on_failure && code != 0);
        if aborts && self.code.is_none() && (from.is_empty() || from == service) {
            self.code = Some(code);
        }
        aborts
    }
}

async fn events(scene: &Scene, since: &str) -> Result<JsonStream<Event>> {
    let mut filters = Filters::default();
    filters.add("type", "container");
    filters.add(
        "label",
        format!("com.docker.compose.project={}", scene.project.name),
    );
    scene
        .client
        .events(since, "", &filters)
        .await
        .map_err(failure)
}

/// A moment before: a line may carry an earlier time than the event of the start.
fn before(time: &str) -> String {
    let (seconds, rest) = time.split_once('.').unwrap_or((time, "0"));
    let seconds: i64 = seconds.parse().unwrap_or_default();
    format!("{}.{rest}", seconds - 1)
}

/// Stops all, also what does not seem to run: the daemon may just be starting it, and does one after
/// the other.
async fn stop_all(scene: &Scene, timeout: Option<i64>) -> Result<()> {
    let services: Vec<String> = scene.project.services.keys().cloned().collect();
    let containers = scene.containers(&services, false).await?;
    scene
        .engine()
        .stop(&containers, timeout)
        .await
        .map_err(apply_failure)
}

async fn kill_all(scene: &Scene) -> Result<u8> {
    let services: Vec<String> = scene.project.services.keys().cloned().collect();
    let options = StopOptions {
        timeout_s: Some(0),
        ..StopOptions::default()
    };
    for container in scene
        .containers(&services, false)
        .await?
        .iter()
        .filter(|container| container.is_running())
    {
        _ = scene.client.container_stop(container.id(), &options).await;
    }
    Ok(130)
}
