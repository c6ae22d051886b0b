//! Runs one more process in a container.
//!
//! A session is made, then started, with or without a client at its streams, and can be asked about
//! until its container's next start. The shim owns the process; this is the daemon's memory of it.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use hull_shim::protocol::{self, Reply, Request, Target};
use tokio::sync::watch;

use crate::{
    Engine,
    actor::Handle,
    container::attach::detach_keys,
    error::{Error, Result},
    events::Subject,
    model::{ContainerId, ExecId},
    record::Record,
    shim,
    state::Command,
};

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, each, added to the container's.
    pub env: Vec<String>,
    /// `user[:group]`; empty: the container's.
    pub user: String,
    /// Empty: the container's.
    pub working_dir: String,
    /// A pseudo-terminal.
    pub tty: bool,
    /// All capabilities, no seccomp filter.
    pub privileged: bool,
    /// A client means to attach to stdin.
    pub stdin: bool,
    /// A client means to attach to stdout.
    pub stdout: bool,
    /// A client means to attach to stderr.
    pub stderr: bool,
    /// As typed; `None`: the default.
    pub detach_keys: Option<String>,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Exec {
    /// Its id.
    pub id: ExecId,
    /// Whose it is.
    pub container: ContainerId,
    /// What it runs.
    pub options: ExecOptions,
    /// How far it is.
    pub phase: ExecPhase,
    /// Becomes true when it ended and its code is known, or its client was let go.
    ended: watch::Sender<bool>,
    ended_at: Option<std::time::Instant>,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecPhase {
    /// Made.
    Created,
    /// Being started.
    Starting,
    /// It runs.
    Running {
        /// On the host.
        pid: i32,
    },
    /// It ended, or could not be run.
    Ended {
        /// On the host; 0: it never ran.
        pid: i32,
        /// The exit code.
        code: i32,
    },
}

/// What a front end gets of a started session.
#[derive(Debug)]
pub enum ExecStarted {
    /// It runs by itself.
    Detached,
    /// The client's end of its streams.
    Attached {
        /// Whether the streams are raw or framed.
        tty: bool,
        /// As in [`Attached::stream`](crate::container::attach::Attached::stream).
        stream: UnixStream,
        /// Becomes true when the exit code is known (or the client typed the detach keys). The client hears the end of the stream only
        /// then: it asks for the code next.
        ended: watch::Receiver<bool>,
    },
    /// It could not be run. Docker tells in the stream, not by a status.
    Failed {
        /// Whether the streams are raw or framed.
        tty: bool,
        /// For the stream.
        message: String,
    },
}

/// The code of what never got an exit code of its own: killed with its container.
const KILLED: i32 = 137;

/// How long the end of a container may take to be known here.
const END_SEEN_WITHIN: Duration = Duration::from_secs(1);

/// Sessions kept per container; the oldest ended ones are forgotten first.
const SESSIONS_MAX: usize = 256;

/// Above this, new sessions are refused: those there are were never started, or do not end.
const SESSIONS_WAITING_MAX: usize = 4 * SESSIONS_MAX;

impl Exec {
    /// It ended.
    pub(crate) fn finish(&mut self, code: i32) {
        let pid = match self.phase {
            ExecPhase::Running { pid } => pid,
            _ => 0,
        };
        self.phase = ExecPhase::Ended { pid, code };
        self.ended.send_replace(true);
        self.ended_at = Some(std::time::Instant::now());
    }

    /// Its client left with the detach keys; it goes on.
    pub(crate) fn let_go(&self) {
        self.ended.send_replace(true);
    }

    /// Its container ended, and took it along.
    pub(crate) fn finish_with_container(&mut self) {
        if !matches!(self.phase, ExecPhase::Ended { .. }) {
            self.finish(KILLED);
        }
    }
}

impl Engine {
    /// Makes a session.
    pub fn exec_create(&self, reference: &str, options: ExecOptions) -> Result<ExecId> {
        let handle = self.find(reference)?;
        let record = handle.record();
        let id = &record.id;
        check_running(&record)?;
        if options.command.is_empty() {
            return Err(Error::Invalid("No exec command specified".to_owned()));
        }
        detach_keys(options.detach_keys.as_deref())?;
        let exec = Exec {
            id: ExecId::random(),
            container: id.clone(),
            options,
            phase: ExecPhase::Created,
            ended: watch::Sender::new(false),
            ended_at: None,
        };
        let exec_id = exec.id.clone();
        let action = format!("exec_create: {}", exec.options.command.join(" "));
        self.services()
            .registry
            .insert_exec(exec_id.clone(), id.clone());
        for forgotten in make_room(&handle) {
            self.services().registry.remove_exec(&forgotten);
        }
        if handle.execs().len() >= SESSIONS_WAITING_MAX {
            self.services().registry.remove_exec(&exec_id);
            return Err(Error::State(format!(
                "container {id} has {SESSIONS_WAITING_MAX} exec sessions that were not started or \
                 did not end: start or end some"
            )));
        }
        handle.execs().insert(exec_id.clone(), exec);
        self.say_exec(&handle, action, &exec_id);
        Ok(exec_id)
    }

    /// Refuses a session whose container does not run (any more): before its client is told that
    /// the streams are coming.
    pub fn exec_can_start(&self, reference: &str) -> Result<()> {
        let (_, handle) = self.services().registry.find_exec(reference)?;
        check_running(&handle.record())
    }

    /// Starts a session. `tty`: what the client believes; `size` replaces the made one's.
    pub async fn exec_start(
        &self,
        reference: &str,
        detach: bool,
        size: Option<(u16, u16)>,
    ) -> Result<ExecStarted> {
        let (id, handle) = self.services().registry.find_exec(reference)?;
        check_running(&handle.record())?;
        let exits = handle.lifecycle().borrow().exits;
        let exec = begin(&handle, &id)?;
        let ended = exec.ended.subscribe();
        let action = format!("exec_start: {}", exec.options.command.join(" "));
        self.say_exec(&handle, action, &id);
        let services = self.services().clone();
        let job_handle = std::sync::Arc::clone(&handle);
        let outcome = self
            .services()
            .block(move || start(&services, &job_handle, &exec, detach, size))
            .await?;
        match outcome {
            Ok((pid, stream, tty)) => {
                if let Some(exec) = handle.execs().get_mut(&id)
                    && exec.phase == ExecPhase::Starting
                {
                    exec.phase = ExecPhase::Running { pid };
                }
                Ok(match stream {
                    Some(stream) => ExecStarted::Attached { tty, stream, ended },
                    None => ExecStarted::Detached,
                })
            }
            Err(error) => {
                let error = explained(&handle, exits, error).await;
                let code = match &error {
                    Error::Start { code, .. } => *code,
                    _ => 126,
                };
                let tty = handle.execs().get_mut(&id).is_some_and(|exec| {
                    exec.finish(code);
                    exec.options.tty
                });
                match error {
                    Error::Start { message, .. } if !detach => {
                        Ok(ExecStarted::Failed { tty, message })
                    }
                    other => Err(other),
                }
            }
        }
    }

    /// Changes the size of a session's terminal.
    pub async fn exec_resize(&self, reference: &str, rows: u16, columns: u16) -> Result<()> {
        let (id, handle) = self.services().registry.find_exec(reference)?;
        let running = handle
            .execs()
            .get(&id)
            .is_some_and(|exec| matches!(exec.phase, ExecPhase::Running { .. }));
        if !running {
            return Err(Error::State(format!("exec {id} is not running")));
        }
        let target = Target::Exec(id.to_string());
        let link = self.services().shim_of(&handle.id);
        link.ask(Request::Resize {
            target,
            rows,
            columns,
        })
        .await?;
        Ok(())
    }

    /// A session as it is now.
    pub fn exec_inspect(&self, reference: &str) -> Result<Exec> {
        let (id, handle) = self.services().registry.find_exec(reference)?;
        let found = handle.execs().get(&id).cloned();
        found.ok_or_else(|| Error::NoSuchExec(reference.to_owned()))
    }

    /// The sessions of a container that run.
    pub fn execs_of(&self, handle: &Handle) -> Vec<ExecId> {
        let running = |exec: &&Exec| matches!(exec.phase, ExecPhase::Running { .. });
        handle
            .execs()
            .values()
            .filter(running)
            .map(|exec| exec.id.clone())
            .collect()
    }

    fn say_exec(&self, handle: &Handle, action: String, exec: &ExecId) {
        let record = handle.record();
        let mut attributes = record.event_attributes();
        attributes.insert("execID".to_owned(), exec.to_string());
        let id = record.id.as_str();
        self.services()
            .events
            .publish(Subject::Container, action, id, attributes);
    }
}

fn check_running(record: &Record) -> Result<()> {
    if record.state.permits(Command::Exec).is_ok() {
        return Ok(());
    }
    let id = &record.id;
    Err(Error::State(match record.state.word() {
        "paused" => format!("container {id} is paused, unpause the container before exec"),
        "restarting" => {
            format!("Container {id} is restarting, wait until the container is running")
        }
        _ => not_running(id),
    }))
}

fn not_running(id: &ContainerId) -> String {
    format!("container {id} is not running")
}

/// Why a session could not be started. A container that ends meanwhile takes its shim and its
/// namespaces along, so that any step may fail; its end, seen a little later, is the reason then.
async fn explained(handle: &Handle, exits: u64, error: Error) -> Error {
    if matches!(error, Error::Start { .. }) {
        return error;
    }
    let mut life = handle.lifecycle();
    let ended = life.wait_for(|life| !life.running || life.exits > exits || life.removed);
    match tokio::time::timeout(END_SEEN_WITHIN, ended).await {
        Ok(_) => Error::State(not_running(&handle.id)),
        Err(_) => error,
    }
}

/// Marks a session as being started; a session is started once.
fn begin(handle: &Handle, id: &ExecId) -> Result<Exec> {
    let mut execs = handle.execs();
    let exec = execs
        .get_mut(id)
        .ok_or_else(|| Error::NoSuchExec(id.to_string()))?;
    match exec.phase {
        ExecPhase::Created => {
            exec.phase = ExecPhase::Starting;
            Ok(exec.clone())
        }
        ExecPhase::Starting | ExecPhase::Running { .. } => Err(Error::State(format!(
            "Error: Exec command {id} is already running"
        ))),
        ExecPhase::Ended { .. } => Err(Error::State(format!(
            "Error: Exec command {id} has already run"
        ))),
    }
}

/// Forgets the oldest ended sessions above the limit.
fn make_room(handle: &Handle) -> Vec<ExecId> {
    let mut execs = handle.execs();
    if execs.len() < SESSIONS_MAX {
        return Vec::new();
    }
    let mut ended: Vec<_> = execs
        .values()
        .filter_map(|exec| Some((exec.ended_at?, exec.id.clone())))
        .collect();
    ended.sort();
    let oldest = ended.into_iter().take(SESSIONS_MAX / 4);
    let forgotten: Vec<_> = oldest.map(|(_, id)| id).collect();
    for id in &forgotten {
        execs.remove(id);
    }
    forgotten
}

/// Prepares, connects the streams, starts. Blocks.
fn start(
    services: &crate::services::Services,
    handle: &Handle,
    exec: &Exec,
    detach: bool,
    size: Option<(u16, u16)>,
) -> Result<(i32, Option<UnixStream>, bool)> {
    let options = &exec.options;
    let record = handle.record();
    let process = services.exec_process(&record, options, size.or(options.console_size))?;
    let link = services.shim_of(&handle.id);
    let mut client = link.connect()?;
    let stdin = options.stdin && !detach;
    let prepare = protocol::Exec {
        id: exec.id.to_string(),
        process,
        stdin,
        privileged: options.privileged,
    };
    client
        .request(&Request::PrepareExec(Box::new(prepare)), &[])
        .map_err(shim::refused)?;
    let stream = if detach {
        None
    } else {
        Some(link.attach_blocking(protocol::Attach {
            target: Target::Exec(exec.id.to_string()),
            stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            detach_keys: detach_keys(options.detach_keys.as_deref())?,
        })?)
    };
    let run = Request::StartExec {
        id: exec.id.to_string(),
    };
    match client.request(&run, &[]).map_err(shim::refused)? {
        Reply::Started { pid } => Ok((pid, stream, options.tty)),
        other => Err(Error::Internal(format!(
            "the shim answered a start with {other:?}"
        ))),
    }
}
