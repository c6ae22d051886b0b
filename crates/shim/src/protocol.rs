//! The words between `hulld` and a container's shim.
//!
//! One unix stream socket per container, `shim.sock` in its run directory; each connection starts
//! with one [`Request`] frame and gets one [`Reply`] frame. After that the connection takes further
//! requests, except where a request says that it turns the connection into something else
//! ([`Request::Attach`] into raw bytes, [`Request::Events`] into [`Event`] frames).
//!
//! A frame is a 4-byte big-endian length and that many bytes of JSON. File descriptors travel with
//! the frame's first byte (`SCM_RIGHTS`).
//!
//! Shims of older daemons are met by newer daemons: [`VERSION`] is in [`State`], fields are only
//! ever added (with a default), and a daemon speaks to shims of the two versions before its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The newest version this crate speaks.
pub const VERSION: u32 = 1;

/// A frame longer than this is refused: specs are the longest and stay far below.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// What a daemon asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// Make the container, all but its start. One fd may travel along: a prepared network
    /// namespace that replaces the spec's. Answered by [`Reply::Created`].
    Create(Box<Create>),
    /// Run what was made. Answered once the program was executed, or could not be.
    Start,
    /// Send a signal. `all`: to every process of the container (init only otherwise).
    Signal {
        /// To whom.
        target: Target,
        /// Its number.
        signal: i32,
        /// Every process of the container's cgroup.
        all: bool,
    },
    /// Change a terminal's size.
    Resize {
        /// Whose.
        target: Target,
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Run one more process. Answered by [`Reply::Started`], or an [`ErrorKind`] that says why not.
    /// To see all of its output, attach before: an exec id may be attached as soon as it is
    /// [`PrepareExec`](Self::PrepareExec)d.
    PrepareExec(Box<Exec>),
    /// Start what was prepared.
    StartExec {
        /// The id it was prepared under.
        id: String,
    },
    /// Turn this connection into the process's streams: after `Ok`, what the daemon writes goes to
    /// stdin and what the process writes comes back, framed as Docker's clients expect it (8-byte
    /// headers; raw with a terminal). Half-closing ends stdin for this client.
    Attach(Attach),
    /// Turn this connection into a stream of [`Event`]s. First comes what already happened and
    /// still matters (an exit, the health), then what happens. [`Shutdown`](Self::Shutdown) may
    /// follow on it; its answer comes between the events.
    Events,
    /// What is the case now. Answered by [`Reply::State`].
    State,
    /// Change the health check's schedule or pause it (a paused container is not probed).
    PauseHealth(bool),
    /// The daemon has recorded the exit: leave. Refused while the container runs.
    Shutdown,
}

/// Which process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Target {
    /// The container's own.
    Init,
    /// An exec'd one, by id.
    Exec(String),
}

/// All that a shim needs to make its container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Create {
    /// The container's id: 64 hex digits.
    pub id: String,
    /// The directory with `config.json` (the OCI spec) and, once there is one, `exit.json`.
    pub bundle: PathBuf,
    /// Where the root file system comes from.
    pub root: Root,
    /// `None`: this crate's own runtime. Otherwise the path of another OCI runtime.
    #[serde(default)]
    pub foreign_runtime: Option<ForeignRuntime>,
    /// Keep stdin open with nobody attached.
    pub open_stdin: bool,
    /// Close stdin when the first attached client leaves.
    pub stdin_once: bool,
    /// How output is kept.
    pub log: Log,
    /// Probes to run while the container does.
    #[serde(default)]
    pub health: Option<Health>,
    /// Run an init of our own as process 1 that reaps zombies and passes signals on.
    pub with_init: bool,
    /// The precompiled filter for the spec's seccomp profile, if the daemon keeps one in this file.
    #[serde(default)]
    pub seccomp_cache: Option<PathBuf>,
    /// The process's environment, if it is to be in memory only: then the bundle tells none.
    #[serde(default)]
    pub env: Option<Vec<String>>,
}

/// Where the root file system comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Root {
    /// A directory, as the spec names it.
    Directory,
    /// Layers, mounted in the container's own mount namespace only.
    Overlay {
        /// Read-only layers, uppermost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// Overlay's work directory.
        work: PathBuf,
        /// Skip syncs of the upper layer (the kernel's `volatile`).
        volatile: bool,
        /// Files belong to the ids of the container's user namespace that they have on the disk.
        #[serde(default)]
        mapped: bool,
    },
}

/// Another OCI runtime, run with runc's flags.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForeignRuntime {
    /// An absolute path.
    pub path: PathBuf,
    /// Arguments before the verb.
    pub args: Vec<String>,
    /// Its `--root`.
    pub state_dir: PathBuf,
}

/// How output is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Log {
    /// Not at all.
    None,
    /// Docker's json-file form.
    JsonFile {
        /// The newest file; older ones are `PATH.1`, `PATH.2` … (`.gz` when compressed).
        path: PathBuf,
        /// Bytes after which the file is rotated; 0: never.
        size_max: u64,
        /// How many files are kept, the newest included.
        files_max: u32,
        /// Compress older files.
        compress: bool,
        /// Attributes written with each line (Docker's `labels`, `env`, `tag` options).
        attributes: std::collections::BTreeMap<String, String>,
    },
}

/// When to ask a container whether it is well. All values are resolved: none means "the default".
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// The process to run for a probe (user, environment, directory and capabilities as in `exec`).
    pub process: hull_oci::runtime::Process,
    /// Nanoseconds between the end of one probe and the start of the next.
    pub interval_ns: u64,
    /// Nanoseconds one probe may take.
    pub timeout_ns: u64,
    /// Nanoseconds after the start in which failures do not count.
    pub start_period_ns: u64,
    /// Nanoseconds between probes in the start period.
    pub start_interval_ns: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

/// One more process to run in the container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    /// 64 hex digits, unique in the container.
    pub id: String,
    /// What to run, all resolved (numeric user, capabilities, environment, terminal).
    pub process: hull_oci::runtime::Process,
    /// A client will attach to stdin; otherwise stdin is `/dev/null`.
    pub stdin: bool,
    /// All privileges: no seccomp filter (the capabilities stand in the process).
    pub privileged: bool,
}

/// Which streams to connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attach {
    /// Whose.
    pub target: Target,
    /// Connect stdin.
    pub stdin: bool,
    /// Connect stdout.
    pub stdout: bool,
    /// Connect stderr.
    pub stderr: bool,
    /// Bytes that, typed in this order on a terminal, let the client go; empty: none.
    pub detach_keys: Vec<u8>,
}

/// What a shim answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Ok,
    /// Made, not started.
    Created {
        /// The pid of init, in the host's namespace.
        pid: i32,
    },
    /// Running.
    Started {
        /// The pid, in the host's namespace.
        pid: i32,
    },
    /// What is the case.
    State(Box<State>),
    /// It did not happen, and left nothing behind.
    Error {
        /// What kind of failure.
        kind: ErrorKind,
        /// For people; starts lower case, no full stop.
        message: String,
    },
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The program is not there (exit code 127).
    NotFound,
    /// The program may not be executed (exit code 126).
    NotExecutable,
    /// The request does not fit the state (not created, already started, stopped …).
    State,
    /// Nothing under that exec id.
    NoSuchExec,
    /// Anything else.
    Other,
}

/// What is the case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The protocol's version.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// The shim's own pid.
    pub shim_pid: i32,
    /// How far init is.
    pub phase: Phase,
    /// Exec sessions that run or whose exit nobody has seen.
    pub execs: Vec<ExecState>,
    /// The health check's state, if there is a check.
    pub health: Option<HealthState>,
    /// Lines that the log's disk did not take.
    #[serde(default)]
    pub log_lines_lost: u64,
}

/// How far init is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing made yet.
    Empty,
    /// Made, not started.
    Created {
        /// Init's pid.
        pid: i32,
    },
    /// Running.
    Running {
        /// Init's pid.
        pid: i32,
        /// When it started: nanoseconds since 1970.
        started_at_ns: i64,
    },
    /// Over.
    Exited(Exit),
}

/// How a process ended. Also the content of `exit.json` in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, 128 + n after signal n.
    pub code: i32,
    /// Nanoseconds since 1970.
    pub finished_at_ns: i64,
    /// When it had started, nanoseconds since 1970; 0: never.
    #[serde(default)]
    pub started_at_ns: i64,
    /// The kernel killed a process of the container for want of memory.
    pub out_of_memory: bool,
}

/// An exec session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExecState {
    /// Its id.
    pub id: String,
    /// Its pid; 0: prepared, not started.
    pub pid: i32,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
}

/// What the health check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthState {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five probes, oldest first.
    pub log: Vec<HealthResult>,
}

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No verdict yet.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// Too many failures in a row.
    Unhealthy,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthResult {
    /// Nanoseconds since 1970.
    pub started_at_ns: i64,
    /// Nanoseconds since 1970.
    pub finished_at_ns: i64,
    /// 0: well; −1: it took too long or could not be run.
    pub exit_code: i32,
    /// The first 4 KiB of what it wrote.
    pub output: String,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// Init ended, its output is all in the log, and `exit.json` is written.
    Exited(Exit),
    /// The kernel killed a process for want of memory.
    OutOfMemory,
    /// An exec session ended.
    ExecExited {
        /// Its id.
        id: String,
        /// How.
        exit: Exit,
    },
    /// A client let go with the detach keys.
    Detached(Target),
    /// A health probe starts. (Docker reports it as an exec.)
    HealthProbe(HealthState),
    /// A health probe ended: the verdict and the results now. Also what a new listener hears first.
    Health(HealthState),
}
